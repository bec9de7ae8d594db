//! Randomness for a sandbox that has none.

use std::cell::Cell;

use getrandom::Error;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// What getrandom's `custom` backend calls. Numbers that can be foretold do for seeding hash maps:
/// a row that makes hashing slow meets the host's deadline.
///
/// # Safety
///
/// `destination` must be valid for writes of `length` bytes.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    destination: *mut u8,
    length: usize,
) -> Result<(), Error> {
    for index in 0..length {
        let state = STATE
            .get()
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        STATE.set(state);
        // SAFETY: `index` is within the `length` bytes that the caller vouches for.
        unsafe { destination.add(index).write((state >> 56) as u8) };
    }
    Ok(())
}
