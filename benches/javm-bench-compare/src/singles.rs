//! What is measured once and of our recompiler alone: a fresh instance, an idle one, a nested call.

use std::{
    fs,
    time::{Duration, Instant},
};

use javm_exec::{
    Access, Backend, Code, Config, Engine, ExitOnEcall, ExitReason, GasCounter, HALT_ADDRESS, Instance,
    MapError, Module, Reg,
};
use javm_isa::asm::assemble;

use crate::{rival::RivalError, stats::Times};

/// The figures; `None` where this machine cannot say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Singles {
    /// Seconds for an instance of a compiled module that writes to each page of 64 KiB and ends: mapped, run,
    /// given back.
    pub(crate) fresh: Option<f64>,
    /// Bytes of memory and page tables of an instance that has written to two pages and waits.
    pub(crate) idle: Option<f64>,
    /// Seconds for a call of one capability by another, and back.
    pub(crate) nested: Option<f64>,
}

/// Where the instances' memory begins, in pages.
const FIRST_PAGE: u32 = 0x20;
/// How many pages the fresh instance writes to.
const TOUCHED: u32 = 16;
/// How many instances wait.
const IDLE: usize = 512;

/// Measures all of them; `None` without a recompiler.
pub(crate) fn measure(runs: usize) -> Result<Option<Singles>, RivalError> {
    let config = Config::new().backend(Backend::Recompiler);
    let Ok(engine) = Engine::new(config) else { return Ok(None) };
    let fresh = fresh(&engine, runs)?;
    // An engine of its own: the other's pool holds memory that was counted before.
    let idle = idle(&Engine::new(config)?)?;
    let (nested, ..) = javm_bench::measure(&javm_bench::CASES[0], Backend::Recompiler);
    Ok(Some(Singles { fresh, idle, nested: Some(nested * 1e-9) }))
}

/// A program that writes to this many pages and returns.
fn module(engine: &Engine, pages: u32) -> Result<Module, RivalError> {
    let ended = |what: &dyn ToString| RivalError::Ended(what.to_string().into());
    let text = format!(
        "load_imm t0, {}\nload_imm t1, {pages}\nfallthrough\nround: store_ind_u64 t1, t0, 0\n\
         add_imm_64 t0, t0, 4096\nadd_imm_64 t1, t1, -1\nbranch_ne_imm t1, 0, @round\njump_ind ra, 0",
        FIRST_PAGE * 4096
    );
    let assembled = assemble(&text).map_err(|error| ended(&error))?;
    let code = Code::new(&assembled.code, &assembled.packed_bitmask, &assembled.jump_table);
    let module = Module::new(engine, code.map_err(|error| ended(&error))?);
    module.compile();
    Ok(module)
}

/// An instance that has run to its end.
fn run(module: &Module, pages: u32) -> Result<Instance, RivalError> {
    let mut instance = instance(module, pages)?;
    match instance.run(&mut ExitOnEcall) {
        ExitReason::Halt => Ok(instance),
        exit => Err(RivalError::Ended(exit.to_string().into())),
    }
}

fn instance(module: &Module, pages: u32) -> Result<Instance, MapError> {
    let mut instance = Instance::new(module);
    instance.memory.map(FIRST_PAGE, pages, Access::ReadWrite, None)?;
    instance.regs.set(Reg::RA, u64::from(HALT_ADDRESS));
    instance.gas = GasCounter::new(1 << 40);
    Ok(instance)
}

fn fresh(engine: &Engine, runs: usize) -> Result<Option<f64>, RivalError> {
    let module = module(engine, TOUCHED)?;
    let mut times = Times::default();
    for round in 0..runs * 200 {
        let start = Instant::now();
        let instance = run(&module, TOUCHED)?;
        engine.recycle(instance.memory);
        let time = start.elapsed();
        // The first ones warm caches and the pool up.
        if round >= 20 {
            times.push(time.max(Duration::from_nanos(1)));
        }
    }
    Ok(times.median())
}

fn idle(engine: &Engine) -> Result<Option<f64>, RivalError> {
    let module = module(engine, 2)?;
    drop(run(&module, 2)?);
    let mut waiting = Vec::with_capacity(IDLE);
    let before = memory();
    for _ in 0..IDLE {
        waiting.push(run(&module, 2)?);
    }
    let after = memory();
    Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before) as f64 / waiting.len() as f64))
}

/// Bytes of memory of this process that are present, with its page tables.
fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    Some((kilobytes("VmRSS:")? + kilobytes("VmPTE:")?) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_measured_where_there_is_a_recompiler() {
        let Some(singles) = measure(1).unwrap() else { return };
        assert!(singles.fresh.is_some_and(|seconds| seconds > 0.0 && seconds < 1.0), "{singles:?}");
        assert!(singles.idle.is_some_and(|bytes| bytes >= 8192.0), "{singles:?}");
    }
}
