//! Every operation of the microkernel, every way in which it can fail, every state of a VM: made from the tables in
//! `javm-abi`, checked against the model and against what is written here.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use javm_abi::microkernel::{CALL_GAS, CapRef, DISPATCH_GAS, EcallOp, KernelCall, WHAT, operands};
use javm_exec::{Backend, Config, Engine};
use javm_invocation::{DispatchResult, VmFault};
use javm_testkit::{
    Rng,
    kernel_model::{
        Event, Fault, Model, State,
        against::{Pair, Way, World},
        generate::{Action, Step},
    },
};

/// What lies in the first VM's slots.
const UNTYPED: u8 = 254;
const CODE: u8 = 64;
const DATA: u8 = 50;
const HANDLE: u8 = 70;
const OTHER_HANDLE: u8 = 71;
const CALLABLE: u8 = 72;
const PROTOCOL: u8 = 9;
const EMPTY: u8 = 99;
const FREE: u8 = 98;
/// Data that is mapped for writing at this page; two more, mapped elsewhere.
const MAPPED: u8 = 65;
const MAPPED_PAGE: u64 = 20;
const READ_ONLY: u8 = 40;

const KINDS: [(&str, u8); 7] = [
    ("UNTYPED", UNTYPED),
    ("DATA", DATA),
    ("CODE", CODE),
    ("HANDLE", HANDLE),
    ("CALLABLE", CALLABLE),
    ("PROTOCOL", PROTOCOL),
    ("empty", EMPTY),
];

/// A kernel and a model, asked for one thing after another.
struct Scene<'a> {
    pair: Pair<'a>,
    rng: Rng,
}

fn world() -> World {
    World::new(&Engine::new(Config::new().backend(Backend::Interpreter)).unwrap())
}

fn local(slot: u8) -> CapRef {
    CapRef::local(slot)
}

/// A slot of the VM of a handle.
fn inside(handle: u8, slot: u8) -> CapRef {
    local(slot).through(handle).unwrap()
}

impl<'a> Scene<'a> {
    /// The first VM with one capability of each kind; two VMs, each with protocol 9 and DATA in slots 9 and 50.
    fn new(world: &'a World) -> Self {
        let mut scene = Self { pair: world.start(), rng: Rng::new(1) };
        scene.done(EcallOp::Call, local(UNTYPED), local(DATA), &[(7, 2)]);
        for handle in [HANDLE, OTHER_HANDLE] {
            scene.done(EcallOp::Call, local(CODE), local(handle), &[(7, 1 << PROTOCOL)]);
            scene.done(EcallOp::Call, local(UNTYPED), inside(handle, DATA), &[(7, 2)]);
        }
        scene.done(EcallOp::Downgrade, local(HANDLE), local(CALLABLE), &[]);
        scene
    }

    fn model(&self) -> &Model {
        &self.pair.model
    }

    fn action(&mut self, action: Action, registers: &[(usize, u64)]) -> Event {
        let mut phi = self.model().me().phi;
        // What φ7 and φ8 were must not matter.
        registers.iter().for_each(|(register, value)| phi[*register] = *value);
        let step = Step { phi, action };
        self.pair
            .step(&mut self.rng, Way::Dispatch, &step)
            .unwrap_or_else(|error| panic!("{step:?}: {error}"));
        self.pair.compare_contents().unwrap();
        self.model().event
    }

    fn ecall(&mut self, op: u32, subject: CapRef, object: CapRef, registers: &[(usize, u64)]) -> Event {
        let mut all = registers.to_vec();
        all.extend([(11, u64::from(op)), (12, operands(subject, object))]);
        self.action(Action::Ecall, &all)
    }

    fn op(&mut self, op: EcallOp, subject: CapRef, object: CapRef, registers: &[(usize, u64)]) -> Event {
        self.ecall(op.number().unwrap(), subject, object, registers)
    }

    /// An operation that must succeed.
    fn done(&mut self, op: EcallOp, subject: CapRef, object: CapRef, registers: &[(usize, u64)]) {
        let event = self.op(op, subject, object, registers);
        assert!(matches!(event, Event::Done(_)), "{op:?} {subject:?} {object:?} {registers:?}");
    }

