//! One value of one row: from JSON or from text to the column's type.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::columns::Kind;

/// The largest file that becomes one value: Arrow's offsets are of 32 bits, and a batch may hold
/// the rows before it.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Standard base64, with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A value of a column's kind, or null.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    Timestamp(i64),
    Vector(Vec<f32>),
}

impl Value<'_> {
    /// About how many bytes it takes in a batch.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int32(_) | Self::Float32(_) => 4,
            Self::Int64(_) | Self::Float64(_) | Self::Timestamp(_) => 8,
            Self::Text(text) => text.len() + 4,
            Self::Bytes(bytes) => bytes.len() + 4,
            Self::Vector(vector) => 4 * vector.len(),
        }
    }
}

/// A value as JSON has it, before the column's type is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Numbers(Vec<f64>),
    /// What no column holds, described.
    Other(&'static str),
}

impl<'a> Cell<'a> {
    /// The value in a column of the kind. Files are looked for from `base`.
    pub(super) fn into_value(self, kind: Kind, base: &Path) -> Result<Value<'a>, String> {
        match (kind, self) {
            (_, Self::Null) => Ok(Value::Null),
            (Kind::Bool, Self::Bool(v)) => Ok(Value::Bool(v)),
            (Kind::Int32, Self::Int(v)) => i32::try_from(v)
                .map(Value::Int32)
                .map_err(|_| format!("{v} is out of range for an int32")),
            (Kind::Int64, Self::Int(v)) => Ok(Value::Int64(v)),
            (Kind::Timestamp, Self::Int(v)) => Ok(Value::Timestamp(v)),
            (Kind::Int32 | Kind::Int64 | Kind::Timestamp, Self::Float(v)) => {
                whole(v, kind).and_then(|v| Self::Int(v).into_value(kind, base))
            }
            (Kind::Float32, Self::Int(v)) => float32(v as f64).map(Value::Float32),
            (Kind::Float32, Self::Float(v)) => float32(v).map(Value::Float32),
            (Kind::Float64, Self::Int(v)) => Ok(Value::Float64(v as f64)),
            (Kind::Float64, Self::Float(v)) => Ok(Value::Float64(v)),
            (Kind::Utf8, Self::Text(v)) => Ok(Value::Text(v)),
            (Kind::Binary, Self::Text(v)) => bytes(&v, base).map(Value::Bytes),
            (Kind::Timestamp, Self::Text(v)) => timestamp(&v).map(Value::Timestamp),
            (Kind::Vector(dim), Self::Numbers(v)) => vector(&v, dim).map(Value::Vector),
            (kind, cell) => Err(format!("{} is no {kind}", cell.name())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Numbers(_) => "an array of numbers",
            Self::Other(name) => name,
        }
    }
}

/// The value that a field of a CSV file has in a column of the kind; an empty one is null.
pub(super) fn from_text<'a>(text: &'a str, kind: Kind, base: &Path) -> Result<Value<'a>, String> {
    if kind == Kind::Utf8 {
        return Ok(Value::Text(Cow::Borrowed(text)));
    }
    let trimmed = text.trim();
    let wrong = || format!("{} is no {kind}", shorten(text));
    let cell = match kind {
        Kind::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" => Cell::Bool(true),
            "false" | "0" => Cell::Bool(false),
            _ => return Err(wrong()),
        },
        Kind::Int32 | Kind::Int64 => match trimmed.parse::<i128>() {
            Ok(number) => Cell::Int(
                i64::try_from(number)
                    .map_err(|_| format!("{number} is out of range for an {kind}"))?,
            ),
            Err(_) => return Err(wrong()),
        },
        Kind::Float32 | Kind::Float64 => Cell::Float(trimmed.parse().map_err(|_| wrong())?),
        Kind::Timestamp => match trimmed.parse::<i64>() {
            Ok(micros) => Cell::Int(micros),
            Err(_) => Cell::Text(Cow::Borrowed(trimmed)),
        },
        Kind::Binary => Cell::Text(Cow::Borrowed(trimmed)),
        Kind::Vector(_) => serde_json::from_str(trimmed)
            .map_err(|_| format!("{} is no {kind}; write [0.5, 1, -2], say", shorten(text)))?,
        Kind::Utf8 => Cell::Text(Cow::Borrowed(text)),
    };
    cell.into_value(kind, base)
}

/// An integer that is written with a point or an exponent (`3.0`, `1e3`).
fn whole(number: f64, kind: Kind) -> Result<i64, String> {
    if number.fract() != 0.0 {
        return Err(format!("{number} is no {kind}, as it is not whole"));
    }
    // Beyond 2^53 a float64 no longer tells neighbours apart.
    if number.abs() > 9_007_199_254_740_992.0 {
        return Err(format!("{number} is out of range for an exact {kind}"));
    }
    Ok(number as i64)
}

/// The nearest float32; one that would become infinite is refused.
fn float32(number: f64) -> Result<f32, String> {
    let narrow = number as f32;
    if narrow.is_infinite() && number.is_finite() {
        return Err(format!("{number} is out of range for a float32"));
    }
    Ok(narrow)
}

/// A vector of exactly `dim` numbers.
fn vector(numbers: &[f64], dim: usize) -> Result<Vec<f32>, String> {
    if numbers.len() != dim {
        return Err(format!(
            "the array has {} numbers, the column vector[{dim}]",
            numbers.len()
        ));
    }
    numbers.iter().map(|number| float32(*number)).collect()
}

