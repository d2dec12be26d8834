//! `SET_IMAGE`: an instance goes on in another image.
//!
//! Everything is tried on copies (tables are persistent, so a copy is free), and only when nothing can be
//! refused any more is it paid for and put in place.
//!
//! Source: capability machine, section 7.

use std::sync::Arc;

use javm_abi::{
    GuestOp, SlotPath,
    reg::{A0, A1, A2, PAGE_SIZE},
};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapHashOrRef, InstanceCap, Kind, OpError, OpFailure, image::EndpointDef,
    lineage, path,
};
use javm_exec::Instance;

use crate::{
    call::{SCRATCHPAD, decode_path},
    callstack::{Commitment, InstanceEntry},
    error::VmError,
    fault::FaultDetail,
    held::HeldInstance,
    image_cache::LoadedImage,
    kernel_assist::KernelAssist,
    layout::{self, LayoutFailure},
    meter::{debit, paying_quota},
    vm::{Flow, Vm},
    yields::Raised,
};

/// Where the program goes on.
enum GoOn {
    At(u64),
    Endpoint(Box<EndpointDef>, u8),
}

impl<K: KernelAssist> Vm<K> {
    /// `SET_IMAGE` of the instance that runs.
    pub(crate) fn set_image(&mut self, cache: &mut CacheDirectory, index: usize) -> Result<Flow, VmError> {
        let (meters, quotas) = (self.meters(cache, index)?, self.quotas(cache, index)?);
        let refused = |vm: &mut Self, cache: &mut CacheDirectory, failure| match failure {
            OpFailure::Refused(error) => {
                // That it can be paid was found out inside the run.
                vm.charge(&meters, GuestOp::SetImage.price().fixed);
                vm.refuse(cache, index, u64::from(GuestOp::SetImage.number()), error)
            }
            OpFailure::Host(error) => Err(error.into()),
        };
        let (image, go_on) = match self.new_image(cache, index) {
            Ok(new) => new,
            Err(failure) => return refused(self, cache, failure),
        };
        let (Commitment { pages, .. }, dirty) = self.commitment(cache, index, false)?;
        let bytes = pages.saturating_mul(PAGE_SIZE as u64);
        let quota = match paying_quota(&self.kernel_assist, quotas.as_deref(), bytes) {
            Ok(quota) => quota,
            Err(quota) => return self.raise(cache, index, Raised::Storage(quota)),
        };
        let price = GuestOp::SetImage.price().of(pages);
        if !self.can_pay(&meters, price) {
            let number = u64::from(GuestOp::SetImage.number());
            return self.raise(cache, index, Raised::OutOfGas(FaultDetail::Price { number }));
        }
        let dirty = dirty.map_or_else(|| layout::dirty(cache, self.stack.at(index)), Ok)?;
        let entry = self.stack.at_mut(index);
        entry.unpaid = None;
        let before = entry.table.clone();
        let mut base = (*entry.base).clone();
        let mut memory = base.memory().clone();
        layout::commit(cache, entry, &mut memory, &dirty)?;
        base.set_memory(memory);
        let table = std::mem::replace(&mut entry.table, before);
        let (table, machine, laid_out) = match lay_out_anew(cache, entry, &image, table, &base) {
            Ok(parts) => parts,
            Err(failure) => return refused(self, cache, failure),
        };
        self.charge(&meters, price);
        debit(&mut self.kernel_assist, quota, bytes);
        self.install(cache, index, image, base, table, machine, laid_out, go_on);
        Ok(Flow::Continue)
    }

    /// Whether some meter can pay.
    fn can_pay(&self, meters: &[u64], price: u64) -> bool {
        price == 0 || meters.iter().any(|meter| self.balance(*meter) >= price)
    }

    /// The image that the operands name, and where to go on in it.
    fn new_image(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
    ) -> Result<(Arc<LoadedImage>, GoOn), OpFailure> {
        let entry = self.stack.at(index);
        let regs = entry.regs();
        let path = decode_path(regs[A0])?;
        let name = path::read_source(cache, &entry.table, path)?;
        let kind = cache.fetch(name)?.kind();
        if kind != Kind::Image {
            return Err(OpError::WrongKind { path, expected: &[Kind::Image], found: kind }.into());
        }
        let hash = cache.settle(name)?;
        let image = self.image_cache.load(cache, hash)?;
        let entry = self.stack.at_mut(index);
        let go_on = match regs[A1] {
            0 => {
                let machine = entry.machine();
                let pc = u32::try_from(machine.regs.pc).unwrap_or(u32::MAX);
                let next = u64::from(machine.module.code().next_pc(pc));
                if !image.module.code().is_instruction_start(next) {
                    return Err(OpError::NotAnInstruction { pc: next }.into());
                }
                GoOn::At(next)
            }
            mode => {
                let endpoint = mode - 1;
                let found = u8::try_from(endpoint).ok().and_then(|n| Some((n, image.cap.endpoint(n)?)));
                let Some((number, def)) = found else {
                    return Err(OpError::NoSuchEndpoint { endpoint }.into());
                };
                check_argument(cache, entry, &def)?;
                GoOn::Endpoint(Box::new(def), number)
            }
        };
        Ok((image, go_on))
    }

