//! Turns a core WebAssembly module into a component of the transform contract.
//!
//! A module that describes its own world (wit-bindgen embeds it) needs no world named; others are
//! given the contract's. What a module asks of WASI preview 1 is answered inside of the component
//! (`wasi_stub.wat`); one that asks of its host more than a transform may have is refused.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wasm_encoder::{ComponentSection, CustomSection};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{Resolve, WorldItem};

/// The packages that a transform may import from: the contract, and what it can be granted.
const PACKAGES: [&str; 3] = ["alluvium:transform/", "wasi:clocks/", "wasi:random/"];

/// The contract itself.
const WIT: &str = include_str!("../../wit/transform.wit");

/// What a component begins with, as no core module does.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// WASI preview 1 without a host.
const WASI_STUB: &str = include_str!("wasi_stub.wat");

/// Why a module did not become a component.
#[derive(Debug)]
pub enum Error {
    /// The module could not be read.
    Read(PathBuf, io::Error),
    /// The module is none that can become a component.
    Componentize(PathBuf, String),
    /// The component wants imports that no host gives a transform.
    Imports(PathBuf, Vec<String>),
    /// The component could not be written.
    Write(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Componentize(path, message) => {
                write!(
                    f,
                    "{} does not become a component: {message}",
                    path.display()
                )
            }
            Self::Imports(path, names) => write!(
                f,
                "{} imports {}: a transform is given only {}",
                path.display(),
                names.join(", "),
                PACKAGES.map(|package| format!("{package}*")).join(", ")
            ),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// Turns the core module at `core` into a component at `component`, all of it or nothing. The world
/// is `batch-transform` or `record-transform`; none for a module that describes its own. What is a
/// component already stays as it is. The version is written into the component, where a host reads it.
pub fn componentize(
    core: &Path,
    component: &Path,
    world: Option<&str>,
    version: Option<&str>,
) -> Result<(), Error> {
    let mut module = fs::read(core).map_err(|error| Error::Read(core.into(), error))?;
    let failed = |message| Error::Componentize(core.into(), message);
    let mut encoded = if module.starts_with(COMPONENT) {
        module
    } else {
        if let Some(world) = world {
            describe(&mut module, world).map_err(failed)?;
        }
        encode(&module).map_err(failed)?
    };
    let foreign = foreign_imports(&encoded).map_err(failed)?;
    if !foreign.is_empty() {
        return Err(Error::Imports(core.into(), foreign));
    }
    if let Some(version) = version {
        let section = CustomSection {
            name: "version".into(),
            data: version.as_bytes().into(),
        };
        section.append_to_component(&mut encoded);
    }
    write_atomically(component, &encoded).map_err(|error| Error::Write(component.into(), error))
}

/// Writes into `module` that it is of a world of the contract.
fn describe(module: &mut Vec<u8>, world: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let pushed = resolve.push_str("transform.wit", WIT);
    pushed
        .and_then(|package| resolve.select_world(&[package], Some(world)))
        .and_then(|world| {
            embed_component_metadata(module, &resolve, world, StringEncoding::UTF8, false)
        })
        .map_err(|error| format!("{error:#}"))
}

/// The component that `module` describes, validated.
fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let stub = wat::parse_str(WASI_STUB).map_err(|error| format!("{error}"))?;
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", &stub))
        .and_then(|encoder| encoder.encode())
        // The alternate form gives the causes too.
        .map_err(|error| format!("{error:#}"))
}

/// What the component imports that no transform is given: files, say.
fn foreign_imports(component: &[u8]) -> Result<Vec<String>, String> {
    let DecodedWasm::Component(resolve, world) =
        decode(component).map_err(|error| format!("{error:#}"))?
    else {
        return Err("it is a WIT package".to_owned());
    };
    let world = resolve.worlds.get(world).ok_or("it has no world")?;
    Ok(world
        .imports
        .iter()
        // A type asks nothing of the host.
        .filter(|(_, item)| !matches!(item, WorldItem::Type { .. }))
        .map(|(key, _)| resolve.name_world_key(key))
        .filter(|name| !PACKAGES.iter().any(|package| name.starts_with(package)))
        .collect())
}

/// Writes beside `path`, then renames: a build that is interrupted leaves no half component behind.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_refused_and_leaves_no_file() {
        let folder = std::env::temp_dir().join(format!("componentize-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (core, component) = (folder.join("core.wasm"), folder.join("component.wasm"));
        fs::write(&core, b"\0not a module").unwrap();
        let refused = componentize(&core, &component, None, None);
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert!(
            matches!(refused, Err(Error::Componentize(_, _))),
            "{refused:?}"
        );
        assert_eq!(left, 1, "only the input may be left");
    }

    #[test]
    fn a_component_is_given_its_version_and_stays_as_it_is() {
        let folder = std::env::temp_dir().join(format!("versioned-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (made, versioned) = (folder.join("made"), folder.join("versioned"));
        let own = encode(&module_that_asks("alluvium:transform", "0.1.0")).unwrap();
        fs::write(&made, &own).unwrap();
        componentize(&made, &versioned, None, Some("1.2.3")).unwrap();
        let versioned = fs::read(&versioned).unwrap();
        assert_eq!(
            versioned.strip_prefix(&own[..]).unwrap(),
            b"\0\x0d\x07version1.2.3"
        );
        let foreign = encode(&module_that_asks("wasi:sockets", "0.2.0")).unwrap();
        fs::write(&made, &foreign).unwrap();
        let refused = componentize(&made, &made, None, None);
        fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(refused, Err(Error::Imports(_, _))), "{refused:?}");
    }

    /// A core module that imports a function `ask` from the interface `host` of a package.
    fn module_that_asks(package: &str, version: &str) -> Vec<u8> {
        let wit = format!(
            "package {package}@{version};
             interface host {{ ask: func() -> u32; }}
             world guest {{ import host; }}"
        );
        let mut resolve = Resolve::default();
        let pushed = resolve.push_str("test.wit", &wit).unwrap();
        let world = resolve.select_world(&[pushed], Some("guest")).unwrap();
        let name = format!("{package}/host@{version}");
        let mut import = vec![1, name.len() as u8];
        import.extend(name.bytes());
        import.extend(b"\x03ask\0\0");
        // The header, the type `() -> i32`, and the import of that type.
        let mut module = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x02".to_vec();
        module.push(import.len() as u8);
        module.extend(import);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .unwrap();
        module
    }

    #[test]
    fn imports_that_no_transform_is_given_are_found() {
        let own = encode(&module_that_asks("alluvium:transform", "0.1.0")).unwrap();
        assert_eq!(foreign_imports(&own).unwrap(), Vec::<String>::new());
        let granted = encode(&module_that_asks("wasi:random", "0.2.0")).unwrap();
        assert_eq!(foreign_imports(&granted).unwrap(), Vec::<String>::new());
        let foreign = encode(&module_that_asks("wasi:sockets", "0.2.0")).unwrap();
        assert_eq!(
            foreign_imports(&foreign).unwrap(),
            ["wasi:sockets/host@0.2.0"]
        );
    }

    #[test]
    fn a_version_is_written_into_the_component() {
        let folder = std::env::temp_dir().join(format!("componentize-to-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (core, component) = (folder.join("core.wasm"), folder.join("component.wasm"));
        fs::write(&core, module_that_asks("alluvium:transform", "0.1.0")).unwrap();
        componentize(&core, &component, None, Some("1.2.3")).unwrap();
        let bytes = fs::read(&component).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(bytes.ends_with(b"\x07version1.2.3"));
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn wasi_is_answered_inside_of_the_component() {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "alluvium:transform/records@0.1.0#open") (param i32 i32 i32 i32) (result i32) i32.const 0)
            (func (export "alluvium:transform/records@0.1.0#apply") (param i32 i32) (result i32) i32.const 0))"#;
        let mut module = wat::parse_str(text).unwrap();
        describe(&mut module, "record-transform").unwrap();
        let component = encode(&module).unwrap();
        assert_eq!(foreign_imports(&component).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_world_that_there_is_not_is_refused() {
        let refused = describe(&mut b"\0asm\x01\0\0\0".to_vec(), "stream-transform");
        assert!(refused.unwrap_err().contains("stream-transform"));
    }

    #[test]
    fn a_missing_module_is_named() {
        let missing = Path::new("/nonexistent/core.wasm");
        let message = componentize(missing, Path::new("/tmp/never.wasm"), None, None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("/nonexistent/core.wasm"), "{message}");
    }
}
