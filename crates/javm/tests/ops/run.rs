//! Runs one case in every way.

use crate::{
    support::{GAS, Rig, Seen},
    world::{By, World, is_kernel},
};
use javm::{CallResult, ExitReason, KernelImage};
use javm_abi::{GuestOp, status::FaultCode};
use javm_cap::{CNodeCap, Cap, CapHash, SlotIdx, Status, image::Image};

/// What a probe costs.
const PROBE_PRICE: u64 = 100;

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) op: GuestOp,
    pub(crate) args: Vec<u64>,
    pub(crate) prelude: &'static str,
    pub(crate) tweak: fn(&mut Image),
    pub(crate) expect: Expect,
}

#[derive(Clone)]
pub(crate) enum Expect {
    /// It is done. `units` is what the price counts; `also`: other code runs between the probes.
    Done { units: u64, also: bool, check: fn(&mut Outcome) },
    /// It is refused with these words, `{next}` being the offset behind it, after paying for so many units.
    Refused { words: String, units: u64 },
}

/// What a case led to.
pub(crate) struct Outcome {
    pub(crate) rig: Rig,
    pub(crate) before: CapHash,
    pub(crate) after: CapHash,
    pub(crate) image: CapHash,
    pub(crate) value: u64,
    pub(crate) slot0: Option<CapHash>,
    pub(crate) pad: CapHash,
    /// At the operation, and behind it.
    pub(crate) seen: Vec<Seen>,
    pub(crate) by: By,
    /// What the embedder was shown when it caught the marker.
    pub(crate) caught: Vec<Option<CapHash>>,
    pub(crate) gas: u64,
}

pub(crate) fn done(op: GuestOp, args: &[u64], units: u64, check: fn(&mut Outcome)) -> Case {
    let expect = Expect::Done { units, also: false, check };
    Case { op, args: args.to_vec(), prelude: "", tweak: |_| (), expect }
}

pub(crate) fn refused(op: GuestOp, args: &[u64], words: impl Into<String>) -> Case {
    let expect = Expect::Refused { words: words.into(), units: 0 };
    Case { op, args: args.to_vec(), prelude: "", tweak: |_| (), expect }
}

impl Case {
    /// Instructions before the operation.
    pub(crate) fn after(mut self, prelude: &'static str) -> Self {
        self.prelude = prelude;
        self
    }

    pub(crate) fn image(mut self, tweak: fn(&mut Image)) -> Self {
        self.tweak = tweak;
        self
    }

    /// Refused only after this much was paid for.
    pub(crate) fn paid(mut self, paid: u64) -> Self {
        match &mut self.expect {
            Expect::Refused { units, .. } | Expect::Done { units, .. } => *units = paid,
        }
        self
    }

    /// Other code runs before the guest goes on.
    pub(crate) fn runs_more(mut self) -> Self {
        if let Expect::Done { also, .. } = &mut self.expect {
            *also = true;
        }
        self
    }

    pub(crate) fn world(&self, by: By) -> World {
        World::new(self.op, by, self.prelude, &self.args, self.tweak)
    }
}

impl Outcome {
    pub(crate) fn was(&self, path: u64) -> Option<CapHash> {
        self.rig.slot(self.before, path)
    }

    pub(crate) fn is(&self, path: u64) -> Option<CapHash> {
        self.rig.slot(self.after, path)
    }

    pub(crate) fn cap(&self, path: u64) -> Cap {
        self.rig.get(self.is(path).unwrap_or_else(|| panic!("slot {path:#x} is empty")))
    }

    pub(crate) fn bytes(&self, path: u64) -> Vec<u8> {
        self.rig.slot_bytes(self.after, path)
    }

    /// φ7 + n behind the operation.
    pub(crate) fn a(&self, n: usize) -> u64 {
        self.seen[1].a(n)
    }

    /// Only these root slots changed; slot 0 is what the caller gave.
    pub(crate) fn only(&self, changed: &[u64]) {
        let (before, after) = (self.rig.table(self.before), self.rig.table(self.after));
        for slot in 0..256 {
            let differs = before.get(SlotIdx(slot)) != after.get(SlotIdx(slot));
            assert_eq!(differs, changed.contains(&u64::from(slot)), "slot {slot}");
        }
        assert_eq!(self.slot0, Some(self.pad));
    }
}

