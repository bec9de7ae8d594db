//! Documents in, passages out, through the transform's own interface.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use alluvium_plugin::testing::{Files, Made, Rows, open, run, values};
use alluvium_plugin::{Kind, Value};
use chunk_text::{ChunkText, Config, Measure, Unit, passages};
use proptest::prelude::*;
use tokenizers::Tokenizer;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// BERT's tokenizer.
const BERT: &[u8] = include_bytes!("../../embed-text/models/minilm-static-128/tokenizer.json");
/// A document.
const LICENSE: &str = include_str!("../../../LICENSE");

fn chunk(config: &str, documents: &[Option<&str>]) -> Made {
    let rows = Rows::new().column("text", documents.iter().copied());
    run::<ChunkText>(config, &rows).unwrap()
}

fn files(tokenizer: &[u8]) -> Files {
    Files::default().with("tokenizer.json", tokenizer.to_vec())
}

/// A tokenizer whose tokens are bytes, as those of models like GPT are where they know no better.
fn byte_tokenizer() -> Vec<u8> {
    let alphabet = ByteLevel::alphabet().into_iter().map(String::from);
    let vocabulary: Vec<(String, u32)> = alphabet.zip(0..).collect();
    let model = BPE::builder().vocab_and_merges(
        vocabulary
            .into_iter()
            .collect::<tokenizers::models::bpe::Vocab>(),
        vec![],
    );
    let mut tokenizer = Tokenizer::new(model.build().unwrap());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    tokenizer.to_string(false).unwrap().into_bytes()
}

