//! Machines without a capability machine around them: what a fresh one costs, and what an idle one holds.

use std::{sync::Arc, time::Instant};

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Module, PAGE_SIZE,
    PageSource,
};
use javm_isa::asm::assemble;

use crate::RUNS;

/// A fresh instance may cost as many microseconds.
pub const FRESH_BAR: f64 = 20.0;
/// An idle one may hold as many KiB.
pub const IDLE_BAR: f64 = 64.0;

/// First page of the stack, and how many it has: 64 KiB.
const STACK: (u32, u32) = (0xF_EFD0, 16);

/// A program that writes a word to each page of its stack and reads its Data, compiled.
fn module(backend: Backend) -> Module {
    let text = "load_u64 t0, 0x20000\nload_imm t1, 0xfefd0000\nload_imm t2, 16\nfallthrough\n\
                round: store_ind_u64 t2, t1, 8\nadd_imm_64 t1, t1, 4096\nadd_imm_64 t2, t2, -1\n\
                branch_ne_imm t2, 0, @round\ntrap";
    let code = assemble(text).expect("valid assembly").code().expect("valid code");
    let engine = Engine::new(Config::new().backend(backend)).expect("the backend was asked for");
    let module = Module::new(&engine, code);
    module.compile();
    module
}

/// Makes a machine with two pages of data and a stack, and runs it to its end.
fn run(module: &Module, data: &Arc<dyn PageSource>) -> Instance {
    let mut instance = Instance::new(module);
    let mapped = instance.memory.map(0x20, 2, Access::ReadWrite, Some((Arc::clone(data), 0)));
    let mapped = mapped.and_then(|()| instance.memory.map(STACK.0, STACK.1, Access::ReadWrite, None));
    mapped.expect("the mappings are apart");
    instance.gas = GasCounter::new(1 << 20);
    assert_eq!(instance.run(&mut ExitOnEcall), ExitReason::Trap);
    instance
}

fn data() -> Arc<dyn PageSource> {
    Arc::new(vec![7u8; 2 * PAGE_SIZE])
}

/// Microseconds to make an instance, run it over 64 KiB of its memory, and give it back: where machines come
/// and go, and where all that were made before are still there.
#[must_use]
pub fn fresh(backend: Backend) -> (f64, f64) {
    let (module, data) = (module(backend), data());
    let median = |mut costs: Vec<f64>| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    };
    let mut held = Vec::new();
    let mut time = |keep: bool| {
        let start = Instant::now();
        let instance = run(&module, &data);
        if keep {
            held.push(instance);
        } else {
            module.engine().recycle(instance.memory);
        }
        start.elapsed().as_nanos() as f64 / 1e3
    };
    for _ in 0..RUNS {
        time(false);
    }
    let coming = median((0..RUNS * 20).map(|_| time(false)).collect());
    let staying = median((0..RUNS * 20).map(|_| time(true)).collect());
    (coming, staying)
}

/// KiB of memory, page tables of the system included, that a machine holds between runs: one that has touched
/// nothing yet, and one that has touched 64 KiB, which it keeps.
#[must_use]
pub fn idle(backend: Backend) -> Option<(f64, f64)> {
    const MACHINES: usize = 400;
    let (module, data) = (module(backend), data());
    let per_machine = |make: &dyn Fn() -> Instance| {
        let before = resident()?;
        let held: Vec<_> = (0..MACHINES).map(|_| make()).collect();
        let after = resident()?;
        drop(held);
        Some((after - before) / MACHINES as f64)
    };
    let untouched = per_machine(&|| {
        let mut instance = Instance::new(&module);
        let source = Some((Arc::clone(&data), 0));
        instance.memory.map(0x20, 2, Access::ReadWrite, source).expect("nothing is mapped there");
        instance
    })?;
    Some((untouched, per_machine(&|| run(&module, &data))?))
}

/// Resident memory of this process and its page tables, in KiB.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(field("VmRSS:")? + field("VmPTE:")?)
}
