//! The blocks of fixed size: what is read is what would have been written, and anything else is refused.
#![no_main]

use alluvium::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, bool, Vec<u8>)| {
    let (salt, is_forged, mut bytes) = input;
    let _ = fuzzing::header_block(&bytes);
    let _ = fuzzing::footer_block(&bytes, 1, salt);
    if is_forged {
        // A file that has nothing but its salt and the frame.
        let mut file = vec![0; 4096];
        file[64..72].copy_from_slice(&salt.to_le_bytes());
        file.extend_from_slice(&bytes);
        fuzzing::forge_frame(&mut file, 4096);
        bytes = file.split_off(4096);
    }
    if let Some(written) = fuzzing::frame_header(&bytes, salt) {
        assert_eq!(written[..], bytes[..64], "a header that nobody writes");
        assert!(fuzzing::frame_header(&bytes, !salt).is_none());
    }
    for size in [4096, bytes.len()] {
        let mut block = bytes.clone();
        block.resize(size, 0);
        fuzzing::forge_header(&mut block);
        let _ = fuzzing::header_block(&block);
        fuzzing::forge_footer(&mut block);
        let _ = fuzzing::footer_block(&block, 1, salt);
    }
});
