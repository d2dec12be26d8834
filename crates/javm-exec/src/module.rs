//! [`Module`]: one program, ready to run.

use std::sync::{Arc, OnceLock};

use javm_gas::GasModel;
use javm_isa::Code;

use crate::{Backend, Engine, Interpreter, jit};

/// A program that an [`Engine`] has taken in. Cheap to clone; shared by instances and threads.
#[derive(Clone, Debug)]
pub struct Module(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    code: Arc<Code>,
    interpreter: OnceLock<Interpreter>,
    /// `None` inside: it cannot be compiled, and is interpreted.
    recompiled: OnceLock<Option<jit::Program>>,
}

impl Module {
    /// Takes in a program. It is priced and lowered when it first runs; the recompiler does so region by region
    /// as they are first entered.
    #[must_use]
    pub fn new(engine: &Engine, code: impl Into<Arc<Code>>) -> Self {
        Self(Arc::new(Inner {
            engine: engine.clone(),
            code: code.into(),
            interpreter: OnceLock::new(),
            recompiled: OnceLock::new(),
        }))
    }

    /// The engine that the module belongs to.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The program.
    #[must_use]
    pub fn code(&self) -> &Arc<Code> {
        &self.0.code
    }

    /// The cost model that it is priced with.
    #[must_use]
    pub fn gas_model(&self) -> GasModel {
        self.0.engine.gas_model()
    }

    /// The program as the interpreter runs it.
    #[must_use]
    pub fn interpreter(&self) -> &Interpreter {
        self.0.interpreter.get_or_init(|| Interpreter::new(&self.0.code, self.gas_model()))
    }

    /// Compiles the program now instead of when it first runs; nothing to do for the interpreter, whose
    /// lowering this does then. What is left is running.
    pub fn compile(&self) {
        match self.recompiled() {
            Some(program) => program.compile(&self.0.code),
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

    /// The machine code of the program, when the recompiler runs it: compiled as far as it was not. It is for
    /// looking at: regions follow each other in the order of the program, wherever they lie in memory.
    #[must_use]
    pub fn machine_code(&self) -> Option<Vec<u8>> {
        self.recompiled().map(|program| program.machine_code(&self.0.code))
    }

    /// The program as the recompiler runs it; `None` when the interpreter does.
    pub(crate) fn recompiled(&self) -> Option<&jit::Program> {
        if self.0.engine.backend() != Backend::Recompiler {
            return None;
        }
        self.0.recompiled.get_or_init(|| jit::Program::new(&self.0.code, self.gas_model())).as_ref()
    }

    /// What the basic block that `pc` lies in costs: what an entry there pays. 0 where no instruction starts.
    #[must_use]
    pub fn block_cost(&self, pc: u64) -> u64 {
        match u32::try_from(pc).ok().filter(|_| self.0.code.is_instruction_start(pc)) {
            Some(pc) => {
                let start = self.0.code.block_of(pc);
                u64::from(javm_gas::block_cost(&self.0.code, self.gas_model(), start))
            }
            None => 0,
        }
    }
}
