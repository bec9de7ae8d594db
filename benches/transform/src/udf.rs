//! Functions as plugins, beside the same functions on arrow-udf's runtime.

use std::path::PathBuf;
use std::process::Command;

use alluvium::transform::PluginHost;
use criterion::Criterion;

use crate::guests::{bound, chain, spec};
use crate::inputs::{ROWS_OF_A_TURN, batch, check};
use crate::peer::Peer;
use crate::report::{Report, Side, by_turns};

/// `ALLUVIUM_BENCH_ARROW_UDF` is where `arrow-udf/build` put what it built.
pub(crate) fn measure(criterion: &mut Criterion, report: &mut Report) {
    let built = std::env::var_os("ALLUVIUM_BENCH_ARROW_UDF").map(PathBuf::from);
    for (function, rows, what) in [
        (
            "gcd",
            1024,
            "the greatest common divisor of two int32, batches of 1024 rows, over arrow-udf's runtime",
        ),
        ("gcd", 64, "the same, batches of 64 rows"),
        ("gcd", 16, "the same, batches of 16 rows"),
        (
            "domain",
            1024,
            "the domain of an address (utf8), batches of 1024 rows, over arrow-udf's runtime",
        ),
        ("domain", 64, "the same, batches of 64 rows"),
        ("domain", 16, "the same, batches of 16 rows"),
    ] {
        let ratio = built.as_ref().and_then(|built| {
            let mut command = Command::new(built.join("arrow-udf-peer"));
            command
                .arg(built.join("theirs.wasm"))
                .args([function, &rows.to_string()]);
            let peer = Peer::start(&mut command)?;
            let plugin = std::fs::read(built.join("ours.wasm")).ok()?;
            Some(ratio(criterion, (function, rows), &plugin, peer))
        });
        let told = match ratio {
            Some((ratio, nanoseconds)) => {
                format!("{ratio:.1} times as fast ({nanoseconds:.0} ns a row)")
            }
            None => "not measured: it was not built".to_owned(),
        };
        report.line(what, "", told, None);
    }
}

/// How many times as fast we are, and how long a row takes us in nanoseconds.
fn ratio(
    criterion: &mut Criterion,
    (function, rows): (&str, usize),
    plugin: &[u8],
    mut peer: Peer,
) -> (f64, f64) {
    let host = PluginHost::new().expect("a host");
    let batch = batch(function);
    let mut ours = chain(bound(&host, plugin, spec("{}"), &[]), &host, batch.schema());
    let made = ours.apply(&batch).expect("transformed").batch;
    check(function, made.column_by_name("made").expect("made"));
    let batch = batch.slice(0, rows);
    let mut sides = [
        Side::timed("plugin", || {
            for _ in 0..ROWS_OF_A_TURN / rows {
                std::hint::black_box(ours.apply(&batch).expect("transformed"));
            }
        }),
        Side {
            name: "arrow-udf",
            run: Box::new(|| peer.run()),
        },
    ];
    let name = format!("{function} {rows}");
    let times = by_turns(criterion, &name, &mut sides);
    (times[1] / times[0], times[0] / ROWS_OF_A_TURN as f64 * 1e9)
}
