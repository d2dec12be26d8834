//! [`Script`]: writes one program, knowing at each line what every slot holds.
//!
//! A program is a row of *acts*, its endpoints. In each state there may be acts that fault, which change
//! nothing, and one that halts and leads to the next state. What an act needs it either makes by operations or
//! *demands*: slots 61 to 239 of the first table are handed out for that, one after another, so what is
//! demanded late has been there from the beginning. Slots 1 to 60 begin empty.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use javm::KernelImage;
use javm_abi::{GuestOp, SlotPath};
use javm_cap::{
    SlotIdx,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
};
use javm_isa::asm::assemble;

use super::{
    Maker,
    record::{Ask, By, PROBE, Tag, When},
    value::{Act, End, Event, Marker, Pad, Place, Program, Table, Val, encode},
};

/// Persistent memory, two pages; the slot it lies in.
pub(super) const MEM: u64 = 0x4_0000;
/// Ephemeral memory, one page.
pub(super) const EPHEMERAL: u64 = 0x5_0000;
/// Pinned memory, one page.
pub(super) const PINNED: u64 = 0x6_0000;
/// Persistent memory whose Data lies in a nested cnode.
pub(super) const NESTED: u64 = 0x7_0000;
/// Nothing is mapped from here on; a pager may.
pub(super) const NOWHERE: u64 = 0x20_0000;
/// Where lists of paths are written.
const LIST: u64 = MEM + 0x100;

pub(super) const MEM_SLOT: u8 = 250;
pub(super) const PINNED_SLOT: u8 = 251;
const CATCHER_SLOT: u8 = 252;
const GAS_SLOTS: [u8; 2] = [253, 254];
const QUOTA_SLOT: u8 = 255;
const NESTED_SLOT: u8 = 249;
const SET_METER_SLOT: u8 = 248;
const SET_QUOTA_SLOT: u8 = 247;
/// Always empty.
pub(super) const EMPTY_SLOT: u8 = 246;
/// Where a caller has the callee that it expects nothing of.
pub const VICTIM_SLOT: u8 = 244;
/// The last slot that a program may write.
const LAST: u8 = 239;
/// The first slot that is handed out to what is demanded.
const FIRST_DEMANDED: u8 = 61;

/// What handlers put into a meter or quota that ran out.
const REFILL: u64 = 200_000;
/// More than a case uses.
pub(super) const AMPLE: u64 = 1 << 40;

/// What is above a program when it is called.
#[derive(Clone, Debug, Default)]
pub(super) struct Env {
    /// Markers that somebody catches.
    pub(super) named: Vec<u32>,
    /// Whether somebody handles this yield of the kernel.
    pub(super) oog: bool,
    pub(super) storage: bool,
    pub(super) pager: bool,
    /// Quotas that pay for those that have none of their own.
    pub(super) quotas: Vec<(u64, u64)>,
    pub(super) depth: u32,
}

/// A program that is being written.
pub(super) struct Script<'m> {
    pub(super) m: &'m mut Maker,
    pub(super) id: u32,
    pub(super) env: Env,
    text: String,
    labels: u32,
    pub(super) table: Table,
    first: Table,
    next_demand: u8,
    /// What was demanded since the act began.
    demanded: Vec<(u8, Val)>,
    pub(super) catches: Vec<Marker>,
    nested: bool,
    meters: Vec<(u64, u64)>,
    quotas: Vec<(u64, u64)>,
    own_meters: usize,
    own_quota: bool,
    acts: Vec<Act>,
    continuations: u8,
    /// Programs that it may call.
    pub(super) children: Vec<Arc<Program>>,
    /// Yields of the act that somebody above must handle.
    events: Vec<Event>,
    /// Targets of paused calls.
    locked: Vec<Place>,
    /// The act must end now: it leaves a call paused.
    ends: bool,
    halting: bool,
    /// What is to be done with the next call that pauses.
    wish: Option<(GuestOp, By)>,
    /// The next call that pauses is left so: the act is about to fault.
    pub(super) stops: bool,
    /// How deep the generator is in handlers.
    nesting: u32,
}

