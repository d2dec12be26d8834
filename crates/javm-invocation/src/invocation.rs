//! [`Invocation`]: the VMs, who runs and who waits, and the loop that runs guest code between operations.
//!
//! The invariant: exactly one VM, `active`, is running or halted, and the VMs that wait are the callers in `stack`,
//! the first VM at its bottom. Operations are in `dispatch.rs`, `call.rs` and `data.rs`.

use std::sync::Arc;

use javm_abi::{
    microkernel::{CapRef, DISPATCH_GAS, EcalliOp, decode_ecalli},
    reg,
};
use javm_exec::{
    Access, Engine, ExitReason, Mem, Module, Regs,
    interp::Machine,
    memory::{Extent, SharedMemory, SharedRun, SharedStore},
};

use crate::{
    AccessError, Cap, CapTable, DataCap, InvocationError, NoProtocolCall, Prepared, Vm, VmState,
    owners::Owners, vm::Pool,
};

/// What came of an operation, or of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchResult {
    /// The VM that is active now goes on.
    Continue,
    /// The active VM asks the embedder: answer with [`Invocation::resume`].
    ProtocolCall {
        /// The id of the protocol capability.
        slot: u8,
        /// The registers of the VM that asks; arguments are in φ7 to φ12.
        regs: [u64; reg::NUM_REGS],
        /// The gas it has.
        gas: u64,
    },
    /// The first VM replied with this φ7: the invocation is over.
    RootHalt(u64),
    /// The first VM panicked or trapped.
    RootPanic,
    /// The first VM's gas does not pay for what comes next.
    RootOutOfGas,
    /// The first VM accessed a page that it may not access so: the page's address.
    RootPageFault(u32),
}

/// How a VM faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VmFault {
    /// The `trap` instruction.
    Trap,
    /// Any other panic.
    Panic,
    /// A block or an operation cannot be paid.
    OutOfGas,
    /// An access to the page at this address.
    PageFault(u32),
}

/// Why an operation is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It fails: φ7 is `WHAT`.
    What,
    /// It cannot be paid: the VM faults.
    OutOfGas,
}

/// How it goes on after an operation: a [`DispatchResult`] without what can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    ProtocolCall,
    RootHalt,
    RootPanic,
    RootOutOfGas,
    RootPageFault(u32),
}

/// What came of an operation.
pub(crate) type Outcome = Result<Flow, Refusal>;

/// The memory that nobody has yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untyped {
    /// Pages that somebody got.
    pub(crate) offset: u32,
    /// Pages of the invocation.
    pub(crate) total: u32,
}

impl Untyped {
    pub(crate) const fn left(&self) -> u32 {
        self.total - self.offset
    }

    /// Takes pages; `None`, and nothing taken, when there are not so many.
    pub(crate) fn take(&mut self, count: u32) -> Option<Extent> {
        if count > self.left() {
            return None;
        }
        let first = self.offset;
        self.offset += count;
        Some(Extent { first, count })
    }
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) caller: u16,
    /// The slot of the caller from which a capability was passed.
    pub(crate) ipc: Option<u8>,
    /// How the passed DATA was mapped.
    pub(crate) saved: Option<(u32, Access)>,
}

/// One run of a program of the microkernel.
#[derive(Debug)]
pub struct Invocation {
    pub(crate) codes: Arc<[Module]>,
    pub(crate) vms: Pool,
    pub(crate) stack: Vec<Frame>,
    pub(crate) active: u16,
    pub(crate) untyped: Untyped,
    pub(crate) store: SharedStore,
    /// The protocol call that waits for an answer.
    pub(crate) pending: Option<u8>,
    pub(crate) owners: Owners,
    /// The VMs of the call stack, the active one last, that are marked in `owners`.
    pub(crate) marked: Vec<u16>,
    /// How many of them are still where they were: callers that nobody returned to since.
    pub(crate) low: usize,
}

impl Invocation {
    /// An invocation of a manifest (`JAR\x02`): [`Prepared::new`] and [`Prepared::invoke`] in one.
    ///
    /// # Errors
    /// [`InvocationError`].
    pub fn new(engine: &Engine, blob: &[u8], arguments: &[u8], gas: u64) -> Result<Self, InvocationError> {
        Prepared::new(engine, blob)?.invoke(arguments, gas)
    }

