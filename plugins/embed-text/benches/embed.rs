//! How fast texts are embedded, natively: `cargo bench -p embed-text`.

// A benchmark fails by panicking.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;

use alluvium_plugin::testing::Files;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use embed_text::{Config, Model};

/// Captions, as the demo's photos have them, and a paragraph.
const TEXTS: [(&str, &str); 3] = [
    (
        "caption",
        "an astronaut in an orange suit smiles in front of a flag",
    ),
    (
        "paragraph",
        "Alluvium is an embedded storage engine: a program links it in, appends records (images, text, sensor data), \
         and has them, transformed and searchable, in a Lance dataset moments later. An append-only log of Arrow \
         batches in memory-mapped segments takes the stream in, sandboxed WebAssembly plugins transform each record.",
    ),
    (
        "unicode",
        "Größe ist nicht alles: ein Vektor je Wort, gemittelt über den Satz — mehr braucht es kaum.",
    ),
];

fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/minilm-static-128");
    let names = ["tokenizer.json", "model.safetensors", "config.json"];
    let files = names.iter().fold(Files::default(), |files, name| {
        files.with(name, std::fs::read(folder.join(name)).unwrap())
    });
    Model::load(&files, &Config::default()).unwrap()
}

fn embed(criterion: &mut Criterion) {
    let model = model();
    let mut vector = vec![0.0; model.dim()];
    let mut group = criterion.benchmark_group("embed");
    for (name, text) in TEXTS {
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| model.embed(black_box(text), &mut vector).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, embed);
criterion_main!(benches);
