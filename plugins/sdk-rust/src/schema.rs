//! Fields: finding those to read, and making those to write.

use crate::{Field, Kind};

/// A field; `dim` is 0 but for vectors.
pub fn field(name: &str, kind: Kind, nullable: bool, dim: u32) -> Field {
    Field {
        name: name.to_owned(),
        kind,
        nullable,
        dim,
    }
}

/// The field `name` of `schema`, which must be of `kind`; the error names what there is.
pub fn find_field<'a>(schema: &'a [Field], name: &str, kind: Kind) -> Result<&'a Field, String> {
    match schema.iter().find(|field| field.name == name) {
        Some(field) if field.kind == kind => Ok(field),
        Some(field) => Err(format!(
            "column `{name}` is {}, {} is needed",
            kind_name(field.kind),
            kind_name(kind)
        )),
        None => {
            let names: Vec<_> = schema
                .iter()
                .map(|field| format!("`{}` ({})", field.name, kind_name(field.kind)))
                .collect();
            let there = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            Err(format!(
                "there is no {} column `{name}`; the columns are: {there}",
                kind_name(kind)
            ))
        }
    }
}

/// A kind as the contract spells it.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Float32 => "float32",
        Kind::Float64 => "float64",
        Kind::Utf8 => "utf8",
        Kind::Binary => "binary",
        Kind::Vector => "vector",
        Kind::Timestamp => "timestamp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_column_is_answered_with_those_that_there_are() {
        let schema = [
            field("url", Kind::Utf8, true, 0),
            field("photo", Kind::Binary, false, 0),
        ];
        let message = find_field(&schema, "image", Kind::Binary).unwrap_err();
        assert!(
            message.contains("`url` (utf8), `photo` (binary)"),
            "{message}"
        );
    }

    #[test]
    fn a_column_of_another_kind_is_refused_with_both_kinds() {
        let schema = [field("image", Kind::Utf8, true, 0)];
        let message = find_field(&schema, "image", Kind::Binary).unwrap_err();
        assert_eq!(message, "column `image` is utf8, binary is needed");
    }

    #[test]
    fn a_column_of_the_right_name_and_kind_is_found() {
        let schema = [field("image", Kind::Binary, true, 0)];
        assert!(find_field(&schema, "image", Kind::Binary).unwrap().nullable);
    }
}
