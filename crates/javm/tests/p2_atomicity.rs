//! Property 2: a fault at any instruction of a callee leaves every name that its caller reaches unchanged, but
//! for slot 0; the caller sees status 2 and the right code.
//!
//! A generated caller, which holds values that it made and nested ones that it may change in place, calls a
//! generated callee, which has callees of its own. That is done once as generated, then with a trap in place of
//! each instruction in turn, of the callee and of all below it, and with gas that ends at each report of the
//! callee; of larger trees, at some. Before and after the call the caller yields, and its table is looked at as
//! it stands on the stack: the names are to be the same, and so is all that they reach, references followed
//! without settling them. At the end everything that the caller holds must be the same whatever the fault was.

mod capgen;

use std::collections::{BTreeMap, HashMap};

use capgen::GAS;
use javm::{CallResult, Entry, KernelAssist, Vm, VmError};
use javm_cap::{CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, SlotIdx};
use javm_exec::{Backend, Engine};
use javm_testkit::{
    Rng,
    capgen::{
        Call, Options, VICTIM_SLOT, generate_call,
        host::{self, Embedder},
        record::{Recorder, Stats},
    },
};

/// The hash that a name would have if everything under it were settled, and nothing is.
fn shadow(cache: &CacheDirectory, name: CapHashOrRef, known: &mut HashMap<CapHashOrRef, CapHash>) -> CapHash {
    if let CapHashOrRef::Hash(hash) = name {
        return hash;
    }
    if let Some(hash) = known.get(&name) {
        return *hash;
    }
    let mut cap = (*cache.fetch(name).unwrap()).clone();
    match &mut cap {
        Cap::CNode(cnode) => {
            let slots: Vec<_> = cnode.refs().collect();
            for (slot, inner) in slots {
                cnode.set(slot, Some(shadow(cache, inner, known).into())).unwrap();
            }
        }
        Cap::Instance(instance) => {
            instance.root_cnode = shadow(cache, instance.root_cnode, known).into();
        }
        _ => {}
    }
    let hash = cap.hash().unwrap();
    known.insert(name, hash);
    hash
}

/// A table as it stands: names, and the hashes that they would have.
type Seen = BTreeMap<u32, (CapHashOrRef, CapHash)>;

fn look(cache: &CacheDirectory, table: &CNodeCap) -> Seen {
    let mut known = HashMap::new();
    let slots = table.iter().filter(|(slot, _)| slot.0 != 0);
    slots.map(|(slot, name)| (slot.0, (name, shadow(cache, name, &mut known)))).collect()
}

/// Looks at the caller before and after the call.
#[derive(Default)]
struct Looks(Vec<Seen>);

impl Embedder for Looks {
    fn at_pause(
        &mut self,
        vm: &mut Vm<Recorder>,
        cache: &mut CacheDirectory,
        _: Option<CapHashOrRef>,
    ) -> Result<(), VmError> {
        // A mark is followed by its yield.
        if vm.kernel_assist.marks.len() > self.0.len() {
            let Some(Entry::Instance(caller)) = vm.stack.entries().first() else { panic!("no caller") };
            assert_eq!(vm.stack.len(), 1, "the caller runs");
            self.0.push(look(cache, caller.table()));
        }
        Ok(())
    }
}

/// How the call came out.
struct Attempt {
    /// φ7 and φ8 after it.
    returned: (u64, u64),
    before: Seen,
    after: Seen,
    /// The caller's table at the end, but for the callee.
    rest: BTreeMap<u32, CapHash>,
    recorder: Recorder,
}

/// Where a fault is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A trap in this program at this offset.
    Trap(u32, u32),
    /// The callee has so much gas.
    Gas(u64),
}