    /// An operation that must fail, and do nothing but cost gas and set φ7; what else it does, `besides` does.
    fn fails_but(
        &mut self,
        (op, subject, object): (EcallOp, CapRef, CapRef),
        registers: &[(usize, u64)],
        besides: impl FnOnce(&mut Model),
    ) {
        let mut before = self.model().clone();
        let event = self.op(op, subject, object, registers);
        assert_eq!(event, Event::Failed, "{op:?} {subject:?} {object:?} {registers:?}");
        let me = before.me_mut();
        me.phi = self.model().me().phi;
        me.phi[7] = WHAT;
        me.gas -= DISPATCH_GAS;
        before.event = Event::Failed;
        besides(&mut before);
        assert_eq!(&before, self.model(), "{op:?}");
    }

    fn fails(&mut self, op: EcallOp, subject: CapRef, object: CapRef, registers: &[(usize, u64)]) {
        self.fails_but((op, subject, object), registers, |_| ());
    }

    /// Calls the VM in a slot.
    fn call(&mut self, slot: u8) {
        self.done(EcallOp::Call, local(slot), CapRef(0), &[]);
    }

    /// Calls the VM of the first handle, which faults.
    fn fault_child(&mut self) {
        self.call(HANDLE);
        self.action(Action::Fault(Fault::Trap), &[]);
    }
}

/// Operands with which an operation on a slot of the right kind succeeds, and its object.
fn good(op: EcallOp) -> (CapRef, Vec<(usize, u64)>) {
    let object = if op.object() == "-" { CapRef(0) } else { local(FREE) };
    let registers = match op {
        EcallOp::Map => vec![(7, 0x300), (8, 0), (9, 2), (10, 1)],
        EcallOp::Unmap => vec![(7, 0), (8, 1)],
        EcallOp::Split => vec![(7, 1)],
        EcallOp::SetMaxGas => vec![(7, 5)],
        EcallOp::Dirty => vec![(7, MAPPED_PAGE * 4096), (8, 8)],
        _ => vec![],
    };
    (object, registers)
}

/// The subject must be of the kind that the table says; other kinds fail.
#[test]
fn subjects_are_of_their_kind() {
    let world = world();
    for &op in EcallOp::ALL.iter().filter(|op| **op != EcallOp::Call) {
        for (kind, slot) in KINDS {
            let mut scene = Scene::new(&world);
            if op == EcallOp::Resume {
                scene.fault_child();
            }
            let fits = match op.subject() {
                // There is nothing to move where nothing is; dropping that is fine.
                "any" => kind != "empty" || op == EcallOp::Drop,
                "any but DATA and HANDLE" => !matches!(kind, "DATA" | "HANDLE" | "empty"),
                "HANDLE in the own table" => kind == "HANDLE",
                one => kind == one,
            };
            let (object, registers) = good(op);
            if fits {
                scene.done(op, local(slot), object, &registers);
            } else {
                scene.fails(op, local(slot), object, &registers);
            }
        }
    }
}

/// Calling does what the table says for the kind.
#[test]
fn calls_are_by_kind() {
    let world = world();
    for &call in KernelCall::ALL {
        let mut scene = Scene::new(&world);
        let (slot, object, registers): (u8, CapRef, &[(usize, u64)]) = match call {
            // Slot 0 is a slot as any other for `ecall`: there is nothing in it.
            KernelCall::Reply => {
                scene.fails(EcallOp::Call, local(0), CapRef(0), &[]);
                scene.call(HANDLE);
                assert_eq!(scene.action(Action::Ecalli(0), &[(7, 77)]), Event::Done("REPLY"));
                assert_eq!(scene.model().me().phi[7..=8], [77, 0]);
                continue;
            }
            KernelCall::Untyped => (UNTYPED, local(FREE), &[(7, 3)]),
            KernelCall::Data => (DATA, local(MAPPED), &[(7, 0), (8, 10), (9, 4090)]),
            KernelCall::Code => (CODE, local(FREE), &[(7, 0)]),
            KernelCall::Handle => (HANDLE, CapRef(0), &[]),
            KernelCall::Callable => (CALLABLE, CapRef(0), &[]),
            KernelCall::Protocol => (PROTOCOL, CapRef(0), &[]),
        };
        let gas = scene.model().me().gas;
        let event = scene.op(EcallOp::Call, local(slot), object, registers);
        let name = match call {
            KernelCall::Handle => "CALL HANDLE",
            KernelCall::Callable => "CALL CALLABLE",
            other => other.name(),
        };
        assert_eq!(event, Event::Done(name));
        let (fixed, page) = call.price();
        let pages = if call == KernelCall::Untyped { 3 } else { 0 };
        let total: u64 = scene.model().vms.values().map(|vm| vm.gas).sum();
        assert_eq!(gas - total, fixed + page * pages, "{call:?}");
    }
}

