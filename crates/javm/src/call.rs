//! Starting and ending a call.
//!
//! A call that cannot start changes nothing: everything is checked before the caller's table is touched. A
//! call that ends by a halt hands its new value to the caller as a working value; nothing is hashed. A call
//! that faults is forgotten: what the caller's slot gets back is the name it had.
//!
//! Source: capability machine, section 6.

use std::collections::VecDeque;

use javm_abi::{
    GuestOp, SlotPath,
    reg::{A0, A1, A2, NUM_REGS},
    status,
};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, InstanceCap, Kind, Memory, OpError,
    OpFailure, ROOT_SIZE_LOG, SlotIdx, Status, path,
};
use javm_exec::{ExitReason, Instance};

use crate::{
    Entry,
    callstack::{Commitment, InstanceEntry},
    error::VmError,
    fault::{FaultDetail, FaultInfo, NotStarted},
    held::HeldInstance,
    image_cache::LoadedImage,
    kernel_assist::{KernelAssist, KernelImage},
    layout::{self, Dirty, LayoutFailure},
    meter::{debit, paying_quota},
    vm::{CallResult, Flow, Vm},
    yields::Raised,
};

/// Slot 0 of every table: the scratchpad.
pub(crate) const SCRATCHPAD: SlotIdx = SlotIdx(0);

/// Why a call did not start.
pub(crate) enum StartFailure {
    /// The caller sees a code.
    Refused { image: CapHash, why: NotStarted },
    /// The invocation ends in a host error.
    Host(VmError),
}

impl<E: Into<VmError>> From<E> for StartFailure {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}

/// Everything that a call is started with.
pub(crate) struct Start {
    pub(crate) caller: Option<usize>,
    pub(crate) name: CapHashOrRef,
    pub(crate) instance: HeldInstance,
    pub(crate) endpoint: u64,
    pub(crate) args: [u64; 4],
    pub(crate) scratchpad: Option<CapHashOrRef>,
    pub(crate) target: SlotPath,
}

impl<K: KernelAssist> Vm<K> {
    /// Starts the outermost call.
    pub(crate) fn start_root(
        &mut self,
        cache: &mut CacheDirectory,
        hash: CapHash,
        endpoint: u8,
        args: [u64; 4],
        scratchpad: Option<CapHashOrRef>,
    ) -> Result<Flow, VmError> {
        let name = CapHashOrRef::Hash(hash);
        let instance =
            HeldInstance::new(cache.fetch(name)?).map_err(|found| VmError::NotAnInstance { found })?;
        if !matches!(instance.status(), Status::Idle { .. }) {
            return Err(VmError::NotIdle);
        }
        if KernelImage::from_hash(&instance.image_hash).is_some() {
            return Err(VmError::KernelAssisted { image: instance.image_hash });
        }
        let (target, endpoint) = (SlotPath::root(0), u64::from(endpoint));
        match self.start(cache, Start { caller: None, name, instance, endpoint, args, scratchpad, target }) {
            Ok(entry) => {
                self.stack.push(entry);
                Ok(Flow::Continue)
            }
            Err(StartFailure::Refused { image, why }) => {
                self.note_not_started(image, endpoint, why);
                Ok(Flow::Ended(CallResult::Faulted {
                    reason: ExitReason::Trap,
                    reflected_slot0: scratchpad,
                    gas_used: 0,
                }))
            }
            Err(StartFailure::Host(error)) => Err(error),
        }
    }

    /// `HOST_CALL` of the instance that runs.
    pub(crate) fn host_call(&mut self, cache: &mut CacheDirectory, index: usize) -> Result<Flow, VmError> {
        let number = u64::from(GuestOp::HostCall.number());
        let start = match self.prepare_call(cache, index) {
            Ok(start) => start,
            Err(OpFailure::Refused(error)) => return self.refuse(cache, index, number, error),
            Err(OpFailure::Host(error)) => return Err(error.into()),
        };
        // No image of the kernel's is ever loaded.
        let hash = &start.instance.image_hash;
        if !self.image_cache.contains(hash)
            && let Some(image) = KernelImage::from_hash(hash)
        {
            return self.native_call(cache, index, image, &start);
        }
        let endpoint = start.endpoint;
        match self.start(cache, start) {
            Ok(entry) => self.enter(cache, index, entry),
            Err(StartFailure::Refused { image, why }) => {
                self.not_started(index, image, endpoint, why);
                Ok(Flow::Continue)
            }
            Err(StartFailure::Host(error)) => Err(error),
        }
    }

