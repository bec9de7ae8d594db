//! The values of a record.

use crate::{Kind, Value};

/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub i64);

/// A Rust value that a column can hold; an `Option` of one may be null.
pub trait Cell: Into<Value> {
    /// The kind of its column.
    const KIND: Kind;
    /// Whether it may be null.
    const NULLABLE: bool = false;

    /// The length of a vector; 0 for every other kind, and for null.
    fn dim(&self) -> usize {
        0
    }
}

macro_rules! cell {
    ($($kind:ident: $($rust:ty as $convert:expr),+;)*) => {$($(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$kind($convert(value))
            }
        }

        impl Cell for $rust {
            const KIND: Kind = Kind::$kind;
        }
    )+)*};
}

cell! {
    Boolean: bool as bool::from;
    Int32: i32 as i32::from;
    Int64: i64 as i64::from;
    Float32: f32 as f32::from;
    Float64: f64 as f64::from;
    Utf8: &str as str::to_owned, String as String::from;
    Binary: &[u8] as <[u8]>::to_vec, Vec<u8> as Vec::from;
    Timestamp: Timestamp as |Timestamp(micros)| micros;
}

impl From<Vec<f32>> for Value {
    fn from(vector: Vec<f32>) -> Self {
        Self::Vector(vector)
    }
}

impl Cell for Vec<f32> {
    const KIND: Kind = Kind::Vector;

    fn dim(&self) -> usize {
        self.len()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

impl<T: Cell> Cell for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;

    fn dim(&self) -> usize {
        self.as_ref().map_or(0, T::dim)
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident -> $rust:ty: $($kind:ident)|+ ($value:ident) => $get:expr;)*) => {
        impl Value {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> Option<$rust> {
                    match self {
                        $(Self::$kind($value))|+ => Some($get),
                        _ => None,
                    }
                }
            )*

            /// Whether there is no value.
            pub fn is_null(&self) -> bool {
                matches!(self, Self::Null)
            }
        }
    };
}

getters! {
    /// The boolean that it is, if it is one.
    as_bool -> bool: Boolean(value) => *value;
    /// The int32 that it is, if it is one.
    as_i32 -> i32: Int32(value) => *value;
    /// The int64, or the microseconds of the timestamp, that it is, if it is one.
    as_i64 -> i64: Int64 | Timestamp(value) => *value;
    /// The float32 that it is, if it is one.
    as_f32 -> f32: Float32(value) => *value;
    /// The float64 that it is, if it is one.
    as_f64 -> f64: Float64(value) => *value;
    /// The text that it is, if it is one.
    as_str -> &str: Utf8(value) => value;
    /// The bytes that it is, if it is binary.
    as_bytes -> &[u8]: Binary(value) => value;
    /// The vector that it is, if it is one.
    as_vector -> &[f32]: Vector(value) => value;
}
