//! Yields: routing to a handler, resuming, dropping.
//!
//! A yield looks for the nearest entry, up the chain of callers, whose image declares a marker slot with a
//! catcher in it that lists the marker. That entry goes on where it called: its call returns with status 1.
//! Entries between wait and see nothing. The kernel raises yields of its own, when gas or storage runs out
//! and at page faults; these leave the yielder alone, so that it cannot tell that it was paused.
//!
//! Source: capability machine, section 8.

use std::collections::HashMap;

use javm_abi::{
    GuestOp, SlotPath,
    kernel::catcher,
    reg::{A0, A1, A2},
    status,
};
use javm_cap::{
    CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, Kind, OpError, OpFailure, SlotIdx, path,
};
use javm_exec::{Access, ExitReason, PAGE_SIZE, PageSource};

use crate::{
    call::{SCRATCHPAD, decode_path, write_slot},
    callstack::{Pause, PauseKind, ReferenceEntry},
    error::VmError,
    fault::FaultDetail,
    kernel_assist::{KernelAssist, KernelImage, marker_hash, working_handle},
    layout::DataPages,
    vm::{Flow, Vm},
};

/// A yield that the kernel raises.
#[derive(Clone, Debug)]
pub(crate) enum Raised {
    /// A price cannot be paid; what the fault says if nobody catches it.
    OutOfGas(FaultDetail),
    /// This quota cannot pay.
    Storage(u64),
    /// The page with this base address is not accessible.
    PageFault(u32),
}

/// Whether a yield may be routed to this entry.
type Filter<'a, K> = &'a dyn Fn(&Vm<K>, usize) -> Result<bool, CapError>;

/// How many markers are remembered before all are forgotten.
const REMEMBERED: usize = 1 << 18;

/// What catchers list, by their names, so that a yield past many calls does not read all their lists again. Names
/// of working values hold for one directory, so this is forgotten where an invocation begins.
#[derive(Debug, Default)]
pub(crate) struct Catchers {
    lists: HashMap<CapHashOrRef, HashMap<CapHash, u64>>,
    markers: usize,
}

impl Catchers {
    /// The position of a marker in the list of what sits in a marker slot, counted from 0.
    fn position(
        &mut self,
        cache: &CacheDirectory,
        name: CapHashOrRef,
        marker: &CapHash,
    ) -> Result<Option<u64>, CapError> {
        if let Some(list) = self.lists.get(&name) {
            return Ok(list.get(marker).copied());
        }
        let list = markers(cache, name)?;
        let position = list.get(marker).copied();
        self.markers += list.len() + 1;
        if self.markers > REMEMBERED {
            self.lists.clear();
            self.markers = list.len() + 1;
        }
        self.lists.insert(name, list);
        Ok(position)
    }
}

/// What a catcher lists, each marker with its position; nothing where the value is no catcher.
fn markers(cache: &CacheDirectory, name: CapHashOrRef) -> Result<HashMap<CapHash, u64>, CapError> {
    let mut list = HashMap::new();
    let cap = cache.fetch(name)?;
    let Cap::Instance(instance) = &*cap else { return Ok(list) };
    if KernelImage::from_hash(&instance.image_hash) != Some(KernelImage::YieldCatcher) {
        return Ok(list);
    }
    let table = cache.fetch(instance.root_cnode)?;
    let Cap::CNode(table) = &*table else { return Ok(list) };
    for (slot, position) in catcher::SLOTS.zip(0..) {
        let Some(name) = table.get(SlotIdx(slot)) else { break };
        if let CapHashOrRef::Hash(marker) = name {
            list.entry(marker).or_insert(position);
        }
    }
    Ok(list)
}

impl<K: KernelAssist> Vm<K> {
    /// The nearest entry above `index`, up the chain of callers, that catches a marker.
    fn handler(
        &mut self,
        cache: &CacheDirectory,
        index: usize,
        marker: &CapHash,
        may: Filter<'_, K>,
    ) -> Result<Option<(usize, u64)>, CapError> {
        let mut at = self.stack.at(index).caller;
        while let Some(index) = at {
            let entry = self.stack.at(index);
            let name = entry.image.image().yield_marker_slot.and_then(|slot| entry.table.get(slot));
            if let Some(name) = name
                && let Some(position) = self.catchers.position(cache, name, marker)?
                && may(self, index)?
            {
                return Ok(Some((index, position)));
            }
            at = self.stack.at(index).caller;
        }
        Ok(None)
    }

    /// Routes a yield to its handler, which goes on.
    fn pause(
        &mut self,
        yielder: usize,
        handler: usize,
        position: u64,
        kind: PauseKind,
        payload: Option<CapHashOrRef>,
    ) -> Result<Flow, VmError> {
        let mut base = yielder;
        while let Some(caller) = self.stack.at(base).caller.filter(|caller| *caller != handler) {
            base = caller;
        }
        let target = self.stack.at(base).target;
        self.stack.push_reference(ReferenceEntry { referent: handler, kind });
        let entry = self.stack.at_mut(handler);
        entry.pauses.push(Pause { target, base });
        entry.table.set(SCRATCHPAD, payload)?;
        let machine = entry.machine();
        machine.regs.gpr[A0] = 1 + position;
        machine.regs.gpr[A1] = status::PAUSED;
        if let PauseKind::PageFault(address) = kind {
            machine.regs.gpr[A2] = u64::from(address);
        }
        machine.skip_ecall();
        Ok(Flow::Continue)
    }