    /// Tells the caller that its call was refused; neither slot has changed.
    pub(crate) fn not_started(&mut self, index: usize, image: CapHash, endpoint: u64, why: NotStarted) {
        let code = why.code();
        self.note_not_started(image, endpoint, why);
        self.return_to(index, code.number(), status::FAULTED);
    }

    /// Reads what a `HOST_CALL` asks for; changes nothing.
    fn prepare_call(&self, cache: &CacheDirectory, index: usize) -> Result<Start, OpFailure> {
        let caller = self.stack.at(index);
        let regs = caller.regs();
        let target = decode_path(regs[A0])?;
        check_callee_slot(target)?;
        let name = path::read_source(cache, &caller.table, target)?;
        let instance = HeldInstance::new(cache.fetch(name)?).map_err(|found| OpError::WrongKind {
            path: target,
            expected: &[Kind::Instance],
            found,
        })?;
        if !matches!(instance.status(), Status::Idle { .. }) {
            return Err(OpError::NotIdle { path: target }.into());
        }
        Ok(Start {
            caller: Some(index),
            name,
            instance,
            endpoint: regs[A1],
            args: [regs[A2], regs[A2 + 1], regs[A2 + 2], regs[A2 + 3]],
            scratchpad: caller.table.get(SCRATCHPAD),
            target,
        })
    }

    /// Makes the entry of a call; changes no table and no stack.
    pub(crate) fn start(
        &mut self,
        cache: &mut CacheDirectory,
        start: Start,
    ) -> Result<Box<InstanceEntry>, StartFailure> {
        let Start { caller, name, instance, endpoint, args, scratchpad, target } = start;
        let image_hash = instance.image_hash;
        let refuse = |why| StartFailure::Refused { image: image_hash, why };
        if self.stack.len() >= self.max_depth {
            return Err(refuse(NotStarted::Depth { limit: self.max_depth }));
        }
        let image = self.image_cache.load(cache, image_hash)?;
        let found = u8::try_from(endpoint).ok().and_then(|n| Some((n, image.cap.endpoint(n)?)));
        let Some((number, def)) = found else {
            return Err(refuse(NotStarted::NoSuchEndpoint { endpoint }));
        };
        if def.arg_cnode_size > 0 {
            let size = scratchpad.map(|name| cache.fetch(name)).transpose()?;
            let fits = matches!(size.as_deref(), Some(Cap::CNode(c)) if c.size_log() == def.arg_cnode_size);
            if !fits {
                return Err(refuse(NotStarted::Argument { expected: def.arg_cnode_size }));
            }
        }
        let mut table = root_table(cache, &instance)?;
        install_pinned(&mut table, &image)?;
        table.set(SCRATCHPAD, scratchpad)?;
        let mut machine = Instance::new(&image.module);
        let laid_out = match layout::lay_out(cache, &image, &table, &instance, &[], &mut machine.memory) {
            Ok(laid_out) => laid_out,
            Err(failure) => {
                self.image_cache.engine().recycle(machine.memory);
                return Err(match failure {
                    LayoutFailure::Refused(why) => refuse(why),
                    LayoutFailure::Host(error) => error.into(),
                });
            }
        };
        machine.regs.pc = def.entry_pc;
        machine.regs.gpr = entry_registers(&def.initial_regs, &instance, args);
        let mut entry = Box::new(InstanceEntry {
            caller,
            lineage: instance.image_hash_chain,
            base: instance,
            name,
            target,
            endpoint: number,
            table,
            image,
            machine: Some(Box::new(machine)),
            laid_out,
            paged: Vec::new(),
            owner: cache.new_owner(),
            gas_payer: None,
            quota_payer: None,
            pauses: Vec::new(),
            emits: VecDeque::new(),
            unpaid: None,
            marker: None,
            yielded: None,
            awaiting: None,
        });
        (entry.gas_payer, entry.quota_payer) = self.payers(&entry, self.stack.len());
        Ok(entry)
    }