/// A reference that leads nowhere, as subject and as object, in each of the ways in which it can.
#[test]
fn references_that_lead_nowhere_fail() {
    let world = world();
    let mut nowhere = vec![local(7).through(EMPTY).unwrap()];
    nowhere.extend([CALLABLE, PROTOCOL, DATA, CODE, UNTYPED].map(|hop| local(7).through(hop).unwrap()));
    // The second hop is none; the VM has no handle in slot 70.
    nowhere.push(local(7).through(HANDLE).unwrap().through(HANDLE).unwrap());
    nowhere.push(CapRef(u32::from_le_bytes([7, EMPTY, 0, HANDLE])));
    for &op in EcallOp::ALL {
        for &reference in &nowhere {
            let (object, registers) = good(op);
            Scene::new(&world).fails(op, reference, object, &registers);
            if op.object() != "-" {
                let kind = if op.subject() == "HANDLE" { HANDLE } else { DATA };
                Scene::new(&world).fails(op, local(kind), reference, &registers);
            }
        }
    }
    // Bytes that are 0 are no hops, wherever they are.
    for bytes in [[PROTOCOL, HANDLE, 0, 0], [PROTOCOL, 0, HANDLE, 0], [PROTOCOL, 0, 0, HANDLE]] {
        Scene::new(&world).done(EcallOp::Copy, CapRef(u32::from_le_bytes(bytes)), local(FREE), &[]);
    }
}

/// One gas too little faults; the price is enough.
#[test]
fn prices_are_to_the_point() {
    let world = world();
    let mut cases = Vec::new();
    for &op in EcallOp::ALL.iter().filter(|op| **op != EcallOp::Call) {
        let (object, registers) = good(op);
        let subject = match op.subject() {
            "DATA" => DATA,
            "any but DATA and HANDLE" => PROTOCOL,
            _ => HANDLE,
        };
        cases.push((op.price().0, subject, op, object, registers));
    }
    for (call, slot, object, registers) in [
        (KernelCall::Untyped, UNTYPED, local(FREE), vec![(7, 3)]),
        (KernelCall::Data, DATA, local(MAPPED), vec![(7, 0), (8, 1), (9, 0)]),
        (KernelCall::Code, CODE, local(FREE), vec![(7, 0)]),
        (KernelCall::Handle, HANDLE, CapRef(0), vec![]),
        (KernelCall::Callable, CALLABLE, CapRef(0), vec![]),
        (KernelCall::Protocol, PROTOCOL, CapRef(0), vec![]),
    ] {
        let (fixed, page) = call.price();
        let pages = if call == KernelCall::Untyped { 3 } else { 0 };
        cases.push((fixed + page * pages, slot, EcallOp::Call, object, registers));
    }
    for (price, slot, op, object, registers) in cases {
        for (gas, enough) in [(0, false), (price - 1, false), (price, true)] {
            let mut scene = Scene::new(&world);
            if op == EcallOp::Resume {
                scene.fault_child();
            }
            scene.action(Action::Gas(gas), &[]);
            let event = scene.op(op, local(slot), object, &registers);
            assert_eq!(matches!(event, Event::Done(_)), enough, "{op:?} with {gas} of {price}: {event:?}");
            if !enough {
                assert_eq!(event, Event::Faulted(Fault::OutOfGas));
                // What was paid for being looked at stays paid.
                let left = if gas < DISPATCH_GAS { gas } else { gas - DISPATCH_GAS };
                assert_eq!(scene.model().me().gas, left);
            }
        }
    }
}

/// Numbers that are no operation.
#[test]
fn other_numbers_fail() {
    let world = world();
    let numbers: BTreeSet<u32> = EcallOp::ALL.iter().filter_map(|op| op.number()).collect();
    for number in (0..300).filter(|n| !numbers.contains(n)).chain([0x8000_0000, u32::MAX]) {
        let mut scene = Scene::new(&world);
        assert_eq!(scene.ecall(number, local(DATA), local(FREE), &[]), Event::Failed, "{number}");
    }
}

