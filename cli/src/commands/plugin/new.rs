//! `alluvium plugin new`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::World;
use super::template::{self, Language};
use crate::failure::{Failure, Outcome};

/// Write a project that builds a transform and tests it
///
/// The project is complete: a transform with an option, its tests, the SDK of its language and the
/// contract, a Makefile. `make` builds NAME.wasm, `make test` tests it; its README says what it
/// needs to.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// The directory to write; its name is the plugin's: small letters, digits and hyphens
    path: PathBuf,
    /// The language to write it in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// What the transform is given in one call
    #[arg(long, value_enum, default_value_t = World::Batch)]
    world: World,
}

const EXAMPLE: &str = "\
Example:
  alluvium plugin new my-plugin && cd my-plugin && make test";

/// Names that a language or its tools keep for themselves.
const RESERVED: [&str; 49] = [
    "abstract",
    "alloc",
    "alluvium",
    "alluvium-plugin",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "main",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "sdk",
    "self",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "type",
];
/// The longest name.
const MAX_NAME: usize = 64;

impl Args {
    /// Writes the project.
    pub(crate) fn run(self) -> Outcome {
        let name = self.path.file_name().and_then(|name| name.to_str());
        let name = check_name(name.unwrap_or_default()).map_err(Failure::new)?;
        let files = template::files(name, self.lang, self.world)
            .map_err(|reason| Failure::new(format!("the template is damaged: {reason}")))?;
        write(&self.path, &files).map_err(|error| {
            let what = format_args!("cannot write {}", self.path.display());
            match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                    Failure::new(format!("{what}: it is there already"))
                }
                _ => Failure::of(what, &error),
            }
        })?;
        eprintln!(
            "wrote {}; its README.md tells the rest, `make test` tries it",
            self.path.display()
        );
        Ok(())
    }
}

/// Refuses what cannot name a file, a crate and a module in every language.
fn check_name(name: &str) -> Result<&str, String> {
    let is_word = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_word || name.len() > MAX_NAME {
        return Err(format!(
            "{name:?} cannot name a plugin: take small letters, digits and hyphens, a letter first, at most {MAX_NAME}"
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!(
            "{name:?} cannot name a plugin: languages keep it for themselves; take another name"
        ));
    }
    Ok(name)
}

/// Writes a directory, which must not be there unless it is empty: all of it or nothing.
fn write(directory: &Path, files: &[(PathBuf, String)]) -> io::Result<()> {
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let draft = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)?;
    for (path, text) in files {
        let path = draft.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    // A temporary directory is its owner's only; a project is what the umask says.
    let permissions = fs::metadata(parent)?.permissions();
    fs::rename(draft.path(), directory)?;
    // There is no draft any more to be removed.
    let _ = draft.keep();
    fs::set_permissions(directory, permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_crate_and_a_file_names_a_plugin() {
        for name in ["my-plugin", "a", "utf8-to-utf16"] {
            assert_eq!(check_name(name), Ok(name));
        }
        let long = "a".repeat(65);
        for name in [
            "", "My", "8bit", "a_b", "-a", "a b", "../a", "ä", "fn", "test", &long,
        ] {
            assert!(
                check_name(name).unwrap_err().contains("cannot name"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let project = place.path().join("project");
        let files = [(PathBuf::from("src/lib.rs"), "new".to_owned())];
        fs::create_dir(&project).unwrap();
        write(&project, &files).unwrap();
        assert_eq!(
            fs::read_to_string(project.join("src/lib.rs")).unwrap(),
            "new"
        );
        let again = [(PathBuf::from("src/lib.rs"), "newer".to_owned())];
        assert!(write(&project, &again).is_err());
        assert_eq!(
            fs::read_to_string(project.join("src/lib.rs")).unwrap(),
            "new"
        );
        assert_eq!(
            fs::read_dir(place.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }
}
