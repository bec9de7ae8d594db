//! Two functions for arrow-udf.

#[path = "../../functions.rs"]
mod functions;
#[path = "../../../../../../plugins/sdk-rust/src/randomness.rs"]
mod randomness;

use arrow_udf::function;

getrandom_02::register_custom_getrandom!(no_randomness);

fn no_randomness(_: &mut [u8]) -> Result<(), getrandom_02::Error> {
    Err(getrandom_02::Error::UNSUPPORTED)
}

#[function("gcd(int32, int32) -> int32")]
fn gcd(a: i32, b: i32) -> i32 {
    functions::gcd(a, b)
}

#[function("domain(string) -> string")]
fn domain(address: &str) -> &str {
    functions::domain(address)
}