/// A way in which an operation fails, made to happen.
type Failure = (&'static str, &'static str, fn(&mut Scene<'_>));

const FAILURES: &[Failure] = &[
    ("MAP", "the subject is no DATA", |s| s.fails(EcallOp::Map, local(CODE), CapRef(0), &MAP)),
    ("MAP", "the access is neither 0 nor 1", |s| {
        for access in [2, 1 << 32, u64::MAX] {
            s.fails(EcallOp::Map, local(DATA), CapRef(0), &[(7, 0x300), (8, 0), (9, 2), (10, access)]);
        }
    }),
    ("MAP", "the DATA has not these pages", |s| {
        for (first, count) in
            [(0, 3), (1, 2), (2, 1), (u64::MAX, 2), (1, u64::MAX), (1 << 32, 1), (0, (1 << 32) + 1)]
        {
            s.fails(EcallOp::Map, local(DATA), CapRef(0), &[(7, 0x300), (8, first), (9, count), (10, 1)]);
        }
    }),
    ("MAP", "pages past the address space", |s| {
        for base in [(1 << 20) - 1, 1 << 20, 1 << 32, (1 << 32) + 0x300, u64::MAX] {
            s.fails(EcallOp::Map, local(DATA), CapRef(0), &[(7, base), (8, 0), (9, 2), (10, 1)]);
        }
        s.done(EcallOp::Map, local(DATA), CapRef(0), &[(7, (1 << 20) - 2), (8, 0), (9, 2), (10, 1)]);
    }),
    ("MAP", "another base than before", |s| {
        s.done(EcallOp::Map, local(DATA), CapRef(0), &MAP);
        s.done(EcallOp::Unmap, local(DATA), CapRef(0), &[(7, 0), (8, 2)]);
        s.fails(EcallOp::Map, local(DATA), CapRef(0), &[(7, 0x301), (8, 0), (9, 1), (10, 1)]);
        s.done(EcallOp::Map, local(DATA), CapRef(0), &MAP);
    }),
    ("MAP", "another access than before", |s| {
        s.done(EcallOp::Map, local(DATA), CapRef(0), &MAP);
        s.fails(EcallOp::Map, local(DATA), CapRef(0), &[(7, 0x300), (8, 0), (9, 1), (10, 0)]);
    }),
    ("MAP", "another capability has a page there", |s| {
        for base in [MAPPED_PAGE - 1, MAPPED_PAGE, MAPPED_PAGE + 2] {
            s.fails(EcallOp::Map, local(DATA), CapRef(0), &[(7, base), (8, 0), (9, 2), (10, 1)]);
        }
        // Beside it there is room; the page that is in the way need not be mapped.
        s.done(EcallOp::Map, local(DATA), CapRef(0), &[(7, MAPPED_PAGE + 2), (8, 1), (9, 1), (10, 1)]);
    }),
    ("UNMAP", "the subject is no DATA", |s| {
        s.fails(EcallOp::Unmap, local(HANDLE), CapRef(0), &[(7, 0), (8, 1)]);
    }),
    ("SPLIT", "the subject is no DATA", |s| s.fails(EcallOp::Split, local(CODE), local(FREE), &[(7, 1)])),
    ("SPLIT", "a page is mapped", |s| {
        s.fails(EcallOp::Split, local(MAPPED), local(FREE), &[(7, 1)]);
        s.done(EcallOp::Unmap, local(MAPPED), CapRef(0), &[(7, 0), (8, 2)]);
        s.fails(EcallOp::Split, local(MAPPED), local(FREE), &[(7, 1)]);
        s.done(EcallOp::Unmap, local(MAPPED), CapRef(0), &[(7, 2), (8, 1)]);
        s.done(EcallOp::Split, local(MAPPED), local(FREE), &[(7, 1)]);
    }),
    ("SPLIT", "no page, or all of them", |s| {
        for pages in [0, 2, 3, (1 << 32) + 1, u64::MAX] {
            s.fails(EcallOp::Split, local(DATA), local(FREE), &[(7, pages)]);
        }
    }),
    ("SPLIT", "the object is not empty", |s| {
        for object in [local(CODE), local(DATA), inside(HANDLE, PROTOCOL)] {
            s.fails(EcallOp::Split, local(DATA), object, &[(7, 1)]);
        }
    }),
    ("DROP", "the VM, or one that it owns, is on the call stack", |s| {
        // The first VM calls the child by a callable; the child has the handle of its own, then of its owner.
        s.done(EcallOp::Move, local(HANDLE), inside(OTHER_HANDLE, HANDLE), &[]);
        s.done(EcallOp::Downgrade, local(OTHER_HANDLE), inside(OTHER_HANDLE, CALLABLE), &[]);
        let deep = inside(OTHER_HANDLE, HANDLE);
        s.done(EcallOp::Downgrade, deep, local(FREE), &[]);
        let hops = |slot: u8| local(slot).through(HANDLE).unwrap().through(OTHER_HANDLE).unwrap();
        s.done(EcallOp::Move, local(OTHER_HANDLE), hops(OTHER_HANDLE), &[]);
        // Now the one owns the other and the other way round, and nobody else does. The first one runs.
        s.call(FREE);
        s.fails(EcallOp::Drop, local(OTHER_HANDLE), CapRef(0), &[]);
    }),
    ("MOVE", "the subject is empty", |s| s.fails(EcallOp::Move, local(EMPTY), local(FREE), &[])),
    ("MOVE", "the object is not empty", |s| {
        for object in [local(CODE), inside(HANDLE, PROTOCOL)] {
            s.fails(EcallOp::Move, local(DATA), object, &[]);
        }
        s.done(EcallOp::Move, local(DATA), local(DATA), &[]);
    }),
    ("COPY", "the subject is empty", |s| s.fails(EcallOp::Copy, local(EMPTY), local(FREE), &[])),
    ("COPY", "the subject cannot be copied", |s| {
        for subject in [DATA, HANDLE] {
            s.fails(EcallOp::Copy, local(subject), local(FREE), &[]);
        }
    }),
    ("COPY", "the object is not empty", |s| {
        for object in [local(CODE), local(PROTOCOL), inside(HANDLE, DATA)] {
            s.fails(EcallOp::Copy, local(PROTOCOL), object, &[]);
        }
    }),
    ("DOWNGRADE", "the subject is no HANDLE", |s| {
        s.fails(EcallOp::Downgrade, local(CALLABLE), local(FREE), &[]);
    }),
    ("DOWNGRADE", "the object is not empty", |s| {
        for object in [local(CODE), local(HANDLE), inside(HANDLE, DATA)] {
            s.fails(EcallOp::Downgrade, local(HANDLE), object, &[]);
        }
    }),
    ("SET_MAX_GAS", "the subject is no HANDLE", |s| {
        s.fails(EcallOp::SetMaxGas, local(CALLABLE), CapRef(0), &[(7, 1)]);
    }),
    ("DIRTY", "the subject is no DATA", |s| s.fails(EcallOp::Dirty, local(CODE), CapRef(0), &DIRTY)),
    ("DIRTY", "the bitmap has more bytes", |s| {
        let nine_pages = local(41);
        for room in [0, 1] {
            s.fails(EcallOp::Dirty, nine_pages, CapRef(0), &[(7, MAPPED_PAGE * 4096), (8, room)]);
        }
        s.done(EcallOp::Dirty, nine_pages, CapRef(0), &[(7, MAPPED_PAGE * 4096), (8, 2)]);
    }),
    ("DIRTY", "the bitmap cannot be written there", |s| {
        // Nothing is there, it is read-only, it goes past the last page.
        let end = (MAPPED_PAGE + 3) * 4096;
        for address in [0, 0x9999_0000, 4096, end, end - 1] {
            s.fails(EcallOp::Dirty, local(41), CapRef(0), &[(7, address), (8, 2)]);
        }
        s.done(EcallOp::Dirty, local(41), CapRef(0), &[(7, end - 2), (8, 2)]);
    }),
    ("RESUME", "the subject is no HANDLE", |s| {
        s.fault_child();
        s.fails(EcallOp::Resume, local(CALLABLE), CapRef(0), &[]);
    }),
    ("RESUME", "the HANDLE is in the table of another VM", |s| {
        s.fault_child();
        s.done(EcallOp::Move, local(HANDLE), inside(OTHER_HANDLE, HANDLE), &[]);
        s.fails(EcallOp::Resume, inside(OTHER_HANDLE, HANDLE), CapRef(0), &[]);
    }),
    ("RESUME", "the VM has not faulted", |s| s.fails(EcallOp::Resume, local(HANDLE), CapRef(0), &[])),
    ("RETYPE", "there are not so many pages", |s| {
        let left = u64::from(s.model().untyped_total - s.model().untyped_offset);
        let pay = |pages: u64| move |model: &mut Model| model.me_mut().gas -= CALL_GAS + 1500 * pages;
        s.fails_but((EcallOp::Call, local(UNTYPED), local(FREE)), &[(7, left + 1)], pay(left + 1));
        s.done(EcallOp::Call, local(UNTYPED), local(FREE), &[(7, left)]);
        s.fails_but((EcallOp::Call, local(UNTYPED), local(EMPTY)), &[(7, 1)], pay(1));
        s.done(EcallOp::Call, local(UNTYPED), local(EMPTY), &[(7, 0)]);
    }),
    ("RETYPE", "the destination leads nowhere", |s| retype_fails(s, inside_nothing())),
    ("RETYPE", "the destination is not empty", |s| {
        retype_fails(s, local(CODE));
        retype_fails(s, inside(HANDLE, PROTOCOL));
    }),
    ("MEMCPY", "no bytes", |s| s.fails(EcallOp::Call, local(DATA), local(MAPPED), &[(7, 0), (8, 0), (9, 0)])),
    ("MEMCPY", "the destination is no DATA", |s| {
        // Reference 0 is none, even where there is DATA in the slot.
        s.done(EcallOp::Move, local(READ_ONLY), local(0), &[]);
        for object in [CapRef(0), local(CODE), local(EMPTY), inside_nothing()] {
            s.fails(EcallOp::Call, local(DATA), object, &[(7, 0), (8, 1), (9, 0)]);
        }
    }),
    ("MEMCPY", "the source has not these bytes", |s| {
        for (offset, len) in [(8192, 1), (8191, 2), (u64::MAX, 2), (2, u64::MAX)] {
            s.fails(EcallOp::Call, local(DATA), local(MAPPED), &[(7, offset), (8, len), (9, 0)]);
        }
        s.done(EcallOp::Call, local(DATA), local(MAPPED), &[(7, 8191), (8, 1), (9, 0)]);
    }),
    ("MEMCPY", "the destination has not these bytes", |s| {
        for (offset, len) in [(8192, 1), (8191, 2), (u64::MAX, 2)] {
            s.fails(EcallOp::Call, local(MAPPED), local(DATA), &[(7, 0), (8, len), (9, offset)]);
        }
    }),
    ("CREATE", "there are 65,535 VMs", |s| {
        // The kernel alone: there are three already. Where the destination is not empty the VM stays all the same.
        let kernel = &mut s.pair.kernel;
        kernel.set_gas(u64::MAX / 2);
        for n in 3..65_536 {
            let regs = kernel.regs_mut();
            (regs.gpr[7], regs.gpr[12]) = (0, operands(local(CODE), local(CODE)));
            assert_eq!(kernel.vms().count().min(4), (n as usize).min(4));
            assert_eq!(kernel.dispatch_ecall(0), DispatchResult::Continue);
            if n < 8 {
                assert_eq!(kernel.vms().count(), n as usize + 1);
            }
        }
        assert_eq!(kernel.vms().count(), 65_535);
        let regs = kernel.regs_mut();
        (regs.gpr[7], regs.gpr[12]) = (0, operands(local(CODE), local(FREE)));
        assert_eq!(kernel.dispatch_ecall(0), DispatchResult::Continue);
        assert_eq!((kernel.regs().gpr[7], kernel.vms().count()), (WHAT, 65_535));
    }),
    ("CREATE", "the destination leads nowhere", |s| create_fails(s, inside_nothing())),
    ("CREATE", "the destination is not empty", |s| {
        create_fails(s, local(CODE));
        create_fails(s, inside(HANDLE, PROTOCOL));
    }),
    ("CALL_VM", "there is no such VM", |s| {
        s.done(EcallOp::Drop, local(HANDLE), CapRef(0), &[]);
        s.fails(EcallOp::Call, local(CALLABLE), CapRef(0), &[]);
        // Another VM in its place is another.
        s.done(EcallOp::Call, local(CODE), local(FREE), &[(7, 0)]);
        assert_eq!(s.model().vms.len(), 3);
        s.fails(EcallOp::Call, local(CALLABLE), CapRef(0), &[]);
    }),
    ("CALL_VM", "the VM is not idle", |s| {
        s.fault_child();
        s.fails(EcallOp::Call, local(HANDLE), CapRef(0), &[]);
        s.fails(EcallOp::Call, local(CALLABLE), CapRef(0), &[]);
    }),
    ("CALL_VM", "what the passed capability takes the place of cannot be dropped", |s| {
        // The callee has its own handle in slot 0.
        s.done(EcallOp::Move, local(HANDLE), inside(HANDLE, 0), &[]);
        s.fails(EcallOp::Call, local(CALLABLE), local(DATA), &[]);
        assert!(s.model().data((0, DATA)).is_some());
        s.done(EcallOp::Call, local(CALLABLE), local(EMPTY), &[]);
    }),
];

const MAP: [(usize, u64); 4] = [(7, 0x300), (8, 0), (9, 2), (10, 1)];
const DIRTY: [(usize, u64); 2] = [(7, MAPPED_PAGE * 4096), (8, 8)];

fn inside_nothing() -> CapRef {
    inside(EMPTY, FREE)
}

/// The pages are used up, and paid.
fn retype_fails(s: &mut Scene<'_>, to: CapRef) {
    s.fails_but((EcallOp::Call, local(UNTYPED), to), &[(7, 2)], |model| {
        model.untyped_offset += 2;
        model.me_mut().gas -= CALL_GAS + 3000;
    });
}

/// The VM is there, and nobody's.
fn create_fails(s: &mut Scene<'_>, to: CapRef) {
    let vms = s.model().vms.len();
    assert_eq!(s.op(EcallOp::Call, local(CODE), to, &[(7, 0)]), Event::Failed);
    assert_eq!((s.model().me().phi[7], s.model().vms.len()), (WHAT, vms + 1));
}

/// Every way to fail that the tables list is made to happen, and no other.
#[test]
fn every_way_to_fail() {
    let world = world();
    let ops = EcallOp::ALL.iter().flat_map(|op| op.failures().iter().map(|why| (op.name(), *why)));
    let calls = KernelCall::ALL.iter().flat_map(|call| call.failures().iter().map(|why| (call.name(), *why)));
    let listed: BTreeSet<_> = ops.chain(calls).collect();
    let made: BTreeSet<_> = FAILURES.iter().map(|(name, why, _)| (*name, *why)).collect();
    assert_eq!(listed, made);
    for (name, why, make) in FAILURES {
        println!("{name}: {why}");
        make(&mut Scene::new(&world));
    }
}

/// A state of the VM whose handle the active VM has in slot [`HANDLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Idle,
    Faulted,
    /// It is the active VM itself.
    Running,
    /// It called the active VM.
    Waiting,
}

impl Target {
    const ALL: [Self; 4] = [Self::Idle, Self::Faulted, Self::Running, Self::Waiting];

    const fn state(self) -> State {
        match self {
            Self::Idle => State::Idle,
            Self::Faulted => State::Faulted,
            Self::Running => State::Running,
            Self::Waiting => State::Waiting,
        }
    }

    /// A scene in which it is so.
    fn scene(self, world: &World) -> Scene<'_> {
        let mut scene = Scene::new(world);
        match self {
            Self::Idle => {}
            Self::Faulted => scene.fault_child(),
            Self::Running => {
                scene.done(EcallOp::Move, local(HANDLE), inside(HANDLE, HANDLE), &[]);
                scene.call(CALLABLE);
            }
            Self::Waiting => {
                scene.done(EcallOp::Downgrade, local(OTHER_HANDLE), inside(HANDLE, CALLABLE), &[]);
                scene.done(EcallOp::Move, local(HANDLE), inside(OTHER_HANDLE, HANDLE), &[]);
                scene.call(CALLABLE);
                scene.call(CALLABLE);
            }
        }
        // Whoever is active can write a bitmap somewhere.
        if scene.model().active != 0 {
            scene.done(EcallOp::Map, local(DATA), CapRef(0), &[(7, MAPPED_PAGE), (8, 0), (9, 2), (10, 1)]);
        }
        let Some(javm_testkit::kernel_model::Cap::Handle { vm, .. }) =
            scene.model().cap((scene.model().active, HANDLE))
        else {
            panic!("{self:?}: no handle");
        };
        assert_eq!(scene.model().vm(*vm).unwrap().state, self.state());
        scene
    }
}