    /// An invocation whose first VM has this table, and no gas.
    pub(crate) fn start(codes: Arc<[Module]>, code: u8, table: CapTable, memory_pages: u32) -> Self {
        let mut vms = Pool::default();
        vms.create(code, table);
        let store = SharedStore::new(codes[usize::from(code)].engine(), memory_pages);
        let mut invocation = Self {
            codes,
            vms,
            stack: Vec::new(),
            active: 0,
            untyped: Untyped { offset: 0, total: memory_pages },
            store,
            pending: None,
            owners: Owners::default(),
            marked: Vec::new(),
            low: 0,
        };
        invocation.owners.reset(0);
        invocation.root_mut().state = VmState::Running;
        invocation
    }

    /// The first VM.
    pub(crate) fn root_mut(&mut self) -> &mut Vm {
        self.vms.at_mut(0).expect("nobody has a handle of the first VM")
    }

    /// Empties a slot of the first VM.
    pub(crate) fn overwrite_root(&mut self, slot: u8) {
        if let Some(cap) = self.root_mut().table.take(slot) {
            self.release(0, cap);
        }
    }

    /// The active VM.
    #[inline]
    pub(crate) fn me(&mut self) -> &mut Vm {
        self.vms.at_mut(self.active).expect("a VM on the stack is not dropped")
    }

    /// Runs until a protocol call asks the embedder, or the first VM ends the invocation.
    ///
    /// Running again after that gives the same result again: a protocol call wants [`Self::resume`] first; out of
    /// gas and page faults of the first VM are tried again, with what [`Self::set_gas`] and the memory are then.
    /// Never [`DispatchResult::Continue`].
    pub fn run(&mut self) -> DispatchResult {
        let run = SharedRun::new();
        loop {
            let flow = self.step_in(&run);
            if flow != Flow::Continue {
                return self.result(flow);
            }
        }
    }

    /// Runs the active VM up to its next operation or fault, and does that; [`DispatchResult::Continue`] when a VM
    /// can go on. The sum of steps equals a run.
    pub fn step(&mut self) -> DispatchResult {
        let flow = self.step_in(&SharedRun::new());
        self.result(flow)
    }

    fn step_in(&mut self, run: &SharedRun) -> Flow {
        match self.stands_still() {
            Some(flow) => flow,
            None => self.run_active(run),
        }
    }

    /// As [`Self::run`], asking `handler` at protocol calls, with the id. It sees the invocation as it stands at
    /// the call, and answers with φ7 and φ8; `None` leaves the call to whoever called this.
    pub fn run_with(
        &mut self,
        mut handler: impl FnMut(&mut Self, u8) -> Option<(u64, u64)>,
    ) -> DispatchResult {
        loop {
            let result = self.run();
            let DispatchResult::ProtocolCall { slot, .. } = result else { return result };
            let Some((r0, r1)) = handler(self, slot) else { return result };
            // The handler may have answered by itself.
            let _ = self.resume(r0, r1);
        }
    }

    /// Answers the protocol call that the last run ended with: φ7 and φ8 of the VM that asked. [`Self::run`] then
    /// goes on behind the call.
    ///
    /// # Errors
    /// [`NoProtocolCall`] when none waits; nothing changes then.
    pub fn resume(&mut self, r0: u64, r1: u64) -> Result<(), NoProtocolCall> {
        self.pending.take().ok_or(NoProtocolCall)?;
        let gpr = &mut self.me().regs.gpr;
        (gpr[reg::A0], gpr[reg::A1]) = (r0, r1);
        Ok(())
    }

    /// The result that there is without anything being done.
    fn stands_still(&mut self) -> Option<Flow> {
        if self.pending.is_some() {
            return Some(Flow::ProtocolCall);
        }
        (self.me().state == VmState::Halted).then_some(Flow::RootHalt)
    }

    /// What the embedder is told.
    fn result(&mut self, flow: Flow) -> DispatchResult {
        let slot = self.pending.unwrap_or(0);
        let me = self.me();
        match flow {
            Flow::Continue => DispatchResult::Continue,
            Flow::ProtocolCall => {
                DispatchResult::ProtocolCall { slot, regs: me.regs.gpr, gas: me.gas.remaining() }
            }
            Flow::RootHalt => DispatchResult::RootHalt(me.regs.gpr[reg::A0]),
            Flow::RootPanic => DispatchResult::RootPanic,
            Flow::RootOutOfGas => DispatchResult::RootOutOfGas,
            Flow::RootPageFault(address) => DispatchResult::RootPageFault(address),
        }
    }

