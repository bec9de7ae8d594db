//! Standard plugins, in all languages, on what their users have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium::transform::{Asset, Transformed};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{BinaryArray, Int32Array, RecordBatch, StringArray};
use serde_json::json;

use super::guest::{Guest, batch};

static GREYSCALE: Guest = Guest::new("greyscale");
static REDACT: Guest = Guest::new("redact");
static ENRICH: Guest = Guest::new("enrich");
static CHUNK_TEXT: Guest = Guest::new("chunk-text");
static CLEAN_HTML: Guest = Guest::new("clean-html");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn texts<'a>(made: &'a Transformed, column: &str) -> Vec<Option<&'a str>> {
    let column = made.batch.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().collect()
}

fn text_batch(name: &str, texts: &[Option<&str>]) -> RecordBatch {
    batch(vec![(name, Arc::new(StringArray::from(texts.to_vec())))])
}

#[test]
fn greyscale_turns_a_photo_grey() {
    let (width, height, pixels) = alluvium_tests::photo("chelsea.png");
    let rgba: Vec<u8> = pixels
        .chunks_exact(3)
        .flat_map(|p| [p[0], p[1], p[2], 255])
        .collect();
    for (config, pixels_in, weights) in [
        (json!({}), &pixels, [0.299, 0.587, 0.114]),
        (
            json!({"layout": "rgba", "luma": "bt709"}),
            &rgba,
            [0.2126, 0.7152, 0.0722],
        ),
    ] {
        let rows = batch(vec![
            (
                "pixels",
                Arc::new(BinaryArray::from_opt_vec(vec![Some(pixels_in), None])),
            ),
            (
                "width",
                Arc::new(Int32Array::from(vec![Some(width), Some(1)])),
            ),
            (
                "height",
                Arc::new(Int32Array::from(vec![Some(height), None])),
            ),
        ]);
        let made = GREYSCALE.apply(config, &rows);
        let grey = made
            .batch
            .column_by_name("pixels")
            .unwrap()
            .as_binary::<i32>();
        assert!(grey.iter().nth(1).unwrap().is_none());
        assert_eq!(grey.value(0).len(), pixels.len() / 3);
        for (grey, colour) in grey.value(0).iter().zip(pixels.chunks_exact(3)) {
            let exact: f64 = colour
                .iter()
                .zip(weights)
                .map(|(c, w)| f64::from(*c) * w)
                .sum();
            assert!(
                (f64::from(*grey) - exact).abs() <= 0.51,
                "{colour:?} became {grey}"
            );
        }
    }
}

#[test]
fn greyscale_fails_a_picture_of_another_size() {
    let (width, height, pixels) = alluvium_tests::photo("chelsea.png");
    let rows = batch(vec![
        ("pixels", Arc::new(BinaryArray::from_vec(vec![&pixels; 4]))),
        (
            "width",
            Arc::new(Int32Array::from(vec![
                Some(width),
                Some(width + 1),
                Some(-width),
                None,
            ])),
        ),
        (
            "height",
            Arc::new(Int32Array::from(vec![height, height, -height, height])),
        ),
    ]);
    let made = GREYSCALE.apply(json!({}), &rows);
    let failed: Vec<u32> = made.failures.iter().map(|failure| failure.row).collect();
    assert_eq!((made.batch.num_rows(), failed), (1, vec![1, 2, 3]));
    assert!(
        made.failures[0].message.contains("452x300"),
        "{:?}",
        made.failures
    );
}

const LETTER: &str = "Dear Ms Sørensen,\n\
    we have your order of 2026-03-01 (no. 1234567890123). The card 4111 1111 1111 1111 was charged, the card \
    4111 1111 1111 1112 refused. Questions? Write to support+orders@shop.example.com or call +45 33 12 34 56; from \
    Ohio (415) 555-0132.\n深い感謝 🙏";

#[test]
fn redact_masks_what_is_personal_and_counts_it() {
    let made = REDACT.apply(
        json!({}),
        &text_batch(
            "text",
            &[Some(LETTER), None, Some(""), Some("nothing here")],
        ),
    );
    let masked = "Dear Ms Sørensen,\n\
        we have your order of 2026-03-01 (no. 1234567890123). The card [CARD] was charged, the card \
        4111 1111 1111 1112 refused. Questions? Write to [EMAIL] or call [PHONE]; from \
        Ohio [PHONE].\n深い感謝 🙏";
    assert_eq!(
        texts(&made, "text"),
        [Some(masked), None, Some(""), Some("nothing here")]
    );
    let counts = made
        .batch
        .column_by_name("redactions")
        .unwrap()
        .as_primitive::<Int32Type>();
    assert_eq!(
        counts.iter().collect::<Vec<_>>(),
        [Some(4), None, Some(0), Some(0)]
    );
}

