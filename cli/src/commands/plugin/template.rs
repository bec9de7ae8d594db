//! The files of a new project.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::World;

/// What projects begin as: `common` to all, then a directory a language, each with what is `common`
/// to its worlds and what is not.
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
static SDK_RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk-rust");
static SDK_C: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk-c");
static SDK_GO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk-go");
static SDK_PYTHON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk-python");
static SDK_JS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugins/sdk-js");
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");

/// The languages that there are templates in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// With the whole of cargo: the logic is tested natively
    Rust,
    /// With Zig's compiler, or any other for wasm32-wasi
    C,
    /// With Go's own compiler
    Go,
    /// With componentize-py: any pure Python package can be used
    Python,
    /// With componentize-qjs: ECMAScript 2023
    Js,
}

impl Language {
    /// The directory of its templates.
    fn directory(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Go => "go",
            Self::Python => "python",
            Self::Js => "js",
        }
    }

    /// Its SDK, and where a project has that.
    fn sdk(self) -> (&'static Dir<'static>, &'static str) {
        match self {
            // Two directories down, where the SDK finds the contract as it does at home.
            Self::Rust => (&SDK_RUST, "sdk/alluvium-plugin"),
            Self::C => (&SDK_C, "sdk"),
            Self::Go => (&SDK_GO, "sdk"),
            Self::Python => (&SDK_PYTHON, "sdk"),
            Self::Js => (&SDK_JS, "sdk"),
        }
    }
}

/// The files of a project, and where in it they stand.
pub(crate) fn files(
    name: &str,
    language: Language,
    world: World,
) -> Result<Vec<(PathBuf, String)>, String> {
    let of_world = match world {
        World::Batch => "batch",
        World::Record => "record",
    };
    let language_directory = language.directory();
    let mut files = Vec::new();
    let crate_name = name.replace('-', "_");
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{crate}}", &crate_name)
            .replace("{{world}}", of_world)
    };
    for template in [
        "common".to_owned(),
        format!("{language_directory}/common"),
        format!("{language_directory}/{of_world}"),
    ] {
        let directory = TEMPLATES.get_dir(&template);
        let directory = directory.ok_or_else(|| format!("there is no {template}"))?;
        copy(
            directory,
            directory.path(),
            Path::new(""),
            &fill,
            &mut files,
        )?;
    }
    let (sdk, to) = language.sdk();
    copy(
        sdk,
        Path::new(""),
        Path::new(to),
        &str::to_owned,
        &mut files,
    )?;
    copy(
        &WIT,
        Path::new(""),
        Path::new("wit"),
        &str::to_owned,
        &mut files,
    )?;
    Ok(files)
}

/// Adds a directory's files, from `base` on, to those below `to`.
fn copy(
    directory: &Dir<'_>,
    base: &Path,
    to: &Path,
    fill: &impl Fn(&str) -> String,
    files: &mut Vec<(PathBuf, String)>,
) -> Result<(), String> {
    for file in directory.files() {
        let path = file.path();
        let inner = path.strip_prefix(base).unwrap_or(path);
        if is_left_out(inner, to) {
            continue;
        }
        let text = file
            .contents_utf8()
            .ok_or_else(|| format!("{} is not text", path.display()))?;
        files.push((to.join(inner), fill(text)));
    }
    let mut inner = directory.dirs();
    inner.try_for_each(|directory| copy(directory, base, to, fill, files))
}

/// Whether a file stays at home: what a build left beside the sources, and an SDK's own tests.
fn is_left_out(inner: &Path, to: &Path) -> bool {
    let is_built = inner.iter().any(|part| part == "__pycache__");
    let is_test = inner.starts_with("tests") || inner.to_string_lossy().ends_with("_test.go");
    is_built || (is_test && to.starts_with("sdk"))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_language_and_world_has_what_a_project_needs() {
        for language in Language::value_variants() {
            for world in [World::Batch, World::Record] {
                let files = files("my-plugin", *language, world).unwrap();
                let text = |wanted: &str| {
                    let file = files.iter().find(|(path, _)| path == Path::new(wanted));
                    &file
                        .unwrap_or_else(|| panic!("{language:?} lacks {wanted}"))
                        .1
                };
                assert!(text("Makefile").contains("my-plugin.wasm:"));
                assert!(text("README.md").starts_with("# my-plugin\n"));
                assert!(text("README.md").contains(world.name()));
                assert!(text(".gitignore").contains("my-plugin.wasm"));
                assert!(text("wit/transform.wit").contains("world batch-transform"));
                assert!(text("expected.jsonl").contains("shout"));
                for blank in ["{{name", "{{crate", "{{world"] {
                    let left = files.iter().find(|(_, text)| text.contains(blank));
                    assert_eq!(left, None, "{blank} is left");
                }
                let mut paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
                paths.sort_unstable();
                paths.dedup();
                assert_eq!(paths.len(), files.len(), "no file is written twice");
                assert!(paths.iter().any(|path| path.starts_with("sdk")));
            }
        }
    }

    #[test]
    fn a_project_has_the_whole_sdk_but_its_tests() {
        let files = files("my-plugin", Language::Rust, World::Record).unwrap();
        let has = |wanted: &str| files.iter().any(|(path, _)| path == Path::new(wanted));
        assert!(has("sdk/alluvium-plugin/Cargo.toml"));
        assert!(has("sdk/alluvium-plugin/src/testing/mod.rs"));
        assert!(!has("sdk/alluvium-plugin/tests/testing.rs"));
        let library = files
            .iter()
            .find(|(path, _)| path == Path::new("src/lib.rs"));
        assert!(library.unwrap().1.contains("export_record!(Shout)"));
    }
}
