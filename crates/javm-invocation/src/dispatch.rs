//! References and operations on tables: which slot is meant, and what is asked of it.

use javm_abi::{
    microkernel::{CALL_GAS, CapRef, DISPATCH_GAS, EcallOp, decode_ecall},
    reg,
};

use crate::{
    CallableCap, Cap, CapTable, HandleCap, Invocation, VmId, VmState,
    invocation::{Flow, Outcome, Refusal},
};

/// A slot of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) vm: u16,
    pub(crate) slot: u8,
}

impl Invocation {
    /// The slot that a reference of the active VM names.
    pub(crate) fn resolve(&self, reference: CapRef) -> Result<Place, Refusal> {
        let mut vm = self.active;
        for hop in reference.hops().into_iter().filter(|hop| *hop != 0) {
            let table = &self.vms.at(vm).ok_or(Refusal::What)?.table;
            let Some(Cap::Handle(handle)) = table.get(hop) else { return Err(Refusal::What) };
            let target = self.vms.get(handle.vm).filter(|vm| !vm.is_on_stack()).ok_or(Refusal::What)?;
            vm = target.id.index;
        }
        Ok(Place { vm, slot: reference.slot() })
    }

    /// What a slot holds.
    pub(crate) fn cap(&self, place: Place) -> Option<&Cap> {
        self.vms.at(place.vm)?.table.get(place.slot)
    }

    /// As [`Self::resolve`], for a slot that must be empty.
    pub(crate) fn resolve_empty(&self, reference: CapRef) -> Result<Place, Refusal> {
        let place = self.resolve(reference)?;
        if self.cap(place).is_some() { Err(Refusal::What) } else { Ok(place) }
    }

    /// A table.
    pub(crate) fn table_mut(&mut self, vm: u16) -> Result<&mut CapTable, Refusal> {
        Ok(&mut self.vms.at_mut(vm).ok_or(Refusal::What)?.table)
    }

    /// An `ecall` with this φ11.
    pub(crate) fn ecall(&mut self, op: u64) -> Outcome {
        self.charge(DISPATCH_GAS)?;
        let operands = self.me().regs.gpr[reg::A5];
        let (subject, object) = (CapRef((operands >> 32) as u32), CapRef(operands as u32));
        match decode_ecall(op) {
            EcallOp::Call => return self.call(subject),
            EcallOp::Resume => return self.resume_vm(subject),
            EcallOp::Map => self.map(self.resolve(subject)?)?,
            EcallOp::Unmap => self.unmap(self.resolve(subject)?)?,
            EcallOp::Dirty => self.dirty(self.resolve(subject)?)?,
            EcallOp::Drop => self.drop_cap(self.resolve(subject)?)?,
            EcallOp::SetMaxGas => self.set_max_gas(self.resolve(subject)?)?,
            EcallOp::Split => self.split(self.resolve(subject)?, self.resolve(object)?)?,
            EcallOp::Move => self.move_cap(self.resolve(subject)?, self.resolve(object)?)?,
            EcallOp::Copy => self.copy(self.resolve(subject)?, object)?,
            EcallOp::Downgrade => self.downgrade(self.resolve(subject)?, object)?,
            EcallOp::Unknown => return Err(Refusal::What),
        }
        Ok(Flow::Continue)
    }

    /// Calls what a reference names.
    pub(crate) fn call(&mut self, subject: CapRef) -> Outcome {
        let place = self.resolve(subject)?;
        match *self.cap(place).ok_or(Refusal::What)? {
            Cap::Protocol(id) => {
                self.pending = Some(id);
                Ok(Flow::ProtocolCall)
            }
            Cap::Handle(HandleCap { vm, max_gas }) | Cap::Callable(CallableCap { vm, max_gas }) => {
                self.call_vm(vm, max_gas)
            }
            Cap::Untyped => self.retype(),
            Cap::Code(code) => self.create(code, place.vm),
            Cap::Data(data) => self.memcpy(data),
        }
    }

    /// CREATE: a VM of a code, with capabilities out of the table that the code is in.
    fn create(&mut self, code: u8, cnode: u16) -> Outcome {
        let [mask, destination] = [reg::A0, reg::A5].map(|r| self.me().regs.gpr[r]);
        let from = &self.vms.at(cnode).ok_or(Refusal::What)?.table;
        let mut table = CapTable::new();
        for slot in (0..64).filter(|slot| mask >> slot & 1 != 0) {
            if let Some(cap) = from.get(slot).filter(|cap| cap.is_copyable()) {
                table.set(slot, *cap);
            }
        }
        let vm = self.vms.create(code, table).ok_or(Refusal::What)?;
        self.owners.reset(vm.index);
        // The VM is there for good, whatever comes of the destination.
        let place = self.resolve_empty(CapRef(destination as u32))?;
        let handle = Cap::Handle(HandleCap { vm, max_gas: None });
        self.note_owner(&handle, place.vm);
        self.table_mut(place.vm)?.set(place.slot, handle);
        self.me().regs.gpr[reg::A0] = u64::from(place.slot);
        Ok(Flow::Continue)
    }