impl<'m> Script<'m> {
    pub(super) fn new(m: &'m mut Maker, env: Env) -> Self {
        let id = m.id();
        let mut s = Self {
            m,
            id,
            env,
            text: String::new(),
            labels: 0,
            table: Table::default(),
            first: Table::default(),
            next_demand: FIRST_DEMANDED,
            demanded: Vec::new(),
            catches: Vec::new(),
            nested: false,
            meters: Vec::new(),
            quotas: Vec::new(),
            own_meters: 0,
            own_quota: false,
            acts: Vec::new(),
            continuations: 0,
            children: Vec::new(),
            events: Vec::new(),
            locked: Vec::new(),
            ends: false,
            halting: false,
            wish: None,
            stops: false,
            nesting: 0,
        };
        s.furnish();
        s
    }

    /// Chooses what the image declares, and fills the slots that belong to it.
    fn furnish(&mut self) {
        let words: Vec<u8> = (0..40).map(|_| self.m.rng.bits() as u8 | 1).collect();
        self.hold(MEM_SLOT, Val::data(&words));
        self.nested = self.m.rng.one_in(2);
        if self.nested {
            let inner = BTreeMap::from([(1, Val::data(b"nested"))]);
            self.hold(NESTED_SLOT, Val::CNode(2, inner));
        }
        if !self.m.rng.one_in(4) {
            for _ in 0..self.m.rng.between(1, 3) {
                let marker = self.m.marker();
                self.catches.push(Marker::Named(marker));
            }
            for image in [KernelImage::OogMarker, KernelImage::StorageExhaustedMarker, KernelImage::Pager] {
                if !self.m.rng.one_in(3) {
                    let at = self.m.rng.index(self.catches.len() + 1);
                    self.catches.insert(at, Marker::Kernel(image));
                }
            }
            self.hold(CATCHER_SLOT, Val::Catcher(self.catches.clone()));
            self.hold(SET_METER_SLOT, Val::Kernel(KernelImage::SetGasMeter, None));
            self.hold(SET_QUOTA_SLOT, Val::Kernel(KernelImage::SetStorageQuota, None));
        }
        let outermost = self.m.options.metered && self.env.depth == 0;
        if self.m.options.meters && (outermost || self.m.rng.one_in(2)) {
            self.own_meters = 2;
            let reserve = if self.env.oog { self.m.rng.below(20_000) } else { AMPLE };
            for (slot, amount) in GAS_SLOTS.into_iter().zip([self.m.rng.below(60_000), reserve]) {
                let meter = self.m.meter();
                self.hold(slot, Val::Kernel(KernelImage::Gas, Some(meter)));
                self.meters.push((meter, amount));
            }
        }
        if self.m.rng.one_in(2) {
            self.own_quota = true;
            let quota = self.m.meter();
            let amount = if self.env.storage { self.m.rng.below(10_000) } else { AMPLE };
            self.hold(QUOTA_SLOT, Val::Kernel(KernelImage::Quota, Some(quota)));
            self.quotas.push((quota, amount));
        }
        self.table.0.insert(PINNED_SLOT, Val::data(b"pinned"));
        self.forget_memory();
    }

    /// What the program writes is not known.
    fn forget_memory(&mut self) {
        self.table.0.insert(MEM_SLOT, Val::Blob);
        if self.nested {
            self.table.0.insert(NESTED_SLOT, Val::CNode(2, BTreeMap::from([(1, Val::Blob)])));
        }
    }

    /// Fills a slot from the beginning.
    fn hold(&mut self, slot: u8, val: Val) {
        self.first.0.insert(slot, val.clone());
        self.table.0.insert(slot, val.clone());
        self.demanded.push((slot, val));
    }

    /// What its callees find above them.
    pub(super) fn below(&self) -> Env {
        let catches = |image| self.catches.contains(&Marker::Kernel(image));
        let mut env = self.env.clone();
        env.named.extend(self.catches.iter().filter_map(|m| match m {
            Marker::Named(id) => Some(*id),
            Marker::Kernel(_) => None,
        }));
        env.oog |= catches(KernelImage::OogMarker);
        env.storage |= catches(KernelImage::StorageExhaustedMarker);
        env.pager |= catches(KernelImage::Pager);
        if self.own_quota {
            env.quotas.clone_from(&self.quotas);
        }
        env.depth += 1;
        env
    }

    /// Has this in the first table, somewhere, and says where.
    pub(super) fn demand(&mut self, val: Val) -> Place {
        let slot = self.next_demand;
        assert!(slot <= LAST, "a program demands too much");
        self.next_demand += 1;
        let mut place = vec![u16::from(slot)];
        let mut val = val;
        for _ in 0..3 {
            if !self.m.rng.one_in(4) || val.depth() > 2 {
                break;
            }
            let k = self.m.rng.between(0, 3) as u8;
            let index = self.m.rng.below(1 << k) as u16;
            place.insert(1, index);
            val = Val::CNode(k, BTreeMap::from([(index, val)]));
        }
        self.hold(slot, val);
        place
    }

