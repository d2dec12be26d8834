//! Property 5: gas consumed = gas taken from meters, across pauses, faults and suspended values.
//!
//! At each pause the stack is taken off the machine, which tells what the root pool has left, and all accounts
//! are added up: what was given, what was in meters, what guests set them to, against what is left and what the
//! machine says was used. What a halted call took from the pool nobody can read, so it is tried: with exactly
//! that much the call comes to the same, with one less it does not.

mod capgen;

use capgen::{GAS, engine, for_cases};
use javm::{CallResult, KernelAssist, KernelImage, Vm, VmError};
use javm_abi::GuestOp;
use javm_cap::{CacheDirectory, Cap, CapHash, CapHashOrRef, Status};
use javm_exec::{Backend, Engine};
use javm_testkit::capgen::{
    Case, Options,
    host::{self, Embedder, Outcome},
    record::{Ask, Recorder, Stats, When},
};

/// Meters that guests set besides those of programs.
const LOOSE: std::ops::RangeInclusive<u64> = 5_000..=5_003;

/// The accounts of one run.
struct Books {
    meters: Vec<u64>,
    engine: Engine,
    /// What is given at each out of gas that reaches the embedder.
    slice: u64,
    /// Resume with nothing in the pool, and give back what was in it when it is asked for.
    late: bool,
    /// What the embedder owes after it resumed with nothing.
    owed: u64,
    /// Gas put into the pool, in this call.
    given: u64,
    /// In meters when the call began.
    began: i128,
    /// Set before the call began.
    sets: usize,
    /// Used, in this call, as the results say.
    used: u64,
    /// What each finished call took from the pool.
    pool: Vec<u64>,
    audits: u64,
    faults: u64,
}

impl Books {
    fn in_meters(&self, vm: &Vm<Recorder>) -> i128 {
        self.meters.iter().map(|meter| i128::from(vm.kernel_assist.gas_meter(*meter))).sum()
    }

    /// What guests have put into meters in this call.
    fn minted(&self, vm: &Vm<Recorder>) -> i128 {
        vm.kernel_assist.set[self.sets..].iter().map(|(_, was, is)| i128::from(*is) - i128::from(*was)).sum()
    }

    /// What left the meters in this call, other than by being set.
    fn meters_paid(&self, vm: &Vm<Recorder>) -> i128 {
        self.began + self.minted(vm) - self.in_meters(vm)
    }
}

impl Embedder for Books {
    fn before_call(&mut self, vm: &mut Vm<Recorder>, _: &mut CacheDirectory, _: CapHash) {
        (self.began, self.sets) = (self.in_meters(vm), vm.kernel_assist.set.len());
        (self.given, self.used, self.owed) = (0, 0, 0);
    }

    fn after_run(&mut self, vm: &mut Vm<Recorder>, _: &mut CacheDirectory, result: &CallResult) {
        self.used += result.gas_used();
        let pool = i128::from(self.used) - self.meters_paid(vm);
        match result {
            CallResult::Paused { .. } => return,
            CallResult::Halt { .. } => {}
            CallResult::Faulted { .. } => self.faults += 1,
        }
        assert!(pool >= 0, "more left the meters than was used: {pool}");
        self.pool.push(pool as u64);
    }

    fn at_pause(
        &mut self,
        vm: &mut Vm<Recorder>,
        cache: &mut CacheDirectory,
        payload: Option<CapHashOrRef>,
    ) -> Result<(), VmError> {
        let payload = host::hold(cache, payload)?;
        let oog = vm.kernel_assist.caught() == Some(host::kernel_marker(KernelImage::OogMarker));
        let (paused, left) = vm.suspend(cache)?;
        let taken = i128::from(self.slice + self.given) - i128::from(left) - i128::from(self.owed);
        // Out of gas just when a meter may have been set, and the guest has not said so yet.
        let unsaid = vm.kernel_assist.last().is_some_and(|last| {
            oog && last.ask == Ask::Op(GuestOp::HostCall) && [When::Before, When::After].contains(&last.when)
        });
        if !unsaid {
            assert_eq!(i128::from(self.used), self.meters_paid(vm) + taken, "used, against taken from all");
            self.audits += 1;
        }
        assert!(
            matches!(&*cache.fetch(paused.into())?, Cap::Instance(i) if matches!(i.status(), Status::Paused(_)))
        );
        host::put_back(cache, &payload)?;
        // The same value, now and then on another machine; nothing is in the pool.
        if self.audits.is_multiple_of(16) {
            *vm = Vm::with_engine(std::mem::take(&mut vm.kernel_assist), self.engine.clone());
        }
        vm.restore(cache, paused)?;
        if oog {
            vm.add_gas(left + self.owed + self.slice);
            self.given += self.slice;
            self.owed = 0;
        } else if self.late {
            self.owed += left;
        } else {
            vm.add_gas(left);
        }
        Ok(())
    }
}

