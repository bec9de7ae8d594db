//! Compiled components on disk, so that a restart need not compile them again.
//!
//! Whoever can write here can run native code in the host's process. So the directory and its files
//! are this user's alone, every file carries a MAC under a key that lies beside it, and what is
//! doubtful is compiled anew. A file is mapped, so it is replaced or removed, but never written to.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::sealed::{KEY_BYTES, Key};

const KEY_FILE: &str = "key";
const SUFFIX: &str = ".cwasm";
const TEMPORARY: &str = ".tmp";
/// The most bytes that the files of a cache may have; the oldest go first.
const MAX_BYTES: u64 = 1 << 30;
/// What another engine compiled is kept so long: it may be a version that is still used beside this one.
const STALE: Duration = Duration::from_hours(30 * 24);
/// What was being written when its writer died goes after so long.
const ABANDONED: Duration = Duration::from_hours(1);

/// A directory of compiled components.
pub(super) struct Cache {
    path: PathBuf,
    dir: OwnedFd,
    key: Key,
    /// What the engine's compiled code is compatible with.
    engine: String,
}

impl Cache {
    /// Opens a cache, created where it is missing. The error says why it can't be trusted or used.
    pub(super) fn open(path: &Path, engine: &Engine) -> Result<Self, String> {
        let dir = open_directory(path).map_err(|error| error.to_string())?;
        let stat = rustix::fs::fstat(&dir).map_err(|error| error.to_string())?;
        check_private(&stat, FileType::Directory)?;
        let key = match read_key(&dir)? {
            Some(key) => key,
            None => create_key(&dir)?,
        };
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = Self {
            path: path.to_owned(),
            dir,
            key: Key::new(key),
            engine: format!("{:016x}", hasher.finish()),
        };
        cache.trim(MAX_BYTES);
        Ok(cache)
    }

    /// The compiled form of the component with that hash, if there is one that can be trusted.
    pub(super) fn get(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let name = self.name(sha256);
        let opened = match open_private(&self.dir, &name) {
            Ok(None) => return None,
            Ok(Some(sealed)) => self.key.open(engine, &name, &sealed),
            Err(reason) => Err(reason),
        };
        opened
            .map_err(|reason| {
                let path = self.path.join(&name);
                tracing::warn!(path = %path.display(), reason, "a compiled plugin is not used; it is compiled anew");
            })
            .ok()
    }

    /// Keeps a component's compiled form. A failure costs nothing but the time to compile it again.
    pub(super) fn put(&self, sha256: &str, component: &Component) {
        let name = self.name(sha256);
        let sealed = self.key.seal(&name, component);
        let kept = sealed
            .map_err(|error| format!("{error:#}"))
            .and_then(|sealed| {
                write_private(&self.dir, &name, &sealed, Existing::Replaced)
                    .map_err(|error| error.to_string())
            });
        match kept {
            Ok(()) => self.trim(MAX_BYTES),
            Err(reason) => {
                let path = self.path.join(&name);
                tracing::warn!(path = %path.display(), reason, "cannot keep a compiled plugin");
            }
        }
    }

    fn name(&self, sha256: &str) -> String {
        format!("{sha256}-{}{SUFFIX}", self.engine)
    }

    /// Removes what is stale, and the oldest of what is more than so many bytes.
    fn trim(&self, max_bytes: u64) {
        let Ok(listed) = Dir::read_from(&self.dir) else {
            return;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut entries = Vec::new();
        for entry in listed.flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let Ok(stat) = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let written = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
            let age = now.saturating_sub(written);
            let is_foreign = !text.ends_with(&format!("-{}{SUFFIX}", self.engine));
            if text.ends_with(TEMPORARY) && age > ABANDONED
                || text.ends_with(SUFFIX) && is_foreign && age > STALE
            {
                let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
            } else if text.ends_with(SUFFIX) {
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                entries.push((!is_foreign, written, bytes, name.to_owned()));
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, _, bytes, _)| bytes).sum();
        for (_, _, bytes, name) in entries {
            if total <= max_bytes {
                break;
            }
            let _ = rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty());
            total = total.saturating_sub(bytes);
        }
    }
}

/// Opens a directory that is no symbolic link. A new one is this user's alone.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Checks that only this user can have written something, or read it.
fn check_private(stat: &Stat, kind: FileType) -> Result<(), String> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err("it is something else than it should be".to_owned());
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    match mode.intersects(Mode::RWXG | Mode::RWXO) {
        true => Err("other users may read or write it".to_owned()),
        false => Ok(()),
    }
}

/// A file that only this user can have written, and that is no larger than a cache may be; `None` if
/// there is none.
fn open_private(dir: &OwnedFd, name: &str) -> Result<Option<File>, String> {
    // Not blocking: it may turn out to be a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| error.to_string())?;
    check_private(&stat, FileType::RegularFile)?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    match size > MAX_BYTES {
        true => Err(format!("it has {size} bytes")),
        false => Ok(Some(file)),
    }
}

/// What becomes of a file of the name that is there already.
#[derive(Clone, Copy, PartialEq)]
enum Existing {
    Replaced,
    Kept,
}

/// Writes a file that only this user can read; it is there as a whole or not at all.
fn write_private(dir: &OwnedFd, name: &str, content: &[u8], existing: Existing) -> io::Result<()> {
    let temporary = format!(".{name}.{:016x}{TEMPORARY}", u64::from_le_bytes(random()?));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    let written = File::from(file).write_all(content).and_then(|()| {
        match existing {
            Existing::Replaced => rustix::fs::renameat(dir, &temporary, dir, name)?,
            Existing::Kept => rustix::fs::linkat(dir, &temporary, dir, name, AtFlags::empty())?,
        }
        Ok(())
    });
    if written.is_err() || existing == Existing::Kept {
        let _ = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
    }
    written
}