    /// A place that holds what the predicate takes; demanded where there is none, and now and then anyway.
    pub(super) fn source(
        &mut self,
        takes: &dyn Fn(&Val) -> bool,
        make: impl FnOnce(&mut Maker) -> Val,
    ) -> Place {
        let found = self.table.places(takes);
        if found.is_empty() || self.m.rng.one_in(6) && self.next_demand < 150 {
            let val = make(self.m);
            return self.demand(val);
        }
        self.m.rng.one_of(&found).clone()
    }

    /// Whether the program may write there.
    pub(super) fn writable(&self, place: &[u16]) -> bool {
        place[0] <= u16::from(LAST) && !self.locked.iter().any(|target| target.starts_with(place))
    }

    /// A place to write, none of which contains another.
    pub(super) fn dest(&mut self, apart_from: &[Place]) -> Place {
        for _ in 0..6 {
            let cnodes = self.table.places(&|val| matches!(val, Val::CNode(..)));
            let place = match self.m.rng.below(10) {
                0..5 if !cnodes.is_empty() => {
                    let mut place = self.m.rng.one_of(&cnodes).clone();
                    let Some(Val::CNode(k, _)) = self.table.get(&place) else { continue };
                    place.push(self.m.rng.below(1 << k) as u16);
                    place
                }
                5 => vec![0],
                6 => {
                    let all = self.table.places(&|val| val.size() < 4);
                    self.m.rng.one_of(&all).clone()
                }
                _ => vec![self.m.rng.between(1, u64::from(FIRST_DEMANDED) - 1) as u16],
            };
            let apart = !apart_from.iter().any(|other| place.starts_with(other) || other.starts_with(&place));
            if place.len() <= 4 && self.writable(&place) && apart {
                return place;
            }
        }
        let free = (1..u16::from(FIRST_DEMANDED)).find(|slot| {
            let place = vec![*slot];
            self.table.get(&place).is_none() && self.writable(&place) && !apart_from.contains(&place)
        });
        vec![free.unwrap_or(1)]
    }

    // ---- text ----

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn label(&mut self) -> String {
        self.labels += 1;
        format!("l{}", self.labels)
    }

    /// Reports to the embedder.
    fn report(&mut self, when: When, ask: Ask, by: By) {
        let tag = Tag { when, ask, by, program: self.id }.encode();
        let _ = writeln!(self.text, "load_imm_64 t0, {tag:#x}");
        if self.m.rng.one_in(4) {
            let _ = writeln!(self.text, "load_imm a4, {PROBE}\necall");
        } else {
            let _ = writeln!(self.text, "ecalli {PROBE}");
        }
    }

    /// Asks for an operation; `number` where it is none of the table's.
    fn ask(&mut self, ask: Ask, number: u32, by: By, args: &[u64]) {
        self.report(When::Before, ask, by);
        for (n, arg) in args.iter().enumerate() {
            match i32::try_from(arg.cast_signed()) {
                Ok(small) => writeln!(self.text, "load_imm a{n}, {small}"),
                Err(_) => writeln!(self.text, "load_imm_64 a{n}, {arg:#x}"),
            }
            .unwrap_or_default();
        }
        let _ = match by {
            By::Ecalli => writeln!(self.text, "ecalli {number}"),
            By::Ecall => writeln!(self.text, "load_imm a4, {number}\necall"),
        };
    }

    /// An operation that will succeed, and goes on behind.
    pub(super) fn op(&mut self, op: GuestOp, by: By, args: &[u64]) {
        self.ask(Ask::Op(op), op.number(), by, args);
        self.report(When::After, Ask::Op(op), by);
        if op == GuestOp::GasLeft {
            // What is done must not depend on it: a call in slices has other numbers.
            self.line("load_imm a0, 0");
        }
    }

    /// An operation of the embedder.
    pub(super) fn user_op(&mut self, number: u32, by: By, args: &[u64], succeeds: bool) {
        self.ask(Ask::User, number, by, args);
        if succeeds {
            self.report(When::After, Ask::User, by);
        }
    }

    /// An operation that is not followed by a report: it ends the act, or goes on elsewhere.
    pub(super) fn last_op(&mut self, op: GuestOp, by: By, args: &[u64]) {
        self.ask(Ask::Op(op), op.number(), by, args);
    }