/// Runs a case, adding up at every pause.
fn audited(
    case: &Case,
    engine: &Engine,
    budget: &dyn Fn(u8) -> u64,
    slice: u64,
    late: bool,
) -> (Outcome, Books, Stats) {
    let mut cache = CacheDirectory::new();
    let placed = host::place(case, &mut cache);
    let mut vm = host::machine(case, &placed, engine.clone());
    vm.kernel_assist.kernel.catch_at_root(host::kernel_marker(KernelImage::OogMarker));
    let meters = case.root.meters.iter().map(|(id, _)| *id).chain(LOOSE).collect();
    let mut books = Books {
        meters,
        engine: engine.clone(),
        slice,
        late,
        owed: 0,
        given: 0,
        began: 0,
        sets: 0,
        used: 0,
        pool: Vec::new(),
        audits: 0,
        faults: 0,
    };
    let outcome = host::run(case, &placed, &mut vm, &mut cache, budget, &mut books)
        .unwrap_or_else(|error| panic!("{error}\n{}", case.listing()));
    let stats = vm.kernel_assist.stats.clone();
    (outcome, books, stats)
}

/// What a case comes to, but for the gas of each part.
fn values(outcome: &Outcome) -> (Vec<Option<(u64, CapHash)>>, CapHash, u64) {
    let ends = outcome.results.iter().filter_map(|result| match result {
        CallResult::Halt { return_value, post_instance_hash, .. } => {
            Some(Some((*return_value, *post_instance_hash)))
        }
        CallResult::Faulted { .. } => Some(None),
        CallResult::Paused { .. } => None,
    });
    (ends.collect(), outcome.last, outcome.gas)
}

#[test]
fn what_is_used_is_taken_meters_paid() {
    let Some(interpreter) = engine(Backend::Interpreter) else { unreachable!("it runs everywhere") };
    let recompiler = engine(Backend::Recompiler);
    let (mut audits, mut faults, mut exact) = (0, 0, 0);
    for_cases(140, Options::default(), |case| {
        let engine = recompiler.as_ref().filter(|_| case.seed % 2 == 1).unwrap_or(&interpreter);
        let (whole, books, stats) = audited(case, engine, &|_| GAS, GAS, case.seed % 3 == 0);
        audits += books.audits;
        faults += books.faults;
        if case.seed % 2 == 0 {
            let slice = 8_000 + case.seed * 131 % 40_000;
            let (sliced, books, _) = audited(case, engine, &|_| slice, slice, case.seed % 4 == 0);
            assert_eq!(values(&sliced), values(&whole), "slices of {slice}\n{}", case.listing());
            audits += books.audits;
        } else {
            exact += exact_budgets(case, engine, &whole, &books.pool);
        }
        stats
    });
    println!("{audits} audits, {faults} faults, {exact} exact budgets");
    assert!(audits > 3_000 && faults > 500 && exact > 30, "{audits} {faults} {exact}");
}

/// Gives each call exactly what it took from the pool; then, to one of them, one less.
fn exact_budgets(case: &Case, engine: &Engine, whole: &Outcome, pool: &[u64]) -> u64 {
    assert_eq!(pool.len(), case.root.acts.len(), "{}", case.listing());
    let plain = |budget: &dyn Fn(u8) -> u64| {
        let mut cache = CacheDirectory::new();
        let placed = host::place(case, &mut cache);
        let mut vm = host::machine(case, &placed, engine.clone());
        host::run(case, &placed, &mut vm, &mut cache, budget, &mut host::GoOn)
            .unwrap_or_else(|error| panic!("{error}\n{}", case.listing()))
    };
    let exactly = plain(&|n| pool[usize::from(n)]);
    assert_eq!(values(&exactly), values(whole), "exact budgets\n{}", case.listing());
    let halts: Vec<u8> = (0u8..).zip(&case.root.acts).filter(|(_, act)| halts(act)).map(|(n, _)| n).collect();
    let mut paid = halts.into_iter().filter(|n| pool[usize::from(*n)] > 0).cycle();
    // A program with meters of its own takes nothing from the pool.
    let Some(act) = paid.nth((case.seed % 3) as usize) else { return 0 };
    let short = plain(&|n| pool[usize::from(n)] - u64::from(n == act));
    assert_ne!(values(&short), values(whole), "act {act} with one less\n{}", case.listing());
    1
}

fn halts(act: &javm_testkit::capgen::value::Act) -> bool {
    matches!(act.end, javm_testkit::capgen::value::End::Halt { .. })
}