pub(crate) fn run(case: &Case) {
    for by in [By::Ecalli, By::Ecall] {
        println!("{} {:x?} by {by:?}", case.op.name(), case.args);
        match &case.expect {
            Expect::Done { units, also, check } => {
                let price = case.op.price().of(*units);
                let straight = succeeds(case, by, price, *also);
                let (seen, gas) = (straight.seen.clone(), straight.gas);
                let (after, value) = (straight.after, straight.value);
                check(&mut { straight });
                out_of_gas(case, by, price, &seen[0]);
                let resumed = short_of_price(case, by, price, &seen[0]);
                assert_eq!(
                    (resumed.after, resumed.value, resumed.gas),
                    (after, value, gas),
                    "as without a pause"
                );
                let registers = |seen: &[Seen]| seen.iter().map(|s| (s.pc, s.gpr)).collect::<Vec<_>>();
                assert!(
                    registers(&resumed.seen) == registers(&seen) || case.op == GuestOp::GasLeft,
                    "as without a pause"
                );
                if case.op != GuestOp::GasLeft {
                    check(&mut { resumed });
                }
            }
            Expect::Refused { words, units } => {
                is_refused(case, by, words, case.op.price().of(*units));
                is_refused_below_a_caller(case, by);
            }
        }
    }
}

/// Goes on until it ends, answering what the embedder catches.
fn drive(rig: &mut Rig, mut result: CallResult) -> (CallResult, Vec<Option<CapHash>>, u64) {
    let mut caught = Vec::new();
    let mut gas = result.gas_used();
    while let CallResult::Paused { .. } = result {
        caught.push(Rig::slot0(&result));
        let answer = rig.data(b"resumed");
        result = rig.resume(Some(answer));
        gas += result.gas_used();
    }
    (result, caught, gas)
}

fn outcome(world: World, by: By, result: CallResult, more: u64) -> Outcome {
    let World { mut rig, subject, image, pad, .. } = world;
    let (result, caught, gas) = drive(&mut rig, result);
    let (value, after) = rig.halted(&result);
    let slot0 = Rig::slot0(&result);
    let seen = rig.seen();
    Outcome { rig, before: subject, after, image, value, slot0, pad, seen, by, caught, gas: gas + more }
}

fn succeeds(case: &Case, by: By, price: u64, also: bool) -> Outcome {
    let mut world = case.world(by);
    let result = world.rig.call_with(world.subject, 0, &[], Some(world.pad), GAS);
    let op_pc = world.op_pc;
    let outcome = outcome(world, by, result, 0);
    let before = outcome.seen[0];
    assert_eq!(before.pc + 2, op_pc, "the probe stands before the operation");
    let args = &before.gpr[7..7 + case.args.len()];
    for (n, (found, expected)) in args.iter().zip(&case.args).enumerate() {
        assert!(found == expected || (by == By::Ecall && n == 4));
    }
    match outcome.seen.get(1) {
        Some(after) => {
            let paid = before.gas - after.gas - PROBE_PRICE;
            assert!(if also { paid > price } else { paid == price }, "it cost {paid}, its price is {price}");
        }
        // The operation ended the call.
        None => assert_eq!(outcome.gas, GAS - before.gas + price),
    }
    outcome
}

/// With one gas less than it costs, and nobody to catch that, the call faults where the operation stands.
fn out_of_gas(case: &Case, by: By, price: u64, at: &Seen) {
    let mut world = case.world(by);
    let len = world.rig.cache.len();
    let budget = GAS - at.gas + price - 1;
    let result = world.rig.call_with(world.subject, 0, &[], Some(world.pad), budget);
    let (reason, gas_used) = match &result {
        CallResult::Faulted { reason, gas_used, .. } => (*reason, *gas_used),
        other => panic!("{other:?}"),
    };
    assert_eq!((reason, gas_used), (ExitReason::OutOfGas, GAS - at.gas));
    assert_eq!(Rig::slot0(&result), Some(world.pad));
    assert_eq!(world.rig.cache.len(), len, "nothing is left behind");
    let fault = world.rig.vm.last_fault().unwrap();
    assert_eq!((fault.regs.pc, fault.regs.gpr, fault.code()), (world.op_pc, at.gpr, FaultCode::OutOfGas));
    let words = format!(
        "out of gas: cannot pay for {} at offset {}, `{}`",
        case.op.name(),
        world.op_pc,
        world.instruction
    );
    assert_eq!(world.rig.what(), words);
}

