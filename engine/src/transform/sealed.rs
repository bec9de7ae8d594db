//! Compiled code that only this user can have written: the one place of the plugin host with `unsafe` code.

#![allow(unsafe_code)]

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

    /// A component's compiled code under a name, with its MAC in front.
    pub(super) fn seal(&self, name: &str, component: &Component) -> wasmtime::Result<Vec<u8>> {
        let code = component.serialize()?;
        let mut sealed = Vec::with_capacity(MAC_BYTES + code.len());
        sealed.extend(self.mac(name, &code).as_bytes());
        sealed.extend(code);
        Ok(sealed)
    }

    /// The component that was sealed under that name. The error says why it is not to be used.
    pub(super) fn open(
        &self,
        engine: &Engine,
        name: &str,
        sealed: &[u8],
    ) -> Result<Component, String> {
        let (mac, code) = sealed
            .split_first_chunk::<MAC_BYTES>()
            .ok_or_else(|| "it is truncated".to_owned())?;
        if self.mac(name, code) != *mac {
            return Err("its MAC is wrong".to_owned());
        }
        // SAFETY: wasmtime runs what it is given, so the code must be what `Component::serialize`
        // gave. A right MAC says that it is: it was made over these bytes by who has the key, which
        // only this user can read, and `seal` is all that makes one. The bytes are in memory, where
        // nobody changes them after the check. What another version or configuration of the engine
        // wrote, wasmtime refuses by itself.
        let component = unsafe { Component::deserialize(engine, code) };
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