/// Microseconds since 1970-01-01 UTC; a time without a zone is taken as UTC.
fn timestamp(text: &str) -> Result<i64, String> {
    let wrong = || format!("{} is no time as 2026-01-31T12:00:00Z", shorten(text));
    let utc: Tz = "+00:00".parse().map_err(|_| wrong())?;
    let time = string_to_datetime(&utc, text).map_err(|_| wrong())?;
    Ok(time.timestamp_micros())
}

/// The bytes of `@file`, or of base64.
fn bytes(text: &str, base: &Path) -> Result<Vec<u8>, String> {
    match text.strip_prefix('@') {
        Some(file) => {
            read_file(&base.join(file)).map_err(|error| format!("cannot read {file:?}: {error}"))
        }
        None => BASE64.decode(text).map_err(|error| {
            format!(
                "{} is neither base64 ({error}) nor \"@file\"",
                shorten(text)
            )
        }),
    }
}

/// A whole file, refused when it is larger than a value can be.
pub(super) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    read_at_most(path, MAX_FILE_BYTES)
}

fn read_at_most(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(most)).unwrap_or(0) + 1);
    // A limit on what is read, not only on the size: a device has none, and a file may grow.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!(
                "it is larger than {} MiB, which one value can be at most",
                most >> 20
            ),
        ));
    }
    Ok(bytes)
}

/// A text for a message: quoted, and cut when it is long.
pub(super) fn shorten(text: &str) -> String {
    const KEEP: usize = 40;
    match text.char_indices().nth(KEEP) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

impl<'de> Deserialize<'de> for Cell<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
        Ok(Cell::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Cell::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(v).map_or(Cell::Float(v as f64), Cell::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Cell::Float(v))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Owned(v.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut numbers = Vec::new();
        while let Some(cell) = array.next_element::<Cell<'de>>()? {
            match cell {
                Cell::Int(v) => numbers.push(v as f64),
                Cell::Float(v) => numbers.push(v),
                _ => {
                    while array.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Cell::Other("an array of other things than numbers"));
                }
            }
        }
        Ok(Cell::Numbers(numbers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str, kind: Kind) -> Result<Value<'_>, String> {
        serde_json::from_str::<Cell<'_>>(text)
            .unwrap()
            .into_value(kind, Path::new("/nowhere"))
    }

    #[test]
    fn numbers_out_of_range_are_refused_not_rounded_away() {
        assert_eq!(json("2147483647", Kind::Int32), Ok(Value::Int32(i32::MAX)));
        assert!(
            json("2147483648", Kind::Int32)
                .unwrap_err()
                .contains("out of range")
        );
        assert_eq!(
            json("9223372036854775807", Kind::Int64),
            Ok(Value::Int64(i64::MAX))
        );
        assert!(
            json("9223372036854775808", Kind::Int64)
                .unwrap_err()
                .contains("out of range")
        );
        assert!(json("1.5", Kind::Int64).unwrap_err().contains("not whole"));
        assert_eq!(json("1e3", Kind::Int64), Ok(Value::Int64(1000)));
        assert!(
            json("1e39", Kind::Float32)
                .unwrap_err()
                .contains("out of range")
        );
        assert_eq!(json("1e39", Kind::Float64), Ok(Value::Float64(1e39)));
    }

    #[test]
    fn times_are_read_from_text_and_from_microseconds() {
        assert_eq!(
            json("\"1970-01-01T00:00:01Z\"", Kind::Timestamp),
            Ok(Value::Timestamp(1_000_000))
        );
        assert_eq!(
            json("\"1970-01-01T01:00:00.5+01:00\"", Kind::Timestamp),
            Ok(Value::Timestamp(500_000))
        );
        assert_eq!(json("-7", Kind::Timestamp), Ok(Value::Timestamp(-7)));
        assert!(
            json("\"yesterday\"", Kind::Timestamp)
                .unwrap_err()
                .contains("no time")
        );
    }

    #[test]
    fn vectors_have_the_columns_length_and_hold_numbers_only() {
        assert_eq!(
            json("[1, 2.5]", Kind::Vector(2)),
            Ok(Value::Vector(vec![1.0, 2.5]))
        );
        assert!(
            json("[1]", Kind::Vector(2))
                .unwrap_err()
                .contains("has 1 numbers")
        );
        assert!(
            json("[1, null]", Kind::Vector(2))
                .unwrap_err()
                .contains("other things")
        );
        assert!(
            json("[[1], 2]", Kind::Vector(2))
                .unwrap_err()
                .contains("other things")
        );
        assert!(
            json("{\"a\": [1]}", Kind::Vector(2))
                .unwrap_err()
                .contains("an object")
        );
    }

    #[test]
    fn bytes_are_base64_with_or_without_padding() {
        assert_eq!(
            json("\"aGk=\"", Kind::Binary),
            Ok(Value::Bytes(b"hi".to_vec()))
        );
        assert_eq!(
            json("\"aGk\"", Kind::Binary),
            Ok(Value::Bytes(b"hi".to_vec()))
        );
        assert!(
            json("\"a b\"", Kind::Binary)
                .unwrap_err()
                .contains("neither base64")
        );
    }

    #[test]
    fn a_device_without_end_is_not_read_forever() {
        let error = read_at_most(Path::new("/dev/zero"), 2 << 20).unwrap_err();
        assert!(error.to_string().contains("larger than 2 MiB"), "{error}");
    }
}
