//! ELF files to PolkaVM blobs, and the checks that a blob must pass to be an image.

use super::error::Error;
use javm_abi::kernel::DECLARATION_PREFIX;
use polkavm_linker::{Config, ProgramBlob, TargetInstructionSet, program_from_elf};
use std::collections::BTreeMap;
use std::fmt;

/// An encoding of programs, by the name that PolkaVM gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// The numbering of the Gray Paper, 0.8.
    JamV1,
    /// The numbering of the Gray Paper, 0.7.
    ReviveV1,
    /// PolkaVM's own encoding.
    Latest64,
}

impl InstructionSet {
    /// Every instruction set that blobs are made for.
    pub(crate) const ALL: [Self; 3] = [Self::JamV1, Self::ReviveV1, Self::Latest64];

    fn target(self) -> TargetInstructionSet {
        match self {
            Self::JamV1 => TargetInstructionSet::JamV1,
            Self::ReviveV1 => TargetInstructionSet::ReviveV1,
            Self::Latest64 => TargetInstructionSet::Latest,
        }
    }

    fn file_name(self, program: &str) -> String {
        match self {
            Self::JamV1 => format!("{program}.polkavm"),
            Self::ReviveV1 => format!("{program}.revive_v1.polkavm"),
            Self::Latest64 => format!("{program}.latest64.polkavm"),
        }
    }
}

/// A linked program. Shown, it is one line about itself.
pub(crate) struct Linked {
    /// The name of its file.
    pub(crate) file_name: String,
    /// The container.
    pub(crate) blob: Vec<u8>,
    exports: Vec<String>,
    code: usize,
    data: u64,
    stack: u64,
}

impl fmt::Display for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file_name, blob, exports, code, data, stack } = self;
        let size = blob.len();
        write!(f, "{file_name}: {size} bytes, code {code}, data {data}, stack {stack};")?;
        exports.iter().try_for_each(|name| write!(f, " {name}"))
    }
}

/// What the exports of a program have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exports {
    /// Endpoints of an image.
    Endpoints,
    /// Names that a host calls.
    Any,
}

/// Links a program for an instruction set. Names and source lines stay in it.
pub(crate) fn link(
    program: &str,
    set: InstructionSet,
    exports: Exports,
    elf: &[u8],
) -> Result<Linked, Error> {
    let blob = program_from_elf(Config::default(), set.target(), elf)
        .map_err(|source| Error::Link { program: program.to_owned(), source })?;
    let parsed = ProgramBlob::parse(blob.as_slice().into())
        .map_err(|source| Error::Parse { program: program.to_owned(), source })?;
    let names: Vec<String> = parsed
        .exports()
        .map(|export| String::from_utf8_lossy(export.symbol().as_bytes()).into_owned())
        .collect();
    Ok(Linked {
        file_name: set.file_name(program),
        exports: match exports {
            Exports::Any => names,
            Exports::Endpoints => endpoints(program, names)?.into_values().collect(),
        },
        code: parsed.code().len(),
        data: u64::from(parsed.ro_data_size()) + u64::from(parsed.rw_data_size()),
        stack: u64::from(parsed.stack_size()),
        blob,
    })
}

/// The endpoints by index. An export that declares nothing must be named `NAME@N`, and no index be there twice.
fn endpoints(program: &str, exports: Vec<String>) -> Result<BTreeMap<u8, String>, Error> {
    let mut endpoints = BTreeMap::new();
    for export in exports.into_iter().filter(|name| !name.starts_with(DECLARATION_PREFIX)) {
        let refuse = |export: &str, problem| {
            Err(Error::Export { program: program.to_owned(), export: export.to_owned(), problem })
        };
        let Some(index) = export.split_once('@').and_then(|(_, index)| index.parse::<u8>().ok()) else {
            return refuse(&export, "is no endpoint: it is not named NAME@N with N of at most 255");
        };
        if endpoints.contains_key(&index) {
            return refuse(&export, "has an index that another endpoint has too");
        }
        endpoints.insert(index, export);
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_endpoints() {
        let of = |names: &[&str]| endpoints("p", names.iter().map(|name| (*name).to_owned()).collect());
        let found = of(&["add@1", "@image:gas_slots=6", "get@0"]).expect("are endpoints");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(0, "get@0".to_owned()), (1, "add@1".to_owned())]);
        let error = |names| of(names).expect_err("is refused").to_string();
        assert!(error(&["get"]).starts_with("p: export `get` is no endpoint"));
        assert!(error(&["get@256"]).contains("at most 255"));
        assert_eq!(error(&["a@3", "b@3"]), "p: export `b@3` has an index that another endpoint has too");
    }
}
