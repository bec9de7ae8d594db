//! What the WebP decoder takes on trust.

use crate::Error;

/// Sees that every chunk lies within the file: the decoder would allocate what a chunk's header
/// claims.
pub(crate) fn check_chunks(encoded: &[u8]) -> Result<(), Error> {
    let mut rest = encoded.get(12..).ok_or(Error::Truncated)?;
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [_, _, _, _, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        if length > after.len() {
            return Err(Error::Truncated);
        }
        // A chunk of odd length is followed by a byte of padding, which the last one may lack.
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    Ok(())
}
