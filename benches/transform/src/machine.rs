//! What the numbers are of.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The processor, its cores, memory, kernel, file system and the day.
pub(crate) fn named(home: &Path) -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes = field("/proc/meminfo", "MemTotal");
    let kilobytes = kilobytes.and_then(|m| m.split_whitespace().next()?.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let file_system = file_system(home).unwrap_or_else(|| "unknown".into());
    format!(
        "Machine: {processor}, {cores} cores, {} GiB of memory, Linux {}, {} ({}). Measured on {}.",
        kilobytes.unwrap_or(0) / (1 << 20),
        kernel.trim(),
        file_system,
        said_by("uname", &["-m"]),
        said_by("date", &["-u", "+%Y-%m-%d"]),
    )
}

/// The type of the innermost mount that a path lies in.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let around = mounts.filter(|(at, _)| path.starts_with(at));
    let innermost = around.max_by_key(|(at, _)| at.components().count())?;
    Some(innermost.1.to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said_by(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |o| String::from_utf8_lossy(&o.stdout).trim().to_owned(),
    )
}