    /// The report that an operation without one has succeeded.
    pub(super) fn done(&mut self, op: GuestOp, by: By) {
        self.report(When::After, Ask::Op(op), by);
    }

    pub(super) fn by(&mut self) -> By {
        if self.m.rng.one_in(2) { By::Ecall } else { By::Ecalli }
    }

    /// Gives up with a report unless the register holds the number.
    pub(super) fn expect(&mut self, reg: &str, value: u64) {
        self.labels += 1;
        let n = self.labels;
        let _ = writeln!(self.text, "load_imm a5, {n}\nbranch_ne_imm {reg}, {value}, @surprise");
    }

    /// A new endpoint here, for going on in another image; its number.
    pub(super) fn continuation(&mut self) -> u8 {
        let number = 255 - self.continuations;
        self.continuations += 1;
        let _ = writeln!(self.text, "cont{number}:");
        number
    }

    pub(super) const fn next_continuation(&self) -> u8 {
        255 - self.continuations
    }

    /// Repeats what `body` writes.
    pub(super) fn repeat(&mut self, times: u64, body: impl FnOnce(&mut Self)) {
        let start = self.label();
        let _ = writeln!(self.text, "load_imm s0, {times}\nfallthrough\n{start}:");
        body(self);
        let _ = writeln!(self.text, "add_imm_64 s0, s0, -1\nbranch_ne_imm s0, 0, @{start}");
    }

    /// Work that no kernel sees: arithmetic, memory, branches, a loop.
    pub(super) fn compute(&mut self) {
        for _ in 0..self.m.rng.between(1, 5) {
            let (base, writable) =
                *self.m.rng.one_of(&[(MEM, true), (MEM + 0x1000, true), (EPHEMERAL, true), (PINNED, false)]);
            let base = if self.nested && self.m.rng.one_in(6) { NESTED } else { base };
            let address = base + 0x400 + self.m.rng.below(0x700);
            let n = self.m.rng.below(1 << 20);
            let line = match self.m.rng.below(9) {
                0 => "add_64 t1, t1, t2".to_owned(),
                1 => format!("mul_imm_64 t2, t1, {n}"),
                2 => format!("xor_imm t1, t1, {n}"),
                3 => format!("load_u64 t2, {address:#x}"),
                4 if writable => format!("store_u64 t1, {address:#x}"),
                5 if writable => format!("store_imm_u8 {address:#x}, {}", n & 0xFF),
                6 => {
                    let over = self.label();
                    format!("branch_lt_u t1, t2, @{over}\nadd_imm_64 t1, t1, {n}\nfallthrough\n{over}:")
                }
                7 => {
                    let start = self.label();
                    let times = 1 + n % 5;
                    format!(
                        "load_imm s1, {times}\nfallthrough\n{start}:\nadd_imm_64 t1, t1, 3\nmul_64 t2, t2, t1\n\
                         add_imm_64 s1, s1, -1\nbranch_ne_imm s1, 0, @{start}"
                    )
                }
                _ => "add_64 t2, t2, a0".to_owned(),
            };
            self.line(&line);
        }
    }

    /// Writes slot paths into memory for an operation that reads a list; its address.
    pub(super) fn list(&mut self, places: &[Place]) -> u64 {
        for (n, place) in places.iter().enumerate() {
            let _ = writeln!(
                self.text,
                "load_imm_64 t1, {:#x}\nstore_u64 t1, {:#x}",
                encode(place),
                LIST + 8 * n as u64
            );
        }
        LIST
    }

    /// Makes slot 0 what a callee or a yielder needs there.
    pub(super) fn arrange(&mut self, pad: Pad) {
        let by = self.by();
        let held = self.table.0.get(&0);
        match (pad, held) {
            (Pad::Empty, None) => {}
            (Pad::Empty, Some(_)) => {
                self.op(GuestOp::MgmtDrop, by, &[0]);
                self.table.0.remove(&0);
            }
            (Pad::Data, Some(val)) if val.kind() == 3 => {}
            (Pad::Data, _) => {
                let src = self.source(&|val| val.kind() == 3, |_| Val::data(b"argument"));
                self.op(GuestOp::MgmtCopy, by, &[encode(&src), 0]);
                self.table.0.insert(0, Val::Blob);
            }
            (Pad::CNode(k), _) => {
                self.op(GuestOp::MgmtCnodeMint, by, &[0, u64::from(k)]);
                self.table.0.insert(0, Val::CNode(k, BTreeMap::new()));
            }
        }
    }