#[test]
fn enrich_reads_json_into_columns() {
    let lines = [
        Some(
            r#"{"id":"2489651045","actor":{"id":665991,"login":"petroav"},"public":true,"score":0.5,"created_at":"2015-01-01T15:00:00Z"}"#,
        ),
        Some(
            r#"{"id":"2489651051","actor":{"id":3854017},"created_at":"2015-01-01T15:00:01.5+01:00"}"#,
        ),
        Some(r#"{"id":"3","actor":{"id":"none"}}"#),
        Some("not JSON"),
        None,
    ];
    let config = json!({"fields": {
        "actor": {"kind": "int64", "path": "actor.id"},
        "login": {"kind": "utf8", "path": "actor.login"},
        "score": "float64",
        "public": "boolean",
        "created_at": "timestamp",
    }});
    let made = ENRICH.apply(config, &text_batch("json", &lines));
    let column = |name| made.batch.column_by_name(name).unwrap();
    let failed: Vec<_> = made
        .failures
        .iter()
        .map(|f| (f.row, f.message.as_str()))
        .collect();
    assert_eq!(failed[0], (2, r#"`actor.id` is "none", no int64"#));
    assert!(
        failed[1].0 == 3 && failed[1].1.contains("it is not JSON"),
        "{failed:?}"
    );
    assert_eq!(texts(&made, "json"), [lines[0], lines[1], None]);
    assert_eq!(texts(&made, "login"), [Some("petroav"), None, None]);
    let actors = column("actor").as_primitive::<Int64Type>();
    assert_eq!(
        actors.iter().collect::<Vec<_>>(),
        [Some(665_991), Some(3_854_017), None]
    );
    let scores = column("score").as_primitive::<Float64Type>();
    assert_eq!(scores.iter().collect::<Vec<_>>(), [Some(0.5), None, None]);
    assert_eq!(
        column("public").as_boolean().iter().collect::<Vec<_>>(),
        [Some(true), None, None]
    );
    let times = column("created_at").as_primitive::<TimestampMicrosecondType>();
    let times: Vec<_> = times.iter().collect();
    assert_eq!(
        times,
        [
            Some(1_420_124_400_000_000),
            Some(1_420_120_801_500_000),
            None
        ]
    );
}

#[test]
fn clean_html_leaves_the_text_of_a_page() {
    let folder = root().join("plugins/clean-html/test");
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    let (html, text) = (read("article.html"), read("article.txt"));
    let pages = text_batch("html", &[Some(&html), None, Some("plain")]);
    let made = CLEAN_HTML.apply(json!({"links": true}), &pages);
    assert_eq!(
        texts(&made, "text"),
        [Some(text.trim_end()), None, Some("plain")]
    );
    let title = Some("Tide gauges & the sea — The Harbour Review");
    assert_eq!(texts(&made, "title"), [title, None, None]);
}

#[test]
fn chunk_text_cuts_a_document_by_a_models_tokens_into_its_own_text() {
    let document = std::fs::read_to_string(root().join("LICENSE")).unwrap();
    let model = root().join("plugins/embed-text/models/minilm-static-128");
    let tokenizer = Asset::File(model.join("tokenizer.json"));
    let rows = text_batch("text", &[Some("猫 Größe"), None, Some(&document)]);
    let config = json!({"unit": "tokens", "size": 200, "overlap": 20});
    let mut chain = CHUNK_TEXT
        .open_with(("tokenizer.json", tokenizer), config, &rows.schema())
        .unwrap();
    let made = chain.apply(&rows).unwrap();
    let number = |name| {
        made.batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int32Type>()
    };
    let (starts, ends) = (number("start"), number("end"));
    let chunks = texts(&made, "chunk");
    assert_eq!(chunks[0], Some("猫 Größe"));
    // The license has 2048 tokens.
    assert!((12..=14).contains(&chunks.len()), "{chunks:#?}");
    for (row, chunk) in chunks.iter().enumerate().skip(1) {
        let place = starts.value(row) as usize..ends.value(row) as usize;
        assert_eq!(document.get(place), *chunk);
    }
}

#[test]
fn an_example_refuses_an_option_that_it_does_not_know() {
    for (guest, schema) in [
        (&GREYSCALE, text_batch("text", &[])),
        (&REDACT, text_batch("text", &[])),
        (&ENRICH, text_batch("json", &[])),
        (&CLEAN_HTML, text_batch("html", &[])),
    ] {
        let refused = guest
            .open(json!({"colour": "mauve"}), &schema.schema())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("refuses") && refused.contains("colour"),
            "{refused}"
        );
    }
}
