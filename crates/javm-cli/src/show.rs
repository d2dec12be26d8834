//! Results out: text or JSON, colour, and what makes foreign text harmless.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use javm_cap::{CapHash, hash::Hex};
use javm_exec::NUM_REGS;
use serde::Serialize;

use crate::error::CliError;

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text is, for who can see colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A heading.
    Heading,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Of less interest.
    Faint,
}

/// Whether text is styled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// The text in a style, padded to `width` before it is styled.
    pub(crate) fn pad(self, style: Style, text: impl Display, width: usize) -> String {
        let text = format!("{text:<width$}");
        let code = match style {
            Style::Heading => "1",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Faint => "2",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }

    /// The text in a style.
    pub(crate) fn text(self, style: Style, text: impl Display) -> String {
        self.pad(style, text, 0)
    }
}

/// Where a command prints to.
pub(crate) struct Output {
    json: bool,
    paint: Paint,
}

impl Output {
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Self { json, paint: Paint(color && !json) }
    }

    /// Whether JSON was asked for.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a report: its fields as JSON, or the text that `text` makes.
    pub(crate) fn report<R: Serialize>(
        &mut self,
        report: &R,
        text: impl FnOnce(&R, Paint) -> String,
    ) -> Result<(), CliError> {
        let mut printed = if self.json {
            serde_json::to_string_pretty(report).map_err(io::Error::from)?
        } else {
            text(report, self.paint)
        };
        if !printed.ends_with('\n') {
            printed.push('\n');
        }
        self.raw(&printed)
    }

    /// Prints text as it is.
    pub(crate) fn raw(&mut self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Says why the command could not do its work: in words to standard error, with `--json` also as
    /// `{"error": …}` to standard output.
    pub(crate) fn error(&mut self, error: &CliError) {
        if self.json {
            let object = serde_json::json!({ "error": error.to_string() });
            // There is no other place left to complain at.
            let _ = self.raw(&format!("{object}\n"));
        }
        let _ = writeln!(io::stderr(), "javm: {error}");
    }
}

/// Text of a file, harmless for a terminal: control characters, and those that turn the direction of text,
/// are escaped.
pub(crate) fn clean(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A hash, whole.
pub(crate) fn hex(hash: &CapHash) -> String {
    Hex(hash).to_string()
}

/// The first eight digits of a hash.
pub(crate) fn short(hash: &str) -> String {
    format!("{}…", hash.get(..8).unwrap_or(hash))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex_bytes(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 page`, `2 pages`.
pub(crate) fn count(n: impl TryInto<u64>, what: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// Thirteen registers with their names, a few to a line.
pub(crate) fn registers(values: &[u64; NUM_REGS], indent: &str) -> String {
    let named: Vec<_> =
        javm_abi::reg::NAMES.iter().zip(values).map(|(n, v)| format!("{n:>2} {v:#018x}")).collect();
    named.chunks(4).map(|line| format!("{indent}{}\n", line.join("   "))).collect()
}

/// Lines of `name  value`, the names in one column.
pub(crate) struct Fields {
    text: String,
    paint: Paint,
}

impl Fields {
    pub(crate) const fn new(paint: Paint) -> Self {
        Self { text: String::new(), paint }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.text.push_str(&self.paint.pad(Style::Faint, name, Self::WIDTH));
        self.text.push_str(&format!("{value}\n"));
        self
    }

    /// Adds a line if there is something to say.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }

    /// Adds text as it is.
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(crate) fn finish(&mut self) -> String {
        core::mem::take(&mut self.text)
    }

    /// The column of the values.
    pub(crate) const WIDTH: usize = 13;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_harmless() {
        assert_eq!(clean("a\x1b[31mb\nc\u{202e}dé"), "a\\u{1b}[31mb\\nc\\u{202e}dé");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((count(1u64, "page"), count(2_000u64, "page")), ("1 page".into(), "2,000 pages".into()));
    }

    #[test]
    fn styles_only_where_asked() {
        assert_eq!(Paint(false).pad(Style::Bad, "x", 3), "x  ");
        assert_eq!(Paint(true).pad(Style::Bad, "x", 3), "\x1b[31mx  \x1b[0m");
    }
}
