//! Free memory of the C library's heap, given back to the system: the one place of tiering with `unsafe` code.
//!
//! Buffers of some megabytes are made by one thread and freed by another. glibc keeps them in the arenas of those that made
//! them, in pieces that the next ones don't fit, so that a long backlog would hold hundreds of megabytes.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// Not after fewer bytes of rows than these: a small round leaves little.
const LEAST_BYTES: u64 = 32 << 20;
/// Not more often: what is given back is faulted in anew, which takes some 40 ms each time.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// Looks at rows that pass, and gives free memory back now and then.
#[derive(Debug)]
pub(super) struct Heap {
    bytes: u64,
    since: Instant,
}

impl Heap {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            since: Instant::now(),
        }
    }

    pub(super) fn passed(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= LEAST_BYTES && self.since.elapsed() >= LEAST_TIME {
            give_back();
            *self = Self::new();
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    // SAFETY: malloc_trim(3) takes no pointer and may be called by any thread; what another allocator has it does not see.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
