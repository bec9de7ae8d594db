//! Free memory of the C library's heap, given back to the system: the one place of tiering with `unsafe` code.
//!
//! Buffers of some megabytes are made by one thread and freed by another. glibc keeps them in the arenas of those that made
//! them, in pieces that the next ones don't fit, so that a long backlog would hold hundreds of megabytes.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Free memory is given back after so many bytes of rows, of all rounds together: what is given back is faulted in anew, and
/// a small round leaves little.
const EVERY_BYTES: u64 = 64 << 20;

static PASSED: AtomicU64 = AtomicU64::new(0);

/// Counts rows that pass, and gives free memory back now and then.
pub(super) fn passed(bytes: u64) {
    if PASSED.fetch_add(bytes, Ordering::Relaxed) + bytes >= EVERY_BYTES {
        PASSED.store(0, Ordering::Relaxed);
        give_back();
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