    /// `HOST_YIELD` of the instance that runs. The marker is settled and paid for.
    pub(crate) fn host_yield(&mut self, cache: &mut CacheDirectory, index: usize) -> Result<Flow, VmError> {
        let marker = match self.yield_marker(cache, index) {
            Ok(marker) => marker,
            Err(OpFailure::Refused(error)) => {
                return self.refuse(cache, index, u64::from(GuestOp::HostYield.number()), error);
            }
            Err(OpFailure::Host(error)) => return Err(error.into()),
        };
        self.stack.at_mut(index).marker = Some(marker);
        if let Some((handler, position)) = self.handler(cache, index, &marker, &|_, _| Ok(true))? {
            let payload = self.stack.at_mut(index).table.take(SCRATCHPAD)?;
            return self.pause(index, handler, position, PauseKind::Yield, payload);
        }
        if self.kernel_assist.catches_at_root(&marker) {
            let payload = self.stack.at_mut(index).table.take(SCRATCHPAD)?;
            return Ok(Flow::Paused(PauseKind::Yield, payload));
        }
        self.fault(cache, index, ExitReason::Trap, FaultDetail::UnhandledMarker { marker })
    }

    /// The marker that the instance yields.
    fn yield_marker(&self, cache: &mut CacheDirectory, index: usize) -> Result<CapHash, OpFailure> {
        let entry = self.stack.at(index);
        let path = decode_path(entry.regs()[A0])?;
        let name = path::read_source(cache, &entry.table, path)?;
        let cap = cache.fetch(name)?;
        let Cap::Instance(instance) = &*cap else {
            return Err(OpError::WrongKind { path, expected: &[Kind::Instance], found: cap.kind() }.into());
        };
        use KernelImage::{OogMarker, Pager, StorageExhaustedMarker};
        if let Some(OogMarker | StorageExhaustedMarker | Pager) = KernelImage::from_hash(&instance.image_hash)
        {
            // Otherwise a callee could pretend to be out of gas.
            return Err(OpError::NotAvailable { reason: "only the kernel yields this marker" }.into());
        }
        Ok(cache.settle(name)?)
    }

    /// Raises a yield of the kernel at the instance that runs.
    pub(crate) fn raise(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        raised: Raised,
    ) -> Result<Flow, VmError> {
        let (image, kind) = match &raised {
            Raised::OutOfGas(_) => (KernelImage::OogMarker, PauseKind::OutOfGas),
            Raised::Storage(_) => (KernelImage::StorageExhaustedMarker, PauseKind::Storage),
            Raised::PageFault(address) => (KernelImage::Pager, PauseKind::PageFault(*address)),
        };
        let marker = marker_hash(image);
        let exhausted = self.meters(cache, index)?;
        let has_gas = |vm: &Self, handler: usize| {
            let meters = vm.meters(cache, handler)?;
            Ok(meters.iter().any(|meter| !exhausted.contains(meter)))
        };
        let anybody = |_: &Self, _: usize| Ok(true);
        let may: Filter<'_, K> = if matches!(raised, Raised::OutOfGas(_)) { &has_gas } else { &anybody };
        let handler = self.handler(cache, index, &marker, may)?;
        if handler.is_none() && !self.kernel_assist.catches_at_root(&marker) {
            return match raised {
                Raised::OutOfGas(detail) => self.fault(cache, index, ExitReason::OutOfGas, detail),
                Raised::Storage(quota) => {
                    self.fault(cache, index, ExitReason::Trap, FaultDetail::StorageExhausted { quota })
                }
                Raised::PageFault(address) => {
                    self.fault(cache, index, ExitReason::PageFault(address), FaultDetail::Machine)
                }
            };
        }
        let payload = match raised {
            Raised::OutOfGas(_) => {
                let meter = exhausted.first().copied();
                Some(working_handle(cache, KernelImage::Gas, Some(meter.unwrap_or(0))))
            }
            Raised::Storage(quota) => Some(working_handle(cache, KernelImage::Quota, Some(quota))),
            Raised::PageFault(_) => None,
        };
        match handler {
            Some((handler, position)) => self.pause(index, handler, position, kind, payload),
            None => Ok(Flow::Paused(kind, payload)),
        }
    }

