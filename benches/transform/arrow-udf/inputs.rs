//! What functions are called on, and what they must make of it; both sides have this module.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};

/// Rows that a turn calls a function on.
pub(crate) const ROWS_OF_A_TURN: usize = 64 << 10;
const ROWS: i32 = 1024;

/// A batch for `gcd` or for `domain`.
pub(crate) fn batch(function: &str) -> RecordBatch {
    let numbers = |factor: i32| -> ArrayRef {
        let number = move |n: i32| n.wrapping_mul(factor) & 0xffff;
        Arc::new(Int32Array::from_iter_values((1..=ROWS).map(number)))
    };
    let address = |n: i32| format!("user.{n}@mail-{}.example.com", n % 97);
    let columns: Vec<(&str, ArrayRef)> = match function {
        "gcd" => vec![("a", numbers(7919)), ("b", numbers(104_729))],
        _ => vec![(
            "address",
            Arc::new(StringArray::from_iter_values((1..=ROWS).map(address))),
        )],
    };
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .expect("a batch")
}

/// Sees that a column was made of the batch by the function.
pub(crate) fn check(function: &str, made: &dyn Array) {
    assert_eq!(made.len(), ROWS as usize);
    let row = 499;
    match function {
        // Of 500 * 7919 and 500 * 104729, 16 bits each.
        "gcd" => assert_eq!(made.as_primitive::<Int32Type>().value(row), 4),
        _ => assert_eq!(made.as_string::<i32>().value(row), "mail-15.example.com"),
    }
}