/// The passages of a document by a tokenizer's tokens.
fn tokens(tokenizer: &[u8], config: &str, document: &str) -> Vec<String> {
    let rows = Rows::new().column("text", [document]);
    let config = config.replacen('{', r#"{"unit": "tokens", "#, 1);
    let mut opened = open::<ChunkText>(&config, rows.schema(), &files(tokenizer)).unwrap();
    let made = opened.apply(&rows).unwrap();
    let chunks = made.column("chunk").unwrap().iter();
    chunks.map(|it| it.as_str().unwrap().to_owned()).collect()
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
fn tokens_are_the_models_and_passages_the_documents_own_text() {
    let config = r#"{"size": 3, "overlap": 0, "tolerance": 0}"#;
    assert_eq!(
        tokens(BERT, config, "  Ça, TOKENIZATION  of 猫猫!  "),
        ["  Ça, TOKEN", "IZATION  of 猫", "猫!  "]
    );
}

#[test]
fn a_real_documents_passages_have_as_many_tokens_as_said_and_end_with_sentences() {
    let config = r#"{"size": 128, "overlap": 16}"#;
    let passages = tokens(BERT, config, LICENSE);
    let bert = Tokenizer::from_bytes(BERT).unwrap();
    let counts: Vec<usize> = passages
        .iter()
        .map(|passage| bert.encode(passage.as_str(), false).unwrap().len())
        .collect();
    assert!(counts.iter().all(|count| *count <= 128), "{counts:?}");
    let (_, all_but_last) = counts.split_last().unwrap();
    assert!(all_but_last.iter().all(|count| *count >= 100), "{counts:?}");
    assert!(passages.iter().all(|passage| LICENSE.contains(passage)));
    let at_a_line = passages
        .iter()
        .filter(|it| it.trim_end_matches(' ').ends_with('\n'));
    assert!(at_a_line.count() + 1 >= passages.len(), "{passages:#?}");
}

#[test]
fn a_long_document_has_the_tokens_that_it_has_as_a_whole() {
    let document = LICENSE.repeat(20);
    let mut bert = Tokenizer::from_bytes(BERT).unwrap();
    bert.with_truncation(None).unwrap();
    let whole = bert.encode(document.as_str(), false).unwrap();
    let whole = whole.get_offsets().iter().map(|(start, _)| *start as u32);
    let starts = starts(&document, Unit::Tokens);
    // The first one begins with the document.
    assert!(starts.into_iter().skip(1).eq(whole.skip(1)));
}

#[test]
fn a_document_that_is_one_long_word_is_tokenized_too() {
    let passages = tokens(
        BERT,
        r#"{"size": 50000, "overlap": 0}"#,
        &"é".repeat(100_000),
    );
    assert_eq!(passages.concat(), "é".repeat(100_000));
}

#[test]
fn a_space_that_a_token_begins_with_stays_with_the_passage_before_it() {
    let model = r#"{"type": "WordLevel", "vocab": {"Ġcat": 0, "A": 1, "?": 2}, "unk_token": "?"}"#;
    let file = format!(
        r#"{{"version": "1.0", "model": {model}, "pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false}}}}"#
    );
    let config = r#"{"size": 1, "overlap": 0, "tolerance": 0}"#;
    assert_eq!(tokens(file.as_bytes(), config, "A cat"), ["A ", "cat"]);
}

#[test]
fn a_character_of_several_tokens_is_never_cut() {
    let bytes = byte_tokenizer();
    let config =
        |size, overlap| format!(r#"{{"size": {size}, "overlap": {overlap}, "tolerance": 0}}"#);
    for (size, overlap, wanted) in [
        (3, 0, vec!["ab", "🐈", "é", "🐈", "c"]),
        (6, 0, vec!["ab🐈", "é🐈", "c"]),
        (6, 4, vec!["ab🐈", "🐈é", "é🐈", "🐈c"]),
        (1, 0, vec!["a", "b", "🐈", "é", "🐈", "c"]),
    ] {
        let passages = tokens(&bytes, &config(size, overlap), "ab🐈é🐈c");
        assert_eq!(passages, wanted, "{size} {overlap}");
    }
}

#[test]
fn tokens_need_a_tokenizer() {
    let config = r#"{"unit": "tokens"}"#;
    assert!(
        refused(config).contains("tokenizer.json"),
        "{}",
        refused(config)
    );
    let rows = Rows::new().column("text", [""]);
    let message = open::<ChunkText>(config, rows.schema(), &files(b"{}")).unwrap_err();
    assert!(
        message.starts_with("tokenizer.json does not parse"),
        "{message}"
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
        (r#"{"unit": "pages"}"#, "`characters`, `words`, `tokens`"),
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
    let opened = open::<ChunkText>("{}", rows.schema(), &Files::default());
    let plan = opened.unwrap().plan().clone();
    assert_eq!(plan.inputs.len(), 1);
    assert!(plan.outputs.iter().all(|output| !output.nullable));
    assert_eq!(plan.outputs[0].kind, Kind::Utf8);
}

thread_local! {
    static MEASURES: [(Unit, Measure); 3] = [Unit::Characters, Unit::Words, Unit::Tokens]
        .map(|unit| (unit, Measure::open(unit, &files(BERT)).unwrap()));
}

/// Where the units of a text begin.
fn starts(text: &str, unit: Unit) -> Vec<u32> {
    MEASURES.with(|measures| {
        let (_, measure) = measures.iter().find(|(it, _)| *it == unit).unwrap();
        measure.starts(text).unwrap()
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    let unit = prop_oneof![
        Just(Unit::Characters),
        Just(Unit::Words),
        Just(Unit::Tokens)
    ];
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
        let starts = starts(&text, config.unit);
        let units = |place: std::ops::Range<usize>| {
            starts.iter().filter(|start| place.contains(&(**start as usize))).count()
        };
        let passages = passages(&text, &starts, &config);
        prop_assert_eq!(passages.is_empty(), text.is_empty());
        let first = passages.first().map_or(0, |passage| passage.start);
        let last = passages.last().map_or(0, |passage| passage.end);
        prop_assert_eq!((first, last), (0, text.len()));
        for passage in &passages {
            // `get` refuses the middle of a character.
            let chunk = text.get(passage.clone());
            prop_assert!(chunk.is_some_and(|chunk| !chunk.is_empty()));
            prop_assert!(units(passage.clone()) <= config.size as usize);
        }
        for pair in passages.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            prop_assert!(one.start < next.start && next.start <= one.end && one.end < next.end);
            let shared = units(next.start..one.end);
            let wanted = config.overlap() as usize;
            prop_assert!(shared <= wanted && shared + config.tolerance() as usize >= wanted);
            let whole = units(one.clone());
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