    /// `CALL_RESUME` of the instance that runs.
    pub(crate) fn resume_call(&mut self, cache: &mut CacheDirectory, index: usize) -> Result<Flow, VmError> {
        let number = u64::from(GuestOp::CallResume.number());
        let target = match decode_path(self.stack.at(index).regs()[A0]) {
            Ok(target) => target,
            Err(error) => return self.refuse(cache, index, number, error),
        };
        match self.newest_pause(index, target) {
            Some((_, kind)) => {
                self.stack.pop();
                let handler = self.stack.at_mut(index);
                handler.pauses.pop();
                let slot0 = handler.table.take(SCRATCHPAD)?;
                self.resume_yielder(cache, kind, slot0)
            }
            None if self.stack.at(index).pauses.iter().any(|pause| pause.target == target) => {
                self.refuse(cache, index, number, OpError::NotPaused { path: target })
            }
            None => self.resume_value(cache, index, target),
        }
    }

    /// The newest paused call of an entry, if it sits in that slot.
    fn newest_pause(&self, index: usize, target: SlotPath) -> Option<(Pause, PauseKind)> {
        let pause = *self.stack.at(index).pauses.last()?;
        let reference = self.stack.top_reference().filter(|r| r.referent == index)?;
        (pause.target == target).then_some((pause, reference.kind))
    }

    /// The yielder, which is the instance that runs now, goes on; `slot0` comes from its handler.
    pub(crate) fn resume_yielder(
        &mut self,
        cache: &mut CacheDirectory,
        kind: PauseKind,
        slot0: Option<CapHashOrRef>,
    ) -> Result<Flow, VmError> {
        let Some(index) = self.stack.running() else { unreachable!("a pause has a yielder") };
        match kind {
            PauseKind::Yield => {
                let entry = self.stack.at_mut(index);
                entry.table.set(SCRATCHPAD, slot0)?;
                let machine = entry.machine();
                machine.regs.gpr[A1] = status::OK;
                machine.skip_ecall();
                Ok(Flow::Continue)
            }
            // What could not be paid is asked for again.
            PauseKind::OutOfGas | PauseKind::Storage => Ok(Flow::Continue),
            PauseKind::PageFault(address) => self.resume_page_fault(cache, index, address, slot0),
        }
    }

    /// Gives the page that a pager left to the yielder, which repeats its access.
    fn resume_page_fault(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        address: u32,
        slot0: Option<CapHashOrRef>,
    ) -> Result<Flow, VmError> {
        let cap = slot0.map(|name| cache.fetch(name)).transpose()?;
        let source = match cap {
            None => Some(None),
            Some(cap) => match &*cap {
                Cap::Data(data) if data.content_len() <= PAGE_SIZE as u64 => {
                    let source: std::sync::Arc<dyn PageSource> = std::sync::Arc::new(DataPages(cap.clone()));
                    Some(Some((source, 0)))
                }
                _ => None,
            },
        };
        let page = address / PAGE_SIZE as u32;
        let entry = self.stack.at_mut(index);
        let mapped = source
            .is_some_and(|source| entry.machine().memory.map(page, 1, Access::ReadWrite, source).is_ok());
        if !mapped {
            // Too large, no Data, or the page is mapped already and only read-only.
            return self.fault(cache, index, ExitReason::PageFault(address), FaultDetail::Machine);
        }
        entry.paged.push(page);
        Ok(Flow::Continue)
    }

    /// `DROP_PAUSED` of the instance that runs.
    pub(crate) fn drop_call(&mut self, cache: &mut CacheDirectory, index: usize) -> Result<Flow, VmError> {
        let number = u64::from(GuestOp::DropPaused.number());
        let target = match decode_path(self.stack.at(index).regs()[A0]) {
            Ok(target) => target,
            Err(error) => return self.refuse(cache, index, number, error),
        };
        if let Some((pause, _)) = self.newest_pause(index, target) {
            let name = self.stack.at(pause.base).name;
            self.unwind(pause.base);
            let handler = self.stack.at_mut(index);
            handler.pauses.pop();
            write_slot(cache, handler, target, Some(name))?;
            handler.machine().skip_ecall();
            return Ok(Flow::Continue);
        }
        match self.drop_value(cache, index, target) {
            Ok(()) => {
                self.stack.at_mut(index).machine().skip_ecall();
                Ok(Flow::Continue)
            }
            Err(OpFailure::Refused(error)) => self.refuse(cache, index, number, error),
            Err(OpFailure::Host(error)) => Err(error.into()),
        }
    }

    /// Empties a slot that holds a paused value.
    fn drop_value(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        target: SlotPath,
    ) -> Result<(), OpFailure> {
        let entry = self.stack.at_mut(index);
        if entry.paused_target(target).is_some() {
            return Err(OpError::NotPaused { path: target }.into());
        }
        let name = path::read_source(cache, &entry.table, target)?;
        let paused = matches!(
            &*cache.fetch(name)?,
            Cap::Instance(instance) if matches!(instance.status(), javm_cap::Status::Paused(_))
        );
        if !paused {
            return Err(OpError::NotPaused { path: target }.into());
        }
        path::write_path(cache, &mut entry.table, target, None, entry.owner)?;
        Ok(())
    }
}