    /// Who pays for an entry that is, or will be, at `index`: for gas, and for storage.
    pub(crate) fn payers(&self, entry: &InstanceEntry, index: usize) -> (Option<usize>, Option<usize>) {
        let image = entry.image.image();
        let caller = entry.caller.map(|caller| self.stack.at(caller));
        let inherited = |of: fn(&InstanceEntry) -> Option<usize>| caller.and_then(of);
        (
            if image.gas_slots.is_empty() { inherited(|c| c.gas_payer) } else { Some(index) },
            if image.quota_slots.is_empty() { inherited(|c| c.quota_payer) } else { Some(index) },
        )
    }

    /// Puts a started call on the stack: the callee leaves the caller's slot, and slot 0 goes with it.
    fn enter(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        entry: Box<InstanceEntry>,
    ) -> Result<Flow, VmError> {
        let caller = self.stack.at_mut(index);
        caller.table.set(SCRATCHPAD, None)?;
        write_slot(cache, caller, entry.target, None)?;
        // The callee's value may name what the caller owns.
        caller.owner = cache.new_owner();
        self.stack.push(entry);
        Ok(Flow::Continue)
    }

    /// What an instance is to pay for, which is noted until it has, and its dirty pages where they had to be looked
    /// for. `halts`: it leaves what is paused.
    pub(crate) fn commitment(
        &mut self,
        cache: &CacheDirectory,
        index: usize,
        halts: bool,
    ) -> Result<(Commitment, Option<Vec<Dirty>>), CapError> {
        if let Some(known) = self.stack.at(index).unpaid {
            return Ok((known, None));
        }
        let left = if halts { self.units_above(cache, index + 1)? } else { 0 };
        let dirty = layout::dirty(cache, self.stack.at(index))?;
        let commitment = Commitment { pages: layout::dirty_pages(&dirty), left };
        self.stack.at_mut(index).unpaid = Some(commitment);
        Ok((commitment, Some(dirty)))
    }

    /// The instance that runs halts: its dirty pages become values, and its new value goes to the caller.
    pub(crate) fn halt(&mut self, cache: &mut CacheDirectory, index: usize) -> Result<Flow, VmError> {
        let (Commitment { pages, left }, dirty) = self.commitment(cache, index, true)?;
        // The machine stays where it is when something cannot be paid, so that resuming halts again.
        let quotas = self.quotas(cache, index)?;
        let bytes = pages.saturating_mul(javm_exec::PAGE_SIZE as u64);
        let quota = match paying_quota(&self.kernel_assist, quotas.as_deref(), bytes) {
            Ok(quota) => quota,
            Err(quota) => return self.raise(cache, index, Raised::Storage(quota)),
        };
        // The price is that of REPLY, however the instance halts.
        if !self.charge_entry(cache, index, GuestOp::Reply.price().of(pages.saturating_add(left)))? {
            let number = u64::from(GuestOp::Reply.number());
            return self.raise(cache, index, Raised::OutOfGas(FaultDetail::Price { number }));
        }
        debit(&mut self.kernel_assist, quota, bytes);
        let dirty = dirty.map_or_else(|| layout::dirty(cache, self.stack.at(index)), Ok)?;
        // What it leaves paused becomes a value: it sits in the table that is about to be stored.
        self.freeze(cache, index + 1, true)?;
        let Some(Entry::Instance(mut entry)) = self.stack.pop() else {
            unreachable!("freezing left it on top")
        };
        let value = entry.regs()[A0];
        let mut memory = entry.base.memory().clone();
        layout::commit(cache, &mut entry, &mut memory, &dirty)?;
        self.recycle(&mut entry);
        let slot0 = entry.table.take(SCRATCHPAD)?;
        let name = new_value(cache, &entry, memory);
        let emits = std::mem::take(&mut entry.emits);
        let Some(caller) = entry.caller else {
            self.commit_emits(cache, emits)?;
            let post_instance_hash = cache.settle(name)?;
            return Ok(Flow::Ended(CallResult::Halt {
                return_value: value,
                post_instance_hash,
                reflected_slot0: slot0,
                gas_used: 0,
            }));
        };
        self.stack.at_mut(caller).append_emits(emits);
        self.leave(cache, caller, entry.target, name, slot0, value, status::OK)
    }

