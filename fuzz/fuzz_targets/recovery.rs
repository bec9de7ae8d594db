//! A log whose files were damaged, cut, swapped or forged, and then opened.
#![no_main]

use alluvium_fuzz::recovery::{Scenario, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|scenario: Scenario| run(scenario));
