//! What the active VM can do: `ecalli`, `ecall`, fault, jump to the halt address.
//!
//! One function per operation, in the words of the specification. Where that leaves a choice, the choice is the
//! kernel's own, which its documentation lists.

use std::collections::BTreeSet;

use super::{
    CALLCOST, Cap, DISPATCH, Data, Event, Fault, Frame, HUH, LOW, Model, Outcome, PAGE, PAGECOST, PAGES,
    State, Vm, VmName, WHAT,
};

/// Why an operation is not done.
enum Not {
    /// It fails.
    Fail,
    /// It cannot be paid.
    Unpaid,
}

/// An operation's end: the name under which it counts, and what comes of it.
type Done = Result<(&'static str, Outcome), Not>;

/// The end of an operation after which the active VM goes on.
const fn done(name: &'static str) -> Done {
    Ok((name, Outcome::Continue))
}

impl Model {
    /// `ecalli` with this immediate.
    pub fn ecalli(&mut self, imm: u32) -> Outcome {
        let done = self.charge(DISPATCH).and_then(|()| match imm {
            0 => self.reply(),
            imm => self.invoke_ref(imm),
        });
        self.settle(done)
    }

    /// `ecall` with the active VM's φ11 and φ12.
    pub fn ecall(&mut self) -> Outcome {
        let done = self.charge(DISPATCH).and_then(|()| {
            let phi = self.me().phi;
            let (subject, object) = ((phi[12] >> 32) as u32, phi[12] as u32);
            let place = |model: &Self, reference| model.resolve(reference).ok_or(Not::Fail);
            match phi[11] as u32 {
                0x00 => self.invoke_ref(subject),
                0x02 => self.map(place(self, subject)?),
                0x03 => self.unmap(place(self, subject)?),
                0x04 => self.split(place(self, subject)?, place(self, object)?),
                0x05 => self.drop_cap(place(self, subject)?),
                0x06 => self.move_cap(place(self, subject)?, place(self, object)?),
                0x07 => self.copy(place(self, subject)?, place(self, object)?),
                0x0A => self.downgrade(place(self, subject)?, place(self, object)?),
                0x0B => self.set_max_gas(place(self, subject)?),
                0x0C => self.dirty(place(self, subject)?),
                0x0D => self.resume(place(self, subject)?),
                _ => Err(Not::Fail),
            }
        });
        self.settle(done)
    }

    /// A jump to the halt address.
    pub fn halt(&mut self) -> Outcome {
        let done = self.charge(DISPATCH).and_then(|()| self.reply());
        self.settle(done)
    }

    /// The host's answer to a protocol call.
    pub fn answer(&mut self, r0: u64, r1: u64) {
        self.pending = None;
        let me = self.me_mut();
        (me.phi[7], me.phi[8]) = (r0, r1);
    }

    fn settle(&mut self, done: Done) -> Outcome {
        match done {
            Ok((name, outcome)) => {
                self.event = Event::Done(name);
                outcome
            }
            Err(Not::Fail) => {
                self.event = Event::Failed;
                self.me_mut().phi[7] = WHAT;
                Outcome::Continue
            }
            Err(Not::Unpaid) => self.fault(Fault::OutOfGas),
        }
    }

    fn charge(&mut self, price: u64) -> Result<(), Not> {
        let me = self.me_mut();
        me.gas = me.gas.checked_sub(price).ok_or(Not::Unpaid)?;
        Ok(())
    }

    /// A slot that can take something.
    fn empty(&self, reference: u32) -> Result<(u16, u8), Not> {
        let place = self.resolve(reference).ok_or(Not::Fail)?;
        if self.cap(place).is_some() { Err(Not::Fail) } else { Ok(place) }
    }

    fn put(&mut self, (vm, slot): (u16, u8), cap: Cap) {
        if let Some(vm) = self.vms.get_mut(&vm) {
            vm.slots.insert(slot, cap);
        }
    }

    fn take(&mut self, (vm, slot): (u16, u8)) -> Option<Cap> {
        self.vms.get_mut(&vm)?.slots.remove(&slot)
    }

    fn data_mut(&mut self, (vm, slot): (u16, u8)) -> Result<&mut Data, Not> {
        match self.vms.get_mut(&vm).and_then(|vm| vm.slots.get_mut(&slot)) {
            Some(Cap::Data(data)) => Ok(data),
            _ => Err(Not::Fail),
        }
    }

    fn invoke_ref(&mut self, reference: u32) -> Done {
        let place = self.resolve(reference).ok_or(Not::Fail)?;
        match self.cap(place).cloned().ok_or(Not::Fail)? {
            Cap::Protocol(id) => {
                self.pending = Some(id);
                Ok(("PROTOCOL_CALL", Outcome::ProtocolCall(id)))
            }
            Cap::Handle { vm, max_gas } => self.call_vm(vm, max_gas, "CALL HANDLE"),
            Cap::Callable { vm, max_gas } => self.call_vm(vm, max_gas, "CALL CALLABLE"),
            Cap::Untyped => self.retype(),
            Cap::Code(code) => self.create(code, place.0),
            Cap::Data(data) => self.memcpy(&data),
        }
    }

    fn call_vm(&mut self, target: VmName, max_gas: Option<u64>, name: &'static str) -> Done {
        if self.vm(target).is_none_or(|vm| vm.state != State::Idle) {
            return Err(Not::Fail);
        }
        let (me, callee) = (self.active, target.index);
        let slot = self.me().phi[12] as u8;
        let passes = slot != 0 && self.cap((me, slot)).is_some();
        // What lies where the passed capability goes is dropped, by the rule of DROP; the callee counts as on the
        // call stack already.
        let mut dropped = BTreeSet::new();
        if passes && let Some(Cap::Handle { vm, .. }) = self.cap((callee, 0)) {
            dropped = self.family(*vm);
            if dropped.contains(&target) || self.any_on_stack(&dropped) {
                return Err(Not::Fail);
            }
        }
        self.charge(CALLCOST)?;
        let rest = self.me().gas;
        let gas = max_gas.map_or(rest, |max| rest.min(max));
        self.me_mut().gas -= gas;
        self.me_mut().state = State::Waiting;
        let (mut ipc, mut saved) = (None, None);
        if passes && let Some(mut cap) = self.take((me, slot)) {
            ipc = Some(slot);
            if let Cap::Data(data) = &mut cap {
                saved = if data.mapped.is_empty() { None } else { data.base.zip(data.access) };
                data.mapped.clear();
            }
            dropped.iter().for_each(|vm| drop(self.vms.remove(&vm.index)));
            self.put((callee, 0), cap);
        }
        self.frames.push(Frame { caller: me, ipc, saved });
        let arguments = [7, 8, 9, 10].map(|n| self.me().phi[n]);
        self.active = callee;
        let vm = self.me_mut();
        vm.phi[7..=10].copy_from_slice(&arguments);
        vm.gas = gas;
        vm.state = State::Running;
        done(name)
    }

    fn reply(&mut self) -> Done {
        let value = self.me().phi[7];
        let Some(frame) = self.frames.pop() else {
            self.me_mut().state = State::Halted;
            return Ok(("REPLY", Outcome::RootHalt(value)));
        };
        let callee = self.active;
        let vm = self.me_mut();
        vm.state = State::Idle;
        let gas = core::mem::take(&mut vm.gas);
        self.active = frame.caller;
        if let Some(slot) = frame.ipc
            && let Some(mut cap) = self.take((callee, 0))
        {
            if let Cap::Data(data) = &mut cap {
                data.mapped.clear();
                if let Some((base, access)) = frame.saved
                    && self.maps(frame.caller, None, base, 0, data.count)
                {
                    (data.base, data.access) = (Some(base), Some(access));
                    data.mapped = (0..data.count).collect();
                }
            }
            self.put((frame.caller, slot), cap);
        }
        let me = self.me_mut();
        me.gas += gas;
        (me.phi[7], me.phi[8]) = (value, 0);
        me.state = State::Running;
        done("REPLY")
    }

    /// The active VM faults.
    pub fn fault(&mut self, fault: Fault) -> Outcome {
        self.event = Event::Faulted(fault);
        let Some(frame) = self.frames.pop() else {
            return match fault {
                Fault::Trap | Fault::Panic => Outcome::RootPanic,
                Fault::OutOfGas => Outcome::RootOutOfGas,
                Fault::Page(address) => Outcome::RootPageFault(address),
            };
        };
        let callee = self.me_mut();
        callee.state = State::Faulted;
        let gas = callee.gas;
        let (status, aux) = match fault {
            Fault::Trap => (1, callee.phi[7]),
            Fault::Panic => (2, HUH),
            Fault::OutOfGas => (3, LOW),
            Fault::Page(address) => (4, u64::from(address)),
        };
        self.active = frame.caller;
        let me = self.me_mut();
        me.gas += gas;
        (me.phi[7], me.phi[8]) = (aux, status);
        me.state = State::Running;
        Outcome::Continue
    }

    fn resume(&mut self, (vm, slot): (u16, u8)) -> Done {
        let Some(Cap::Handle { vm: target, max_gas }) = self.cap((vm, slot)).cloned() else {
            return Err(Not::Fail);
        };
        if vm != self.active || self.vm(target).is_none_or(|vm| vm.state != State::Faulted) {
            return Err(Not::Fail);
        }
        self.charge(CALLCOST)?;
        let me = self.me_mut();
        let gas = max_gas.map_or(me.gas, |max| me.gas.min(max));
        me.gas -= gas;
        me.state = State::Waiting;
        self.frames.push(Frame { caller: self.active, ipc: None, saved: None });
        self.active = target.index;
        let me = self.me_mut();
        (me.gas, me.state) = (gas, State::Running);
        done("RESUME")
    }

    fn retype(&mut self) -> Done {
        let [count, destination] = [7, 12].map(|n| self.me().phi[n]);
        self.charge(PAGECOST.checked_mul(count).and_then(|n| n.checked_add(CALLCOST)).ok_or(Not::Unpaid)?)?;
        if u64::from(self.untyped_offset) + count > u64::from(self.untyped_total) {
            return Err(Not::Fail);
        }
        let (first, count) = (self.untyped_offset, count as u32);
        self.untyped_offset += count;
        let place = self.empty(destination as u32)?;
        let data = Data { first, count, base: None, access: None, mapped: BTreeSet::new() };
        self.put(place, Cap::Data(data));
        self.me_mut().phi[7] = u64::from(place.1);
        done("RETYPE")
    }

    fn create(&mut self, code: u8, cnode: u16) -> Done {
        let [mask, destination] = [7, 12].map(|n| self.me().phi[n]);
        let copied = (0..64).filter(|slot| mask >> slot & 1 != 0).filter_map(|slot| {
            let cap = self.cap((cnode, slot))?;
            cap.copyable().then(|| (slot, cap.clone()))
        });
        let slots = copied.collect();
        let index = (0..65_535).find(|index| !self.vms.contains_key(index)).ok_or(Not::Fail)?;
        let name = VmName { index, serial: self.vms_made };
        self.vms_made += 1;
        self.vms.insert(index, Vm { name, state: State::Idle, code, phi: [0; 13], gas: 0, slots });
        let place = self.empty(destination as u32)?;
        self.put(place, Cap::Handle { vm: name, max_gas: None });
        self.me_mut().phi[7] = u64::from(place.1);
        done("CREATE")
    }

    fn memcpy(&mut self, from: &Data) -> Done {
        let [source, len, target, to] = [7, 8, 9, 12].map(|n| self.me().phi[n]);
        let to = to as u32;
        if to == 0 || len == 0 {
            return Err(Not::Fail);
        }
        let to = self.resolve(to).and_then(|place| self.data(place)).cloned().ok_or(Not::Fail)?;
        let inside = |data: &Data, offset: u64| {
            offset.checked_add(len).is_some_and(|end| end <= u64::from(data.count) * PAGE)
        };
        if !inside(from, source) || !inside(&to, target) {
            return Err(Not::Fail);
        }
        let bytes = self.bytes(from, source, len);
        self.set_bytes(&to, target, &bytes);
        self.me_mut().phi[7] = len;
        done("MEMCPY")
    }

    /// Whether the pages of a capability (in `own`, if it has a slot) can be mapped: nothing else may be there.
    fn maps(&self, vm: u16, own: Option<u8>, base: u32, first: u32, count: u32) -> bool {
        let wanted =
            u64::from(base) + u64::from(first)..u64::from(base) + u64::from(first) + u64::from(count);
        let others = self.vms[&vm].slots.iter().filter(|(slot, _)| Some(**slot) != own);
        let taken = others.filter_map(|(_, cap)| match cap {
            Cap::Data(data) => Some((data.base?, &data.mapped)),
            _ => None,
        });
        wanted.end <= PAGES
            && taken.into_iter().all(|(base, mapped)| {
                mapped.iter().all(|page| !wanted.contains(&(u64::from(base) + u64::from(*page))))
            })
    }

    fn map(&mut self, (vm, slot): (u16, u8)) -> Done {
        let [base, first, count, access] = [7, 8, 9, 10].map(|n| self.me().phi[n]);
        let data = self.data((vm, slot)).ok_or(Not::Fail)?;
        if access > 1 || [base, first, count].iter().any(|n| *n > PAGES) {
            return Err(Not::Fail);
        }
        let [base, first, count] = [base as u32, first as u32, count as u32];
        let access = access == 1;
        if first + count > data.count
            || data.base.is_some_and(|fixed| fixed != base)
            || data.access.is_some_and(|fixed| fixed != access)
            || !self.maps(vm, Some(slot), base, first, count)
        {
            return Err(Not::Fail);
        }
        let data = self.data_mut((vm, slot))?;
        (data.base, data.access) = (Some(base), Some(access));
        data.mapped.extend(first..first + count);
        done("MAP")
    }

    fn unmap(&mut self, place: (u16, u8)) -> Done {
        let [first, count] = [7, 8].map(|n| self.me().phi[n]);
        let gone = first..first.saturating_add(count);
        self.data_mut(place)?.mapped.retain(|page| !gone.contains(&u64::from(*page)));
        done("UNMAP")
    }

    fn split(&mut self, from: (u16, u8), to: (u16, u8)) -> Done {
        let offset = self.me().phi[7];
        let Data { first, count, mapped, .. } = self.data(from).ok_or(Not::Fail)?.clone();
        if !mapped.is_empty() || offset == 0 || offset >= u64::from(count) || self.cap(to).is_some() {
            return Err(Not::Fail);
        }
        let offset = offset as u32;
        let fresh = |first, count| {
            Cap::Data(Data { first, count, base: None, access: None, mapped: BTreeSet::new() })
        };
        self.put(from, fresh(first, offset));
        self.put(to, fresh(first + offset, count - offset));
        done("SPLIT")
    }

    fn any_on_stack(&self, names: &BTreeSet<VmName>) -> bool {
        let waits = |vm: &Vm| matches!(vm.state, State::Running | State::Waiting);
        names.iter().any(|name| self.vm(*name).is_some_and(waits))
    }

    fn drop_cap(&mut self, place: (u16, u8)) -> Done {
        let Some(cap) = self.cap(place) else { return done("DROP nothing") };
        if let Cap::Handle { vm, .. } = cap {
            let family = self.family(*vm);
            if self.any_on_stack(&family) {
                return Err(Not::Fail);
            }
            self.take(place);
            family.iter().for_each(|vm| drop(self.vms.remove(&vm.index)));
            return done("DROP HANDLE");
        }
        self.take(place);
        done("DROP")
    }

    fn move_cap(&mut self, from: (u16, u8), to: (u16, u8)) -> Done {
        if from == to {
            return done("MOVE nowhere");
        }
        if self.cap(to).is_some() {
            return Err(Not::Fail);
        }
        let mut cap = self.take(from).ok_or(Not::Fail)?;
        if let Cap::Data(data) = &mut cap
            && from.0 != to.0
        {
            data.mapped.clear();
            data.base = None;
        }
        self.put(to, cap);
        done("MOVE")
    }

    fn copy(&mut self, from: (u16, u8), to: (u16, u8)) -> Done {
        let cap = self.cap(from).filter(|cap| cap.copyable()).cloned().ok_or(Not::Fail)?;
        if self.cap(to).is_some() {
            return Err(Not::Fail);
        }
        self.put(to, cap);
        done("COPY")
    }

    fn downgrade(&mut self, from: (u16, u8), to: (u16, u8)) -> Done {
        let Some(Cap::Handle { vm, max_gas }) = self.cap(from).cloned() else { return Err(Not::Fail) };
        if self.cap(to).is_some() {
            return Err(Not::Fail);
        }
        self.put(to, Cap::Callable { vm, max_gas });
        done("DOWNGRADE")
    }

    fn set_max_gas(&mut self, (vm, slot): (u16, u8)) -> Done {
        let limit = self.me().phi[7];
        match self.vms.get_mut(&vm).and_then(|vm| vm.slots.get_mut(&slot)) {
            Some(Cap::Handle { max_gas, .. }) => *max_gas = Some(limit),
            _ => return Err(Not::Fail),
        }
        done("SET_MAX_GAS")
    }

    fn dirty(&mut self, place: (u16, u8)) -> Done {
        let [address, room] = [7, 8].map(|n| self.me().phi[n]);
        let Data { first, count, .. } = *self.data(place).ok_or(Not::Fail)?;
        let len = u64::from(count.div_ceil(8));
        if room < len {
            return Err(Not::Fail);
        }
        let mut bitmap = vec![0u8; len as usize];
        let mut pages = 0;
        for page in (0..count).filter(|page| self.written.contains(&(first + page))) {
            bitmap[page as usize / 8] |= 1 << (page % 8);
            pages += 1;
        }
        self.store(self.active, address as u32, &bitmap).map_err(|_| Not::Fail)?;
        self.written.retain(|page| !(first..first + count).contains(page));
        self.me_mut().phi[7] = pages;
        done("DIRTY")
    }
}