    /// Puts a new image in place.
    #[expect(clippy::too_many_arguments, reason = "the parts of an instance that change")]
    fn install(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        image: Arc<LoadedImage>,
        base: InstanceCap,
        table: CNodeCap,
        mut machine: Box<Instance>,
        laid_out: Vec<crate::callstack::LaidOut>,
        go_on: GoOn,
    ) {
        let entry = self.stack.at_mut(index);
        let old = entry.machine().regs;
        let args = [old.gpr[A2], old.gpr[A2 + 1], old.gpr[A2 + 2], old.gpr[A2 + 3]];
        match go_on {
            GoOn::At(pc) => {
                layout::carry_ephemeral(entry, &image, &mut machine.memory);
                machine.regs = old;
                machine.regs.pc = pc;
            }
            GoOn::Endpoint(def, number) => {
                entry.endpoint = number;
                machine.regs.pc = def.entry_pc;
                machine.regs.gpr = def.initial_regs;
                machine.regs.gpr[A0..A0 + 4].copy_from_slice(&args);
            }
        }
        let mut gone = entry.machine.replace(machine);
        if let Some(gone) = gone.take() {
            self.image_cache.engine().recycle(gone.memory);
        }
        let entry = self.stack.at_mut(index);
        entry.lineage = lineage::step(&entry.lineage, &image.hash);
        entry.base = base.into();
        entry.table = table;
        entry.image = image;
        entry.laid_out = laid_out;
        entry.paged.clear();
        entry.owner = cache.new_owner();
        let (gas_payer, quota_payer) = self.payers(self.stack.at(index), index);
        let entry = self.stack.at_mut(index);
        (entry.gas_payer, entry.quota_payer) = (gas_payer, quota_payer);
    }
}

/// Slot 0 must be what the endpoint takes.
fn check_argument(cache: &CacheDirectory, entry: &InstanceEntry, def: &EndpointDef) -> Result<(), OpFailure> {
    if def.arg_cnode_size == 0 {
        return Ok(());
    }
    let path = SlotPath::root(0);
    let name = entry.table.get(SCRATCHPAD).ok_or(OpError::EmptySource { path })?;
    match &*cache.fetch(name)? {
        Cap::CNode(c) if c.size_log() == def.arg_cnode_size => Ok(()),
        Cap::CNode(c) => {
            Err(OpError::CNodeSize { path, expected: def.arg_cnode_size, found: c.size_log() }.into())
        }
        other => Err(OpError::WrongKind { path, expected: &[Kind::CNode], found: other.kind() }.into()),
    }
}

/// A table with the new image's pinned slots, and a machine with its memory.
type Parts = (CNodeCap, Box<Instance>, Vec<crate::callstack::LaidOut>);

fn lay_out_anew(
    cache: &CacheDirectory,
    entry: &InstanceEntry,
    image: &Arc<LoadedImage>,
    mut table: CNodeCap,
    base: &InstanceCap,
) -> Result<Parts, OpFailure> {
    for slot in entry.image.image().pinned_slots.keys() {
        table.take(*slot)?;
    }
    for (slot, hash) in &image.image().pinned_slots {
        let locked = entry.paused_target(SlotPath::root(slot.0 as u8)).is_some();
        if locked || table.set(*slot, Some(CapHashOrRef::Hash(*hash)))?.is_some() {
            return Err(OpError::PinnedCollision { slot: *slot }.into());
        }
    }
    let mut machine = Box::new(Instance::new(&image.module));
    let base = HeldInstance::from(base.clone());
    match layout::lay_out(cache, image, &table, &base, &[], &mut machine.memory) {
        Ok(laid_out) => Ok((table, machine, laid_out)),
        Err(LayoutFailure::Refused(_)) => {
            Err(OpError::NotAvailable { reason: "the new image's memory cannot be laid out" }.into())
        }
        Err(LayoutFailure::Host(error)) => Err(error.into()),
    }
}