/// Which operations can be done to a VM in which state; all others fail.
fn allowed(op: EcallOp, target: Target) -> bool {
    match op {
        EcallOp::Call => target == Target::Idle,
        EcallOp::Resume => target == Target::Faulted,
        EcallOp::Drop => matches!(target, Target::Idle | Target::Faulted),
        EcallOp::Move | EcallOp::Downgrade | EcallOp::SetMaxGas => true,
        // A handle is nothing that these work on.
        EcallOp::Copy
        | EcallOp::Map
        | EcallOp::Unmap
        | EcallOp::Split
        | EcallOp::Dirty
        | EcallOp::Unknown => false,
    }
}

/// Every operation on the handle of a VM, and through it, in every state of the VM.
#[test]
fn every_operation_in_every_state() {
    let world = world();
    for target in Target::ALL {
        for &op in EcallOp::ALL {
            let (object, registers) = good(op);
            let mut scene = target.scene(&world);
            if allowed(op, target) {
                scene.done(op, local(HANDLE), object, &registers);
            } else {
                scene.fails(op, local(HANDLE), object, &registers);
            }

            // Through the handle: whatever the operation works on, as long as the VM is not on the call stack.
            let mut scene = target.scene(&world);
            let reached = matches!(target, Target::Idle | Target::Faulted);
            let slot = match op {
                EcallOp::Map | EcallOp::Unmap | EcallOp::Split | EcallOp::Dirty => DATA,
                _ => PROTOCOL,
            };
            let fits = !matches!(op, EcallOp::Downgrade | EcallOp::SetMaxGas | EcallOp::Resume);
            if reached && fits {
                scene.done(op, inside(HANDLE, slot), object, &registers);
            } else {
                scene.fails(op, inside(HANDLE, slot), object, &registers);
            }
        }
    }
}

