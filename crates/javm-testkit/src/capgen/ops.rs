//! Operations: for each, operands with which it succeeds and what it then changes, and ways to be refused.

use std::{collections::BTreeMap, sync::Arc};

use javm::KernelImage;
use javm_abi::{GuestOp, OperandKind, reg::NO_SLOT};

use super::{
    FILES, Maker, QUOTA,
    record::{ADD, Ask, By, REFUSED},
    script::{AMPLE, EMPTY_SLOT, EPHEMERAL, MEM, NOWHERE, PINNED, PINNED_SLOT, Script},
    value::{Marker, Place, Program, Val, encode},
};

/// An operation with its operands, and what it will do.
pub(super) struct Prepared {
    args: Vec<u64>,
    /// What places hold afterwards, in the order in which it happens.
    effects: Vec<(Place, Option<Val>)>,
    /// What comes back in φ7.
    expect: Option<u64>,
    /// Asking again comes to the same.
    again: bool,
}

impl Prepared {
    fn new(args: &[u64]) -> Self {
        Self { args: args.to_vec(), effects: Vec::new(), expect: None, again: true }
    }

    fn puts(mut self, place: Place, val: Option<Val>) -> Self {
        self.effects.push((place, val));
        self
    }

    const fn once(mut self) -> Self {
        self.again = false;
        self
    }

    const fn gives(mut self, value: u64) -> Self {
        self.expect = Some(value);
        self
    }
}

fn is_data(val: &Val) -> bool {
    val.kind() == 3
}

fn is_type(val: &Val) -> bool {
    val.kind() == 5
}

fn has_lineage(val: &Val) -> bool {
    matches!(val.kind(), 1 | 5)
}

fn is_image(val: &Val) -> bool {
    val.kind() == 2
}

fn any(val: &Val) -> bool {
    val.size() < 30
}

fn some_data(m: &mut Maker) -> Val {
    let bytes: Vec<u8> = (0..m.rng.below(80)).map(|_| m.rng.bits() as u8).collect();
    Val::data(&bytes)
}

fn a_type(m: &mut Maker) -> Val {
    Val::TypeOf(m.leaf())
}

fn an_instance(m: &mut Maker) -> Val {
    Val::Instance(m.leaf(), 0)
}

