//! What is measured once and of our recompiler alone: a fresh instance, an idle one, a nested call, the second start
//! of a large program.

use std::{
    convert::Infallible,
    fs,
    time::{Duration, Instant},
};

use javm_exec::{
    Access, Backend, Code, Config, Engine, ExitOnEcall, ExitReason, GasCounter, HALT_ADDRESS, Instance,
    MapError, Module, Reg,
};
use javm_isa::asm::assemble;
use javm_program::Program;

use crate::{kernels::Subject, rival::RivalError, stats::Times};

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
    /// Seconds from the bytes of a program of a megabyte, whose code is on disk, until its first block has run, in an
    /// engine of its own.
    pub(crate) second_start: Option<f64>,
    /// Those of them that come after the program was read and checked.
    pub(crate) second_start_checked: Option<f64>,
}

/// Where the instances' memory begins, in pages.
const FIRST_PAGE: u32 = 0x20;
/// How many pages the fresh instance writes to.
const TOUCHED: u32 = 16;
/// How many instances wait.
const IDLE: usize = 512;

/// Measures all of them; `None` without a recompiler.
pub(crate) fn measure(megabyte: &Subject, runs: usize) -> Result<Option<Singles>, RivalError> {
    let config = Config::new().backend(Backend::Recompiler);
    let Ok(engine) = Engine::new(config.clone()) else { return Ok(None) };
    let fresh = fresh(&engine, runs)?;
    // An engine of its own: the other's pool holds memory that was counted before.
    let idle = idle(&Engine::new(config.clone())?)?;
    let (nested, ..) = javm_bench::measure(&javm_bench::CASES[0], Backend::Recompiler);
    let (second_start, second_start_checked) = second_start(&config, megabyte, runs)?;
    Ok(Some(Singles { fresh, idle, nested: Some(nested * 1e-9), second_start, second_start_checked }))
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

/// Starts again and again with code that the first start left on disk.
fn second_start(
    config: &Config,
    megabyte: &Subject,
    runs: usize,
) -> Result<(Option<f64>, Option<f64>), RivalError> {
    let folder = std::env::temp_dir().join(format!("javm-bench-compare-{}", std::process::id()));
    let config = config.clone().code_cache(&folder);
    // As the hash of a value that holds the program.
    let key = [1; 32];
    let (mut all, mut checked) = (Times::default(), Times::default());
    let mut starts = || -> Result<(), RivalError> {
        let engine = Engine::new(config.clone())?;
        let program = Program::load(&megabyte.blob)?;
        let Ok(module) = engine.module(key, || Ok::<_, Infallible>(program.into_code()));
        module.compile();
        drop((module, engine));
        for _ in 0..runs.max(3) * 5 {
            let start = Instant::now();
            let engine = Engine::new(config.clone())?;
            let code = Program::load(&megabyte.blob)?.into_code();
            let loaded = start.elapsed();
            let Ok(module) = engine.module(key, || Ok::<_, Infallible>(code));
            let mut instance = Instance::new(&module);
            // Enough for the first block: the second is not paid.
            instance.gas = GasCounter::new(module.block_cost(0));
            let exit = instance.run(&mut ExitOnEcall);
            let time = start.elapsed();
            if exit != ExitReason::OutOfGas || module.compiled_and_loaded() != (0, 1) {
                let parts = module.compiled_and_loaded();
                return Err(RivalError::Ended(format!("{exit}, parts {parts:?}").into()));
            }
            all.push(time);
            checked.push(time - loaded);
        }
        Ok(())
    };
    let result = starts();
    let _ = fs::remove_dir_all(&folder);
    result.map(|()| (all.median(), checked.median()))
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
        let megabyte = crate::megabyte::megabyte(&crate::kernels::all().0);
        let Some(singles) = measure(&megabyte, 1).unwrap() else { return };
        assert!(singles.fresh.is_some_and(|seconds| seconds > 0.0 && seconds < 1.0), "{singles:?}");
        assert!(singles.second_start > singles.second_start_checked, "{singles:?}");
        assert!(singles.idle.is_some_and(|bytes| bytes >= 8192.0), "{singles:?}");
    }
}
