//! The functions, which both sides call.

/// The greatest common divisor.
pub(crate) fn gcd(mut a: i32, mut b: i32) -> i32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// What stands behind the `@` of an address.
pub(crate) fn domain(address: &str) -> &str {
    address.split_once('@').map_or("", |(_, domain)| domain)
}
