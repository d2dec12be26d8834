//! ELF files, through PolkaVM's linker.
//!
//! The linker is a build tool: it optimises, takes time that is not linear in its input, and is not written
//! to survive files that were made to hurt it (a few changed bytes make it panic, or fill the memory with
//! the holes between two import numbers, which nothing can catch). So [`Program::load`] leaves ELF files
//! alone, and whoever calls what is here vouches for the file: give it the output of a compiler that you
//! ran, and take programs from strangers linked.

use std::sync::Arc;

use polkavm_linker::{Config, ProgramFromElfError, TargetInstructionSet, program_from_elf};

use crate::{
    error::ProgramError,
    polkavm,
    program::{Format, Program},
};

/// An ELF file that PolkaVM's linker refuses.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ELF file does not link: {0}")]
pub struct LinkError(Arc<ProgramFromElfError>);

/// Equal when they say the same.
impl PartialEq for LinkError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.to_string() == other.0.to_string()
    }
}

impl Eq for LinkError {}

/// Links an ELF file to a PolkaVM container for `JamV1`, with names and source lines.
///
/// # Errors
/// [`LinkError`].
pub fn link(elf: &[u8]) -> Result<Vec<u8>, LinkError> {
    program_from_elf(Config::default(), TargetInstructionSet::JamV1, elf)
        .map_err(|error| LinkError(Arc::new(error)))
}

/// Links and reads an ELF file.
///
/// # Errors
/// [`ProgramError::Link`], or what is wrong with the linked program.
pub fn read(elf: &[u8]) -> Result<Program, ProgramError> {
    let mut program = polkavm::read(&link(elf)?)?;
    program.format = Format::Elf;
    Ok(program)
}