    // ---- calls ----

    /// Calls the act of what lies at a place, and handles what it yields.
    pub(super) fn call(&mut self, place: &Place, endpoint: usize, by: By) {
        let Some(Val::Instance(program, state)) = self.table.get(place).cloned() else {
            panic!("nothing to call at {place:?}")
        };
        let act = &program.acts[endpoint];
        assert_eq!(act.from, state, "an act of another state");
        self.arrange(act.wants);
        let args: Vec<u64> = (0..4).map(|_| self.m.rng.interesting()).collect();
        let args = [&[encode(place), endpoint as u64], &args[..]].concat();
        self.op(GuestOp::HostCall, by, &args);
        self.table.0.remove(&0);
        self.table.set(place, None);
        self.follow(place, &Val::Instance(Arc::clone(&program), state), &program, endpoint, 0);
    }

    /// Goes on with a paused value at a place.
    pub(super) fn resume(&mut self, place: &Place, by: By) {
        let Some(Val::Paused(program, act, event)) = self.table.get(place).cloned() else {
            panic!("nothing to resume at {place:?}")
        };
        self.arrange(program.acts[act].events[event].wants);
        self.op(GuestOp::CallResume, by, &[encode(place)]);
        self.table.0.remove(&0);
        self.table.set(place, None);
        self.follow(place, &Val::Paused(Arc::clone(&program), act, event), &program, act, event + 1);
    }

    /// Calls an act that yields to this program once, and then does `op` to the paused call.
    pub(super) fn call_and(&mut self, place: &Place, endpoint: usize, how: By, op: GuestOp, by: By) {
        self.wish = Some((op, by));
        self.call(place, endpoint, how);
        self.wish = None;
    }

    /// The report that a meter has been set.
    pub(super) fn meter_set(&mut self, by: By) {
        self.report(When::MeterSet, Ask::Op(GuestOp::HostCall), by);
    }

    /// What comes after a call, or a resumption, of an act of which the events from `from` on are to come.
    fn follow(&mut self, place: &Place, before: &Val, program: &Arc<Program>, act: usize, from: usize) {
        let act_number = act;
        let act = program.acts[act].clone();
        for (n, event) in act.events.iter().enumerate().skip(from) {
            let Some(position) = self.catches.iter().position(|m| *m == Marker::Named(event.marker)) else {
                self.events.push(event.clone());
                continue;
            };
            self.kernel_yields(place, program);
            self.expect("a1", 1);
            self.expect("a0", 1 + position as u64);
            self.table.set(&[0], event.payload.clone());
            if std::mem::take(&mut self.stops) {
                return;
            }
            self.locked.push(place.clone());
            self.nesting += 1;
            for _ in 0..self.m.rng.below(3) {
                self.small_step();
            }
            self.nesting -= 1;
            self.locked.pop();
            let (what, by) = match self.wish.take() {
                Some((GuestOp::DropPaused, by)) => (2, by),
                Some((_, by)) => (7, by),
                None => (self.m.rng.below(8), self.by()),
            };
            match what {
                0 | 1 if self.halting && self.nesting == 0 => {
                    self.table.set(place, Some(Val::Paused(Arc::clone(program), act_number, n)));
                    self.ends = true;
                    return;
                }
                2 | 3 => {
                    self.op(GuestOp::DropPaused, by, &[encode(place)]);
                    self.table.set(place, Some(before.clone()));
                    return;
                }
                _ => {
                    self.arrange(event.wants);
                    self.op(GuestOp::CallResume, by, &[encode(place)]);
                    self.table.0.remove(&0);
                }
            }
        }
        self.kernel_yields(place, program);
        let (value, status, after) = match act.end {
            End::Halt { value, to } => (value, 0, Val::Instance(Arc::clone(program), to)),
            End::Fault(code) => (code, 2, before.clone()),
        };
        self.expect("a1", status);
        self.expect("a0", value);
        self.table.set(place, Some(after));
        self.table.set(&[0], act.pad);
    }

