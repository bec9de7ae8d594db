//! What a person or a program reads: standard output, numbers with units, tables, progress.

use std::fmt;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use comfy_table::{Cell, Table, TableComponent, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Standard output, buffered; a reader that has gone ends the command quietly.
pub(crate) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Takes standard output.
    pub(crate) fn new() -> Self {
        Self {
            writer: BufWriter::with_capacity(1 << 16, std::io::stdout().lock()),
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.writer
            .write_all(bytes)
            .map_err(|error| Failure::output(&error))
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Outcome {
        writeln!(self.writer, "{text}").map_err(|error| Failure::output(&error))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Outcome {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::of("cannot write JSON", &error))?;
        self.line(text)
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.writer.flush().map_err(|error| Failure::output(&error))
    }
}

/// A table for people, without rows yet: columns apart by space, a line under the header.
pub(crate) fn table<I>(header: I) -> Table
where
    I: IntoIterator,
    I::Item: Into<Cell>,
{
    let mut table = bare_table();
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table
}

/// A table without a header, for the rows that go on below another one.
pub(crate) fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_style(TableComponent::MiddleHeaderIntersections, '─');
    table
}

/// A text that cannot steer a terminal: control characters are written as escapes.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// A plain text of at most so many characters.
pub(crate) fn brief(text: &str, most: usize) -> String {
    let plain = plain(text);
    match plain.char_indices().nth(most) {
        Some(_) => {
            let kept: String = plain.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        None => plain,
    }
}

/// A number of bytes with its unit: `4.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut amount = count as f64 / 1024.0;
    let mut unit = "KiB";
    for larger in UNITS.iter().skip(1) {
        if amount < 1023.95 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(crate) fn rows(number: u64) -> String {
    if number == 1 {
        "1 row".to_owned()
    } else {
        format!("{} rows", count(number))
    }
}

/// A time span: `0.8 s`, `3 min 20 s`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = time.as_secs();
    if whole < 3600 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{} h {} min", whole / 3600, whole % 3600 / 60)
}

/// A bar on standard error for work of so many bytes, or of unknown size. There is none unless
/// standard error is a terminal.
pub(crate) fn bytes_bar(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg} ETA {eta}",
        None => "{spinner} {bytes} {binary_bytes_per_sec} {msg} {elapsed}",
    };
    bar(total, template)
}

/// A bar as `bytes_bar`, for rows.
pub(crate) fn rows_bar(total: u64) -> ProgressBar {
    bar(
        Some(total),
        "{wide_bar} {human_pos}/{human_len} rows {per_sec} {msg} ETA {eta}",
    )
}

/// A bar as `bytes_bar`, for milliseconds of a known time.
pub(crate) fn time_bar(total: Duration) -> ProgressBar {
    let millis = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
    bar(Some(millis), "{wide_bar} {msg} {elapsed}")
}

fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(4_718_592), "4.5 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(count(12), "12");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rows(1), "1 row");
        assert_eq!(span(Duration::from_millis(812)), "0.8 s");
        assert_eq!(span(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(span(Duration::from_secs(7500)), "2 h 5 min");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(brief("abcdef", 4), "abc…");
        assert_eq!(brief("abcd", 4), "abcd");
    }
}
