//! Arguments that several subcommands take, and how numbers are spelled.

use std::path::PathBuf;

use clap::ValueEnum;
use javm_exec::{Backend, Config, ConfigError, Engine, GasModel};
use javm_isa::Numbering;
use javm_program::{LoadAs, service::Metadata};

use crate::error::CliError;

/// How code is executed and priced.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EngineOptions {
    /// What executes the code: auto, interpreter, recompiler.
    #[arg(long, value_name = "BACKEND", default_value_t = Backend::Auto)]
    pub(crate) backend: Backend,
    /// What a basic block costs: pipeline, per-instruction.
    #[arg(long, value_name = "MODEL", default_value_t = GasModel::Pipeline)]
    pub(crate) gas_model: GasModel,
    /// Keep machine code in this folder, which is made if it is not there, and look for it there: what was compiled
    /// before is not compiled again. Whoever can read the folder is trusted with everything.
    #[arg(long, value_name = "DIR")]
    code_cache: Option<PathBuf>,
}

impl EngineOptions {
    /// The engine that was asked for.
    pub(crate) fn engine(&self) -> Result<Engine, ConfigError> {
        let config = Config::new().backend(self.backend).gas_model(self.gas_model);
        Engine::new(match &self.code_cache {
            Some(folder) => config.code_cache(folder),
            None => config,
        })
    }
}

/// How a program file is read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LoadOptions {
    /// The file's format.
    #[arg(long, value_enum, default_value_t = FileFormat::Auto)]
    format: FileFormat,
    /// How a bare blob or a JAM program numbers its instructions.
    #[arg(long, value_enum, value_name = "GP", default_value_t = NumberingName::Canonical)]
    numbering: NumberingName,
}

/// Formats by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// Tell it from the bytes.
    Auto,
    /// PolkaVM container.
    Polkavm,
    /// Bare program blob of the Gray Paper.
    Bare,
    /// JAM service program.
    Jam,
    /// Capability manifest.
    Manifest,
    /// ELF file, linked on the way.
    Elf,
}

/// Numberings by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NumberingName {
    /// Gray Paper 0.8 and `ecall`.
    Canonical,
    /// Gray Paper 0.8.
    #[value(name = "0.8")]
    V08,
    /// Gray Paper 0.7.
    #[value(name = "0.7")]
    V07,
}

impl LoadOptions {
    /// Whether the bytes may be an ELF file.
    pub(crate) fn may_be_elf(self) -> bool {
        matches!(self.format, FileFormat::Auto | FileFormat::Elf)
    }

    /// Whether the bytes are read as a capability manifest.
    pub(crate) fn reads_manifest(self, bytes: &[u8]) -> bool {
        match self.format {
            FileFormat::Auto => bytes.starts_with(&javm_program::manifest::MAGIC),
            format => format == FileFormat::Manifest,
        }
    }

    /// How to read the bytes; `None`: by what they look like.
    pub(crate) fn load_as(self, bytes: &[u8]) -> Option<LoadAs> {
        let numbering = match self.numbering {
            NumberingName::Canonical => Numbering::Canonical,
            NumberingName::V08 => Numbering::V08,
            NumberingName::V07 => Numbering::V07,
        };
        let jam = LoadAs::JamService(numbering, Metadata::Detect);
        match self.format {
            FileFormat::Elf => None,
            FileFormat::Auto if numbering == Numbering::Canonical => None,
            // A numbering was asked for, so it is one of the two formats that do not say theirs.
            FileFormat::Auto if javm_program::bare::has_structure(bytes) => Some(LoadAs::BareBlob(numbering)),
            FileFormat::Auto | FileFormat::Jam => Some(jam),
            FileFormat::Polkavm => Some(LoadAs::PolkaVm),
            FileFormat::Bare => Some(LoadAs::BareBlob(numbering)),
            FileFormat::Manifest => Some(LoadAs::Manifest),
        }
    }
}

/// A number: decimal, `0x…`, or either with a minus sign (two's complement). `_` may separate digits.
pub(crate) fn number(text: &str) -> Option<u64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let digits = digits.replace('_', "");
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok()?,
        None if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    match negative {
        true if magnitude > 1 << 63 => None,
        true => Some(magnitude.wrapping_neg()),
        false => Some(magnitude),
    }
}

/// [`number`], or the error that says what a number is.
pub(crate) fn required_number(text: &str) -> Result<u64, CliError> {
    number(text).ok_or_else(|| CliError::Number { text: crate::show::clean(text) })
}

/// An amount of gas: a number, with `k`, `M` or `G` behind it for thousands, millions, billions.
pub(crate) fn gas(text: &str) -> Result<u64, &'static str> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let amount = number(digits).filter(|_| !digits.starts_with('-'));
    amount.and_then(|n| n.checked_mul(unit)).ok_or("not an amount of gas, for example 5000, 20k, 1M or 3G")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, value) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("0xff", Some(255)),
            ("-1", Some(u64::MAX)),
            ("-0x10", Some(u64::MAX - 15)),
            ("-9223372036854775808", Some(1 << 63)),
            ("-9223372036854775809", None),
            ("1_000", Some(1000)),
            ("", None),
            ("-", None),
            ("0x", None),
            ("+1", None),
            ("--1", None),
            ("0x+1", None),
            ("1e3", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }

    #[test]
    fn amounts_of_gas() {
        assert_eq!(gas("20k"), Ok(20_000));
        assert_eq!(gas("3G"), Ok(3_000_000_000));
        assert_eq!(gas("0x10"), Ok(16));
        for bad in ["", "k", "-5", "1T", "18446744073709551615k"] {
            assert!(gas(bad).is_err(), "{bad}");
        }
    }
}