fn attempt(call: &Call, engine: &Engine, fault: Fault) -> Attempt {
    let mut cache = CacheDirectory::new();
    let builder = match fault {
        Fault::Trap(program, pc) => host::Builder::with_trap(program, pc),
        Fault::None | Fault::Gas(_) => host::Builder::default(),
    };
    let placed = host::place_with(&call.case, &mut cache, builder);
    let mut vm = host::machine(&call.case, &placed, engine.clone());
    vm.kernel_assist.gas = Some(Vec::new());
    if let Fault::Gas(gas) = fault {
        let [first, second, ..] = own_meters(call)[..] else { unreachable!("it has two") };
        vm.kernel_assist.set_gas_meter(first, gas);
        vm.kernel_assist.set_gas_meter(second, 0);
    }
    let mut looks = Looks::default();
    let text = || format!("{fault:?}\n{}", call.case.listing());
    let outcome = host::run(&call.case, &placed, &mut vm, &mut cache, &|_| GAS, &mut looks)
        .unwrap_or_else(|error| panic!("{error}\n{}", text()));
    let halted = matches!(outcome.results.last(), Some(CallResult::Halt { return_value: 7, .. }));
    assert!(
        halted,
        "the caller goes on: {}\n{}",
        vm.last_fault().map(ToString::to_string).unwrap_or_default(),
        text()
    );
    let [before, after] = <[Seen; 2]>::try_from(looks.0).unwrap_or_else(|_| panic!("two marks\n{}", text()));
    let regs = vm.kernel_assist.marks[1];
    let Some(Cap::Instance(last)) = cache.get(outcome.last.into()).as_deref().cloned() else {
        unreachable!()
    };
    let Some(Cap::CNode(table)) = cache.get(last.root_cnode).as_deref().cloned() else { unreachable!() };
    let rest = table.iter().filter_map(|(slot, name)| Some((slot.0, *name.as_hash()?)));
    let rest = rest.filter(|(slot, _)| *slot != u32::from(VICTIM_SLOT)).collect();
    let recorder = std::mem::take(&mut vm.kernel_assist);
    Attempt { returned: (regs[5], regs[6]), before, after, rest, recorder }
}

/// The meters in the callee's own slots.
fn own_meters(call: &Call) -> Vec<u64> {
    use javm_testkit::capgen::value::Val;
    call.victim
        .image
        .gas_slots
        .iter()
        .filter_map(|SlotIdx(slot)| match call.victim.table.0.get(&(*slot as u8)) {
            Some(Val::Kernel(_, Some(id))) => Some(*id),
            _ => None,
        })
        .collect()
}

/// Every instruction of a program.
fn instructions(program: &javm_testkit::capgen::value::Program) -> Vec<u32> {
    let image = &program.image;
    (0..image.code.len() as u32)
        .filter(|pc| image.packed_bitmask[*pc as usize / 8] >> (pc % 8) & 1 == 1)
        .collect()
}

/// The tries at one call.
struct Tries<'a> {
    call: &'a Call,
    engine: &'a Engine,
    /// What the caller holds at the end of a call that faulted.
    rest: Option<BTreeMap<u32, CapHash>>,
    traps: u64,
    not_reached: u64,
    starved: u64,
}

impl<'a> Tries<'a> {
    /// Makes the call as it was generated first; what then succeeded and was refused. The runs with faults are
    /// not counted: a trap between a report and its operation looks like a refusal.
    fn new(call: &'a Call, engine: &'a Engine) -> (Self, Stats) {
        let whole = attempt(call, engine, Fault::None);
        assert_eq!(whole.returned.1, 0, "the callee halts as foreseen\n{}", call.case.listing());
        assert!(whole.recorder.surprises.is_empty(), "{}", call.case.listing());
        let tries = Self { call, engine, rest: None, traps: 0, not_reached: 0, starved: 0 };
        (tries, whole.recorder.stats)
    }

    /// The instructions of all that may run in the call: callees come before callers.
    fn instructions(&self) -> Vec<(u32, u32)> {
        let programs = &self.call.case.programs;
        let last = programs.iter().position(|p| p.id == self.call.victim.id).unwrap();
        programs[..=last].iter().flat_map(|p| instructions(p).into_iter().map(|pc| (p.id, pc))).collect()
    }

    fn trap(&mut self, (program, pc): (u32, u32)) {
        // A trap below makes the callee see what it did not expect, and trap.
        match self.faults(Fault::Trap(program, pc), &[1]) {
            true => self.traps += 1,
            false => self.not_reached += 1,
        }
    }

    fn starve(&mut self, gas: u64) {
        // What is left after a callee below ran out may do for a trap.
        assert!(self.faults(Fault::Gas(gas), &[3, 1]), "gas {gas}\n{}", self.call.case.listing());
        self.starved += 1;
    }

