//! One cell of a row.

/// A cell of a row that is given to an [`Appender`](crate::Appender). Made `from` what a cell can be made of:
///
/// ```
/// use alluvium::Value;
///
/// let name = String::from("roof");
/// let missing: Option<f64> = None;
/// let row = [Value::from(7_u8), 21.5.into(), (&name).into(), missing.into(), Value::Null];
/// assert_eq!(row[2], Value::Text("roof"));
/// assert_eq!(row[3], Value::Null);
/// ```
///
/// Which cells fit which columns:
///
/// | cell | column |
/// |---|---|
/// | `Null` | any that is nullable |
/// | `Boolean` | boolean |
/// | `Int`, `UInt` | integers that can hold the number; dates, times, timestamps and durations, in the column's unit, since 1970 or midnight; decimal128, as the digits without the point: 12.34 is 1234 at scale 2; floats, if they hold the number exactly |
/// | `Float` | floats; rounded to the column's width, refused when finite and beyond its range |
/// | `Text` | utf8, large or view |
/// | `Binary` | binary, large or view; of a fixed size, if it has that size |
/// | `Vector` | fixed-size list of float32, of that size |
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Value<'a> {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    UInt(u64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// The components of a vector.
    Vector(&'a [f32]),
}

impl<'a> Value<'a> {
    pub(super) fn boolean(&self) -> Option<bool> {
        match *self {
            Self::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i128> {
        match *self {
            Self::Int(value) => Some(i128::from(value)),
            Self::UInt(value) => Some(i128::from(value)),
            _ => None,
        }
    }

    /// The number, which is exact for the integers that a column admits.
    pub(super) fn float(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            Self::Int(value) => Some(value as f64),
            Self::UInt(value) => Some(value as f64),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match *self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn binary(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Binary(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn vector(&self) -> Option<&'a [f32]> {
        match *self {
            Self::Vector(value) => Some(value),
            _ => None,
        }
    }

    /// What the cell takes beyond the fixed part of its column.
    pub(super) fn variable_bytes(&self) -> usize {
        match self {
            Self::Text(value) => value.len(),
            Self::Binary(value) => value.len(),
            _ => 0,
        }
    }

    /// What the cell is, for messages: the number, but the length of what may be long.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => format!("the boolean {value}"),
            Self::Int(value) => format!("the integer {value}"),
            Self::UInt(value) => format!("the integer {value}"),
            Self::Float(value) => format!("the number {value:?}"),
            Self::Text(value) => format!("a text of {} bytes", value.len()),
            Self::Binary(value) => format!("binary of {} bytes", value.len()),
            Self::Vector(value) => format!("a vector of {} components", value.len()),
        }
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

from! {
    bool => |value| Self::Boolean(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value);
    isize => |value| Self::Int(value as i64);
    u8 => |value| Self::UInt(value.into());
    u16 => |value| Self::UInt(value.into());
    u32 => |value| Self::UInt(value.into());
    u64 => |value| Self::UInt(value);
    usize => |value| Self::UInt(value as u64);
    f32 => |value| Self::Float(value.into());
    f64 => |value| Self::Float(value);
    &'a str => |value| Self::Text(value);
    &'a String => |value| Self::Text(value);
    &'a [u8] => |value| Self::Binary(value);
    &'a Vec<u8> => |value| Self::Binary(value);
    &'a [f32] => |value| Self::Vector(value);
    &'a Vec<f32> => |value| Self::Vector(value);
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Binary(value)
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Value<'a> {
    fn from(value: &'a [f32; N]) -> Self {
        Self::Vector(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
