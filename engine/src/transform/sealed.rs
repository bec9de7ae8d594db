//! Compiled code that only this user can have written: the one place of the plugin host with `unsafe` code.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use memmap2::MmapOptions;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// A secret with which compiled code is sealed.
pub(super) struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key must be one that only this user could have read or written.
    pub(super) fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A component's compiled code under a name, with its MAC behind.
    pub(super) fn seal(&self, name: &str, component: &Component) -> wasmtime::Result<Vec<u8>> {
        let mut sealed = component.serialize()?;
        let mac = self.mac(name, &sealed);
        sealed.extend(mac.as_bytes());
        Ok(sealed)
    }

    /// The component that was sealed under that name, mapped from its file, of which nothing is copied.
    /// The file must be this user's alone, and never written to once it has its name. The error says
    /// why it is not to be used.
    pub(super) fn open(
        &self,
        engine: &Engine,
        name: &str,
        file: &File,
    ) -> Result<Component, String> {
        // SAFETY: nobody writes to the file or cuts it, as the caller says: only this user could.
        let sealed = unsafe { MmapOptions::new().populate().map(file) };
        let sealed = sealed.map_err(|error| error.to_string())?;
        let (code, mac) = sealed
            .split_last_chunk::<MAC_BYTES>()
            .ok_or_else(|| "it is truncated".to_owned())?;
        if self.mac(name, code) != *mac {
            return Err("its MAC is wrong".to_owned());
        }
        // The very file that was checked, whatever has its name by now.
        let path = format!("/dev/fd/{}", file.as_raw_fd());
        // SAFETY: wasmtime runs what it is given, so the code must be what `Component::serialize`
        // gave. A right MAC says that it is: it was made over these bytes by who has the key, which
        // only this user can read, and `seal` is all that makes one. Nobody changes the file after the
        // check, as above; the MAC at its end is of no section of it, and not looked at. What another
        // version or configuration of the engine wrote, wasmtime refuses by itself.
        let component = unsafe { Component::deserialize_file(engine, path) };
        component.map_err(|error| format!("{error:#}"))
    }

    /// BLAKE3 with a key is a MAC, several times as fast as HMAC with SHA-256; two are compared in constant time.
    fn mac(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(code);
        hasher.finalize()
    }
}