/// With one gas less than it costs it is paused before anything was done; moved off the machine and back, and
/// given more, it is done as if nothing had happened.
fn short_of_price(case: &Case, by: By, price: u64, at: &Seen) -> Outcome {
    let mut world = case.world(by);
    world.rig.catch_kernel(KernelImage::OogMarker);
    let assist = world.rig.vm.kernel_assist.inner.clone();
    let budget = GAS - at.gas + price - 1;
    let result = world.rig.call_with(world.subject, 0, &[], Some(world.pad), budget);
    let CallResult::Paused { gas_used, .. } = result else { panic!("{result:?}: {}", world.rig.words()) };
    assert_eq!(gas_used, GAS - at.gas, "nothing is paid for what is not done");
    assert_eq!(world.rig.vm.kernel_assist.inner, assist);
    let meter = world.rig.as_instance(Rig::slot0(&result).unwrap());
    assert!(is_kernel(&meter, KernelImage::Gas));
    let (value, left) = world.rig.vm.suspend(&mut world.rig.cache).unwrap();
    assert_eq!(left, price - 1);
    let paused = world.rig.as_instance(value);
    let Status::Paused(stopped) = paused.status() else { panic!("{:?}", paused.status()) };
    assert_eq!((stopped.pc, stopped.regs), (world.op_pc, at.gpr));
    assert!(stopped.gas_charged, "the block is paid");
    let root = world.rig.as_cnode(paused.root_cnode);
    same_slots(&world.rig.table(world.subject), &root, Some(world.pad));
    world.rig.vm.restore(&mut world.rig.cache, value).unwrap();
    world.rig.vm.add_gas(GAS - gas_used);
    let result = world.rig.resume(None);
    outcome(world, by, result, gas_used)
}

fn same_slots(expected: &CNodeCap, found: &CNodeCap, slot0: Option<CapHash>) {
    assert_eq!(found.get(SlotIdx(0)), slot0.map(Into::into));
    for slot in 1..256 {
        assert_eq!(found.get(SlotIdx(slot)), expected.get(SlotIdx(slot)), "slot {slot}");
    }
}

fn is_refused(case: &Case, by: By, words: &str, price: u64) {
    let mut world = case.world(by);
    let (len, assist) = (world.rig.cache.len(), world.rig.vm.kernel_assist.inner.clone());
    let result = world.rig.call_with(world.subject, 0, &[], Some(world.pad), GAS);
    let image: String = world.image[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let words = format!(
        "{} refused: {} at offset {}, `{}`; image {image}…, endpoint 0, depth 0",
        case.op.name(),
        words.replace("{next}", &world.next_pc.to_string()),
        world.op_pc,
        world.instruction
    );
    let CallResult::Faulted { reason, gas_used, .. } = result else {
        panic!("{result:?} instead of {words}")
    };
    assert_eq!(world.rig.words(), words);
    assert_eq!(reason, ExitReason::Trap);
    let seen = world.rig.seen();
    assert_eq!(seen.len(), 1);
    let fault = world.rig.vm.last_fault().unwrap();
    assert_eq!((fault.regs.pc, fault.regs.gpr, fault.code()), (world.op_pc, seen[0].gpr, FaultCode::Trap));
    assert_eq!(gas_used, GAS - seen[0].gas + price, "what a refusal costs");
    assert_eq!(Rig::slot0(&result), Some(world.pad), "slot 0 is as it was");
    assert_eq!(world.rig.cache.len(), len, "nothing is left behind");
    assert_eq!(world.rig.vm.kernel_assist.inner, assist, "no meter, quota or file has changed");
    assert!(world.rig.vm.take_emits().is_empty() && world.rig.vm.stack.is_empty());
    assert!(world.rig.cache.contains(world.subject.into()));
}

/// Below a caller, a refused operation is a status, a code, and nothing else.
fn is_refused_below_a_caller(case: &Case, by: By) {
    let mut world = case.world(by);
    let rig = &mut world.rig;
    let caller = rig.program(
        "load_imm a0, 1\nload_imm a1, 0\necalli 26\necalli 100\necalli 0\ntrap",
        &[(1, world.subject)],
    );
    let result = rig.call_with(caller, 0, &[], Some(world.pad), GAS);
    let (_, after) = rig.halted(&result);
    assert_eq!(after, caller, "no name that the caller can reach has changed");
    assert_eq!(Rig::slot0(&result), Some(world.pad));
    let seen = rig.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].a(0), seen[1].a(1)), (FaultCode::Trap.number(), 2));
}
