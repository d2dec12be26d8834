//! [`Module`]: one program, ready to run.

use std::sync::{Arc, OnceLock};

use javm_gas::GasModel;
use javm_isa::Code;

use crate::{Engine, Interpreter};

/// A program that an [`Engine`] has taken in. Cheap to clone; shared by instances and threads.
#[derive(Clone, Debug)]
pub struct Module(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    code: Arc<Code>,
    interpreter: OnceLock<Interpreter>,
}

impl Module {
    /// Takes in a program. It is priced and lowered when it first runs.
    #[must_use]
    pub fn new(engine: &Engine, code: impl Into<Arc<Code>>) -> Self {
        Self(Arc::new(Inner { engine: engine.clone(), code: code.into(), interpreter: OnceLock::new() }))
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
}