    /// The instance that runs faults: its caller's slot gets back what it held.
    pub(crate) fn fault(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        reason: ExitReason,
        detail: FaultDetail,
    ) -> Result<Flow, VmError> {
        // What it left paused goes with it.
        self.unwind(index + 1);
        let Some(Entry::Instance(mut entry)) = self.stack.pop() else {
            unreachable!("unwinding left it on top")
        };
        let reason = if detail.is_storage() { ExitReason::Trap } else { reason };
        let info = describe(&entry, index, reason, detail);
        let code = info.code();
        self.last_fault = Some(info);
        self.recycle(&mut entry);
        let slot0 = entry.table.get(SCRATCHPAD);
        let Some(caller) = entry.caller else {
            return Ok(Flow::Ended(CallResult::Faulted { reason, reflected_slot0: slot0, gas_used: 0 }));
        };
        self.leave(cache, caller, entry.target, entry.name, slot0, code.number(), status::FAULTED)
    }

    /// Hands the end of a call to its caller.
    #[expect(clippy::too_many_arguments, reason = "the seven things that the end of a call consists of")]
    pub(crate) fn leave(
        &mut self,
        cache: &mut CacheDirectory,
        caller: usize,
        target: SlotPath,
        name: CapHashOrRef,
        slot0: Option<CapHashOrRef>,
        value: u64,
        status: u64,
    ) -> Result<Flow, VmError> {
        let entry = self.stack.at_mut(caller);
        entry.table.set(SCRATCHPAD, slot0)?;
        write_slot(cache, entry, target, Some(name))?;
        self.return_to(caller, value, status);
        Ok(Flow::Continue)
    }

    /// Sets φ7 and φ8 of an entry and moves it behind its operation.
    pub(crate) fn return_to(&mut self, index: usize, value: u64, status: u64) {
        let machine = self.stack.at_mut(index).machine();
        machine.regs.gpr[A0] = value;
        machine.regs.gpr[A1] = status;
        machine.skip_ecall();
    }

    /// Gives the memory of an entry that is gone back to the engine.
    pub(crate) fn recycle(&mut self, entry: &mut InstanceEntry) {
        if let Some(machine) = entry.machine.take() {
            self.image_cache.engine().recycle(machine.memory);
        }
    }

    fn note_not_started(&mut self, image: CapHash, endpoint: u64, why: NotStarted) {
        self.last_fault = Some(FaultInfo {
            reason: ExitReason::Trap,
            detail: FaultDetail::NotStarted(why),
            depth: self.stack.len(),
            image,
            endpoint,
            regs: javm_exec::Regs::default(),
            instruction: String::new(),
            function: None,
            source: None,
        });
    }
}

/// Decodes an operand that holds a slot path.
pub(crate) fn decode_path(raw: u64) -> Result<SlotPath, OpError> {
    path::decode_path(raw)
}

/// A callee cannot sit in slot 0, nor below it.
pub(crate) const fn check_callee_slot(target: SlotPath) -> Result<(), OpError> {
    if target.root_slot() == 0 {
        return Err(OpError::NotAvailable {
            reason: "slot 0 travels with the call: no callee can sit there",
        });
    }
    Ok(())
}

