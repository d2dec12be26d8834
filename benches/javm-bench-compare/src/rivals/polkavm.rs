//! The `polkavm` crate: its interpreter and its recompiler, in both sandboxes, without gas and with
//! synchronous gas under its simple and its full cost model.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use polkavm::{
    BackendKind, CacheModel, Config, CostModel, CostModelKind, Engine, GasMeteringKind, InterruptKind,
    Module, ModuleConfig, ProgramBlob, ProgramCounter, Reg, SandboxKind,
};

use crate::{
    kernels::{Kernel, Subject},
    rival::{Class, Compiled, GAS, Host, Rival, RivalError},
    rivals::Missing,
};

/// How gas is counted.
#[derive(Clone, Copy)]
enum Gas {
    Off,
    Simple,
    Full,
}

/// Every configuration that works on this machine.
pub(crate) fn all(missing: &mut Missing) -> Vec<Box<dyn Rival>> {
    let mut rivals: Vec<Box<dyn Rival>> = Vec::new();
    let interpreter = [("", Gas::Off), ("-full", Gas::Full)];
    let recompiler = [("", Gas::Off), ("-simple", Gas::Simple), ("-full", Gas::Full)];
    for (name, sandbox, gases) in [
        ("polkavm-interpreter", None, &interpreter[..]),
        ("polkavm-linux", Some(SandboxKind::Linux), &recompiler),
        ("polkavm-generic", Some(SandboxKind::Generic), &recompiler),
    ] {
        let mut config = Config::new();
        config
            .set_backend(Some(if sandbox.is_some() {
                BackendKind::Compiler
            } else {
                BackendKind::Interpreter
            }))
            .set_sandbox(sandbox)
            .set_allow_experimental(true);
        match Engine::new(&config) {
            Ok(engine) => {
                let engine = Arc::new(engine);
                rivals.extend(gases.iter().map(|(suffix, gas)| -> Box<dyn Rival> {
                    Box::new(PolkaVm {
                        name: format!("{name}{suffix}"),
                        interpreter: sandbox.is_none(),
                        engine: Arc::clone(&engine),
                        gas: *gas,
                    })
                }))
            }
            Err(error) => missing.push((name.to_owned(), error.into())),
        }
    }
    rivals
}

struct PolkaVm {
    name: String,
    interpreter: bool,
    engine: Arc<Engine>,
    gas: Gas,
}

impl Rival for PolkaVm {
    fn name(&self) -> &str {
        &self.name
    }

    fn class(&self) -> Class {
        if self.interpreter { Class::Interpreter } else { Class::Recompiler }
    }

    fn compiles(&self) -> bool {
        // The interpreter translates block by block when it gets there.
        !self.interpreter
    }

    fn prepare(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError> {
        let mut config = ModuleConfig::new();
        match self.gas {
            Gas::Off => &mut config,
            Gas::Simple => config
                .set_gas_metering(Some(GasMeteringKind::Sync))
                .set_cost_model(Some(CostModelKind::Simple(CostModel::naive_ref()))),
            Gas::Full => config
                .set_gas_metering(Some(GasMeteringKind::Sync))
                .set_cost_model(Some(CostModelKind::Full(CacheModel::L2Hit))),
        };
        let blob = ProgramBlob::parse(subject.blob.as_ref().into())?;
        let module = Module::from_blob(&self.engine, &config, blob)?;
        let exports = module
            .exports()
            .map(|export| (export.symbol().as_bytes().to_vec(), export.program_counter()))
            .collect();
        Ok(Box::new(Loaded { module, exports }))
    }
}

struct Loaded {
    module: Module,
    exports: Vec<(Vec<u8>, ProgramCounter)>,
}

impl Compiled for Loaded {
    fn run_fresh(&mut self, kernel: &Kernel, args: &[u64]) -> Result<(u64, Duration), RivalError> {
        let export = self.exports.iter().find(|(name, _)| name == kernel.export.as_bytes());
        let pc = export.ok_or(RivalError::NoExport(kernel.export))?.1;
        let mut host = Host::new();
        let start = Instant::now();
        let mut instance = self.module.instantiate()?;
        instance.set_gas(GAS as i64);
        instance.prepare_call_untyped(pc, args);
        loop {
            match instance.run()? {
                InterruptKind::Finished => break,
                InterruptKind::Ecalli(number) => instance.set_reg(Reg::A0, host.answer(number)?),
                other => return Err(RivalError::Ended(format!("{other:?}").into())),
            }
        }
        let result = instance.reg(Reg::A0);
        drop(instance);
        Ok((result, start.elapsed()))
    }
}
