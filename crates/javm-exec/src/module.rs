//! [`Module`]: one program, ready to run.

use std::sync::{Arc, OnceLock};

use javm_gas::GasModel;
use javm_isa::Code;

use crate::{Backend, Engine, Interpreter, jit};

/// A program that an [`Engine`] has taken in. Cheap to clone; shared by instances and threads.
#[derive(Clone, Debug)]
pub struct Module {
    engine: Engine,
    shared: Arc<Shared>,
}

/// What an engine may keep of a module: everything but the engine.
#[derive(Debug)]
pub(crate) struct Shared {
    code: Arc<Code>,
    /// What the program is called where compiled code is kept.
    key: Option<[u8; 32]>,
    interpreter: OnceLock<Interpreter>,
    /// `None` inside: it cannot be compiled, and is interpreted.
    recompiled: OnceLock<Option<jit::Program>>,
}

impl Module {
    /// Takes in a program. It is priced and lowered when it first runs; the recompiler does so region by region
    /// as they are first entered.
    #[must_use]
    pub fn new(engine: &Engine, code: impl Into<Arc<Code>>) -> Self {
        Self::from_shared(engine, Arc::new(Shared::new(code.into(), None)))
    }

    /// A module of what the engine keeps.
    pub(crate) fn from_shared(engine: &Engine, shared: Arc<Shared>) -> Self {
        Self { engine: engine.clone(), shared }
    }

    /// The engine that the module belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The program.
    #[must_use]
    pub fn code(&self) -> &Arc<Code> {
        &self.shared.code
    }

    /// The cost model that it is priced with.
    #[must_use]
    pub fn gas_model(&self) -> GasModel {
        self.engine.gas_model()
    }

    /// The program as the interpreter runs it.
    #[must_use]
    pub fn interpreter(&self) -> &Interpreter {
        self.shared.interpreter.get_or_init(|| Interpreter::new(&self.shared.code, self.gas_model()))
    }

    /// Compiles the program now instead of when it first runs; nothing to do for the interpreter, whose
    /// lowering this does then. What is left is running.
    pub fn compile(&self) {
        match self.recompiled() {
            Some(program) => program.compile(&self.shared.code),
            None => {
                let _ = self.interpreter();
            }
        }
    }

    /// Bytes of memory that the program takes as far as it is compiled, with its tables; 0 where nothing is.
    #[must_use]
    pub fn compiled_size(&self) -> usize {
        self.recompiled().map_or(0, jit::Program::size)
    }

    /// How many parts of the program were compiled by this module, and how many were found on disk
    /// ([`Config::code_cache`](crate::Config::code_cache)) and not compiled. A part is some 4 KiB of code.
    #[must_use]
    pub fn compiled_and_loaded(&self) -> (usize, usize) {
        self.recompiled().map_or((0, 0), jit::Program::origins)
    }

    /// Bytes of memory of the module: its code, and what was made of it so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shared.size()
    }

    /// The machine code of the program, when the recompiler runs it: compiled as far as it was not. It is for
    /// looking at: regions follow each other in the order of the program, wherever they lie in memory.
    #[must_use]
    pub fn machine_code(&self) -> Option<Vec<u8>> {
        self.recompiled().map(|program| program.machine_code(&self.shared.code))
    }

    /// The machine code of the instruction at `pc`, when the recompiler runs it: compiled if it was not. The first
    /// instruction of a basic block begins with taking the block's gas, and the code of an instruction may end with
    /// padding. Jumps in it are relative to where it lies, which this does not tell. `None` where no instruction
    /// starts.
    #[must_use]
    pub fn machine_code_at(&self, pc: u32) -> Option<&[u8]> {
        self.recompiled()?.machine_code_at(&self.shared.code, pc)
    }

    /// The program as the recompiler runs it; `None` when the interpreter does.
    pub(crate) fn recompiled(&self) -> Option<&jit::Program> {
        if self.engine.backend() != Backend::Recompiler {
            return None;
        }
        let Shared { code, key, recompiled, .. } = &*self.shared;
        let shelf = || key.as_ref().and_then(|key| self.engine.shelf(key));
        recompiled.get_or_init(|| jit::Program::new(code, self.gas_model(), shelf())).as_ref()
    }

    /// What the basic block that `pc` lies in costs: what an entry there pays. 0 where no instruction starts.
    #[must_use]
    pub fn block_cost(&self, pc: u64) -> u64 {
        match u32::try_from(pc).ok().filter(|_| self.shared.code.is_instruction_start(pc)) {
            Some(pc) => {
                let start = self.shared.code.block_of(pc);
                u64::from(javm_gas::block_cost(&self.shared.code, self.gas_model(), start))
            }
            None => 0,
        }
    }
}

impl Shared {
    /// A program, with a name or without.
    pub(crate) const fn new(code: Arc<Code>, key: Option<[u8; 32]>) -> Self {
        Self { code, key, interpreter: OnceLock::new(), recompiled: OnceLock::new() }
    }

    /// Bytes of memory.
    pub(crate) fn size(&self) -> usize {
        let Self { code, interpreter, recompiled, .. } = self;
        let recompiled = recompiled.get().and_then(Option::as_ref).map_or(0, jit::Program::size);
        let interpreter = interpreter.get().map_or(0, Interpreter::size);
        // A byte, and a bit in each of two sets of offsets.
        code.len() as usize / 4 * 5 + size_of_val(code.jump_table()) + recompiled + interpreter
    }
}
