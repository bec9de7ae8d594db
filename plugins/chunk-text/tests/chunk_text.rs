//! Documents in, passages out, through the transform's own interface.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use alluvium_plugin::testing::{Made, Rows, run, values};
use alluvium_plugin::{Kind, Value};
use chunk_text::{ChunkText, Config, Unit, passages};
use proptest::prelude::*;

fn chunk(config: &str, documents: &[Option<&str>]) -> Made {
    let rows = Rows::new().column("text", documents.iter().copied());
    run::<ChunkText>(config, &rows).unwrap()
}

fn refused(config: &str) -> String {
    let rows = Rows::new().column("text", [""]);
    run::<ChunkText>(config, &rows).unwrap_err()
}

fn chunks(config: &str, document: &str) -> Vec<String> {
    let made = chunk(config, &[Some(document)]);
    let chunks = made.column("chunk").unwrap().iter();
    chunks.map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn passages_end_with_paragraphs_then_sentences_then_words() {
    let config = r#"{"size": 20, "overlap": 0, "tolerance": 12}"#;
    assert_eq!(
        chunks(config, "A cat.\n\nIt sat. On a mat it was found sleeping."),
        [
            "A cat.\n\n",
            "It sat. ",
            "On a mat it was ",
            "found sleeping."
        ]
    );
}

#[test]
fn without_tolerance_a_passage_is_as_long_as_can_be() {
    let config = r#"{"size": 4, "overlap": 1, "tolerance": 0}"#;
    assert_eq!(chunks(config, "abcdefgh"), ["abcd", "defg", "gh"]);
}

#[test]
fn an_overlap_begins_with_a_word() {
    let config = r#"{"size": 16, "overlap": 6, "tolerance": 4}"#;
    assert_eq!(
        chunks(config, "the quick brown fox jumps"),
        ["the quick brown ", "brown fox jumps"]
    );
}

#[test]
fn words_are_counted_whatever_their_length() {
    let config = r#"{"unit": "words", "size": 3, "overlap": 1, "tolerance": 0}"#;
    assert_eq!(
        chunks(config, " Größe ist  nicht alles, sagt man "),
        [" Größe ist  nicht ", "nicht alles, sagt ", "sagt man "]
    );
}

#[test]
fn passages_know_their_document_their_number_and_their_place() {
    let documents = [Some("äöü"), Some("abc"), Some("x")];
    let config = r#"{"size": 2, "overlap": 0, "tolerance": 0}"#;
    let made = chunk(config, &documents);
    assert_eq!(made.origin, [0, 0, 1, 1, 2]);
    assert_eq!(made.column("index").unwrap(), values([0, 1, 0, 1, 0]));
    assert_eq!(made.column("start").unwrap(), values([0, 4, 0, 2, 0]));
    assert_eq!(made.column("end").unwrap(), values([4, 6, 2, 3, 1]));
    let config = r#"{"size": 2, "overlap": 0, "tolerance": 0, "offsets": "characters"}"#;
    let made = chunk(config, &documents);
    assert_eq!(made.column("start").unwrap(), values([0, 2, 0, 2, 0]));
    assert_eq!(made.column("end").unwrap(), values([2, 3, 2, 3, 1]));
}

#[test]
fn a_document_without_text_has_no_row_unless_it_is_to_keep_one() {
    let documents = [None, Some(""), Some("a")];
    assert_eq!(chunk("{}", &documents).origin, [2]);
    let made = chunk(r#"{"keep_empty": true}"#, &documents);
    assert_eq!(made.origin, [0, 1, 2]);
    for (column, last) in [
        ("chunk", Value::from("a")),
        ("index", 0.into()),
        ("start", 0.into()),
        ("end", 1.into()),
    ] {
        let values = made.column(column).unwrap();
        assert_eq!(values, [Value::Null, Value::Null, last], "{column}");
    }
}

#[test]
fn options_that_cannot_be_met_are_refused_with_the_numbers() {
    for (config, says) in [
        (r#"{"size": 0}"#, "`size` must be at least 1"),
        (r#"{"size": 9, "overlap": 9}"#, "9 is not less than 9"),
        (
            r#"{"size": 9, "overlap": 4, "tolerance": 5}"#,
            "5 is not less than 5",
        ),
        (r#"{"unit": "pages"}"#, "`characters` or `words`"),
        (r#"{"siez": 9}"#, "`size`"),
    ] {
        assert!(refused(config).contains(says), "{}", refused(config));
    }
    let rows = Rows::new().column("text", [1]);
    let message = run::<ChunkText>("{}", &rows).unwrap_err();
    assert_eq!(message, "column `text` is int32, utf8 is needed");
}

#[test]
fn the_smallest_passages_still_come_forward() {
    assert_eq!(chunks(r#"{"size": 1}"#, "a é"), ["a", " ", "é"]);
    assert_eq!(chunks(r#"{"size": 2, "overlap": 1}"#, "abc"), ["ab", "bc"]);
}

#[test]
fn what_is_read_and_made_is_declared() {
    let rows = Rows::new().column("text", [Some("")]).column("id", [1]);
    let opened = alluvium_plugin::testing::open::<ChunkText>(
        "{}",
        rows.schema(),
        &alluvium_plugin::testing::Files::default(),
    );
    let plan = opened.unwrap().plan().clone();
    assert_eq!(plan.inputs.len(), 1);
    assert!(plan.outputs.iter().all(|output| !output.nullable));
    assert_eq!(plan.outputs[0].kind, Kind::Utf8);
}

/// How many units of a text lie in a range of bytes.
fn units(text: &str, unit: Unit) -> usize {
    match unit {
        Unit::Characters => text.chars().count(),
        Unit::Words => text.split_whitespace().count(),
    }
}

fn any_config() -> impl Strategy<Value = Config> {
    let unit = prop_oneof![Just(Unit::Characters), Just(Unit::Words)];
    (unit, 1_u32..40).prop_flat_map(|(unit, size)| {
        (Just(unit), Just(size), 0..size).prop_flat_map(|(unit, size, overlap)| {
            (0..size - overlap).prop_map(move |tolerance| Config {
                unit,
                size,
                overlap: Some(overlap),
                tolerance: Some(tolerance),
                ..Config::default()
            })
        })
    })
}

proptest! {
    #[test]
    fn passages_cover_the_text_within_size_and_overlap_as_said(
        text in "([a-zA-Zäß語深🐈]{0,9}[ .!。\n]{0,3}){0,40}",
        config in any_config(),
    ) {
        let passages = passages(&text, &config);
        prop_assert_eq!(passages.is_empty(), text.is_empty());
        let first = passages.first().map_or(0, |passage| passage.start);
        let last = passages.last().map_or(0, |passage| passage.end);
        prop_assert_eq!((first, last), (0, text.len()));
        for passage in &passages {
            // `get` refuses the middle of a character.
            let chunk = text.get(passage.clone());
            prop_assert!(chunk.is_some_and(|chunk| !chunk.is_empty()));
            prop_assert!(units(chunk.unwrap(), config.unit) <= config.size as usize);
        }
        for pair in passages.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            prop_assert!(one.start < next.start && next.start <= one.end && one.end < next.end);
            let shared = units(&text[next.start..one.end], config.unit);
            let wanted = config.overlap() as usize;
            prop_assert!(shared <= wanted && shared + config.tolerance() as usize >= wanted);
            let whole = units(&text[one.clone()], config.unit);
            prop_assert!(whole + config.tolerance() as usize >= config.size as usize);
        }
    }

    #[test]
    fn places_point_to_exactly_the_passages_text(
        text in "([a-zäß語🐈]{0,9}[ .\n]{0,3}){0,40}",
        size in 1_u32..40,
    ) {
        let made = chunk(&format!(r#"{{"size": {size}}}"#), &[Some(&text)]);
        let number = |name, row: usize| made.column(name).unwrap()[row].as_i32().unwrap() as usize;
        for (row, chunk) in made.column("chunk").unwrap().iter().enumerate() {
            let place = number("start", row)..number("end", row);
            prop_assert_eq!(text.get(place), chunk.as_str());
        }
        let config = format!(r#"{{"size": {size}, "offsets": "characters"}}"#);
        let counted = chunk(&config, &[Some(&text)]);
        let characters: Vec<char> = text.chars().collect();
        let number = |name, row: usize| counted.column(name).unwrap()[row].as_i32().unwrap() as usize;
        for (row, chunk) in counted.column("chunk").unwrap().iter().enumerate() {
            let place: String = characters[number("start", row)..number("end", row)].iter().collect();
            prop_assert_eq!(Some(place.as_str()), chunk.as_str());
        }
    }
}
