//! Which column types a table may have: those that Lance 14 writes and reads back.
//!
//! A column that only the lake refuses would fill the log with rows that can never settle, so what Lance cannot
//! hold is refused when the table is created. Lance says no to some types, and panics on others while it writes.

use arrow_schema::{DataType, Field, Schema, TimeUnit};

use crate::error::{Error, Result};

/// Refuses a schema with a column that a lake cannot hold, and says what to cast it to.
pub(crate) fn check_schema(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        check(field, Above::default()).map_err(|refusal| {
            let Refusal { data_type, instead } = refusal;
            Error::invalid(
                format!("column {:?}", field.name()),
                format!("type {data_type} cannot be stored; {instead}"),
            )
        })?;
    }
    Ok(())
}

/// A type within a column that cannot be stored, and what to do instead.
struct Refusal {
    data_type: DataType,
    instead: String,
}

/// What encloses a field.
#[derive(Debug, Clone, Copy, Default)]
struct Above {
    nullable: bool,
    list: bool,
    fixed_size_list: bool,
}

fn check(field: &Field, above: Above) -> Result<(), Refusal> {
    let data_type = field.data_type();
    let refuse = |instead: String| {
        Err(Refusal {
            data_type: data_type.clone(),
            instead,
        })
    };
    let within = Above {
        nullable: above.nullable || field.is_nullable(),
        ..above
    };
    match data_type {
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            refuse(format!("cast it to Decimal128({precision}, {scale})"))
        }
        DataType::Interval(_) => refuse("cast it to a Duration or to integers".into()),
        DataType::Time32(TimeUnit::Microsecond | TimeUnit::Nanosecond) => {
            refuse("cast it to Time64 of that unit".into())
        }
        DataType::Time64(TimeUnit::Second | TimeUnit::Millisecond) => {
            refuse("cast it to Time32 of that unit".into())
        }
        DataType::FixedSizeBinary(width) if *width < 0 => refuse("cast it to Binary".into()),
        DataType::Union(..) => refuse("use a Struct with a nullable field per type".into()),
        DataType::RunEndEncoded(_, values) => refuse(format!("cast it to {}", values.data_type())),
        DataType::ListView(item) => refuse(format!("cast it to List({})", item.data_type())),
        DataType::LargeListView(item) => {
            refuse(format!("cast it to LargeList({})", item.data_type()))
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) if above.fixed_size_list => {
            refuse("a FixedSizeList cannot hold it; make that a List".into())
        }
        DataType::Dictionary(keys, values) => check_dictionary(keys, values).or_else(refuse),
        DataType::FixedSizeList(item, size) => {
            check_fixed_size_list(item, *size, within).or_else(refuse)?;
            check_item(item, within)
        }
        DataType::List(item) | DataType::LargeList(item) => {
            let list = true;
            check(item, Above { list, ..within })
        }
        DataType::Map(entries, sorted) => {
            check_map(entries, *sorted).or_else(refuse)?;
            let list = true;
            check(entries, Above { list, ..within })
        }
        DataType::Struct(fields)
            if fields.is_empty() && (within.nullable || within.list || within.fixed_size_list) =>
        {
            refuse("give it a field, or make it and all around it not nullable".into())
        }
        DataType::Struct(fields) => fields.iter().try_for_each(|field| check(field, within)),
        _ => Ok(()),
    }
}

/// Lance writes a dictionary's type as `dict:<values>:<keys>`, so the values' type must be one word, and not a view.
fn check_dictionary(keys: &DataType, values: &DataType) -> Result<(), String> {
    match values {
        _ if !keys.is_dictionary_key_type() => Err("use integers for its keys".into()),
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::LargeBinary => Ok(()),
        DataType::Utf8View => Err(format!("cast it to Dictionary({keys}, Utf8)")),
        DataType::BinaryView => Err(format!("cast it to Dictionary({keys}, Binary)")),
        _ if values.is_integer() || values.is_floating() => Ok(()),
        _ => Err(format!("cast it to {values}")),
    }
}

/// Lance lays the items of a fixed size list side by side: fixed widths, structs at the outermost, nothing of other lengths.
fn check_fixed_size_list(item: &Field, size: i32, above: Above) -> Result<(), String> {
    let instead = format!("cast it to List({})", item.data_type());
    match item.data_type() {
        _ if size < 1 => Err(instead),
        DataType::Struct(_) if above.list => {
            Err("a list cannot hold fixed size lists of structs; cast it to List".into())
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(0)
        | DataType::Dictionary(..)
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::Map(..) => Err(instead),
        DataType::FixedSizeList(inner, _) if matches!(inner.data_type(), DataType::Struct(_)) => {
            Err(instead)
        }
        _ => Ok(()),
    }
}

fn check_item(item: &Field, above: Above) -> Result<(), Refusal> {
    let fixed_size_list = true;
    check(
        item,
        Above {
            fixed_size_list,
            ..above
        },
    )
}

fn check_map(entries: &Field, sorted: bool) -> Result<(), String> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err("its entries must be a Struct of key and value".into());
    };
    match fields.iter().as_slice() {
        _ if sorted => Err("declare its keys as not sorted".into()),
        [key, _value] if !key.is_nullable() => Ok(()),
        _ => Err("its entries must be a key that is not nullable and a value".into()),
    }
}