    /// Handles the yields of the kernel that it catches, until something else comes back.
    fn kernel_yields(&mut self, place: &Place, program: &Arc<Program>) {
        let position = |image| self.catches.iter().position(|m| *m == Marker::Kernel(image));
        let oog = position(KernelImage::OogMarker);
        let storage = position(KernelImage::StorageExhaustedMarker);
        let pager = position(KernelImage::Pager);
        if (oog, storage, pager) == (None, None, None) {
            return;
        }
        let (start, out) = (self.label(), self.label());
        let _ = writeln!(self.text, "fallthrough\n{start}:\nbranch_ne_imm a1, 1, @{out}");
        let refills = [
            (oog, SET_METER_SLOT, program.meters.clone(), When::MeterSet),
            // A callee without a quota draws on this program's, or on one above.
            (storage, SET_QUOTA_SLOT, [&program.quotas[..], &self.below().quotas].concat(), When::Other),
        ];
        for (position, setter, ids, when) in refills {
            let Some(position) = position else { continue };
            let next = self.label();
            let _ = writeln!(self.text, "branch_ne_imm a0, {}, @{next}", 1 + position);
            for (id, first) in ids {
                let by = self.by();
                let amount = if first == AMPLE { AMPLE } else { REFILL };
                self.op(GuestOp::HostCall, by, &[u64::from(setter), 0, id, amount]);
                self.report(when, Ask::Op(GuestOp::HostCall), by);
            }
            let by = self.by();
            self.op(GuestOp::CallResume, by, &[encode(place)]);
            let _ = writeln!(self.text, "jump @{start}\n{next}:");
        }
        if let Some(position) = pager {
            let _ = writeln!(self.text, "branch_ne_imm a0, {}, @{out}", 1 + position);
            let by = self.by();
            if self.m.rng.one_in(2) {
                self.op(GuestOp::HostMintDataCap, by, &[EPHEMERAL, 64, u64::MAX, 0]);
            }
            self.op(GuestOp::CallResume, by, &[encode(place)]);
            let _ = writeln!(self.text, "jump @{start}");
        }
        let _ = writeln!(self.text, "fallthrough\n{out}:");
    }

    /// Yields, to somebody above or to the embedder.
    pub(super) fn host_yield(&mut self, by: By) {
        let above = self.env.named.clone();
        if !above.is_empty() && self.events.len() < 4 && !self.m.rng.one_in(3) {
            let marker = *self.m.rng.one_of(&above);
            let place =
                self.source(&|val| matches!(val, Val::Marker(n) if *n == marker), |_| Val::Marker(marker));
            let wants = *self.m.rng.one_of(&[Pad::Empty, Pad::Data]);
            let payload = self.table.0.get(&0).cloned();
            self.events.push(Event { marker, payload, wants });
            self.op(GuestOp::HostYield, by, &[encode(&place)]);
            self.table.set(
                &[0],
                match wants {
                    Pad::Data => Some(Val::Blob),
                    _ => None,
                },
            );
        } else {
            self.yield_to_root(by);
        }
    }

    /// Yields to the embedder, which gives back what came out.
    pub(super) fn yield_to_root(&mut self, by: By) {
        let is_it = |val: &Val| matches!(val, Val::Marker(super::ROOT_MARKER));
        let place = self.source(&is_it, |_| Val::Marker(super::ROOT_MARKER));
        self.op(GuestOp::HostYield, by, &[encode(&place)]);
    }

    /// A callee other than its own children: made to yield once to this program, and to reply.
    pub(super) fn yielder(&mut self) -> Option<Arc<Program>> {
        let named = self.catches.iter().find_map(|m| match m {
            Marker::Named(id) => Some(*id),
            Marker::Kernel(_) => None,
        })?;
        if let Some(made) = self.m.yielders.get(&named) {
            return Some(Arc::clone(made));
        }
        let env = Env { named: vec![named], depth: 99, ..Env::default() };
        let mut script = Script::bare(self.m, env);
        for by in [By::Ecalli, By::Ecall] {
            script.begin(true);
            let place = script.source(&|val| matches!(val, Val::Marker(_)), |_| Val::Marker(named));
            script.op(GuestOp::HostYield, by, &[encode(&place)]);
            script.events.push(Event { marker: named, payload: None, wants: Pad::Empty });
            script.end_reply(by, 0);
        }
        let program = script.finish();
        self.m.yielders.insert(named, Arc::clone(&program));
        Some(program)
    }

    // ---- acts ----

    /// A program that declares nothing.
    pub(super) fn bare(m: &'m mut Maker, env: Env) -> Self {
        let mut s = Self::new(m, env);
        s.table = Table::default();
        s.first = Table::default();
        s.demanded.clear();
        (s.catches, s.nested) = (Vec::new(), false);
        (s.meters, s.quotas, s.own_meters, s.own_quota) = (Vec::new(), Vec::new(), 0, false);
        s.hold(MEM_SLOT, Val::data(b"bare"));
        s.table.0.insert(PINNED_SLOT, Val::data(b"pinned"));
        s.forget_memory();
        s
    }

