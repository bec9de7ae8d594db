//! What a plugin may hand back: arrays in which everything holds, or an error, never a panic.
#![no_main]

use alluvium_fuzz::guest_output::{Input, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: Input| run(input));
