//! Processes that share a cache of compiled components.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cache::Cache;
use super::guests::guest;
use super::{Plugin, PluginHost};

const CHILD: &str = "transform::cache_shared::compiles_what_others_compile_too";
const DIRECTORY: &str = "ALLUVIUM_TEST_SHARED_CACHE";

/// Three plugins, and how many of them were in the cache.
fn compile(cache: &Path) -> usize {
    let host = PluginHost::with_cache(cache).unwrap();
    let compile = |apply: &str| Plugin::compile(&host, "p", &guest("", apply)).unwrap();
    let plugins = ["", "unreachable", "(loop $l (br $l))"].map(compile);
    plugins.iter().filter(|it| it.is_from_cache()).count()
}

/// Milliseconds, by a clock that processes share.
fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

const ROUND: u128 = 10;

fn names(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn processes_that_begin_one_cache_together_have_one_key_and_find_each_others_plugins() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("deep/cache");
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", CHILD])
            .env(DIRECTORY, &cache)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children: Vec<_> = (0..4).map(|_| start()).collect();
    // Meanwhile files go, as they do when a cache is full.
    while children
        .iter_mut()
        .any(|it| it.try_wait().unwrap().is_none())
    {
        for name in names(&cache).iter().filter(|name| name.ends_with(".cwasm")) {
            let _ = fs::remove_file(cache.join(name));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    compile(&cache);
    assert_eq!(compile(&cache), 3);
    assert_eq!(names(&cache).len(), 4, "{:?}", names(&cache));
}

#[test]
#[ignore = "run by another test, in processes of its own"]
fn compiles_what_others_compile_too() {
    let Some(cache) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let cache = Path::new(&cache);
    let host = PluginHost::new().unwrap();
    // All open a new one at the same instant, time and again.
    for round in 0..50 {
        let tick = now() / ROUND + 1;
        while now() / ROUND < tick {}
        let begun = cache.with_file_name(format!("cache-{tick}"));
        Cache::open(&begun, host.engine()).map(drop).unwrap();
        let key = || fs::read(begun.join("key")).unwrap();
        let first = key();
        while now() % ROUND < ROUND / 2 {}
        assert_eq!(key(), first, "in round {round}");
    }
    for _ in 0..20 {
        compile(cache);
    }
}
