//! Texts in, vectors out, through the transform's own interface, with a real model.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::path::Path;

use alluvium_plugin::{Assets, Batch, BytesBuilder, Field, Kind, Output, Plan, Transform, field};
use embed_text::EmbedText;
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

const DIM: usize = 128;

/// A model's files.
#[derive(Clone)]
struct Files(HashMap<&'static str, Vec<u8>>);

impl Assets for Files {
    fn asset(&self, name: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| format!("there is no asset {name}"))
    }
}

impl Files {
    /// The model that the project ships.
    fn shipped() -> Self {
        let names = ["tokenizer.json", "model.safetensors", "config.json"];
        Self(names.map(|name| (name, model_file(name))).into())
    }

    /// A model of a handful of tokens: `a`, `b` and `c` have the vectors (1, 0), (0, 1), (1, 1).
    fn tiny(tokenizer_model: Value) -> Self {
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": null, "decoder": null, "model": tokenizer_model
        });
        let table = [9.0, 9.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        Self::shipped()
            .with("tokenizer.json", tokenizer.to_string().into_bytes())
            .with("config.json", b"{}".to_vec())
            .with_tensors(&[("embeddings", Dtype::F32, vec![4, 2], f32_bytes(&table))])
    }

    fn with(mut self, name: &'static str, bytes: Vec<u8>) -> Self {
        self.0.insert(name, bytes);
        self
    }

    fn with_tensors(self, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Self {
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (*name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        self.with("model.safetensors", file)
    }
}

fn word_level() -> Value {
    json!({"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2, "c": 3}, "unk_token": "[UNK]"})
}

fn model_file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/minilm-static-128");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The shipped model's vectors.
fn table() -> Vec<f32> {
    let file = model_file("model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let data = tensors.tensor("embeddings").unwrap().data().to_vec();
    data.chunks_exact(2)
        .map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32())
        .collect()
}

fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn open(config: &str, files: &Files) -> Result<(EmbedText, Plan), String> {
    EmbedText::open(config, &[field("text", Kind::Utf8, true, 0)], files)
}

fn apply(config: &str, files: &Files, texts: &[Option<&str>]) -> Output {
    let (mut transform, _) = open(config, files).unwrap();
    let mut column = BytesBuilder::new(true);
    for text in texts {
        column.push(text.map(str::as_bytes)).unwrap();
    }
    let output = transform
        .apply(&Batch::new(texts.len() as u32, vec![column.finish()]))
        .unwrap();
    assert!(output.failures.is_empty(), "{:?}", output.failures);
    output
}

fn embed(config: &str, files: &Files, texts: &[&str]) -> Vec<Vec<f32>> {
    let rows: Vec<_> = texts.iter().map(|text| Some(*text)).collect();
    let data = apply(config, files, &rows).columns.remove(0).data;
    let numbers: Vec<_> = data
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    numbers
        .chunks_exact(numbers.len() / texts.len())
        .map(<[f32]>::to_vec)
        .collect()
}

fn golden() -> (Vec<String>, Vec<Vec<f32>>) {
    let golden: Vec<Value> = serde_json::from_slice(&model_file("golden.json")).unwrap();
    let text = |entry: &Value| entry["text"].as_str().unwrap().to_owned();
    let vector = |entry: &Value| {
        let numbers = entry["embedding"].as_array().unwrap();
        numbers
            .iter()
            .map(|number| number.as_f64().unwrap() as f32)
            .collect()
    };
    (
        golden.iter().map(text).collect(),
        golden.iter().map(vector).collect(),
    )
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter()
        .zip(other)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Embeds the golden texts, and gives the largest difference from the golden vectors.
fn golden_difference(files: &Files) -> f32 {
    let (texts, wanted) = golden();
    assert!(texts.len() > 10);
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let vectors = embed("{}", files, &texts);
    vectors
        .iter()
        .zip(&wanted)
        .map(|(is, wants)| difference(is, wants))
        .fold(0.0, f32::max)
}

#[test]
fn the_golden_texts_get_the_vectors_that_python_gives() {
    let difference = golden_difference(&Files::shipped());
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn a_model_in_f32_gives_the_same() {
    let shape = vec![table().len() / DIM, DIM];
    let files =
        Files::shipped().with_tensors(&[("embeddings", Dtype::F32, shape, f32_bytes(&table()))]);
    let difference = golden_difference(&files);
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn a_model_in_int8_comes_near() {
    let table = table();
    let largest = table
        .iter()
        .fold(0.0, |largest: f32, number| largest.max(number.abs()));
    let bytes = table
        .iter()
        .map(|number| (number / largest * 127.0).round() as i8 as u8)
        .collect();
    let shape = vec![table.len() / DIM, DIM];
    let files = Files::shipped().with_tensors(&[("embeddings", Dtype::I8, shape, bytes)]);
    let difference = golden_difference(&files);
    assert!(difference < 0.05, "{difference}");
}

#[test]
fn a_quantized_vocabulary_goes_through_its_mapping_and_weights() {
    let tensors = [
        (
            "embeddings",
            Dtype::F32,
            vec![2, 2],
            f32_bytes(&[1.0, 0.0, 0.0, 1.0]),
        ),
        (
            "mapping",
            Dtype::I32,
            vec![4],
            [0i32, 1, 0, 0].map(i32::to_le_bytes).concat(),
        ),
        (
            "weights",
            Dtype::F32,
            vec![4],
            f32_bytes(&[1.0, 4.0, 2.0, 1.0]),
        ),
    ];
    let files = Files::tiny(word_level()).with_tensors(&tensors);
    // `a` has four times the second row, `b` twice the first.
    assert_eq!(embed("{}", &files, &["a b"]), [[1.0, 2.0]]);
}

#[test]
fn a_vector_is_the_mean_of_the_known_tokens_and_unknown_ones_do_not_count() {
    let files = Files::tiny(word_level());
    assert_eq!(
        embed("{}", &files, &["a b", "a x b y", "c", "x"]),
        [[0.5, 0.5], [0.5, 0.5], [1.0, 1.0], [0.0, 0.0]]
    );
}

#[test]
fn a_unigram_models_unknown_token_does_not_count_either() {
    let vocab = json!([["<unk>", 0.0], ["▁a", -1.0], ["▁b", -1.0], ["▁c", -1.0]]);
    let model = json!({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false});
    let mut files = Files::tiny(model);
    let tokenizer = String::from_utf8(files.0.remove("tokenizer.json").unwrap()).unwrap();
    let metaspace =
        r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}"#;
    let tokenizer = tokenizer.replace(r#"{"type":"WhitespaceSplit"}"#, metaspace);
    assert!(tokenizer.contains("Metaspace"));
    let files = files.with("tokenizer.json", tokenizer.into_bytes());
    assert_eq!(embed("{}", &files, &["a c", "b"]), [[1.0, 0.5], [0.0, 1.0]]);
}

#[test]
fn a_bpe_model_is_understood() {
    let model = json!({
        "type": "BPE", "unk_token": "?", "merges": [],
        "vocab": {"?": 0, "a": 1, "b": 2, "c": 3}
    });
    assert_eq!(
        embed("{}", &Files::tiny(model), &["ab", "czz"]),
        [[0.5, 0.5], [1.0, 1.0]]
    );
}

#[test]
fn vectors_have_length_1_unless_told_otherwise() {
    let length = |config| {
        let vector = embed(config, &Files::shipped(), &["a photo of a cat"]).remove(0);
        vector
            .iter()
            .map(|number| number * number)
            .sum::<f32>()
            .sqrt()
    };
    assert!((length("{}") - 1.0).abs() < 1e-5);
    assert!((length(r#"{"normalize": false}"#) - 1.0).abs() > 0.01);
    let files = Files::tiny(word_level());
    assert_eq!(
        embed(r#"{"normalize": true}"#, &files, &["a"]),
        [[1.0, 0.0]]
    );
    assert!(
        difference(
            &embed(r#"{"normalize": true}"#, &files, &["c"])[0],
            &[std::f32::consts::FRAC_1_SQRT_2; 2]
        ) < 1e-5
    );
}

#[test]
fn an_empty_text_is_a_zero_vector_and_no_text_is_null() {
    let output = apply(
        "{}",
        &Files::shipped(),
        &[Some(""), None, Some("cat"), Some(" \t\n")],
    );
    let column = &output.columns[0];
    assert_eq!(
        column.validity.as_deref().map(|bits| bits[0] & 0xf),
        Some(0b1101)
    );
    let row = |row: usize| &column.data[row * DIM * 4..(row + 1) * DIM * 4];
    assert!(row(0).iter().chain(row(3)).all(|byte| *byte == 0));
    assert!(row(2).iter().any(|byte| *byte != 0));
    assert_eq!((output.rows, column.data.len()), (4, 4 * DIM * 4));
}

#[test]
fn case_and_accents_do_not_matter_but_words_do() {
    let files = Files::shipped();
    let vectors = embed(
        "{}",
        &files,
        &["Café Zürich", "cafe zurich", "coffee house"],
    );
    assert!(difference(&vectors[0], &vectors[1]) < 1e-6);
    assert!(difference(&vectors[0], &vectors[2]) > 0.01);
}

#[test]
fn any_unicode_is_embedded() {
    let texts = [
        "日本語のテキスト",
        "Привет, мир",
        "😀👩‍👩‍👧",
        "\u{0}\u{fffd}\u{202e}",
        "ﷺ",
        "a\u{301}\u{301}",
    ];
    for vector in embed("{}", &Files::shipped(), &texts) {
        assert!(vector.iter().all(|number| number.is_finite()));
    }
}

#[test]
fn only_the_first_tokens_count() {
    let files = Files::shipped();
    let words = embed(
        r#"{"max_length": 2}"#,
        &files,
        &["dog cat house tree", "dog cat"],
    );
    assert_eq!(words[0], words[1]);
    let whole = embed("{}", &files, &["dog cat house tree", "dog cat"]);
    assert_ne!(whole[0], whole[1]);
    let long = "dog ".repeat(512) + &"cat ".repeat(512);
    let unlimited = embed(r#"{"max_length": null}"#, &files, &[&long]).remove(0);
    let [limited, dog] = embed("{}", &files, &[&long, "dog"]).try_into().unwrap();
    assert!(difference(&limited, &dog) < 1e-5);
    assert!(difference(&unlimited, &dog) > 0.01);
}

#[test]
fn an_unknown_token_takes_a_place_among_the_first_ones() {
    // As in Python: the tokenizer cuts, and what is unknown is dropped of the rest.
    let vectors = embed(
        r#"{"max_length": 2}"#,
        &Files::shipped(),
        &["𓀀 cat dog", "cat"],
    );
    assert_eq!(vectors[0], vectors[1]);
}

#[test]
fn a_model_whose_files_do_not_belong_together_is_refused() {
    let table = f32_bytes(&[0.0; 6]);
    let files =
        Files::tiny(word_level()).with_tensors(&[("embeddings", Dtype::F32, vec![3, 2], table)]);
    let message = open("{}", &files).map(|_| ()).unwrap_err();
    assert!(message.contains("do not belong together"), "{message}");
}

#[test]
fn a_broken_model_is_refused_with_the_file_that_is_broken() {
    let shape = |shape: Vec<usize>, name: &'static str, dtype| {
        let length = shape.iter().product::<usize>() * 4;
        Files::tiny(word_level()).with_tensors(&[(name, dtype, shape, vec![0; length])])
    };
    for (files, says) in [
        (
            Files::shipped().with("config.json", b"{".to_vec()),
            "config.json",
        ),
        (
            Files::shipped().with("tokenizer.json", b"{}".to_vec()),
            "tokenizer.json",
        ),
        (
            Files::shipped().with("model.safetensors", vec![0xff; 100]),
            "model.safetensors",
        ),
        (
            Files::shipped().with("model.safetensors", Vec::new()),
            "model.safetensors",
        ),
        (shape(vec![8], "embeddings", Dtype::F32), "shape"),
        (shape(vec![0, 2], "embeddings", Dtype::F32), "empty"),
        (shape(vec![4, 2], "embeddings", Dtype::U32), "U32"),
        (shape(vec![4, 2], "vectors", Dtype::F32), "vectors"),
        (Files(HashMap::new()), "there is no asset"),
    ] {
        let message = open("{}", &files).map(|_| ()).unwrap_err();
        assert!(message.contains(says), "{says}: {message}");
    }
}

#[test]
fn a_mapping_out_of_the_table_is_refused() {
    for (row, says) in [(2i64, "row 2 of 2"), (-1, "negative")] {
        let tensors = [
            ("embeddings", Dtype::F32, vec![2, 2], f32_bytes(&[0.0; 4])),
            (
                "mapping",
                Dtype::I64,
                vec![4],
                [0, 0, 0, row].map(i64::to_le_bytes).concat(),
            ),
        ];
        let files = Files::tiny(word_level()).with_tensors(&tensors);
        let message = open("{}", &files).map(|_| ()).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_what_is_wrong() {
    for (config, says) in [
        (r#"{"normalise": true}"#, "`normalise`"),
        (r#"{"max_length": 0}"#, "nonzero"),
        (r#"{"normalize": "yes"}"#, "boolean"),
    ] {
        let message = open(config, &Files::shipped()).map(|_| ()).unwrap_err();
        assert!(message.contains(says), "{config}: {message}");
    }
}

#[test]
fn a_table_without_a_text_column_is_refused_with_its_columns() {
    let schema = [field("caption", Kind::Utf8, true, 0)];
    let refused = EmbedText::open("{}", &schema, &Files::shipped());
    let message = refused.map(|_| ()).unwrap_err();
    assert!(
        message.contains("`text`") && message.contains("`caption`"),
        "{message}"
    );
}

#[test]
fn the_plan_takes_the_vectors_length_from_the_model() {
    let (_, plan) = open("{}", &Files::shipped()).unwrap();
    let one = |fields: &[Field]| match fields {
        [field] => (field.name.clone(), field.kind, field.nullable, field.dim),
        other => panic!("{other:?}"),
    };
    assert_eq!(one(&plan.inputs), ("text".to_owned(), Kind::Utf8, true, 0));
    assert_eq!(
        one(&plan.outputs),
        ("vector".to_owned(), Kind::Vector, true, DIM as u32)
    );
}
