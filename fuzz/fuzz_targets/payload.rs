//! What a frame's payload may hold once its checksum is right: a batch or an error, never a panic.
#![no_main]

use alluvium_fuzz::payload::{Input, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: Input| run(input));