    fn move_cap(&mut self, from: Place, to: Place) -> Result<(), Refusal> {
        if from == to {
            return Ok(());
        }
        if self.cap(to).is_some() || self.cap(from).is_none() {
            return Err(Refusal::What);
        }
        let mut cap = self.table_mut(from.vm)?.take(from.slot).ok_or(Refusal::What)?;
        if let Cap::Data(data) = &mut cap
            && from.vm != to.vm
        {
            self.unmap_all(from.vm, data.backing);
            data.base_page = None;
        }
        self.note_owner(&cap, to.vm);
        self.table_mut(to.vm)?.set(to.slot, cap);
        Ok(())
    }

    fn copy(&mut self, from: Place, to: CapRef) -> Result<(), Refusal> {
        let to = self.resolve_empty(to)?;
        let cap = *self.cap(from).filter(|cap| cap.is_copyable()).ok_or(Refusal::What)?;
        self.table_mut(to.vm)?.set(to.slot, cap);
        Ok(())
    }

    fn downgrade(&mut self, from: Place, to: CapRef) -> Result<(), Refusal> {
        let to = self.resolve_empty(to)?;
        let Some(Cap::Handle(HandleCap { vm, max_gas })) = self.cap(from) else { return Err(Refusal::What) };
        let cap = Cap::Callable(CallableCap { vm: *vm, max_gas: *max_gas });
        self.table_mut(to.vm)?.set(to.slot, cap);
        Ok(())
    }

    fn set_max_gas(&mut self, place: Place) -> Result<(), Refusal> {
        let limit = self.me().regs.gpr[reg::A0];
        match self.table_mut(place.vm)?.get_mut(place.slot) {
            Some(Cap::Handle(handle)) => {
                handle.max_gas = Some(limit);
                Ok(())
            }
            _ => Err(Refusal::What),
        }
    }

    fn drop_cap(&mut self, place: Place) -> Result<(), Refusal> {
        let Some(cap) = self.cap(place).copied() else { return Ok(()) };
        self.check_drop(&cap, None)?;
        self.table_mut(place.vm)?.take(place.slot);
        self.release(place.vm, cap);
        Ok(())
    }

    /// Refuses what DROP refuses: a handle whose VM, or one that it owns, through others too, is on the call stack or
    /// is `called` next.
    pub(crate) fn check_drop(&mut self, cap: &Cap, called: Option<u16>) -> Result<(), Refusal> {
        let Cap::Handle(handle) = cap else { return Ok(()) };
        self.mark_stack();
        called.into_iter().for_each(|vm| self.owners.mark(vm, true));
        let refused = self.owners.is_any_marked(handle.vm.index);
        called.into_iter().for_each(|vm| self.owners.mark(vm, false));
        if refused { Err(Refusal::What) } else { Ok(()) }
    }

    /// Marks the VMs on the call stack, and no others: those that were marked and have not been left since stay so.
    fn mark_stack(&mut self) {
        for vm in self.marked.drain(self.low.min(self.marked.len())..) {
            self.owners.mark(vm, false);
        }
        let callers = self.stack.iter().skip(self.marked.len()).map(|frame| frame.caller);
        for vm in callers.chain([self.active]) {
            self.owners.mark(vm, true);
            self.marked.push(vm);
        }
        self.low = self.stack.len();
    }

    /// Notes that a capability is in another table now.
    pub(crate) fn note_owner(&mut self, cap: &Cap, owner: u16) {
        if let Cap::Handle(handle) = cap
            && self.vms.get(handle.vm).is_some()
        {
            self.owners.set(handle.vm.index, owner);
        }
    }

    /// Lets go of a capability that was taken out of a VM's table, where [`Self::check_drop`] has nothing against it:
    /// pages are unmapped, and a VM goes with its handle, and with it those that it owns.
    pub(crate) fn release(&mut self, vm: u16, cap: Cap) {
        match cap {
            Cap::Data(data) => {
                self.unmap_all(vm, data.backing);
                self.store.discard(data.backing);
            }
            Cap::Handle(handle) => self.destroy(handle.vm),
            _ => {}
        }
    }

    /// Removes a VM and those that it owns, with their memory. Each is seen once: it is gone then.
    fn destroy(&mut self, vm: VmId) {
        self.owners.take(vm.index);
        let mut handles = vec![vm];
        while let Some(id) = handles.pop() {
            if self.vms.get(id).is_none() {
                continue;
            }
            let Some(vm) = self.vms.remove(id.index) else { continue };
            for (_, cap) in vm.table.iter() {
                match cap {
                    Cap::Data(data) => self.store.discard(data.backing),
                    Cap::Handle(handle) => handles.push(handle.vm),
                    _ => {}
                }
            }
        }
    }

    /// RESUME: goes on with a faulted VM.
    fn resume_vm(&mut self, subject: CapRef) -> Outcome {
        let place = self.resolve(subject)?;
        let Some(Cap::Handle(handle)) = self.cap(place).copied() else { return Err(Refusal::What) };
        if place.vm != self.active {
            return Err(Refusal::What);
        }
        self.vms.get(handle.vm).filter(|vm| vm.state == VmState::Faulted).ok_or(Refusal::What)?;
        self.charge(CALL_GAS)?;
        self.enter(handle.vm.index, handle.max_gas, None, None);
        Ok(Flow::Continue)
    }
}
