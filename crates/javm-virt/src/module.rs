//! [`VirtModule`]: a program compiled once, its imports and exports by name; [`ModuleError`].

use std::{sync::Arc, vec::Vec};

use javm_exec::{Engine, Module};
use javm_program::{LoadAs, PAGE_SIZE, Program, ProgramError, RegionKind};

use crate::{
    Flat, InstantiateError, MAX_SYMBOL_LEN, SyscallSymbol, Virt, VirtConfig, config::Instances,
    machine::Machine,
};

/// Why a program becomes no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The bytes are no PolkaVM program that can be run here.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program has too many bytes.
    #[error("a program of {len} bytes, more than {limit}")]
    CodeSize {
        /// Its bytes.
        len: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The program wants too much memory.
    #[error("a memory of {pages} pages, more than {limit}")]
    Pages {
        /// Its pages.
        pages: u64,
        /// The most there may be.
        limit: u32,
    },
    /// An import has a symbol that is too long.
    #[error("import {number} has a symbol of {len} bytes, more than {max}", max = MAX_SYMBOL_LEN)]
    Symbol {
        /// Number of the import.
        number: u32,
        /// Bytes of its symbol.
        len: usize,
    },
}

impl From<ModuleError> for InstantiateError {
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::CodeSize { .. } | ModuleError::Pages { .. } => Self::Limit,
            ModuleError::Program(_) | ModuleError::Symbol { .. } => Self::InvalidImage,
        }
    }
}

/// A program, compiled, of which any number of instances can be made. Cheap to clone; shared by threads.
#[derive(Clone, Debug)]
pub struct VirtModule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    flat: Flat,
    /// By ascending number.
    imports: Vec<(u32, SyscallSymbol)>,
    pages: u64,
    /// First page and number of pages of the stack.
    stack: Option<(u32, u32)>,
    /// Bytes of the file, if it came from one.
    len: usize,
    /// Not the configuration, which keeps modules itself.
    instances: Instances,
}

impl VirtModule {
    /// Takes a PolkaVM program in and compiles it. Its instances count for `config`.
    ///
    /// # Errors
    /// [`ModuleError`]; a program of too many bytes is not even looked at, one of too much memory not compiled.
    pub fn new(engine: &Engine, config: &VirtConfig, program: &[u8]) -> Result<Self, ModuleError> {
        Self::check_len(config, program)?;
        Self::build(engine, config, Program::load_as(LoadAs::PolkaVm, program)?, program.len())
    }

    /// Whether a program has too many bytes.
    pub(crate) const fn check_len(config: &VirtConfig, program: &[u8]) -> Result<(), ModuleError> {
        let (len, limit) = (program.len(), config.max_code_size);
        if len > limit { Err(ModuleError::CodeSize { len, limit }) } else { Ok(()) }
    }

    /// As [`new`](Self::new), of a program that has been read, of any format. The limit of bytes is for files.
    ///
    /// # Errors
    /// [`ModuleError::Pages`], [`ModuleError::Symbol`].
    pub fn from_program(engine: &Engine, config: &VirtConfig, program: Program) -> Result<Self, ModuleError> {
        Self::build(engine, config, program, 0)
    }

    fn build(
        engine: &Engine,
        config: &VirtConfig,
        program: Program,
        len: usize,
    ) -> Result<Self, ModuleError> {
        let mut imports = Vec::with_capacity(program.imports().len());
        for import in program.imports() {
            let symbol = SyscallSymbol::new(&import.symbol)
                .ok_or(ModuleError::Symbol { number: import.number, len: import.symbol.len() })?;
            imports.push((import.number, symbol));
        }
        let pages = program.regions().iter().map(|region| u64::from(region.size.div_ceil(PAGE_SIZE))).sum();
        if pages > u64::from(config.max_pages) {
            return Err(ModuleError::Pages { pages, limit: config.max_pages });
        }
        let flat = Flat::shared(engine, program);
        let stack = flat.mappings().iter().find(|mapping| mapping.kind == RegionKind::Stack);
        let stack = stack.map(|mapping| (mapping.first, mapping.count));
        flat.module().compile();
        Ok(Self(Arc::new(Inner { flat, imports, pages, stack, len, instances: config.counted().clone() })))
    }

    /// A new instance: variables as they were compiled.
    ///
    /// # Errors
    /// [`InstantiateError::Limit`] when there are as many instances as there may be.
    pub fn instantiate(&self) -> Result<Virt, InstantiateError> {
        let admission = self.0.instances.admit().ok_or(InstantiateError::Limit)?;
        Ok(Virt::of(Machine::new(self, admission)?))
    }

    /// The engine that runs it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.0.flat.module().engine()
    }

    /// The engine's module.
    #[must_use]
    pub fn module(&self) -> &Module {
        self.0.flat.module()
    }

    /// Names of the exports, ascending, with their code offsets. Of exports with one name the last counts.
    pub fn exports(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.0.flat.exports()
    }

    /// The imports, by ascending `ecalli` number.
    pub fn imports(&self) -> impl Iterator<Item = (u32, SyscallSymbol)> {
        self.0.imports.iter().copied()
    }

    /// How many pages of 4,096 bytes an instance's memory has.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.0.pages
    }

    /// Bytes of memory: of the file twice, as what it is found by and as what its instances have in memory, and of
    /// what was made of it.
    pub(crate) fn size(&self) -> usize {
        2 * self.0.len + self.module().size()
    }

    /// The symbol of an `ecalli` number.
    #[inline]
    pub(crate) fn symbol(&self, number: u32) -> Option<SyscallSymbol> {
        let imports = &self.0.imports;
        // Numbers are mostly positions.
        let found = match imports.get(number as usize) {
            Some((at, symbol)) if *at == number => Some(symbol),
            _ => {
                let at = imports.binary_search_by_key(&number, |(number, _)| *number).ok()?;
                imports.get(at).map(|(_, symbol)| symbol)
            }
        };
        found.copied()
    }

    pub(crate) fn flat(&self) -> &Flat {
        &self.0.flat
    }

    pub(crate) fn stack(&self) -> Option<(u32, u32)> {
        self.0.stack
    }
}