    /// Runs the active VM up to its next operation or fault, and does that.
    fn run_active(&mut self, run: &SharedRun) -> Flow {
        let Self { codes, vms, store, active, .. } = self;
        let vm = vms.at_mut(*active).expect("a VM on the stack is not dropped");
        let module = &codes[usize::from(vm.code)];
        let machine = Machine { regs: &mut vm.regs, gas: &mut vm.gas, gas_charged: &mut vm.gas_charged };
        let memory = &mut SharedMemory { space: &mut vm.space, store };
        let reason = module.run_shared(machine, memory, run);
        let call = match reason {
            ExitReason::HostCall(imm) => Some(imm),
            ExitReason::Ecall => None,
            ExitReason::Halt => return self.halt(),
            ExitReason::Trap => return self.fault(VmFault::Trap),
            ExitReason::Panic => return self.fault(VmFault::Panic),
            ExitReason::OutOfGas => return self.fault(VmFault::OutOfGas),
            ExitReason::PageFault(address) => return self.fault(VmFault::PageFault(address)),
        };
        let at = vm.regs.pc;
        // The offset came from an instruction of the code.
        vm.regs.pc = u64::from(module.code().next_pc(at as u32));
        let op = vm.regs.gpr[reg::A4];
        let outcome = match call {
            Some(imm) => self.ecalli(imm),
            None => self.ecall(op),
        };
        if outcome == Err(Refusal::OutOfGas) {
            // Resuming asks again.
            self.me().regs.pc = at;
        }
        self.settle(outcome)
    }

    /// A jump to the halt address: REPLY, and the next call begins at the start of the code.
    fn halt(&mut self) -> Flow {
        if !self.me().gas.charge(DISPATCH_GAS) {
            return self.fault(VmFault::OutOfGas);
        }
        let me = self.me();
        me.regs.pc = 0;
        me.gas_charged = false;
        self.reply()
    }

    /// Does something, unless a protocol call waits or the invocation is over.
    fn directly(&mut self, act: impl FnOnce(&mut Self) -> Flow) -> DispatchResult {
        let flow = match self.stands_still() {
            Some(flow) => flow,
            None => act(self),
        };
        self.result(flow)
    }

    /// Does what an `ecalli` of the active VM with this immediate does. The program counter is not looked at.
    ///
    /// Where nothing can be done, because a protocol call waits or the invocation is over, gives that result again.
    pub fn dispatch_ecalli(&mut self, imm: u32) -> DispatchResult {
        self.directly(|k| {
            let outcome = k.ecalli(imm);
            k.settle(outcome)
        })
    }

    /// Does what an `ecall` of the active VM with this φ11 does; the references are in φ12. Otherwise as
    /// [`Self::dispatch_ecalli`].
    pub fn dispatch_ecall(&mut self, op: u64) -> DispatchResult {
        self.directly(|k| {
            let outcome = k.ecall(op);
            k.settle(outcome)
        })
    }

    /// Makes the active VM fault, as if its code had done it. Nothing happens where [`Self::dispatch_ecalli`] would
    /// do nothing.
    pub fn inject_fault(&mut self, fault: VmFault) -> DispatchResult {
        self.directly(|k| k.fault(fault))
    }

    /// Makes the active VM jump to the halt address, as if its code had done it: REPLY, then its program counter is
    /// 0. Nothing happens where [`Self::dispatch_ecalli`] would do nothing.
    pub fn inject_halt(&mut self) -> DispatchResult {
        self.directly(Self::halt)
    }

    fn ecalli(&mut self, imm: u32) -> Outcome {
        self.charge(DISPATCH_GAS)?;
        let EcalliOp::Call(subject) = decode_ecalli(imm);
        if subject == CapRef(0) {
            return Ok(self.reply());
        }
        self.call(subject)
    }

    /// Pays from the active VM's gas.
    pub(crate) fn charge(&mut self, price: u64) -> Result<(), Refusal> {
        if self.me().gas.charge(price) { Ok(()) } else { Err(Refusal::OutOfGas) }
    }

    /// Does what follows from an operation that was not done.
    fn settle(&mut self, outcome: Outcome) -> Flow {
        match outcome {
            Ok(result) => result,
            Err(Refusal::What) => {
                self.me().regs.gpr[reg::A0] = javm_abi::microkernel::WHAT;
                Flow::Continue
            }
            Err(Refusal::OutOfGas) => self.fault(VmFault::OutOfGas),
        }
    }

    /// The place of the active VM.
    #[must_use]
    pub const fn active(&self) -> u16 {
        self.active
    }

