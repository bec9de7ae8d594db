//! What a plugin may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one instance of a plugin may use of the machine. On by default; a record that needs more fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of linear memory and tables, over the whole instance. Default 256 MiB.
    pub memory_bytes: u64,
    /// How long one call on a batch may run. Default 5 s. See [`Chain::apply`](super::Chain::apply)
    /// for what a batch of failing calls may cost in all.
    pub batch_deadline: Duration,
    /// How long a plugin may take to open (to load a model, say). Default 30 s.
    pub open_deadline: Duration,
    /// Bytes that one call may hand back, and bytes of passed-through columns that its `origin` may
    /// copy by repeating rows. Default 64 MiB. All the calls on one batch together may hand back 16 times that.
    pub output_bytes: u64,
    /// Rows that are handed to a plugin in one call. Default 1024.
    pub batch_rows: u32,
    /// Bytes of the plugin's inputs that are handed to it in one call; a single larger row goes alone. Default 8 MiB.
    pub batch_bytes: u64,
    /// Bytes that a plugin may log in one call; further lines are dropped, with a note. Default 64 KiB.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            batch_deadline: Duration::from_secs(5),
            open_deadline: Duration::from_secs(30),
            output_bytes: 64 << 20,
            batch_rows: 1024,
            batch_bytes: 8 << 20,
            log_bytes: 64 << 10,
        }
    }
}

/// "5 s", "100 ms".
pub(super) fn show_duration(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis >= 1000 && millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// "256 MiB", "100 bytes".
pub(super) fn show_bytes(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}
