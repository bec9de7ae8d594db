//! On what it is measured.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What is known of the machine and of the disk.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    filesystem: Option<String>,
    device: Option<String>,
}

impl Machine {
    /// Looks at the machine, and at the file system that a directory lies in.
    pub(super) fn of(directory: &Path) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").ok();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (filesystem, device) = mount_of(&mounts, directory).unzip();
        Self {
            cpu: cpu
                .and_then(|text| model(&text))
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            filesystem,
            device,
        }
    }

    /// Whether what is written there stays in memory.
    pub(super) fn is_memory(&self) -> bool {
        matches!(self.filesystem.as_deref(), Some("tmpfs" | "ramfs"))
    }

    /// All of it in a line.
    pub(super) fn describe(&self) -> String {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        let mut text = format!("{}, {} {cores}", self.cpu, self.cores);
        if let (Some(filesystem), Some(device)) = (&self.filesystem, &self.device) {
            text = format!("{text}; {filesystem} on {device}");
        }
        text
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The file system's type and its device, from the lines of `/proc/self/mountinfo`.
fn mount_of(mounts: &str, directory: &Path) -> Option<(String, String)> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let mut right = right.split(' ');
        let named = (right.next()?.to_owned(), right.next()?.to_owned());
        directory
            .starts_with(&point)
            .then_some((point.len(), named))
    };
    // Of two that are mounted over each other the later one counts.
    let deepest = mounts.lines().filter_map(mount).max_by_key(|found| found.0);
    deepest.map(|(_, named)| named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_above_a_directory_is_its_file_system() {
        let mounts = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /tmp rw - tmpfs tmpfs rw
31 22 8:1 / /mnt/my\\040disk rw,noatime shared:1 - xfs /dev/sda1 rw,attr2
32 22 8:2 / /mnt/my\\040disk rw,noatime - btrfs /dev/sdb rw";
        let found = |path: &str| mount_of(mounts, Path::new(path)).unzip().0;
        assert_eq!(found("/home/me").as_deref(), Some("ext4"));
        assert_eq!(found("/tmp/x").as_deref(), Some("tmpfs"));
        assert_eq!(found("/tmpfile").as_deref(), Some("ext4"));
        assert_eq!(found("/mnt/my disk/store").as_deref(), Some("btrfs"));
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC  7763 \nmodel name\t: other\n";
        assert_eq!(model(text).as_deref(), Some("AMD EPYC 7763"));
        assert_eq!(model("Features: fp asimd\n"), None);
    }
}
