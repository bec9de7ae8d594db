//! `alluvium plugin new` writes projects that build, and pass their own tests.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use alluvium_tests::{cache, command, root};
use tempfile::TempDir;

/// The target directory of this build, which `make plugins` and the native tests of plugins share.
fn target() -> PathBuf {
    let command = command();
    let target = command.ancestors().nth(2);
    target.expect("target/<profile>/alluvium").to_path_buf()
}

fn plugin_new(place: &Path, arguments: &[&str]) -> Output {
    let mut new = Command::new(command());
    let new = new.current_dir(place).args(["plugin", "new"]);
    new.args(arguments).output().expect("the command runs")
}

#[track_caller]
fn make(project: &Path, goal: &str, environment: &[(&str, OsString)]) {
    let mut make = Command::new("make");
    make.arg(goal)
        .arg(format!("ALLUVIUM={}", command().display()))
        .current_dir(project)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let output = make.output().expect("make runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, error) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "make {goal}: {told}\n{error}");
}

fn rustc(argument: &[&str]) -> String {
    let output = Command::new("rustc").args(argument).output();
    let output = output.expect("rustc runs").stdout;
    String::from_utf8(output).expect("UTF-8").trim().to_owned()
}

/// How Rust compiles to WebAssembly here: with its own target where that is installed, else with the
/// compiler that `scripts/build-plugins` fetched.
fn webassembly() -> Vec<(&'static str, OsString)> {
    let mut environment = vec![("CARGO_TARGET_DIR", target().join("plugins-build").into())];
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"]));
    let libraries = sysroot.join("lib/rustlib");
    if !libraries.join("wasm32-unknown-unknown/lib").exists() {
        let version = rustc(&["-vV"]);
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let linker = libraries.join(host.expect("a host")).join("bin/rust-lld");
        environment.extend([
            ("RUSTC", cache().join("rustc-web/rustc").into()),
            ("RUSTC_BOOTSTRAP", "1".into()),
            ("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort".into()),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
        ]);
    }
    environment
}

#[test]
fn a_project_in_rust_builds_and_passes_its_own_test_in_both_worlds() {
    let place = TempDir::new().expect("a temporary directory");
    for world in ["batch", "record"] {
        let name = format!("my-{world}");
        let output = plugin_new(place.path(), &[&name, "--world", world]);
        assert!(output.status.success(), "{output:?}");
        let project = place.path().join(name);
        // The versions that were tested, and are here already.
        let lock = root().join("plugins/Cargo.lock");
        fs::copy(lock, project.join("Cargo.lock")).expect("a copy");
        make(&project, "all", &webassembly());
        let native = target().join("plugins-native").into();
        make(&project, "test", &[("CARGO_TARGET_DIR", native)]);
    }
}

/// Writes a project of each world, and lets it test itself with a tool that `scripts/setup` installs.
#[track_caller]
fn builds_and_passes(language: &str, environment: &[(&str, OsString)]) {
    let setup = Command::new(root().join("scripts/setup"))
        .arg(format!("plugins-{language}"))
        .status();
    assert!(setup.expect("scripts/setup runs").success(), "{language}");
    let place = TempDir::new().expect("a temporary directory");
    for world in ["batch", "record"] {
        let name = format!("my-{world}");
        let output = plugin_new(place.path(), &[&name, "--lang", language, "--world", world]);
        assert!(output.status.success(), "{output:?}");
        make(&place.path().join(&name), "test", environment);
        let component = place.path().join(&name).join(format!("{name}.wasm"));
        let check = Command::new(command())
            .args(["plugin", "check"])
            .arg(component)
            .output();
        let said = String::from_utf8(check.expect("the command runs").stdout).expect("UTF-8");
        let mut versions = said
            .lines()
            .filter_map(|line| line.trim().strip_prefix("version"));
        assert!(versions.any(|version| version.trim() == "0.1.0"), "{said}");
    }
}

#[test]
fn a_project_in_c_builds_and_passes_its_own_test_in_both_worlds() {
    let python = cache().join("plugins-c/bin/python");
    let zig = format!("{} -m ziglang", python.display());
    let zig_cache = cache().join("zig");
    builds_and_passes(
        "c",
        &[
            ("ZIG", zig.into()),
            ("ZIG_GLOBAL_CACHE_DIR", zig_cache.into()),
        ],
    );
}

#[test]
fn a_project_in_go_builds_and_passes_its_own_test_in_both_worlds() {
    let go = cache().join("plugins-go/bin/go");
    let go_cache = cache().join("go-build");
    builds_and_passes("go", &[("GO", go.into()), ("GOCACHE", go_cache.into())]);
}

#[test]
fn a_project_in_python_builds_and_passes_its_own_test_in_both_worlds() {
    let tool = cache().join("plugins-python/bin/componentize-py");
    builds_and_passes("python", &[("COMPONENTIZE_PY", tool.into())]);
}

#[test]
fn a_project_in_javascript_builds_and_passes_its_own_test_in_both_worlds() {
    let tools = cache().join("plugins-js");
    let tool = tools.join("node_modules/.bin/componentize-qjs");
    let mut path = vec![tools.join("bin")];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").expect("PATH"),
    ));
    let path = std::env::join_paths(path).expect("a PATH");
    builds_and_passes("js", &[("COMPONENTIZE_QJS", tool.into()), ("PATH", path)]);
}

#[test]
fn what_is_there_is_not_written_over_and_a_bad_name_is_told() {
    let place = TempDir::new().expect("a temporary directory");
    let note = place.path().join("mine/note.txt");
    fs::create_dir(place.path().join("mine")).expect("a directory");
    fs::write(&note, "keep").expect("a file");
    for (name, reason) in [("mine", "there already"), ("No_Name", "small letters")] {
        let output = plugin_new(place.path(), &[name]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(reason) && told.trim().lines().count() == 1,
            "{told}"
        );
    }
    assert_eq!(fs::read_to_string(note).expect("the note"), "keep");
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);
}
