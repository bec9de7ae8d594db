//! What may happen to the files of a log that nobody has open.

use alluvium::fuzzing;
use arbitrary::Arbitrary;

use crate::files::Files;

/// The longest file that is made.
const BYTES_MAX: usize = 64 << 10;
const BLOCK: usize = 4096;
const HEADER: usize = 64;
const PAGE: usize = 4096;

/// One thing that happens.
#[derive(Debug, Arbitrary)]
pub enum Damage {
    /// Bytes are overwritten.
    Write {
        at: Place,
        bytes: [u8; 8],
        length: u8,
    },
    /// A bit is flipped.
    Flip { at: Place, bit: u8 },
    /// Bytes turn to zeros.
    Zero { at: Place, length: u16 },
    /// Bytes are copied, within a file or from one to another.
    Copy { from: Place, to: Place, length: u16 },
    /// Two pages change places.
    SwapPages { a: Place, b: Place },
    /// A file gets shorter, or longer by zeros.
    Truncate { file: u8, length: u16 },
    /// A file goes.
    Remove { file: u8 },
    /// A file gets another name.
    Rename { file: u8, name: Name },
    /// A file is copied over another one.
    Duplicate { file: u8, name: Name },
    /// A field of a frame's header changes; its checksums are made right.
    ForgeFrame { at: Place, field: u8, value: Value },
    /// Bytes of a frame's payload change; its checksums are made right.
    ForgePayload { at: Place, byte: u16, value: Value },
    /// A field of a segment's header or footer changes; its checksum is made right.
    ForgeBlock {
        file: u8,
        footer: bool,
        field: u8,
        value: Value,
    },
}

/// A place in a file.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Place {
    file: u8,
    near: Near,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Near {
    Byte(u16),
    /// So many bytes into a frame, whose headers are the ones that say so.
    Frame(u8, u8),
    /// The start of a frame.
    FrameStart(u8),
    Footer(u8),
}

/// A file's name.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Name {
    /// That of another file.
    Other(u8),
    Segment(Value),
    Spare(Value),
}

/// A number that a field may get.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Value {
    Small(u8),
    /// What is there, and so much more.
    Plus(i8),
    Any(u64),
    /// Counted from the largest.
    FromMax(u8),
    FromSignedMax(u8),
}

impl Value {
    fn of(self, now: u64) -> u64 {
        match self {
            Self::Small(value) => value.into(),
            Self::Plus(delta) => now.wrapping_add_signed(delta.into()),
            Self::Any(value) => value,
            Self::FromMax(below) => u64::MAX - u64::from(below),
            Self::FromSignedMax(below) => i64::MAX as u64 - u64::from(below),
        }
    }
}

/// Where a file has frames: wherever it says so, right or not.
fn frames(file: &[u8]) -> Vec<usize> {
    let starts = (BLOCK..file.len()).step_by(HEADER);
    starts
        .filter(|at| file[*at..].starts_with(b"ALFR"))
        .collect()
}

impl Place {
    fn position(self, file: &[u8]) -> usize {
        let frame = |which: u8| {
            let frames = frames(file);
            frames
                .get(usize::from(which) % frames.len().max(1))
                .copied()
        };
        let position = match self.near {
            Near::Byte(at) => at.into(),
            Near::Frame(which, delta) => frame(which).unwrap_or(BLOCK) + usize::from(delta),
            Near::FrameStart(which) => frame(which).unwrap_or(BLOCK),
            Near::Footer(at) => file.len().saturating_sub(BLOCK) + usize::from(at),
        };
        position % file.len().max(1)
    }

    /// The file from the place on.
    fn find(self, files: &mut Files) -> Option<&mut [u8]> {
        let file = files.file(self.file)?;
        let at = self.position(file);
        file.get_mut(at..)
    }
}

/// Bytes over bytes, as many as there are of both.
fn put(to: &mut [u8], from: impl IntoIterator<Item = u8>) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from);
}

/// Gives a field of up to eight bytes another value.
fn change(field: &mut [u8], value: Value) {
    let mut now = [0; 8];
    put(&mut now, field.iter().copied());
    put(field, value.of(u64::from_le_bytes(now)).to_le_bytes());
}

