//! Where plugins are looked for.

use std::path::{Path, PathBuf, is_separator};

use crate::{Error, Result};

/// Directories of plugins, as in PATH.
const PATH_VARIABLE: &str = "ALLUVIUM_PLUGIN_PATH";

/// Beside an installed command; where `make plugins` puts them, seen from the command that cargo
/// builds, and from its examples and tests.
const BESIDE_EXECUTABLE: [&str; 4] = [
    "plugins",
    "../share/alluvium/plugins",
    "../plugins",
    "../../plugins",
];

/// Whether a plugin is given by its path rather than by the name of a standard one.
pub(super) fn is_path(name_or_path: &str) -> bool {
    name_or_path.contains(is_separator) || name_or_path.ends_with(".wasm")
}

/// The file of a plugin. What has a path separator or ends in `.wasm` is a path; anything else is a
/// standard plugin, looked up as `NAME.wasm` in `extra_dirs`, the directories of the environment
/// variable `ALLUVIUM_PLUGIN_PATH`, and `plugins`, `../share/alluvium/plugins`, `../plugins` and
/// `../../plugins` beside the running executable.
///
/// # Errors
/// [`Error::Plugin`] when there is no such file, with the directories that were searched.
pub fn resolve_plugin(name_or_path: &str, extra_dirs: &[PathBuf]) -> Result<PathBuf> {
    let missing = |reason| Error::Plugin {
        plugin: name_or_path.to_owned(),
        reason,
    };
    if is_path(name_or_path) {
        let path = PathBuf::from(name_or_path);
        return match path.is_file() {
            true => Ok(path),
            false => Err(missing("there is no such file".to_owned())),
        };
    }
    let dirs = search_dirs(extra_dirs);
    let file = format!("{name_or_path}.wasm");
    dirs.iter()
        .map(|dir| dir.join(&file))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let looked: Vec<_> = dirs.iter().map(|d| d.display().to_string()).collect();
            missing(format!(
                "there is no {file} in {}; give the path of a component, or set {PATH_VARIABLE}",
                looked.join(", ")
            ))
        })
}

fn search_dirs(extra_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut dirs = extra_dirs.to_vec();
    if let Some(path) = std::env::var_os(PATH_VARIABLE) {
        dirs.extend(std::env::split_paths(&path).filter(|d| !d.as_os_str().is_empty()));
    }
    let exe = std::env::current_exe().ok();
    if let Some(dir) = exe.as_deref().and_then(Path::parent) {
        dirs.extend(BESIDE_EXECUTABLE.map(|place| dir.join(place)));
    }
    dirs
}