/// What a running VM can come to, from code: its state and its caller's.
#[test]
fn every_end_of_a_call() {
    let world = world();
    let ends = [
        (Action::Ecalli(0), State::Idle, Some(0)),
        (Action::Halt, State::Idle, Some(0)),
        (Action::Fault(Fault::Trap), State::Faulted, Some(1)),
        (Action::Fault(Fault::Panic), State::Faulted, Some(2)),
        (Action::Fault(Fault::OutOfGas), State::Faulted, Some(3)),
        (Action::Fault(Fault::Page(0x5000)), State::Faulted, Some(4)),
        (Action::Ecalli(PROTOCOL.into()), State::Running, None),
        (Action::Ecalli(EMPTY.into()), State::Running, None),
    ];
    for (end, state, status) in ends {
        // At the first call, and after a resume.
        for resumed in [false, true] {
            let mut scene = Scene::new(&world);
            if resumed {
                scene.fault_child();
                scene.done(EcallOp::Resume, local(HANDLE), CapRef(0), &[]);
            } else {
                scene.call(HANDLE);
            }
            let gas: u64 = scene.model().vms.values().map(|vm| vm.gas).sum();
            scene.action(end.clone(), &[(7, 1234)]);
            assert_eq!(scene.model().vms[&1].state, state, "{end:?}");
            let root = &scene.model().vms[&0];
            let (expected, gas_left) = match status {
                Some(status) => {
                    assert_eq!(root.phi[8], status, "{end:?}");
                    (State::Running, root.gas)
                }
                None => (State::Waiting, scene.model().me().gas),
            };
            assert_eq!(root.state, expected, "{end:?}");
            let price = if matches!(end, Action::Fault(_)) { 0 } else { DISPATCH_GAS };
            assert_eq!(gas - gas_left, price, "{end:?}");
        }
    }
}