    /// Begins an act.
    pub(super) fn begin(&mut self, halting: bool) {
        self.halting = halting;
        self.ends = false;
        self.events.clear();
        self.demanded.clear();
        let _ = writeln!(self.text, "act{}:", self.acts.len());
        self.report(When::Other, Ask::User, By::Ecalli);
    }

    /// Whether the act must end.
    pub(super) const fn must_end(&self) -> bool {
        self.ends
    }

    /// Whether a handler is being written.
    pub(super) const fn in_handler(&self) -> bool {
        self.nesting > 0
    }

    fn push_act(&mut self, from: usize, wants: Pad, end: End) {
        // What should not come this far must not run into the next act.
        self.line("trap");
        let pad = self.table.0.get(&0).cloned();
        self.acts.push(Act { from, wants, events: std::mem::take(&mut self.events), end, pad });
        // A callee's slot 0 is its caller's: it is gone when it is called again.
        self.table.0.remove(&0);
    }

    /// An act that halts by `REPLY` and leaves the state as it was.
    pub(super) fn end_reply(&mut self, by: By, value: u64) {
        self.last_op(GuestOp::Reply, by, &[value]);
        self.push_act(0, Pad::Empty, End::Halt { value, to: 0 });
    }

    /// Writes a program with one act that calls `victim` in the midst of other things, and expects nothing of
    /// that call. It marks where it stands before and after; there, S0 and S1 are what the call returned.
    pub(super) fn caller(&mut self, victim: &Arc<Program>, endpoint: usize, steps: u64) {
        // Nothing else is to touch it.
        self.hold(VICTIM_SLOT, Val::Instance(Arc::clone(victim), 0));
        self.table.0.remove(&VICTIM_SLOT);
        self.meters.clone_from(&victim.meters);
        self.quotas.clone_from(&victim.quotas);
        self.enter(Pad::Empty, true);
        for _ in 0..steps {
            self.small_step();
        }
        self.arrange(victim.acts[endpoint].wants);
        self.mark();
        self.op(GuestOp::HostCall, By::Ecalli, &[u64::from(VICTIM_SLOT), endpoint as u64, 1, 2, 3]);
        self.line("move_reg s0, a0\nmove_reg s1, a1");
        let over = self.label();
        self.op(GuestOp::MgmtKind, By::Ecalli, &[0]);
        self.line(&format!("branch_eq_imm a0, 0, @{over}"));
        self.op(GuestOp::MgmtDrop, By::Ecalli, &[0]);
        self.line(&format!("fallthrough\n{over}:"));
        self.table.0.remove(&0);
        self.mark();
        for _ in 0..steps {
            self.small_step();
        }
        self.end_reply(By::Ecall, 7);
    }

    /// Yields to the embedder, which looks around.
    fn mark(&mut self) {
        let place = self.demand(Val::Marker(super::ROOT_MARKER));
        self.report(When::Mark, Ask::User, By::Ecalli);
        self.op(GuestOp::HostYield, By::Ecalli, &[encode(&place)]);
    }

    /// Writes the acts of a program: some that fault and one that halts in each of its states.
    pub(super) fn acts(&mut self, states: usize, steps: u64, faults: u64) {
        for state in 0..states {
            for _ in 0..faults {
                self.faulting_act(state);
            }
            let wants = self.pad();
            self.enter(wants, true);
            for _ in 0..self.m.rng.between(steps / 2, steps) {
                self.step();
                if self.ends {
                    break;
                }
            }
            let value = self.m.rng.below(1 << 20);
            match (self.m.rng.below(3), self.by()) {
                (0, _) => {
                    let _ = writeln!(self.text, "load_imm_64 a0, {value}");
                    self.line("load_imm ra, -65536\njump_ind ra, 0");
                }
                (_, by) => self.last_op(GuestOp::Reply, by, &[value]),
            }
            self.push_act(state, wants, End::Halt { value, to: state + 1 });
        }
    }

    fn pad(&mut self) -> Pad {
        match self.m.rng.below(4) {
            0 => Pad::Data,
            1 => Pad::CNode(self.m.rng.between(1, 3) as u8),
            _ => Pad::Empty,
        }
    }

