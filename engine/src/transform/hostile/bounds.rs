//! What a plugin may take of the process, and components that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// Counts what is logged.
struct Count(Arc<AtomicUsize>);

impl tracing::Subscriber for Count {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "alluvium::plugin"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Logs so many lines of 64 KiB in one call.
fn log(lines: u32) -> String {
    LOG_FLOOD.replace("{lines}", &lines.to_string())
}

#[test]
fn a_call_logs_so_much_and_no_more() {
    let lines = Arc::new(AtomicUsize::new(0));
    let done = tracing::subscriber::with_default(Count(lines.clone()), || {
        run(&guest("", &log(1000)), &numbers(5))
    });
    assert!(done.failures.is_empty(), "{:?}", done.failures);
    // 64 KiB of lines of which 4 KiB are kept, and the note that there were more.
    assert_eq!(lines.load(Ordering::Relaxed), 16);
}

#[test]
#[cfg(target_os = "linux")]
fn whatever_a_plugin_does_the_process_stays_within_its_limits() {
    let this = std::env::current_exe().unwrap();
    let child = std::process::Command::new(this)
        .args(["--ignored", "--exact", "--nocapture", CHILD])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let kib = said
        .lines()
        .find_map(|line| line.strip_prefix("taken KiB: "));
    let kib: u64 = kib.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    // 32 MiB of memory for the plugin, what it hands back and the host's own copies of it.
    assert!(kib < 64 << 10, "{kib} KiB");
}

const CHILD: &str = "transform::hostile::bounds::takes_what_it_can_get";

#[test]
#[ignore = "run by another test, in a process of its own"]
fn takes_what_it_can_get() {
    let host = PluginHost::new().unwrap();
    let limits = Limits {
        memory_bytes: 32 << 20,
        ..small_limits()
    };
    let batch = numbers(10);
    let attempt = |apply: &str| {
        let bound = bind(&host, spec("t", OnError::DeadLetter), &guest("", apply));
        let mut chain = Chain::new(&host, batch.schema(), vec![bound], limits.clone()).unwrap();
        chain.apply(&batch).unwrap()
    };
    attempt("");
    let before = status("VmRSS:");
    for attack in [
        HOARD,
        ALL_MEMORY,
        &log(200_000),
        &set_column(24, 0x7fff_ffff),
        &set(4, "(i32.const 0x7fffffff)"),
        &origin(&[0; 500]),
    ] {
        attempt(attack);
    }
    println!("\ntaken KiB: {}", status("VmHWM:").saturating_sub(before));
}

/// A line of the process's status, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_component_with_changed_bytes_is_refused_or_contained(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = guest("", "");
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let host = PluginHost::new().unwrap();
        let batch = numbers(20);
        if let Ok(plugin) = Plugin::compile(&host, "p", &bytes) {
            let bound = BoundTransform::new(spec("t", OnError::DeadLetter), plugin);
            if let Ok(mut chain) = Chain::new(&host, batch.schema(), vec![bound], small_limits()) {
                let done = chain.apply(&batch).unwrap();
                prop_assert!(done.batch.num_rows() + done.failures.len() <= 20);
            }
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let mut all = if magic { b"\0asm\x0d\0\x01\0".to_vec() } else { Vec::new() };
        all.extend(bytes);
        let host = PluginHost::new().unwrap();
        prop_assert!(Plugin::compile(&host, "p", &all).is_err());
    }
}
