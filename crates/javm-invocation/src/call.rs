//! Calls between VMs: CALL, REPLY and faults. Gas goes down with a call and comes back with its end, whatever
//! that is; a passed capability comes back with a reply only.

use javm_abi::{
    microkernel::{CALL_GAS, CallStatus, HUH, IPC_SLOT, LOW},
    reg,
};
use javm_exec::{Access, GasCounter};

use crate::{
    Cap, Invocation, VmFault, VmId, VmState,
    invocation::{Flow, Frame, Outcome, Refusal},
};

impl Invocation {
    /// CALL of a VM, with at most `max_gas` gas.
    pub(crate) fn call_vm(&mut self, target: VmId, max_gas: Option<u64>) -> Outcome {
        self.vms.get(target).filter(|vm| vm.state == VmState::Idle).ok_or(Refusal::What)?;
        let target = target.index;
        let slot = self.me().regs.gpr[reg::A5] as u8;
        let passes = slot != IPC_SLOT && self.me().table.get(slot).is_some();
        // What the passed capability takes the place of is dropped, if that can be.
        let old = if passes { callee_slot(self, target) } else { None };
        if let Some(old) = &old {
            self.check_drop(old, Some(target))?;
        }
        self.charge(CALL_GAS)?;
        let (mut ipc, mut saved) = (None, None);
        if passes {
            if let Some(old) = old {
                self.table_mut(target)?.take(IPC_SLOT);
                self.release(target, old);
            }
            let cap = self.me().table.take(slot).ok_or(Refusal::What)?;
            if let Cap::Data(data) = &cap {
                let backing = data.backing;
                if self.me().space.mapped_pages(backing) != 0 {
                    saved = data.base_page.zip(data.access);
                }
                self.unmap_all(self.active, backing);
            }
            self.note_owner(&cap, target);
            self.table_mut(target)?.set(IPC_SLOT, cap);
            ipc = Some(slot);
        }
        let arguments: [u64; 4] = [7, 8, 9, 10].map(|r| self.me().regs.gpr[r]);
        self.enter(target, max_gas, ipc, saved);
        self.me().regs.gpr[7..=10].copy_from_slice(&arguments);
        Ok(Flow::Continue)
    }

    /// Makes another VM the active one; the active one waits for it.
    pub(crate) fn enter(
        &mut self,
        target: u16,
        max_gas: Option<u64>,
        ipc: Option<u8>,
        saved: Option<(u32, Access)>,
    ) {
        let caller = self.active;
        let me = self.me();
        let gas = max_gas.map_or(me.gas.remaining(), |max| max.min(me.gas.remaining()));
        me.gas.set(me.gas.remaining() - gas);
        me.state = VmState::WaitingForReply;
        self.stack.push(Frame { caller, ipc, saved });
        self.active = target;
        let me = self.me();
        me.gas = GasCounter::new(gas);
        me.state = VmState::Running;
    }

    /// REPLY: ends the call that the active VM is in, or the invocation.
    pub(crate) fn reply(&mut self) -> Flow {
        let value = self.me().regs.gpr[reg::A0];
        let Some(frame) = self.stack.pop() else {
            self.me().state = VmState::Halted;
            return Flow::RootHalt;
        };
        self.low = self.low.min(self.stack.len());
        let callee = self.active;
        let me = self.me();
        me.state = VmState::Idle;
        let gas = me.gas.remaining();
        me.gas.set(0);
        if let Some(slot) = frame.ipc
            && let Some(cap) = self.me().table.take(IPC_SLOT)
        {
            self.give_back(callee, cap, frame, slot);
        }
        self.active = frame.caller;
        let me = self.me();
        me.gas.add(gas);
        (me.regs.gpr[reg::A0], me.regs.gpr[reg::A1]) = (value, CallStatus::Reply.number());
        me.state = VmState::Running;
        Flow::Continue
    }

    /// Puts what the callee has in its first slot where the caller took what it passed from. The slot is empty:
    /// nobody reaches the table of a VM that waits.
    fn give_back(&mut self, callee: u16, mut cap: Cap, frame: Frame, slot: u8) {
        if let Cap::Data(data) = &mut cap {
            self.unmap_all(callee, data.backing);
            // All of its pages, or, where something is in the way, none.
            if let Some((base, access)) = frame.saved
                && let Some(caller) = self.vms.at_mut(frame.caller)
                && caller.space.map(data.backing, base, access, 0, data.backing.count).is_ok()
            {
                (data.base_page, data.access) = (Some(base), Some(access));
            }
        }
        self.note_owner(&cap, frame.caller);
        if let Some(caller) = self.vms.at_mut(frame.caller) {
            caller.table.set(slot, cap);
        }
    }

    /// The active VM faults: its caller hears of it, or, of the first VM's, the embedder.
    pub(crate) fn fault(&mut self, fault: VmFault) -> Flow {
        let Some(frame) = self.stack.pop() else {
            return match fault {
                VmFault::Trap | VmFault::Panic => Flow::RootPanic,
                VmFault::OutOfGas => Flow::RootOutOfGas,
                VmFault::PageFault(address) => Flow::RootPageFault(address),
            };
        };
        self.low = self.low.min(self.stack.len());
        let me = self.me();
        me.state = VmState::Faulted;
        let gas = me.gas.remaining();
        let (status, detail) = match fault {
            VmFault::Trap => (CallStatus::Trap, me.regs.gpr[reg::A0]),
            VmFault::Panic => (CallStatus::Panic, HUH),
            VmFault::OutOfGas => (CallStatus::OutOfGas, LOW),
            VmFault::PageFault(address) => (CallStatus::PageFault, u64::from(address)),
        };
        self.active = frame.caller;
        let me = self.me();
        me.gas.add(gas);
        (me.regs.gpr[reg::A0], me.regs.gpr[reg::A1]) = (detail, status.number());
        me.state = VmState::Running;
        Flow::Continue
    }
}

/// What a VM has in the slot that passed capabilities go to.
fn callee_slot(invocation: &Invocation, vm: u16) -> Option<Cap> {
    invocation.vms.at(vm)?.table.get(IPC_SLOT).copied()
}
