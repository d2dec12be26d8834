//! Property 1: the same value, arguments and gas give the same result, gas, hashes and events, whatever
//! backend, thread, directory or schedule runs it.
//!
//! The machine has no single step of its own above the engine (whose steps and runs are compared in
//! `javm-exec`); the nearest to it is a call that gets its gas in small slices, which stops at nearly every
//! block and operation.

mod capgen;

use std::sync::Arc;

use capgen::{GAS, Run, engine, for_cases, run};
use javm::{CallResult, KernelImage, Vm, VmError};
use javm_cap::{CacheDirectory, CapHash, CapHashOrRef};
use javm_exec::{Backend, Engine};
use javm_testkit::capgen::{
    Case, Options,
    host::{self, Embedder, GoOn},
    record::Recorder,
    store::MemoryStore,
};

/// Fails unless two runs came to the same.
fn same(case: &Case, what: &str, a: &Run, b: &Run) {
    assert_eq!(a.outcome, b.outcome, "{what}\n{}", case.listing());
    let (a, b) = (&a.vm.kernel_assist, &b.vm.kernel_assist);
    assert_eq!(a.trace, b.trace, "{what}: registers or gas on the way\n{}", case.listing());
    assert_eq!((&a.kernel, &a.set), (&b.kernel, &b.set), "{what}: meters, quotas\n{}", case.listing());
}

/// Takes every pause off the machine and puts it on a new one, over a new directory that has nothing but a
/// store behind it; begins every call so, too.
struct Moves {
    store: Arc<MemoryStore>,
    engine: Engine,
    given: Vec<CapHash>,
}

impl Moves {
    fn keep(&self, cache: &CacheDirectory, hashes: impl IntoIterator<Item = CapHash>) -> Result<(), VmError> {
        for hash in hashes {
            cache.persist(hash, &*self.store)?;
        }
        Ok(())
    }
}

impl Embedder for Moves {
    fn at_pause(
        &mut self,
        vm: &mut Vm<Recorder>,
        cache: &mut CacheDirectory,
        payload: Option<CapHashOrRef>,
    ) -> Result<(), VmError> {
        self.keep(cache, payload.and_then(|name| name.as_hash().copied()))?;
        let (paused, left) = vm.suspend(cache)?;
        self.keep(cache, [paused])?;
        *cache = CacheDirectory::with_store(Arc::clone(&self.store) as _);
        *vm = Vm::with_engine(std::mem::take(&mut vm.kernel_assist), self.engine.clone());
        vm.restore(cache, paused)?;
        vm.add_gas(left);
        Ok(())
    }

    fn before_call(&mut self, _: &mut Vm<Recorder>, cache: &mut CacheDirectory, instance: CapHash) {
        let given = std::mem::take(&mut self.given);
        let kept = self.keep(cache, given.into_iter().chain([instance]));
        assert_eq!(kept.err().map(|error| error.to_string()), None);
        *cache = CacheDirectory::with_store(Arc::clone(&self.store) as _);
    }
}

fn moved(case: &Case, engine: &Engine) -> Run {
    let mut cache = CacheDirectory::new();
    let placed = host::place(case, &mut cache);
    let mut vm = host::machine(case, &placed, engine.clone());
    let mut given = placed.given();
    given.push(placed.root_marker);
    let mut moves = Moves { store: Arc::default(), engine: engine.clone(), given };
    let outcome = host::run(case, &placed, &mut vm, &mut cache, &|_| GAS, &mut moves)
        .unwrap_or_else(|error| panic!("moved: {error}\n{}", case.listing()));
    Run { outcome, vm, cache, placed }
}

/// Gives gas in slices.
struct Slices(u64);

impl Embedder for Slices {
    fn at_pause(
        &mut self,
        vm: &mut Vm<Recorder>,
        _: &mut CacheDirectory,
        _: Option<CapHashOrRef>,
    ) -> Result<(), VmError> {
        if vm.kernel_assist.caught() == Some(host::kernel_marker(KernelImage::OogMarker)) {
            vm.add_gas(self.0);
        }
        Ok(())
    }
}

/// A run in slices comes to the same, but for the gas that each part took.
fn sliced(case: &Case, engine: &Engine, slice: u64, whole: &Run) {
    let mut cache = CacheDirectory::new();
    let placed = host::place(case, &mut cache);
    let mut vm = host::machine(case, &placed, engine.clone());
    vm.kernel_assist.kernel.catch_at_root(host::kernel_marker(KernelImage::OogMarker));
    let outcome = host::run(case, &placed, &mut vm, &mut cache, &|_| slice, &mut Slices(slice))
        .unwrap_or_else(|error| panic!("in slices: {error}\n{}", case.listing()));
    let ends = |results: &[CallResult]| {
        let mut ends: Vec<CallResult> = Vec::new();
        for result in results {
            match result {
                CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. } => {
                    ends.push(CallResult::Halt {
                        return_value: *return_value,
                        post_instance_hash: *post_instance_hash,
                        reflected_slot0: *reflected_slot0,
                        gas_used: 0,
                    });
                }
                CallResult::Faulted { reason, reflected_slot0, .. } => {
                    ends.push(CallResult::Faulted {
                        reason: *reason,
                        reflected_slot0: *reflected_slot0,
                        gas_used: 0,
                    });
                }
                CallResult::Paused { .. } => {}
            }
        }
        ends
    };
    let text = || format!("slices of {slice}\n{}", case.listing());
    assert_eq!(ends(&outcome.results), ends(&whole.outcome.results), "{}", text());
    let (a, b) = (&outcome, &whole.outcome);
    assert_eq!((&a.emits, a.last, &a.files, a.gas), (&b.emits, b.last, &b.files, b.gas), "{}", text());
    let (a, b) = (&vm.kernel_assist, &whole.vm.kernel_assist);
    assert_eq!(a.trace.machine, b.trace.machine, "{}", text());
    assert_eq!((a.trace.reports, &a.set), (b.trace.reports, &b.set), "{}", text());
}

#[test]
fn every_way_to_run_a_case_comes_to_the_same() {
    let Some(interpreter) = engine(Backend::Interpreter) else { unreachable!("it runs everywhere") };
    let recompiler = engine(Backend::Recompiler);
    for_cases(140, Options::default(), |case| {
        let first = run(case, interpreter.clone(), &mut GoOn);
        if let Some(recompiler) = &recompiler {
            same(case, "recompiler", &first, &run(case, recompiler.clone(), &mut GoOn));
        }
        let other = recompiler.as_ref().filter(|_| case.seed % 2 == 1).unwrap_or(&interpreter);
        match case.seed / 2 % 4 {
            0 => same(case, "again", &first, &run(case, other.clone(), &mut GoOn)),
            1 => {
                let (copy, engine) = (case.clone(), other.clone());
                let there = std::thread::spawn(move || run(&copy, engine, &mut GoOn)).join();
                let Ok(there) = there else { panic!("another thread\n{}", case.listing()) };
                same(case, "another thread", &first, &there);
            }
            2 => same(case, "through a store", &first, &moved(case, other)),
            _ => sliced(case, other, 1 + case.seed * 97 % 5_000, &first),
        }
        first.vm.kernel_assist.stats
    });
}
