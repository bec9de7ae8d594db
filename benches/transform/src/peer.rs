//! A process that does the work of one side of a ratio.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A process that works each time it is sent a line, and tells how many seconds it took.
pub(crate) struct Peer {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a process and waits until it says `ready`; `None` when it does not.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let output = BufReader::new(process.stdout.take()?);
        let mut peer = Self { process, output };
        (peer.line()? == "ready").then_some(peer)
    }

    pub(crate) fn run(&mut self) -> Duration {
        let input = self.process.stdin.as_mut().expect("a pipe");
        writeln!(input, "go").expect("asked");
        let line = self.line().expect("an answer");
        Duration::from_secs_f64(line.parse().expect("seconds"))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