fn read_key(dir: &OwnedFd) -> Result<Option<[u8; KEY_BYTES]>, String> {
    let of_key = |reason: String| format!("its key: {reason}");
    let Some(mut file) = open_private(dir, KEY_FILE).map_err(of_key)? else {
        return Ok(None);
    };
    let mut key = [0; KEY_BYTES];
    let read = file.read_exact(&mut key);
    read.map_err(|error| of_key(error.to_string()))?;
    Ok(Some(key))
}

/// Makes a key, unless another process was quicker: then it is that one's.
fn create_key(dir: &OwnedFd) -> Result<[u8; KEY_BYTES], String> {
    let key = random().map_err(|error| error.to_string())?;
    match write_private(dir, KEY_FILE, &key, Existing::Kept) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(dir)?.ok_or_else(|| "its key is gone".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::guests::guest;
    use super::super::{Plugin, PluginHost};
    use super::*;

    /// A directory whose cache has the code of one plugin; and the file.
    fn filled() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = fill(&dir.path().join("cache"));
        (dir, file)
    }

    fn fill(cache: &Path) -> PathBuf {
        let host = PluginHost::with_cache(cache).unwrap();
        Plugin::compile(&host, "p", &guest("", "")).unwrap();
        files(cache).pop().unwrap()
    }

    fn files(cache: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(cache) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.to_string_lossy().ends_with(SUFFIX))
            .collect()
    }

    /// Whether another start finds the plugin's code in the cache; it compiles it in any case.
    fn is_found(cache: &Path) -> bool {
        let host = PluginHost::with_cache(cache).unwrap();
        let plugin = Plugin::compile(&host, "p", &guest("", "")).unwrap();
        let found = Cache::open(cache, host.engine())
            .is_ok_and(|cache| cache.get(host.engine(), plugin.sha256()).is_some());
        found && plugin.is_from_cache()
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_compiled_plugin_is_found_again_and_is_this_users_alone() {
        let (dir, file) = filled();
        let cache = dir.path().join("cache");
        assert!(is_found(&cache));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&cache), mode(&file), mode(&cache.join(KEY_FILE))),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_was_changed_is_compiled_anew_and_replaced() {
        let (dir, file) = filled();
        let good = fs::read(&file).unwrap();
        for position in [0, good.len() / 2, good.len() - MAC - 1, good.len() - 1] {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&file, bad).unwrap();
            assert!(
                !is_found(&dir.path().join("cache")),
                "changed at {position}"
            );
            assert!(is_found(&dir.path().join("cache")), "replaced");
        }
        for length in [0, 16, MAC, good.len() - MAC, good.len() - 1] {
            fs::write(&file, &good[..length]).unwrap();
            assert!(!is_found(&dir.path().join("cache")), "cut to {length}");
        }
        assert!(is_found(&dir.path().join("cache")));
    }

    /// Bytes of the MAC at a file's end.
    const MAC: usize = 32;

    #[test]
    fn the_code_of_another_plugin_is_not_taken_for_this_ones() {
        let (dir, file) = filled();
        let cache = dir.path().join("cache");
        let host = PluginHost::with_cache(&cache).unwrap();
        let other = Plugin::compile(&host, "q", &guest("unreachable", "")).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let other = name.replace(name.split('-').next().unwrap(), other.sha256());
        fs::copy(cache.join(other), &file).unwrap();
        assert!(!is_found(&cache));
    }

    #[test]
    fn what_others_can_read_or_write_is_not_trusted() {
        for open in ["", KEY_FILE] {
            let (dir, _) = filled();
            let cache = dir.path().join("cache");
            chmod(&cache.join(open), 0o750);
            assert!(!is_found(&cache), "{open:?}");
        }
        let (dir, file) = filled();
        chmod(&file, 0o620);
        assert!(!is_found(&dir.path().join("cache")));
        assert!(is_found(&dir.path().join("cache")), "it was replaced");
    }

    #[test]
    fn a_directory_elsewhere_is_not_followed_to() {
        let (dir, _) = filled();
        let link = dir.path().join("link");
        symlink(dir.path().join("cache"), &link).unwrap();
        assert!(!is_found(&link));
    }

    #[test]
    fn a_new_key_makes_all_files_worthless() {
        let (dir, _) = filled();
        let cache = dir.path().join("cache");
        fs::remove_file(cache.join(KEY_FILE)).unwrap();
        assert!(!is_found(&cache));
        assert!(is_found(&cache));
    }

    #[test]
    fn a_cache_that_cannot_be_made_costs_nothing_but_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!is_found(&file.join("cache")));
    }

    #[test]
    fn what_other_engines_left_goes_after_a_month_and_the_oldest_when_there_is_too_much() {
        let (dir, file) = filled();
        let cache_path = dir.path().join("cache");
        let age = |path: &Path, days: u64| {
            let then = SystemTime::now() - Duration::from_hours(24 * days);
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        };
        for (name, days) in [("aa-00.cwasm", 31), ("bb-00.cwasm", 1), (".cc.tmp", 1)] {
            fs::write(cache_path.join(name), "x").unwrap();
            age(&cache_path.join(name), days);
        }
        age(&file, 300);
        let host = PluginHost::new().unwrap();
        let cache = Cache::open(&cache_path, host.engine()).unwrap();
        let left = || fs::read_dir(&cache_path).unwrap().count();
        assert_eq!((left(), file.exists()), (3, true));
        cache.trim(file.metadata().unwrap().len());
        assert_eq!((left(), file.exists()), (2, true));
        cache.trim(0);
        assert_eq!(left(), 1, "the key stays");
    }
}