impl Script<'_> {
    /// One thing to do, with all that it takes.
    pub(super) fn step(&mut self) {
        match self.m.rng.below(10) {
            0 | 1 => self.compute(),
            2 if self.env.pager => self.touch_nowhere(),
            3 => self.call_somebody(),
            _ => {
                let (ask, by) = self.m.next_success();
                self.succeed(ask, by);
            }
        }
    }

    /// One thing to do that leads nowhere else.
    pub(super) fn small_step(&mut self) {
        let ops = [
            GuestOp::MgmtCopy,
            GuestOp::MgmtMove,
            GuestOp::MgmtCnodeMint,
            GuestOp::MgmtCnodeSwap,
            GuestOp::HostMintDataCap,
            GuestOp::HostReadDataCap,
            GuestOp::DeriveSpawn,
            GuestOp::Emit,
            GuestOp::GasLeft,
        ];
        let by = self.by();
        match self.m.rng.index(ops.len() + 2) {
            n if n < ops.len() => self.succeed(Ask::Op(ops[n]), by),
            _ => self.compute(),
        }
    }

    /// Reads and writes memory that a pager must bring.
    fn touch_nowhere(&mut self) {
        let address = NOWHERE + self.m.rng.below(3) * 0x1000 + self.m.rng.below(0xFF0);
        self.line(&format!("load_u64 t1, {address:#x}\nstore_u64 t1, {address:#x}"));
    }

    /// An operation that will succeed.
    fn succeed(&mut self, ask: Ask, by: By) {
        let Ask::Op(op) = ask else {
            let (a, b) = (self.m.rng.below(1 << 20), self.m.rng.below(1 << 20));
            let price = self.m.rng.below(50);
            self.user_op(ADD, by, &[a, b, price], true);
            return self.expect("a0", a + b);
        };
        match op {
            GuestOp::Reply | GuestOp::HostCall => self.call_leaf(op, by),
            GuestOp::HostYield => self.host_yield(by),
            GuestOp::SetImage => self.set_image(by),
            GuestOp::CallResume | GuestOp::DropPaused => self.pause(op, by),
            _ => {
                let prepared = self.prepare(op);
                if prepared.again && self.m.rng.one_in(4) {
                    let times = self.m.rng.between(2, 4);
                    self.repeat(times, |s| s.op(op, by, &prepared.args));
                } else {
                    self.op(op, by, &prepared.args);
                }
                if let Some(value) = prepared.expect {
                    self.expect("a0", value);
                }
                for (place, val) in prepared.effects {
                    self.table.set(&place, val);
                }
                if self.m.rng.one_in(3) {
                    let address = MEM + 0x800 + 8 * self.m.rng.below(32);
                    self.line(&format!("store_u64 a0, {address:#x}"));
                }
            }
        }
    }

    /// Operands with which an operation succeeds.
    fn prepare(&mut self, op: GuestOp) -> Prepared {
        match op {
            GuestOp::MgmtCopy | GuestOp::MgmtMove | GuestOp::MgmtDrop | GuestOp::MgmtCnodeSwap => {
                self.slots(op)
            }
            GuestOp::MgmtCnodeMint => {
                let dst = self.dest(&[]);
                let k = *self.m.rng.one_of(&[0u8, 1, 2, 3, 5, 8, 16]);
                Prepared::new(&[encode(&dst), u64::from(k)]).puts(dst, Some(Val::CNode(k, BTreeMap::new())))
            }
            GuestOp::MgmtKind => {
                if self.m.rng.one_in(5) {
                    return Prepared::new(&[u64::from(EMPTY_SLOT)]).gives(0);
                }
                let src = self.source(&|_| true, some_data);
                let kind = self.table.get(&src).map_or(0, Val::kind);
                Prepared::new(&[encode(&src)]).gives(kind)
            }
            GuestOp::DeriveSpawn => self.spawn(),
            GuestOp::MakeImage => self.make_image(),
            GuestOp::HostSameType | GuestOp::HostTypeEq => {
                let takes = if op == GuestOp::HostTypeEq { is_type } else { has_lineage };
                let (a, b) = (self.source(&takes, a_type), self.source(&takes, a_type));
                let prepared = Prepared::new(&[encode(&a), encode(&b)]);
                if a == b { prepared.gives(1) } else { prepared }
            }
            GuestOp::HostTypeOf => {
                let src = self.source(&|val| val.kind() == 1, an_instance);
                let dst = self.dest(std::slice::from_ref(&src));
                Prepared::new(&[encode(&src), encode(&dst)]).puts(dst, Some(Val::Type))
            }
            GuestOp::HostReadDataCap | GuestOp::HostMintDataCap | GuestOp::HostDataSize => self.bytes(op),
            GuestOp::HostOpen => {
                let id = self.m.rng.below(FILES);
                let handle = self.source(
                    &|val| {
                        matches!(val, Val::Kernel(KernelImage::HostOpen, _))
                            || matches!(val, Val::Kernel(KernelImage::File, Some(file)) if *file == id)
                    },
                    |m| {
                        let (image, id) = if m.rng.one_in(2) {
                            (KernelImage::HostOpen, None)
                        } else {
                            (KernelImage::File, Some(id))
                        };
                        Val::Kernel(image, id)
                    },
                );
                let dst = self.dest(std::slice::from_ref(&handle));
                Prepared::new(&[id, encode(&dst), encode(&handle)]).puts(dst, Some(Val::Blob))
            }
            GuestOp::HostSave => {
                let src = self.source(&is_data, some_data);
                let quota = self.quota();
                let handle = self.source(&|val| matches!(val, Val::Kernel(KernelImage::HostSave, _)), |_| {
                    Val::Kernel(KernelImage::HostSave, None)
                });
                Prepared::new(&[encode(&src), quota, encode(&handle)])
            }
            GuestOp::HostSubtype => {
                let src = self.source(&is_type, a_type);
                let (images, address) = self.images();
                let dst = self.dest(&[&images[..], std::slice::from_ref(&src)].concat());
                Prepared::new(&[encode(&src), address, images.len() as u64, encode(&dst)])
                    .puts(dst, Some(Val::Type))
            }
            GuestOp::HostSameTypeAs => {
                let (a, b) = (self.source(&has_lineage, a_type), self.source(&has_lineage, a_type));
                let (images, address) = self.images();
                Prepared::new(&[encode(&a), encode(&b), address, images.len() as u64])
            }
            GuestOp::Emit => {
                let src = self.source(&any, some_data);
                let failure =
                    if self.m.rng.one_in(2) { NO_SLOT } else { encode(&self.source(&any, some_data)) };
                Prepared::new(&[encode(&src), failure])
            }
            _ => Prepared::new(&[]),
        }
    }

    fn slots(&mut self, op: GuestOp) -> Prepared {
        if op == GuestOp::MgmtCopy {
            let src = self.source(&any, some_data);
            // A cnode may go into itself; it must not grow for ever.
            let small = self.table.get(&src).is_some_and(|val| val.size() < 3);
            let apart = if small && self.m.rng.one_in(3) { vec![] } else { vec![src.clone()] };
            let dst = self.dest(&apart);
            let val = self.table.get(&src).cloned();
            let prepared = Prepared::new(&[encode(&src), encode(&dst)]).puts(dst, val);
            return if apart.is_empty() { prepared.once() } else { prepared };
        }
        let mut found = self.table.places(&any);
        found.retain(|place| self.writable(place));
        let src = if found.is_empty() || self.m.rng.one_in(4) {
            let val = some_data(self.m);
            self.demand(val)
        } else {
            self.m.rng.one_of(&found).clone()
        };
        let val = self.table.get(&src).cloned();
        if op == GuestOp::MgmtDrop {
            return Prepared::new(&[encode(&src)]).puts(src, None).once();
        }
        let dst = self.dest(std::slice::from_ref(&src));
        let args = [encode(&src), encode(&dst)];
        let back = if op == GuestOp::MgmtCnodeSwap { self.table.get(&dst).cloned() } else { None };
        Prepared::new(&args).puts(src, back).puts(dst, val).once()
    }

    fn bytes(&mut self, op: GuestOp) -> Prepared {
        let address = MEM + self.m.rng.below(0x80) + 0x1000 * self.m.rng.below(2);
        match op {
            GuestOp::HostMintDataCap => {
                let address = *self.m.rng.one_of(&[address, EPHEMERAL + 8, PINNED]);
                let length = self.m.rng.between(1, 0xE00);
                let quota = self.quota();
                let dst = self.dest(&[]);
                Prepared::new(&[address, length, quota, encode(&dst)]).puts(dst, Some(Val::Blob)).once()
            }
            GuestOp::HostReadDataCap => {
                let src = self.source(&is_data, some_data);
                let address = *self.m.rng.one_of(&[address + 0x600, EPHEMERAL + 8]);
                let (length, offset) = (self.m.rng.between(1, 300), self.m.rng.below(60));
                Prepared::new(&[encode(&src), address, length, offset])
            }
            _ => {
                let src = self.source(&is_data, some_data);
                let prepared = Prepared::new(&[encode(&src)]);
                match self.table.get(&src) {
                    Some(Val::Data(bytes)) if src[0] < u16::from(EMPTY_SLOT) => {
                        prepared.gives(bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n as u64 + 1))
                    }
                    _ => prepared,
                }
            }
        }
    }

    /// An operand: a quota with more than enough in it, or the one that is active.
    fn quota(&mut self) -> u64 {
        if self.m.rng.one_in(2) {
            return NO_SLOT;
        }
        let takes = |val: &Val| matches!(val, Val::Kernel(KernelImage::Quota, Some(QUOTA)));
        let place = self.source(&takes, |_| Val::Kernel(KernelImage::Quota, Some(QUOTA)));
        encode(&place)
    }

    /// Images, and the list of them in memory.
    fn images(&mut self) -> (Vec<Place>, u64) {
        let places: Vec<Place> =
            (0..self.m.rng.between(1, 3)).map(|_| self.source(&is_image, |m| Val::Image(m.leaf()))).collect();
        let address = self.list(&places);
        (places, address)
    }

    fn spawn(&mut self) -> Prepared {
        let kits = self.table.places(&|val| matches!(val, Val::Kit(_)));
        let kits: Vec<Place> = kits.into_iter().filter(|place| self.writable(place)).collect();
        let (program, cnode) = match kits.first() {
            Some(place) => {
                let Some(Val::Kit(program)) = self.table.get(place) else { unreachable!("just found") };
                (Arc::clone(program), place.clone())
            }
            None if self.m.rng.one_in(2) => {
                let program = self.child();
                let place = self.demand(Val::Kit(Arc::clone(&program)));
                (program, place)
            }
            None => {
                let dst = self.dest(&[]);
                let by = self.by();
                self.op(GuestOp::MgmtCnodeMint, by, &[encode(&dst), 8]);
                self.table.set(&dst, Some(Val::CNode(8, BTreeMap::new())));
                (self.m.leaf(), dst)
            }
        };
        let of = Arc::clone(&program);
        let is_it = move |val: &Val| matches!(val, Val::Image(image) if Arc::ptr_eq(image, &of));
        let image = self.source(&is_it, |_| Val::Image(Arc::clone(&program)));
        let image =
            if image.starts_with(&cnode) { self.demand(Val::Image(Arc::clone(&program))) } else { image };
        let dst =
            if self.m.rng.one_in(4) { cnode.clone() } else { self.dest(&[cnode.clone(), image.clone()]) };
        let args = [encode(&image), encode(&cnode), encode(&dst)];
        Prepared::new(&args).puts(cnode, None).puts(dst, Some(Val::Instance(program, 0))).once()
    }

    fn make_image(&mut self) -> Prepared {
        let with_caps = self.m.rng.one_in(2);
        let leaf = self.m.leaf();
        let data = self.source(&|val| matches!(val, Val::Encoded(_, caps) if *caps == with_caps), |m| {
            Val::Encoded(m.leaf(), with_caps)
        });
        let caps = with_caps.then(|| {
            let entries = [(0, Val::data(b"zero")), (3, Val::data(b"three"))];
            self.demand(Val::CNode(2, BTreeMap::from(entries)))
        });
        let apart: Vec<Place> = [Some(data.clone()), caps.clone()].into_iter().flatten().collect();
        let dst = self.dest(&apart);
        let caps = caps.as_ref().map_or(NO_SLOT, |place| encode(place));
        Prepared::new(&[encode(&data), encode(&dst), caps]).puts(dst, Some(Val::Image(leaf)))
    }

    fn set_image(&mut self, by: By) {
        self.change_image(by);
        if self.m.options.visible {
            self.yield_to_root(by);
        }
    }

    fn change_image(&mut self, by: By) {
        let id = self.id;
        let n = self.m.rng.below(3) as u8;
        let place = self.source(&|val| matches!(val, Val::Twin(of, _) if *of == id), |_| Val::Twin(id, n));
        if self.m.rng.one_in(2) || self.next_continuation() < 200 {
            self.op(GuestOp::SetImage, by, &[encode(&place), 0]);
            return;
        }
        let mode = u64::from(self.next_continuation()) + 1;
        let args: Vec<u64> = (0..4).map(|_| self.m.rng.bits()).collect();
        self.last_op(GuestOp::SetImage, by, &[&[encode(&place), mode], &args[..]].concat());
        self.continuation();
        self.done(GuestOp::SetImage, by);
        self.expect_u64("a0", args[0]);
    }

    fn expect_u64(&mut self, reg: &str, value: u64) {
        self.line(&format!("load_imm_64 t1, {value:#x}\nbranch_ne {reg}, t1, @surprise"));
    }

    // ---- calls ----

    /// A program below this one: one that there is, or a new one.
    fn child(&mut self) -> Arc<Program> {
        let more = self.env.depth < 3 && (self.children.len() as u32) < 5 - self.env.depth && self.m.room();
        if !more || !self.children.is_empty() && self.m.rng.one_in(2) {
            return match &self.children[..] {
                [] => self.m.leaf(),
                children => Arc::clone(self.m.rng.one_of(children)),
            };
        }
        let env = self.below();
        let mut script = Script::new(self.m, env);
        let (states, faults) = (script.m.rng.between(1, 2) as usize, script.m.rng.between(3, 7));
        let steps = script.m.options.steps / (script.env.depth as u64 + 1);
        script.acts(states, steps, faults);
        let program = script.finish();
        self.children.push(Arc::clone(&program));
        program
    }

    /// Calls a child: acts that fault first, then one that halts.
    fn call_somebody(&mut self) {
        if self.in_handler() {
            return self.compute();
        }
        if self.m.rng.one_in(4) {
            return self.native();
        }
        let paused = self.table.places(&|val| matches!(val, Val::Paused(..)));
        if let Some(place) = paused.into_iter().find(|place| self.writable(place) && place[0] != 0) {
            let by = self.by();
            return self.resume(&place, by);
        }
        let program = self.child();
        let of = Arc::clone(&program);
        let has_acts = move |val: &Val| match val {
            Val::Instance(p, state) => Arc::ptr_eq(p, &of) && p.acts.iter().any(|act| act.from == *state),
            _ => false,
        };
        let mut places = self.table.places(&has_acts);
        places.retain(|place| self.writable(place) && place[0] != 0);
        let place = match places.first() {
            Some(place) => place.clone(),
            None => self.demand(Val::Instance(program, 0)),
        };
        let Some(Val::Instance(program, state)) = self.table.get(&place).cloned() else { return };
        let acts = program.acts.iter().enumerate().filter(|(_, act)| act.from == state).map(|(n, _)| n);
        for act in acts.collect::<Vec<_>>() {
            if self.must_end() || !matches!(self.table.get(&place), Some(Val::Instance(..))) {
                return;
            }
            let by = self.by();
            self.call(&place, act, by);
        }
    }

    /// Calls something small, which replies as wanted, or which is called as wanted.
    fn call_leaf(&mut self, op: GuestOp, by: By) {
        let leaf = self.m.leaf();
        let of = Arc::clone(&leaf);
        let place = self.callee(move |val| matches!(val, Val::Instance(p, _) if Arc::ptr_eq(p, &of)), leaf);
        match (op, by) {
            (GuestOp::Reply, by) => {
                let how = self.by();
                self.call(&place, usize::from(by == By::Ecall), how);
            }
            _ => {
                let act = self.m.rng.index(2);
                self.call(&place, act, by);
            }
        }
    }

    fn callee(&mut self, takes: impl Fn(&Val) -> bool, program: Arc<Program>) -> Place {
        let mut places = self.table.places(&takes);
        places.retain(|place| self.writable(place) && place[0] != 0);
        match places.first() {
            Some(place) => place.clone(),
            None => self.demand(Val::Instance(program, 0)),
        }
    }

    /// Has a callee yield to this program, and resumes or drops it.
    fn pause(&mut self, op: GuestOp, by: By) {
        let Some(yielder) = self.yielder() else { return self.call_somebody() };
        let of = Arc::clone(&yielder);
        let place =
            self.callee(move |val| matches!(val, Val::Instance(p, _) if Arc::ptr_eq(p, &of)), yielder);
        let (act, how) = (self.m.rng.index(2), self.by());
        self.call_and(&place, act, how, op, by);
    }

    /// Has a callee yield to this program and leaves it so; where it lay.
    fn leave_paused(&mut self) -> Option<Place> {
        let yielder = self.yielder()?;
        let of = Arc::clone(&yielder);
        let place =
            self.callee(move |val| matches!(val, Val::Instance(p, _) if Arc::ptr_eq(p, &of)), yielder);
        let by = self.by();
        self.stops = true;
        self.call(&place, 0, by);
        Some(place)
    }

    /// Calls that the kernel answers.
    fn native(&mut self) {
        let by = self.by();
        let number = self.m.rng.between(5_000, 5_003);
        let call = |s: &mut Self, place: &Place, args: &[u64]| {
            s.op(GuestOp::HostCall, by, &[&[encode(place)], args].concat());
        };
        let right = |s: &mut Self, image: KernelImage| {
            s.source(&|val| matches!(val, Val::Kernel(i, _) if *i == image), |_| Val::Kernel(image, None))
        };
        match self.m.rng.below(8) {
            0 => {
                let maker = right(self, KernelImage::CreateYieldCatcher);
                if maker[0] == 0 {
                    return;
                }
                call(self, &maker, &[0]);
                self.table.set(&[0], Some(Val::Catcher(Vec::new())));
            }
            1 | 2 => {
                let (mint, handle) = *self.m.rng.one_of(&[
                    (KernelImage::MintGas, KernelImage::Gas),
                    (KernelImage::MintQuota, KernelImage::Quota),
                ]);
                let maker = right(self, mint);
                if maker[0] == 0 {
                    return;
                }
                call(self, &maker, &[0, number]);
                self.table.set(&[0], Some(Val::Kernel(handle, Some(number))));
            }
            3 => {
                let setter = right(self, KernelImage::SetStorageQuota);
                if setter[0] == 0 {
                    return;
                }
                call(self, &setter, &[0, number, AMPLE]);
                self.expect("a1", 0);
            }
            4 => {
                let setter = right(self, KernelImage::SetGasMeter);
                if setter[0] == 0 {
                    return;
                }
                let value = self.m.rng.below(1 << 30);
                call(self, &setter, &[0, number, value]);
                self.meter_set(by);
                self.expect("a1", 0);
            }
            _ => self.use_catcher(by),
        }
    }

    fn use_catcher(&mut self, by: By) {
        let mut places = self.table.places(&|val| matches!(val, Val::Catcher(_)));
        places.retain(|place| self.writable(place) && place[0] != 0);
        let place = match places.first() {
            Some(place) => place.clone(),
            None => self.demand(Val::Catcher(Vec::new())),
        };
        let Some(Val::Catcher(mut listed)) = self.table.get(&place).cloned() else { return };
        let call = |s: &mut Self, endpoint: u64, arg: u64| {
            s.op(GuestOp::HostCall, by, &[encode(&place), endpoint, arg]);
        };
        let named = |id: u32| move |val: &Val| matches!(val, Val::Marker(n) if *n == id);
        match self.m.rng.below(5) {
            0 | 1 => {
                let id = self.m.marker();
                let marker = self.demand(Val::Marker(id));
                call(self, 0, encode(&marker));
                self.expect("a1", 0);
                self.expect("a0", listed.len() as u64);
                listed.push(Marker::Named(id));
            }
            2 if !listed.is_empty() => {
                let at = self.m.rng.index(listed.len());
                let Marker::Named(id) = listed[at] else { return };
                let marker = self.source(&named(id), |_| Val::Marker(id));
                call(self, 1, encode(&marker));
                self.expect("a1", 0);
                self.expect("a0", at as u64);
                listed.remove(at);
            }
            3 if !listed.is_empty() => {
                let Marker::Named(id) = listed[0] else { return };
                let marker = self.source(&named(id), |_| Val::Marker(id));
                call(self, 0, encode(&marker));
                self.expect("a1", 2);
                self.expect("a0", 10);
            }
            4 => {
                call(self, 77, 0);
                self.expect("a1", 2);
                self.expect("a0", 9);
            }
            _ => {
                call(self, 2, 0);
                self.expect("a1", 0);
                self.table.set(&[0], Some(Val::Blob));
            }
        }
        self.table.set(&place, Some(Val::Catcher(listed)));
    }

    // ---- refusals ----

    /// An operation that will be refused: the last of an act.
    pub(super) fn refuse(&mut self, ask: Ask, by: By) {
        let Ask::Op(op) = ask else {
            let number = *self.m.rng.one_of(&[REFUSED, 64, 70_000]);
            return self.user_op(number, by, &[], false);
        };
        let empty = u64::from(EMPTY_SLOT);
        let data = u64::from(PINNED_SLOT);
        let bad = self.bad_path();
        let args = match op {
            GuestOp::HostYield => {
                let kernels = self.source(&|val| matches!(val, Val::Kernel(KernelImage::Pager, _)), |_| {
                    Val::Kernel(KernelImage::Pager, None)
                });
                vec![*self.m.rng.one_of(&[empty, data, bad, encode(&kernels)])]
            }
            GuestOp::HostCall => {
                let zero = self.m.rng.one_in(4);
                vec![if zero { 0 } else { *self.m.rng.one_of(&[empty, data, bad]) }, 0]
            }
            GuestOp::CallResume | GuestOp::DropPaused => {
                let idle = self.demand(Val::Instance(self.m.leaf.clone(), 0));
                vec![*self.m.rng.one_of(&[empty, data, bad, encode(&idle)])]
            }
            GuestOp::SetImage => {
                let id = self.id;
                let twin =
                    self.source(&|val| matches!(val, Val::Twin(of, _) if *of == id), |_| Val::Twin(id, 0));
                let mode = *self.m.rng.one_of(&[0, 1, 1 << 40]);
                match self.m.rng.below(3) {
                    0 => vec![encode(&twin), *self.m.rng.one_of(&[151, 1 << 33])],
                    _ => vec![*self.m.rng.one_of(&[empty, data, bad]), mode],
                }
            }
            _ => {
                let mut args = self.prepare(op).args;
                let written = op.operands().iter().rposition(|operand| operand.kind == OperandKind::Dst);
                let target =
                    if written.is_some() && self.m.rng.one_in(4) { self.leave_paused() } else { None };
                match (written, target) {
                    // The slot of a paused call cannot be written, nor one that it lies in.
                    (Some(n), Some(target)) => {
                        let prefix = self.m.rng.between(1, target.len() as u64) as usize;
                        args[n] = encode(&target[..prefix]);
                    }
                    _ => self.spoil(op, &mut args, bad),
                }
                args
            }
        };
        self.last_op(op, by, &args);
    }

    /// A register that is no path, or a path that leads nowhere.
    fn bad_path(&mut self) -> u64 {
        let pinned = u16::from(PINNED_SLOT);
        let pair = self.demand(Val::CNode(1, BTreeMap::from([(0, Val::data(b"in"))])));
        let behind = if pair.len() < 4 { encode(&[&pair[..], &[2]].concat()) } else { 1 << 63 };
        *self.m.rng.one_of(&[
            1 << 62,
            encode(&[pinned, 3]),
            encode(&[u16::from(EMPTY_SLOT), 0]),
            1 << 63,
            behind,
        ])
    }

    /// Makes one operand wrong.
    fn spoil(&mut self, op: GuestOp, args: &mut [u64], bad: u64) {
        let empty = u64::from(EMPTY_SLOT);
        let pinned = u64::from(PINNED_SLOT);
        let takes_data =
            [GuestOp::HostReadDataCap, GuestOp::HostSave, GuestOp::HostDataSize, GuestOp::MakeImage]
                .contains(&op);
        let takes_any = matches!(op, GuestOp::MgmtCopy | GuestOp::MgmtKind | GuestOp::Emit);
        let mut ways: Vec<(usize, u64)> = Vec::new();
        for (n, operand) in op.operands().iter().enumerate() {
            let reads = |ways: &mut Vec<_>| {
                ways.push((n, bad));
                if !matches!(op, GuestOp::MgmtKind | GuestOp::MgmtCnodeSwap) {
                    ways.push((n, empty));
                }
            };
            match operand.kind {
                OperandKind::Src | OperandKind::OptionalSrc => {
                    reads(&mut ways);
                    if !(takes_any || takes_data && n == 0) {
                        ways.push((n, pinned));
                    }
                }
                OperandKind::Dst => ways.extend([(n, bad), (n, pinned)]),
                OperandKind::Place => {
                    reads(&mut ways);
                    if op != GuestOp::Emit {
                        ways.push((n, pinned));
                    }
                }
                OperandKind::Address => ways.extend([(n, NOWHERE + 0x10_0000), (n, u64::MAX), (n, 1 << 32)]),
                OperandKind::Number if op == GuestOp::MgmtCnodeMint => ways.extend([(n, 17), (n, 1 << 60)]),
                OperandKind::Number if op == GuestOp::HostOpen => ways.push((n, FILES + 1_000_000)),
                _ => {}
            }
        }
        if takes_data {
            let cnode = self.source(&|val| val.kind() == 4, |_| Val::CNode(1, BTreeMap::new()));
            ways.push((0, encode(&cnode)));
        }
        if matches!(op, GuestOp::MgmtMove | GuestOp::MgmtCnodeSwap) {
            ways.push((1, args[0]));
        }
        if op == GuestOp::HostReadDataCap {
            ways.push((1, PINNED));
        }
        let (n, wrong) = *self.m.rng.one_of(&ways);
        args[n] = wrong;
    }
}