    fn enter(&mut self, wants: Pad, halting: bool) {
        self.begin(halting);
        self.table.set(
            &[0],
            match wants {
                Pad::Empty => None,
                Pad::Data => Some(Val::Blob),
                Pad::CNode(k) => Some(Val::CNode(k, BTreeMap::new())),
            },
        );
    }

    fn faulting_act(&mut self, state: usize) {
        let saved = self.table.clone();
        let wants = self.pad();
        self.enter(wants, false);
        for _ in 0..self.m.rng.below(3) {
            self.small_step();
        }
        let code = self.fault();
        self.push_act(state, wants, End::Fault(code));
        self.table = saved;
        for (slot, val) in std::mem::take(&mut self.demanded) {
            self.table.0.insert(slot, val);
        }
    }

    /// Something that faults the program; the code.
    fn fault(&mut self) -> u64 {
        if !self.m.rng.one_in(8) {
            let (ask, by) = self.m.next_refusal();
            self.refuse(ask, by);
            return 1;
        }
        match self.m.rng.below(4) {
            0 => {
                self.line("load_u8 t1, 0x100");
                2
            }
            1 if !self.env.pager => {
                self.line(&format!("load_u8 t1, {NOWHERE:#x}"));
                4
            }
            2 => {
                let stranger = self.m.marker();
                let place = self.demand(Val::Marker(stranger));
                self.last_op(GuestOp::HostYield, By::Ecalli, &[encode(&place)]);
                5
            }
            _ => {
                self.report(When::Other, Ask::User, By::Ecalli);
                self.line("trap");
                1
            }
        }
    }

    /// The program.
    pub(super) fn finish(mut self) -> Arc<Program> {
        self.line("trap\nsurprise:");
        self.report(When::Surprise, Ask::User, By::Ecalli);
        self.line("trap");
        for child in &self.children {
            self.meters.extend(child.meters.iter().copied());
            self.quotas.extend(child.quotas.iter().copied());
        }
        self.meters.sort_unstable();
        self.meters.dedup();
        self.quotas.sort_unstable();
        self.quotas.dedup();
        let code = assemble(&self.text).unwrap_or_else(|error| panic!("{error}\n{}", self.text));
        let mut endpoints = BTreeMap::new();
        for (n, act) in (0u8..).zip(&self.acts) {
            let arg_cnode_size = match act.wants {
                Pad::CNode(k) => k,
                _ => 0,
            };
            let entry_pc = u64::from(code.labels[&format!("act{n}")]);
            endpoints.insert(n, EndpointDef { entry_pc, arg_cnode_size, ..EndpointDef::default() });
        }
        for n in self.next_continuation()..255 {
            let entry_pc = u64::from(code.labels[&format!("cont{}", n + 1)]);
            endpoints.insert(n + 1, EndpointDef { entry_pc, ..EndpointDef::default() });
        }
        let slot = |n: u8| MappingSource::Slot(SlotPath::root(n));
        let page = 4096;
        let mut memory_mappings = vec![
            MemoryMapping { start: MEM, size: 2 * page, source: slot(MEM_SLOT) },
            MemoryMapping { start: EPHEMERAL, size: page, source: MappingSource::Ephemeral },
            MemoryMapping { start: PINNED, size: page, source: slot(PINNED_SLOT) },
        ];
        if self.nested
            && let Some(path) = SlotPath::root(NESTED_SLOT).step(1)
        {
            memory_mappings.push(MemoryMapping {
                start: NESTED,
                size: page,
                source: MappingSource::Slot(path),
            });
        }
        let slots = |slots: &[u8]| slots.iter().map(|slot| SlotIdx(u32::from(*slot))).collect();
        let image = Image {
            code: code.code,
            packed_bitmask: code.packed_bitmask,
            jump_table: code.jump_table,
            endpoints,
            memory_mappings,
            gas_slots: slots(&GAS_SLOTS[..self.own_meters]),
            quota_slots: slots(if self.own_quota { &[QUOTA_SLOT] } else { &[] }),
            yield_marker_slot: (!self.catches.is_empty()).then_some(SlotIdx(u32::from(CATCHER_SLOT))),
            ..Image::default()
        };
        let program = Arc::new(Program {
            id: self.id,
            text: self.text,
            image,
            pinned: BTreeMap::from([(PINNED_SLOT, b"pinned".to_vec())]),
            table: self.first,
            acts: self.acts,
            meters: self.meters,
            quotas: self.quotas,
        });
        self.m.programs.push(Arc::clone(&program));
        program
    }
}
