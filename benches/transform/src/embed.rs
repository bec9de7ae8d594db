//! `embed-text` beside the same code outside of the sandbox, and beside the Python package model2vec.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use alluvium::transform::PluginHost;
use alluvium_plugin::testing::{Files, Rows, open};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use criterion::Criterion;
use embed_text::EmbedText;

use crate::guests::{bound, chain, component, spec};
use crate::peer::Peer;
use crate::report::{Report, Side, by_turns};

const TEXTS: usize = 4096;
const FILES: [&str; 3] = ["tokenizer.json", "model.safetensors", "config.json"];
const WORDS: &str = "a cat sits on the red table beside an old camera while rain falls over the harbour and two \
    children watch the rocket rise above a field of galaxies behind the printed page of an astronomy book";

/// Sentences of 6 to 20 words, all different.
fn texts() -> Vec<String> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let sentence = |n: usize| {
        let length = 6 + n % 15;
        let words = (0..length).map(|i| words[(n * 7 + i * (1 + n % 5)) % words.len()]);
        format!("{} {n}", words.collect::<Vec<_>>().join(" "))
    };
    (0..TEXTS).map(sentence).collect()
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/embed-text/models/minilm-static-128")
}

/// A Python process that embeds the texts each time it is asked to; `None` when there is no Python with model2vec.
fn model2vec(texts: &Path) -> Option<Peer> {
    let python = std::env::var_os("ALLUVIUM_BENCH_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model2vec_peer.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .args([&model(), texts])
        .env("TOKENIZERS_PARALLELISM", "false")
        .envs(["OMP_NUM_THREADS", "RAYON_NUM_THREADS"].map(|name| (name, "1")));
    Peer::start(&mut command)
}

pub(crate) fn measure(criterion: &mut Criterion, report: &mut Report) {
    let texts = texts();
    let host = PluginHost::new().expect("a host");
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(&texts));
    let batch = RecordBatch::try_from_iter([("text", column)]).expect("a batch");
    let assets = FILES.map(|name| (name, model().join(name)));
    let transform = bound(&host, &component("embed-text"), spec("{}"), &assets);
    let mut sandboxed = chain(transform, &host, batch.schema());
    let rows = Rows::new().column("text", texts.iter().map(String::as_str));
    let files = assets.iter().fold(Files::default(), |files, (name, path)| {
        files.with(name, std::fs::read(path).expect("the model"))
    });
    let mut native = open::<EmbedText>("{}", rows.schema(), &files).expect("opened");
    let folder = tempfile::tempdir().expect("a directory");
    let list = folder.path().join("texts.txt");
    std::fs::write(&list, texts.join("\n")).expect("written");
    let mut peer = model2vec(&list);
    let mut sides = vec![
        Side::timed("plugin", || {
            drop(sandboxed.apply(&batch).expect("transformed"))
        }),
        Side::timed("native", || drop(native.apply(&rows).expect("transformed"))),
    ];
    if let Some(peer) = &mut peer {
        sides.push(Side {
            name: "model2vec",
            run: Box::new(|| peer.run()),
        });
    }
    let times = by_turns(criterion, "embed-text", &mut sides);
    let ratio = times[1] / times[0];
    let rate = TEXTS as f64 / times[0];
    let what = "`embed-text` over the same Rust code native, one thread each";
    report.line(
        what,
        "≥ 0.5",
        format!("{ratio:.2} ({rate:.0} texts/s)"),
        Some(ratio >= 0.5),
    );
    let what = "`embed-text` over the Python package model2vec, one thread each";
    match times.get(2) {
        Some(theirs) => {
            let ratio = theirs / times[0];
            report.line(what, "≥ 2", format!("{ratio:.2}"), Some(ratio >= 2.0));
        }
        None => report.line(
            what,
            "≥ 2",
            "not measured: no Python with model2vec".to_owned(),
            None,
        ),
    }
}
