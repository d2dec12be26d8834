//! Our engine, with gas (`Pipeline`): there is no running without.

use std::time::{Duration, Instant};

use javm_exec::{
    Backend, Config, EcallHandler, EcallKind, EcallResult, Engine, ExitReason, GasCounter, GasModel, Mem,
    Reg, Regs,
};
use javm_program::Program;
use javm_virt::Flat;

use crate::{
    kernels::{Kernel, Subject},
    rival::{Class, Compiled, GAS, Host, Rival, RivalError},
    rivals::Missing,
};

/// The names of the backends that are measured, where this build has them.
const BACKENDS: [(&str, Class); 2] = [("interpreter", Class::Interpreter), ("recompiler", Class::Recompiler)];

/// Every backend that this build and this machine have.
pub(crate) fn all(missing: &mut Missing) -> Vec<Box<dyn Rival>> {
    let mut rivals: Vec<Box<dyn Rival>> = Vec::new();
    for (backend, class) in BACKENDS {
        let name = format!("javm-{backend}");
        let engine = backend
            .parse::<Backend>()
            .and_then(|backend| Engine::new(Config::new().backend(backend).gas_model(GasModel::Pipeline)));
        match engine {
            Ok(engine) => rivals.push(Box::new(Ours { name, class, engine })),
            Err(error) => missing.push((name, error.into())),
        }
    }
    rivals
}

struct Ours {
    name: String,
    class: Class,
    engine: Engine,
}

impl Rival for Ours {
    fn name(&self) -> &str {
        &self.name
    }

    fn class(&self) -> Class {
        self.class
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn compiles(&self) -> bool {
        true
    }

    fn prepare(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError> {
        Ok(Box::new(self.load(subject)?))
    }

    fn compile(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError> {
        let loaded = self.load(subject)?;
        loaded.flat.module().compile();
        Ok(Box::new(loaded))
    }
}

impl Ours {
    fn load(&self, subject: &Subject) -> Result<Loaded, RivalError> {
        let flat = Flat::new(&self.engine, Program::load(&subject.blob)?);
        Ok(Loaded { engine: self.engine.clone(), flat })
    }
}

struct Loaded {
    engine: Engine,
    flat: Flat,
}

impl Compiled for Loaded {
    fn run_fresh(&mut self, kernel: &Kernel, args: &[u64]) -> Result<(u64, Duration), RivalError> {
        let pc = self.flat.export(kernel.export.as_bytes()).ok_or(RivalError::NoExport(kernel.export))?;
        let mut handler = Answers::new();
        let start = Instant::now();
        let mut instance = self.flat.instance(pc, args, GAS)?;
        let exit = instance.run(&mut handler);
        let result = instance.regs.get(Reg::A0);
        self.engine.recycle(instance.memory);
        let time = start.elapsed();
        handler.ended(exit).map(|()| (result, time))
    }
}

/// Answers host calls as every rival's are answered.
pub(crate) struct Answers {
    host: Host,
    error: Option<RivalError>,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self { host: Host::new(), error: None }
    }

    /// What became of a run that ended so.
    pub(crate) fn ended(self, exit: ExitReason) -> Result<(), RivalError> {
        match (exit, self.error) {
            (ExitReason::Halt, None) => Ok(()),
            (_, Some(error)) => Err(error),
            (exit, None) => Err(RivalError::Ended(exit.to_string().into())),
        }
    }
}

impl EcallHandler for Answers {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        _: &mut dyn Mem,
        _: &mut GasCounter,
    ) -> EcallResult {
        let number = match kind {
            EcallKind::Ecalli(number) => number,
            EcallKind::Ecall => u32::MAX,
        };
        match self.host.answer(number) {
            Ok(answer) => {
                regs.set(Reg::A0, answer);
                EcallResult::Continue
            }
            Err(error) => {
                self.error = Some(error);
                EcallResult::Exit(kind.exit())
            }
        }
    }
}
