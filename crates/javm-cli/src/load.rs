//! Files in: bytes with a limit, programs of any format.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use javm_program::Program;

use crate::{error::CliError, options::LoadOptions, show::clean};

/// The most that is read of any file: programs are at most 32 MiB of code, states are larger.
const MAX_FILE: u64 = 1 << 30;

/// Reads a file, up to [`MAX_FILE`]: a device that never ends is an error, not the end of memory.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(CliError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(bytes)
}

/// Writes a file whole or not at all: under another name first, then renamed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    // A device or a pipe is written to; only files are replaced.
    let written = match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => std::fs::write(path, bytes),
        _ => std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path)),
    };
    written.map_err(|source| {
        // The first error is the one to tell; what is left of the new file is not worth another.
        let _ = std::fs::remove_file(&new);
        CliError::Write { path: path.to_owned(), source }
    })
}

/// Reads a program file.
pub(crate) fn program(path: &Path, options: LoadOptions) -> Result<Program, CliError> {
    program_of(path, &bytes(path)?, options)
}

/// Reads the bytes of a program file.
pub(crate) fn program_of(path: &Path, bytes: &[u8], options: LoadOptions) -> Result<Program, CliError> {
    let program = match options.load_as(bytes) {
        _ if options.may_be_elf() && bytes.starts_with(b"\x7fELF") => return link(path, bytes),
        Some(format) => Program::load_as(format, bytes),
        None => Program::load(bytes),
    };
    program.map_err(|source| CliError::Program { name: path_name(path), source })
}

/// Links an ELF file. PolkaVM's linker is a build tool that some files make panic: that too is an error here.
fn link(path: &Path, bytes: &[u8]) -> Result<Program, CliError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let linked = std::panic::catch_unwind(|| Program::load_or_link(bytes));
    std::panic::set_hook(hook);
    let program = linked.map_err(|_| CliError::Linker { name: path_name(path) })?;
    program.map_err(|source| CliError::Program { name: path_name(path), source })
}

/// A path as it is printed.
pub(crate) fn path_name(path: &Path) -> String {
    clean(&path.to_string_lossy())
}

/// Which file an argument of the form `@FILE` names.
pub(crate) fn at_file(text: &str) -> Option<PathBuf> {
    text.strip_prefix('@').map(PathBuf::from)
}