    /// The VM in a place.
    #[must_use]
    pub fn vm(&self, index: u16) -> Option<&Vm> {
        self.vms.at(index)
    }

    /// All VMs, in order of their places.
    pub fn vms(&self) -> impl Iterator<Item = &Vm> + '_ {
        self.vms.iter()
    }

    /// The VMs that wait for the active one, outermost first: the caller, and the slot from which it passed a
    /// capability.
    pub fn callers(&self) -> impl ExactSizeIterator<Item = (u16, Option<u8>)> + '_ {
        self.stack.iter().map(|frame| (frame.caller, frame.ipc))
    }

    /// The code, by its numbers.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.codes
    }

    /// Pages that somebody got, and pages that there are: what UNTYPED has left is the difference.
    #[must_use]
    pub const fn untyped(&self) -> (u32, u32) {
        (self.untyped.offset, self.untyped.total)
    }

    /// Registers and program counter of the active VM.
    #[must_use]
    pub fn regs(&self) -> &Regs {
        &self.vms.at(self.active).expect("a VM on the stack is not dropped").regs
    }

    /// As [`Self::regs`], to be changed between runs.
    pub fn regs_mut(&mut self) -> &mut Regs {
        &mut self.me().regs
    }

    /// Gas of the active VM.
    #[must_use]
    pub fn gas(&self) -> u64 {
        self.vms.at(self.active).map_or(0, |vm| vm.gas.remaining())
    }

    /// Sets the gas of the active VM.
    pub fn set_gas(&mut self, gas: u64) {
        self.me().gas.set(gas);
    }

    /// Reads memory as a VM would.
    ///
    /// # Errors
    /// [`AccessError`] when there is no such VM, or it could not read that.
    pub fn read_memory(&mut self, vm: u16, address: u32, buf: &mut [u8]) -> Result<(), AccessError> {
        self.memory(vm)?.read(address, buf).map_err(AccessError::Fault)
    }

    /// Writes memory as a VM would: all or nothing. The pages count as written.
    ///
    /// # Errors
    /// [`AccessError`] when there is no such VM, or it could not write that.
    pub fn write_memory(&mut self, vm: u16, address: u32, bytes: &[u8]) -> Result<(), AccessError> {
        self.memory(vm)?.write(address, bytes).map_err(AccessError::Fault)
    }

    /// The memory of a VM.
    pub(crate) fn memory(&mut self, index: u16) -> Result<SharedMemory<'_>, AccessError> {
        let vm = self.vms.at_mut(index).ok_or(AccessError::NoVm { index })?;
        Ok(SharedMemory { space: &mut vm.space, store: &mut self.store })
    }

    /// Reads bytes of a DATA capability, mapped or not.
    ///
    /// # Errors
    /// [`AccessError`] when there is none, or the bytes do not lie inside.
    pub fn read_data(&self, vm: u16, slot: u8, offset: u64, buf: &mut [u8]) -> Result<(), AccessError> {
        let backing = self.data(vm, slot)?.backing;
        if self.store.read(backing, offset, buf) {
            return Ok(());
        }
        Err(AccessError::OutOfBounds { offset, len: buf.len(), size: backing.len() })
    }

    /// Writes bytes of a DATA capability, mapped or not, read-only or not. The pages count as written.
    ///
    /// # Errors
    /// [`AccessError`] when there is none, or the bytes do not lie inside; nothing is written then.
    pub fn write_data(&mut self, vm: u16, slot: u8, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let backing = self.data(vm, slot)?.backing;
        if self.store.write(backing, offset, bytes) {
            return Ok(());
        }
        Err(AccessError::OutOfBounds { offset, len: bytes.len(), size: backing.len() })
    }

    /// The DATA capability in a slot.
    ///
    /// # Errors
    /// [`AccessError`] when there is none.
    pub fn data(&self, index: u16, slot: u8) -> Result<DataCap, AccessError> {
        match self.vms.at(index).ok_or(AccessError::NoVm { index })?.table.get(slot) {
            Some(Cap::Data(data)) => Ok(*data),
            _ => Err(AccessError::NoData { index, slot }),
        }
    }

    /// For each page of a DATA capability, whether it was written since the last DIRTY: one bit each, least
    /// significant first.
    ///
    /// # Errors
    /// [`AccessError`] when there is none.
    pub fn written(&self, vm: u16, slot: u8) -> Result<Vec<u8>, AccessError> {
        Ok(self.store.written(self.data(vm, slot)?.backing))
    }
}