    /// Makes the call with a fault in it; whether it faulted.
    fn faults(&mut self, fault: Fault, codes: &[u64]) -> bool {
        let seen = attempt(self.call, self.engine, fault);
        if seen.returned.1 == 0 {
            return false;
        }
        let text = || format!("{fault:?}\n{}", self.call.case.listing());
        assert_eq!(seen.returned.1, 2, "{}", text());
        assert!(codes.contains(&seen.returned.0), "code {} after {}", seen.returned.0, text());
        assert_eq!(seen.before, seen.after, "what the caller holds after {}", text());
        // The caller has the smallest program itself: with a trap in it, that is another value.
        if !matches!(fault, Fault::Trap(program, _) if program == self.call.case.programs[0].id) {
            let first = self.rest.get_or_insert_with(|| seen.rest.clone());
            assert_eq!(*first, seen.rest, "what the caller holds at the end: {}", text());
        }
        true
    }
}

fn engines() -> [Engine; 2] {
    let Some(interpreter) = capgen::engine(Backend::Interpreter) else { unreachable!("it runs everywhere") };
    [interpreter.clone(), capgen::engine(Backend::Recompiler).unwrap_or(interpreter)]
}

#[test]
fn a_fault_at_any_instruction_changes_nothing_but_slot_0() {
    let engines = engines();
    let (mut traps, mut not_reached, mut starved) = (0, 0, 0);
    for seed in capgen::seeds(7) {
        let options = Options { steps: 10, programs: 2, metered: true, ..Options::default() };
        let call = generate_call(seed, options);
        let (mut tries, _) = Tries::new(&call, &engines[usize::from(seed % 4 == 3)]);
        for instruction in tries.instructions() {
            tries.trap(instruction);
        }
        for gas in budgets(&call, tries.engine) {
            tries.starve(gas);
        }
        traps += tries.traps;
        not_reached += tries.not_reached;
        starved += tries.starved;
    }
    println!("{traps} traps, {not_reached} where nothing comes by, {starved} out of gas");
    let all = std::env::var_os("JAVM_SEED").is_none();
    assert!(!all || traps > 1_000 && starved > 200, "{traps} {starved}");
}

#[test]
fn nor_does_one_in_a_larger_tree() {
    let engines = engines();
    let mut stats = Stats::default();
    let (mut traps, mut starved) = (0, 0);
    for seed in capgen::seeds(CALLS) {
        let options = Options { steps: 130, programs: 10, metered: true, ..Options::default() };
        let call = generate_call(seed, options);
        let (mut tries, counted) = Tries::new(&call, &engines[usize::from(seed % 4 == 3)]);
        stats.add(&counted);
        let mut rng = Rng::new(seed);
        let instructions = tries.instructions();
        for _ in 0..4 {
            tries.trap(*rng.one_of(&instructions));
        }
        let budgets = budgets(&call, tries.engine);
        tries.starve(*rng.one_of(&budgets));
        traps += tries.traps;
        starved += tries.starved;
    }
    println!("{stats}\n{traps} traps, {starved} out of gas");
    if std::env::var_os("JAVM_SEED").is_none() {
        assert!(traps > CALLS && starved >= CALLS, "{traps} {starved}");
        stats.require(1_000, 100);
    }
}

/// How many larger trees are called.
const CALLS: u64 = 90;

/// Gas that ends at each report of the callee, and of what draws on its meter.
fn budgets(call: &Call, engine: &Engine) -> Vec<u64> {
    const MUCH: u64 = 1 << 44;
    let seen = attempt(call, engine, Fault::Gas(MUCH));
    let reports = seen.recorder.gas.unwrap_or_default();
    let mut used: Vec<u64> = reports.iter().filter(|gas| **gas > MUCH / 2).map(|gas| MUCH - gas).collect();
    used.sort_unstable();
    used.dedup();
    used
}

/// The test above would notice: a value changed in place shows, though its name is the same.
#[test]
fn a_change_in_place_would_be_noticed() {
    let mut cache = CacheDirectory::new();
    let inner = cache.insert_working(Cap::empty_cnode(2).unwrap());
    let mut table = CNodeCap::new_root();
    table.set(SlotIdx(5), Some(inner.into())).unwrap();
    let before = look(&cache, &table);
    let data = cache.put_cap(&Cap::data_inline(b"new")).unwrap();
    cache.modify(inner, |cap| match cap {
        Cap::CNode(cnode) => cnode.set(SlotIdx(1), Some(data.into())).map(drop),
        _ => unreachable!("a cnode was put"),
    });
    let after = look(&cache, &table);
    assert_eq!(before[&5].0, after[&5].0);
    assert_ne!(before, after);
}