impl Damage {
    /// Lets it happen. Whether checksums were forged, or files given names that are not theirs.
    pub fn apply(&self, files: &mut Files) -> bool {
        self.try_apply(files);
        matches!(
            self,
            Self::ForgeFrame { .. } | Self::ForgePayload { .. } | Self::ForgeBlock { .. }
        )
    }

    fn try_apply(&self, files: &mut Files) -> Option<()> {
        match *self {
            Self::Write { at, bytes, length } => {
                let length = usize::from(length) % (bytes.len() + 1);
                put(at.find(files)?, bytes.into_iter().take(length));
            }
            Self::Flip { at, bit } => *at.find(files)?.first_mut()? ^= 1 << (bit % 8),
            Self::Zero { at, length } => {
                put(at.find(files)?, std::iter::repeat_n(0, length.into()));
            }
            Self::Copy { from, to, length } => {
                let bytes = from.find(files)?.to_vec();
                put(to.find(files)?, bytes.into_iter().take(length.into()));
            }
            Self::SwapPages { a, b } => {
                let page = |place: Place, files: &mut Files| {
                    let file = files.file(place.file)?;
                    let at = place.position(file) / PAGE * PAGE;
                    Some(file.get(at..at + PAGE)?.to_vec()).map(|bytes| (at, bytes))
                };
                let ((at_a, bytes_a), (at_b, bytes_b)) = (page(a, files)?, page(b, files)?);
                put(&mut files.file(a.file)?[at_a..], bytes_b);
                put(&mut files.file(b.file)?[at_b..], bytes_a);
            }
            Self::Truncate { file, length } => {
                files.file(file)?.resize(usize::from(length) % BYTES_MAX, 0);
            }
            Self::Remove { file } => {
                let name = files.name(file)?;
                files.0.remove(&name);
            }
            Self::Rename { file, name } => {
                let (from, to) = (files.name(file)?, name.of(files)?);
                let bytes = files.0.remove(&from)?;
                files.0.insert(to, bytes);
            }
            Self::Duplicate { file, name } => {
                let to = name.of(files)?;
                let bytes = files.file(file)?.clone();
                files.0.insert(to, bytes);
            }
            Self::ForgeFrame { at, field, value } => {
                // The fields' starts and lengths; neither the magic nor the checksums.
                const FIELDS: [(usize, usize); 9] = [
                    (8, 8),
                    (16, 8),
                    (24, 8),
                    (32, 8),
                    (40, 8),
                    (48, 4),
                    (56, 4),
                    (60, 2),
                    (62, 2),
                ];
                let (start, length) = FIELDS[usize::from(field) % FIELDS.len()];
                let file = files.file(at.file)?;
                let at = at.position(file) / HEADER * HEADER;
                change(file.get_mut(at + start..at + start + length)?, value);
                fuzzing::forge_frame(file, at);
            }
            Self::ForgePayload { at, byte, value } => {
                let file = files.file(at.file)?;
                let at = at.position(file) / HEADER * HEADER;
                let start = at + HEADER + usize::from(byte);
                change(file.get_mut(start..start + 8)?, value);
                fuzzing::forge_frame(file, at);
            }
            Self::ForgeBlock {
                file,
                footer,
                field,
                value,
            } => {
                let file = files.file(file)?;
                let start = match footer {
                    true => file.len().checked_sub(BLOCK)?,
                    false => 0,
                };
                let at = start + 12 + usize::from(field) % 16 * 4;
                change(file.get_mut(at..at + 8)?, value);
                match footer {
                    true => fuzzing::forge_footer(file),
                    false => fuzzing::forge_header(file),
                }
            }
        }
        Some(())
    }
}

impl Name {
    fn of(self, files: &Files) -> Option<String> {
        match self {
            Self::Other(which) => files.name(which),
            Self::Segment(value) => Some(format!("{:020}.seg", value.of(0))),
            Self::Spare(value) => Some(format!("{:020}.spare", value.of(0))),
        }
    }
}
