//! `wasmtime`: Cranelift without and with fuel, and Winch, its baseline compiler. Only in builds with the
//! feature `wasmtime`.
//!
//! The kernels are modules that the same compiler made from the same source (`guests/wasm`). Instances come
//! from the pooling allocator, its fastest; compiling uses one thread, as everybody's does.

use std::time::{Duration, Instant};

use javm_abi::GuestOp;
use wasmtime::{
    Caller, Config, Engine, FuncType, Instance, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store, Strategy, ValType,
};

use crate::{
    kernels::{Kernel, Subject},
    rival::{Class, Compiled, GAS, Host, Rival, RivalError},
    rivals::Missing,
};

/// The module that operations are imported from.
const MODULE: &str = "javm";

/// Every configuration.
pub(crate) fn all(missing: &mut Missing) -> Vec<Box<dyn Rival>> {
    let mut rivals: Vec<Box<dyn Rival>> = Vec::new();
    for (name, strategy, fuel) in [
        ("wasmtime", Strategy::Cranelift, false),
        ("wasmtime-fuel", Strategy::Cranelift, true),
        ("wasmtime-winch", Strategy::Winch, false),
    ] {
        match Wasmtime::new(name, strategy, fuel) {
            Ok(rival) => rivals.push(Box::new(rival)),
            Err(error) => missing.push((name.to_owned(), error)),
        }
    }
    rivals
}

struct Wasmtime {
    name: &'static str,
    engine: Engine,
    linker: Linker<Host>,
    fuel: bool,
}

impl Wasmtime {
    fn new(name: &'static str, strategy: Strategy, fuel: bool) -> Result<Self, RivalError> {
        let mut config = Config::new();
        let mut pool = PoolingAllocationConfig::default();
        // One runs at a time; the default reserves room for a thousand.
        pool.total_core_instances(16).total_memories(16).total_tables(16);
        config
            .strategy(strategy)
            .consume_fuel(fuel)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        for operation in GuestOp::ALL {
            let number = operation.number();
            let answer = move |mut caller: Caller<'_, Host>| Ok(caller.data_mut().answer(number)?);
            match operation {
                GuestOp::GasLeft => linker.func_wrap(MODULE, operation.name(), answer)?,
                GuestOp::MgmtKind => {
                    linker.func_wrap(MODULE, operation.name(), move |caller: Caller<'_, Host>, _: u64| {
                        answer(caller)
                    })?
                }
                // Imported by endpoints that are no kernels, and never asked.
                _ => {
                    let operands = vec![ValType::I64; operation.operands().len()];
                    let ty = FuncType::new(&engine, operands, [ValType::I64]);
                    linker.func_new(MODULE, operation.name(), ty, move |_, _, _| {
                        Err(RivalError::HostCall(number).into())
                    })?
                }
            };
        }
        Ok(Self { name, engine, linker, fuel })
    }
}

impl Rival for Wasmtime {
    fn name(&self) -> &str {
        self.name
    }

    fn class(&self) -> Class {
        Class::Recompiler
    }

    fn compiles(&self) -> bool {
        true
    }

    fn code_len(&self, subject: &Subject) -> usize {
        crate::wasm::code_len(&subject.wasm)
    }

    fn prepare(&self, subject: &Subject) -> Result<Box<dyn Compiled>, RivalError> {
        let module = Module::new(&self.engine, &subject.wasm)?;
        Ok(Box::new(Loaded { instance: self.linker.instantiate_pre(&module)?, fuel: self.fuel }))
    }
}

struct Loaded {
    instance: InstancePre<Host>,
    fuel: bool,
}

impl Compiled for Loaded {
    fn run_fresh(&mut self, kernel: &Kernel, args: &[u64]) -> Result<(u64, Duration), RivalError> {
        let start = Instant::now();
        let mut store = Store::new(self.instance.module().engine(), Host::new());
        if self.fuel {
            store.set_fuel(GAS)?;
        }
        let instance = self.instance.instantiate(&mut store)?;
        let result = call(&mut store, &instance, kernel.export, args)?;
        drop(store);
        Ok((result, start.elapsed()))
    }
}

fn call(
    store: &mut Store<Host>,
    instance: &Instance,
    export: &'static str,
    args: &[u64],
) -> Result<u64, RivalError> {
    Ok(match *args {
        [a] => instance.get_typed_func::<u64, u64>(&mut *store, export)?.call(store, a)?,
        [a, b] => instance.get_typed_func::<(u64, u64), u64>(&mut *store, export)?.call(store, (a, b))?,
        [a, b, c] => {
            instance.get_typed_func::<(u64, u64, u64), u64>(&mut *store, export)?.call(store, (a, b, c))?
        }
        _ => return Err(RivalError::NoExport(export)),
    })
}