/// Writes a slot of a waiting caller: the path was walked when the call was made, and nobody else has
/// touched the table.
pub(crate) fn write_slot(
    cache: &mut CacheDirectory,
    caller: &mut InstanceEntry,
    target: SlotPath,
    name: Option<CapHashOrRef>,
) -> Result<(), VmError> {
    match path::write_path(cache, &mut caller.table, target, name, caller.owner) {
        Ok(_) => Ok(()),
        Err(OpFailure::Host(error)) => Err(error.into()),
        Err(OpFailure::Refused(_)) => unreachable!("the path led to a slot when the call was made"),
    }
}

/// The value of an instance that has halted: a new one, unless nothing of it has changed.
fn new_value(cache: &mut CacheDirectory, entry: &InstanceEntry, memory: Memory) -> CapHashOrRef {
    if let Some(Cap::Instance(was)) = cache.held(entry.name)
        && let Some(Cap::CNode(table)) = cache.held(was.root_cnode)
        && was.is_plain()
        && memory.size() == 0
        && (was.image_hash_chain, was.image_hash) == (entry.lineage, entry.image.hash)
        && table.is_copy_of(&entry.table)
    {
        return entry.name;
    }
    let table = CapHashOrRef::Ref(cache.insert_working(Cap::CNode(entry.table.clone())));
    let mut instance = InstanceCap::new(entry.lineage, entry.image.hash, table);
    instance.set_memory(memory);
    CapHashOrRef::Ref(cache.insert_working(Cap::Instance(instance)))
}

/// The table of an instance, as a private copy.
pub(crate) fn root_table(cache: &CacheDirectory, instance: &InstanceCap) -> Result<CNodeCap, VmError> {
    let cap = cache.fetch(instance.root_cnode)?;
    match &*cap {
        Cap::CNode(table) if table.size_log() == ROOT_SIZE_LOG => Ok(table.clone()),
        Cap::CNode(table) => Err(VmError::RootSize { size_log: table.size_log() }),
        other => Err(VmError::RootKind { found: other.kind() }),
    }
}

/// Pinned slots are part of the program: whatever a publisher left there, the program sees its own.
pub(crate) fn install_pinned(table: &mut CNodeCap, image: &LoadedImage) -> Result<(), VmError> {
    for (slot, hash) in &image.image().pinned_slots {
        let pinned = Some(CapHashOrRef::Hash(*hash));
        if table.get(*slot) != pinned {
            table.set(*slot, pinned)?;
        }
    }
    Ok(())
}

/// The endpoint's registers, then the instance's own where they are not zero, then the arguments.
fn entry_registers(initial: &[u64; NUM_REGS], instance: &InstanceCap, args: [u64; 4]) -> [u64; NUM_REGS] {
    let mut gpr = *initial;
    let (saved, _) = instance.status().machine();
    for (reg, saved) in gpr.iter_mut().zip(saved).filter(|(_, saved)| **saved != 0) {
        *reg = *saved;
    }
    gpr[A0..A0 + 4].copy_from_slice(&args);
    gpr
}

/// What happened, for people.
fn describe(entry: &InstanceEntry, depth: usize, reason: ExitReason, detail: FaultDetail) -> FaultInfo {
    let regs = entry.machine.as_deref().map(|machine| machine.regs).unwrap_or_default();
    let pc = u32::try_from(regs.pc).unwrap_or(u32::MAX);
    let instruction = entry.image.module.code().instruction(pc).map(|i| i.to_string()).unwrap_or_default();
    let program = entry.image.program.as_deref();
    let function = program.and_then(|p| p.function_at(pc)).map(|(_, name)| name);
    let source = program
        .and_then(|p| p.source_location(pc))
        .and_then(|frame| Some((frame.file?.to_owned(), frame.line.unwrap_or(0))));
    FaultInfo {
        reason,
        detail,
        depth,
        image: entry.image.hash,
        endpoint: u64::from(entry.endpoint),
        regs,
        instruction,
        function,
        source,
    }
}
