//! The same with the real kernel: full and limited disks, and interrupted calls. Each test runs a part of itself in
//! a process of its own, whose mounts, limits and signals are nobody else's.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::{kill, numbers, open, options, read_all};
use crate::error::{Error, Result};
use crate::log::append::Log;

/// Where the part of a test that runs in a process of its own finds its directory.
const CHILD: &str = "ALLUVIUM_TEST_CHILD";
/// What a script exits with when the system doesn't allow what it needs.
const NOT_ALLOWED: i32 = 77;

/// Mounts a small file system that nobody else sees.
const MOUNT: &str = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
/// Lets writes beyond a limit fail instead of killing the process.
const IGNORE: &str = "trap '' XFSZ; shift; exec \"$@\"";
/// Stops the process and lets it go on, all the time: both interrupt system calls of all its threads.
const STORM: &str = "mount -t tmpfs -o size=256m tmpfs \"$1\" || exit 77; shift; \"$@\" & \
    while kill -STOP $! 2>/dev/null && kill -CONT $! 2>/dev/null; do :; done; wait $!";

fn child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Runs a test's other part under a script: with mounts of its own, if it asks for that.
fn run(test: &str, script: &str, has_mounts: bool) -> ExitStatus {
    let directory = TempDir::new().unwrap();
    let mut command = match has_mounts {
        true => Command::new("unshare"),
        false => Command::new("sh"),
    };
    if has_mounts {
        command.args(["-rm", "sh"]);
    }
    command.args(["-c", script, "sh"]).arg(directory.path());
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("log::tests::kernel::{test}")]);
    command.env(CHILD, directory.path()).status().unwrap()
}

/// Asserts that a test's other part went well, unless the system doesn't let it run.
fn check(test: &str, script: &str, has_mounts: bool) {
    let can_unshare = || Command::new("unshare").args(["-rm", "true"]).status();
    if has_mounts && !can_unshare().is_ok_and(|status| status.success()) {
        println!("skipped {test}: neither root nor a user namespace");
        return;
    }
    let status = run(test, script, has_mounts);
    match status.code() {
        Some(NOT_ALLOWED) => println!("skipped {test}: mounting is not permitted"),
        _ => assert!(status.success(), "{test}: {status}"),
    }
}

fn append(log: &Log) -> Result<()> {
    let start = log.committed() as i64;
    log.append(&numbers(start..start + 1000), 1, None).map(drop)
}

/// Appends until that fails; why.
fn append_until_it_fails(log: &Log) -> Error {
    let failures = (0..1000).find_map(|_| append(log).err());
    failures.expect("a thousand appends that went well")
}

fn holds(directory: &Path, first: u64, count: u64) {
    let log = open(directory).unwrap();
    let expected: Vec<_> = (first as i64..count as i64).collect();
    assert_eq!(read_all(&log).unwrap(), expected);
}

#[test]
fn a_full_file_system_refuses_appends_until_there_is_room() {
    let Some(directory) = child() else {
        let test = "a_full_file_system_refuses_appends_until_there_is_room";
        return check(test, MOUNT, true);
    };
    let log = open(&directory).unwrap();
    for _ in 0..2 {
        match append_until_it_fails(&log) {
            Error::Io { source, .. } => {
                assert_eq!(source.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
            }
            other => panic!("{other}"),
        }
    }
    let full = log.committed();
    log.release(full).unwrap();
    (0..10).for_each(|_| append(&log).unwrap());
    let first = log.first_offset();
    kill(log);
    holds(&directory, first, full + 10_000);
}

#[test]
fn a_write_that_the_kernel_cuts_short_and_then_refuses_stops_the_log() {
    let Some(directory) = child() else {
        let test = "a_write_that_the_kernel_cuts_short_and_then_refuses_stops_the_log";
        return check(test, IGNORE, false);
    };
    let log = open(&directory).unwrap();
    append(&log).unwrap();
    let before = getrlimit(Resource::Fsize);
    let current = Some(30_000);
    setrlimit(Resource::Fsize, Rlimit { current, ..before }).unwrap();
    let error = append_until_it_fails(&log);
    setrlimit(Resource::Fsize, before).unwrap();
    assert!(error.to_string().contains("write to"), "{error}");
    assert!(matches!(append(&log), Err(Error::Poisoned { .. })));
    let committed = log.committed();
    assert_eq!(committed, 3000, "the fourth does not fit");
    drop(log);
    holds(&directory, 0, committed);
}

#[test]
fn a_storm_of_signals_is_invisible() {
    let Some(directory) = child() else {
        return check("a_storm_of_signals_is_invisible", STORM, true);
    };
    let mut options = options(&directory);
    options.segment_bytes = 8 << 20;
    let log = Log::open(options, 1, None).unwrap();
    for start in (0..6_000_000).step_by(100_000) {
        let batch = numbers(start..start + 100_000);
        log.append(&batch, 1, None).unwrap();
    }
    drop(log);
    holds(&directory, 0, 6_000_000);
}