/// The end of an invocation: nothing can be done any more, and the first VM is the only one that is ever halted.
#[test]
fn nothing_happens_after_the_end() {
    let world = world();
    let mut scene = Scene::new(&world);
    scene.action(Action::Ecalli(0), &[(7, 42)]);
    assert_eq!(scene.model().vms[&0].state, State::Halted);
    let before = scene.model().clone();
    let halted = DispatchResult::RootHalt(42);
    let kernel = &mut scene.pair.kernel;
    for op in EcallOp::ALL {
        assert_eq!(kernel.dispatch_ecall(op.number().unwrap().into()), halted);
    }
    for imm in [0, 9, 64, 70, 254] {
        assert_eq!(kernel.dispatch_ecalli(imm), halted);
    }
    assert_eq!(
        (kernel.inject_fault(VmFault::Trap), kernel.inject_halt(), kernel.run()),
        (halted, halted, halted)
    );
    assert_eq!(scene.model(), &before);
    scene.pair.compare().unwrap();
}

/// The prices of the tables are those of the specification's summary.
#[test]
fn prices_of_the_summary() {
    let prices: BTreeMap<&str, (u64, u64)> = EcallOp::ALL
        .iter()
        .filter(|op| **op != EcallOp::Call)
        .map(|op| (op.name(), op.price()))
        .chain(KernelCall::ALL.iter().map(|call| (call.name(), call.price())))
        .collect();
    for (name, price) in prices {
        let expected = match name {
            "RESUME" | "CALL_VM" => (20, 0),
            "RETYPE" => (20, 1500),
            _ => (10, 0),
        };
        assert_eq!(price, expected, "{name}");
    }
}
