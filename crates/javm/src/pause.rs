//! Pauses as values: a paused computation off the stack and back on it.
//!
//! *Freezing* folds entries, from the top of the stack down, each into the table of its caller: an entry
//! becomes an instance in status Waiting in its caller's slot, and the lowest of them, whose caller goes on
//! without it, becomes Paused. *Thawing* is the way back. Neither hashes anything; a frozen value is working
//! until somebody settles it.
//!
//! A frozen instance is an ordinary value with an ordinary hash. What the stack knew and the fields of a
//! status have no room for is kept in its table: a frozen instance that needs it has a root cnode of 512
//! slots, the lower half its own, and in the upper half
//!
//! | slot | holds |
//! | --- | --- |
//! | 256 | the value that its caller gets back if it faults (absent on the lowest: the paused value itself) |
//! | 257 | a Data: the lists of [`Record`] |
//! | 258 … 511 | cnodes with its events, 16,384 in each: payload, on-failure value, Type of the emitter, nothing |
//!
//! No operation of a guest reaches into an instance, so the upper half is the kernel's alone.
//!
//! Source: capability machine, section 8.

use std::collections::VecDeque;

use javm_abi::{GuestOp, SlotPath, reg::PAGE_SIZE};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, DataCap, InstanceCap, OpError, OpFailure,
    ROOT_SIZE_LOG, SlotIdx, Status, Suspension, TypeCap, path,
};
use javm_exec::Instance;

use crate::{
    Entry,
    call::{SCRATCHPAD, check_callee_slot, write_slot},
    callstack::{InstanceEntry, Pause, PauseKind, PendingEmit, ReferenceEntry},
    error::VmError,
    fault::NotStarted,
    held::HeldInstance,
    kernel_assist::{KernelAssist, KernelImage, kernel_instance, marker_hash},
    layout::{self, LayoutFailure},
    vm::{Flow, RootPause, Vm},
};

/// Size of a frozen table with an upper half, as a power of two.
const WIDE_LOG: u8 = ROOT_SIZE_LOG + 1;
const BEFORE: SlotIdx = SlotIdx(256);
const RECORD: SlotIdx = SlotIdx(257);
const EMITS: core::ops::Range<u32> = 258..512;
/// Events in one cnode, of four slots each.
const EMITS_PER_CNODE: usize = 1 << 14;

/// What the stack knew of a frozen instance besides its status.
#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    /// Slots of its paused calls, oldest first.
    pauses: Vec<u64>,
    /// Mappings whose slot has changed since they were laid out.
    stale: Vec<u64>,
    /// Pages that a pager gave it.
    paged: Vec<u64>,
    /// Pages that are zero now, though laying out would not make them so.
    zeroed: Vec<u64>,
    /// The page whose fault paused it, + 1.
    fault: Vec<u64>,
}

impl Record {
    const fn lists(&self) -> [&Vec<u64>; 5] {
        [&self.pauses, &self.stale, &self.paged, &self.zeroed, &self.fault]
    }

    fn is_empty(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    /// Each list as its length and its numbers, little endian.
    fn to_bytes(&self) -> Vec<u8> {
        let numbers =
            self.lists().into_iter().flat_map(|l| [l.len() as u64].into_iter().chain(l.iter().copied()));
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    /// Reads what [`Record::to_bytes`] wrote; zeros that were stripped count. `None`: it says nothing that
    /// can be.
    fn from_data(data: &DataCap) -> Option<Self> {
        let mut at = 0;
        let mut next = || {
            let mut word = [0; 8];
            data.read(at, &mut word);
            at += 8;
            u64::from_le_bytes(word)
        };
        let mut record = Self::default();
        let Self { pauses, stale, paged, zeroed, fault } = &mut record;
        for list in [pauses, stale, paged, zeroed, fault] {
            let len = next();
            if len > data.content_len().div_ceil(8) + 1 {
                return None;
            }
            list.extend((0..len).map(|_| next()));
        }
        Some(record)
    }
}

/// What is to be done next when a frozen value is put back on the stack.
enum Work {
    /// Put an instance on the stack. `paused`: it is a paused call of its caller.
    Instance { name: CapHashOrRef, caller: Option<usize>, target: SlotPath, paused: bool },
    /// The chain that was just put on the stack had yielded to this entry.
    Reference { referent: usize },
    /// The chain that was just put on the stack ends in a yielder that was paused so.
    Kind(PauseKind),
}

/// Why a value cannot be put back on the stack.
enum ThawFailure {
    Refused(NotStarted),
    Host(VmError),
}

impl<E: Into<VmError>> From<E> for ThawFailure {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}

/// A paused value that is not one.
const fn malformed(reason: &'static str) -> ThawFailure {
    ThawFailure::Refused(NotStarted::Kernel { reason })
}

impl<K: KernelAssist> Vm<K> {
    /// Takes a stack that waits for the embedder off the machine, as one value, and returns its name and what is
    /// left in the root pool. The value carries no gas. What the pause has shown stays in the directory, too.
    ///
    /// # Errors
    /// [`VmError::NotPaused`] when nothing is paused; [`VmError::TooManyEvents`].
    pub fn suspend(&mut self, cache: &mut CacheDirectory) -> Result<(CapHash, u64), VmError> {
        let RootPause { kind, mark, payload } = self.root_pause.take().ok_or(VmError::NotPaused)?;
        cache.resume_call(&mark);
        let suspended = self.freeze_stack(cache, kind);
        if suspended.is_err() {
            self.unwind(0);
        }
        let kept: Vec<_> = suspended.iter().map(|hash| CapHashOrRef::Hash(*hash)).chain(payload).collect();
        cache.end_call(mark, &kept);
        let left = self.pool.remaining();
        self.pool.set(0);
        Ok((suspended?, left))
    }

    /// Puts a stack that was suspended, here or elsewhere, back on the machine. It waits for
    /// [`Vm::call_resume`], with nothing in the root pool.
    ///
    /// # Errors
    /// [`VmError::Busy`]; [`VmError::NotPaused`] when the value is no paused instance;
    /// [`VmError::Malformed`] when it is none that a machine can have made; [`VmError::Cap`] when something
    /// is missing. The stack is empty then.
    pub fn restore(&mut self, cache: &mut CacheDirectory, paused: CapHash) -> Result<(), VmError> {
        self.begin(cache)?;
        self.pool.set(0);
        let name = CapHashOrRef::Hash(paused);
        match &*cache.fetch(name)? {
            Cap::Instance(instance) if matches!(instance.status(), Status::Paused(_)) => {}
            _ => return Err(VmError::NotPaused),
        }
        let mark = cache.begin_call();
        match self.thaw(cache, name, None, SlotPath::root(0)) {
            Ok(kind) => {
                let stack = &self.stack;
                cache.pause_call(&mark, || stack.roots());
                self.root_pause = Some(RootPause { kind, mark, payload: None });
                Ok(())
            }
            Err(failure) => {
                cache.end_call(mark, &[]);
                Err(match failure {
                    ThawFailure::Host(error) => error,
                    ThawFailure::Refused(why) => VmError::Malformed { why },
                })
            }
        }
    }

    /// What the entries from `base` on count when they become values: themselves, their pages, their events.
    pub(crate) fn units_above(&self, cache: &CacheDirectory, base: usize) -> Result<u64, CapError> {
        let mut units = 0;
        for entry in self.stack.entries().iter().skip(base) {
            if let Entry::Instance(entry) = entry {
                units += 1 + layout::snapshot(cache, entry)?.kept() + events(entry.emits.len() as u64);
            }
        }
        Ok(units)
    }

    fn freeze_stack(&mut self, cache: &mut CacheDirectory, kind: PauseKind) -> Result<CapHash, VmError> {
        if let Some(index) = self.stack.running() {
            self.stack.at_mut(index).yielded = Some(kind);
        }
        self.freeze(cache, 1, false)?;
        let Some(Entry::Instance(entry)) = self.stack.pop() else {
            unreachable!("the outermost call is left")
        };
        let name = self.freeze_entry(cache, *entry, true, true)?;
        Ok(cache.settle(name)?)
    }

    /// Folds every entry from `base` (at least 1) on into the tables below it. `left`: the entries below go on
    /// without them, so that their paused calls become values of their own; else they are folded next.
    pub(crate) fn freeze(
        &mut self,
        cache: &mut CacheDirectory,
        base: usize,
        left: bool,
    ) -> Result<(), VmError> {
        while self.stack.len() > base {
            match self.stack.pop() {
                None => break,
                Some(Entry::Reference(reference)) => {
                    // Who yielded is whoever ran before the handler took over.
                    if let Some(index) = self.stack.running() {
                        self.stack.at_mut(index).yielded = Some(reference.kind);
                    }
                }
                Some(Entry::Instance(entry)) => {
                    let Some(caller) = entry.caller else { unreachable!("only the outermost has no caller") };
                    let (target, index) = (entry.target, self.stack.len());
                    // Paused: its caller goes on, or went on, without it. Waiting: its caller waits too.
                    let paused = self.stack.at(caller).pauses.iter().any(|pause| pause.base == index);
                    let lowest = left && paused && caller < base;
                    let frozen = self.freeze_entry(cache, *entry, paused, lowest)?;
                    let entry = self.stack.at_mut(caller);
                    write_slot(cache, entry, target, Some(frozen))?;
                    if lowest {
                        entry.pauses.pop();
                    } else if !paused {
                        entry.awaiting = Some(target);
                    }
                }
            }
        }
        Ok(())
    }

    /// The value of an entry that was just taken off the stack.
    fn freeze_entry(
        &mut self,
        cache: &mut CacheDirectory,
        mut entry: InstanceEntry,
        paused: bool,
        lowest: bool,
    ) -> Result<CapHashOrRef, VmError> {
        let snapshot = layout::snapshot(cache, &entry)?;
        let numbers = |list: &[u32]| list.iter().map(|n| u64::from(*n)).collect::<Vec<_>>();
        let record = Record {
            pauses: entry.pauses.iter().map(|pause| pause.target.encode()).collect(),
            stale: numbers(&snapshot.stale),
            paged: numbers(&entry.paged),
            zeroed: numbers(&snapshot.zeroed),
            fault: match entry.yielded {
                Some(PauseKind::PageFault(address)) => vec![u64::from(address / PAGE_SIZE as u32) + 1],
                _ => Vec::new(),
            },
        };
        let machine = entry.machine();
        let mut stopped = Suspension::new(machine.regs.gpr, machine.regs.pc, machine.gas_charged);
        stopped.target = entry.awaiting.unwrap_or(SlotPath::root(0));
        stopped.ephemeral = snapshot.pages;
        stopped.marker = match entry.yielded {
            None => None,
            Some(PauseKind::Yield) => entry.marker,
            Some(PauseKind::OutOfGas) => Some(kernel_marker(cache, KernelImage::OogMarker)?),
            Some(PauseKind::Storage) => Some(kernel_marker(cache, KernelImage::StorageExhaustedMarker)?),
            Some(PauseKind::PageFault(_)) => Some(kernel_marker(cache, KernelImage::Pager)?),
        }
        .map(CapHashOrRef::Hash);
        self.recycle(&mut entry);
        let table = frozen_table(cache, &entry, (!lowest).then_some(entry.name), &record)?;
        let root = CapHashOrRef::Ref(cache.insert_working(Cap::CNode(table)));
        let mut instance = InstanceCap::new(entry.lineage, entry.image.hash, root);
        instance.set_memory(entry.base.memory().clone());
        instance.set_status(if paused { Status::Paused(stopped) } else { Status::Waiting(stopped) });
        Ok(CapHashOrRef::Ref(cache.insert_working(Cap::Instance(instance))))
    }

    /// `CALL_RESUME` of a slot that holds a paused value.
    pub(crate) fn resume_value(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        target: SlotPath,
    ) -> Result<Flow, VmError> {
        let name = match self.paused_value(cache, index, target) {
            Ok(name) => name,
            Err(OpFailure::Refused(error)) => {
                return self.refuse(cache, index, u64::from(GuestOp::CallResume.number()), error);
            }
            Err(OpFailure::Host(error)) => return Err(error.into()),
        };
        match self.thaw(cache, name, Some(index), target) {
            Ok(kind) => {
                let caller = self.stack.at_mut(index);
                // What the caller owns may be named by the value.
                caller.owner = cache.new_owner();
                let slot0 = caller.table.take(SCRATCHPAD)?;
                write_slot(cache, caller, target, None)?;
                self.resume_yielder(cache, kind, slot0)
            }
            Err(ThawFailure::Refused(why)) => {
                let image = self.stack.at(index).image.hash;
                self.not_started(index, image, 0, why);
                Ok(Flow::Continue)
            }
            Err(ThawFailure::Host(error)) => Err(error),
        }
    }

    /// The name of a paused value in a slot of an entry.
    fn paused_value(
        &self,
        cache: &CacheDirectory,
        index: usize,
        target: SlotPath,
    ) -> Result<CapHashOrRef, OpFailure> {
        check_callee_slot(target)?;
        let name = path::read_source(cache, &self.stack.at(index).table, target)?;
        match &*cache.fetch(name)? {
            Cap::Instance(instance) if matches!(instance.status(), Status::Paused(_)) => Ok(name),
            _ => Err(OpError::NotPaused { path: target }.into()),
        }
    }

    /// Puts a paused value, with all that waits in it, on top of the stack, and says how its yielder was
    /// paused. On failure the stack is as it was.
    fn thaw(
        &mut self,
        cache: &mut CacheDirectory,
        name: CapHashOrRef,
        caller: Option<usize>,
        target: SlotPath,
    ) -> Result<PauseKind, ThawFailure> {
        let height = self.stack.len();
        let result = self.thaw_all(cache, Work::Instance { name, caller, target, paused: false });
        if result.is_err() {
            self.unwind(height);
        }
        result
    }

    fn thaw_all(&mut self, cache: &mut CacheDirectory, first: Work) -> Result<PauseKind, ThawFailure> {
        let mut work = vec![first];
        let mut kind = PauseKind::Yield;
        let mut lowest = true;
        while let Some(next) = work.pop() {
            match next {
                Work::Kind(said) => kind = said,
                Work::Reference { referent } => self.stack.push_reference(ReferenceEntry { referent, kind }),
                Work::Instance { name, caller, target, paused } => {
                    let here = self.stack.len();
                    if here >= self.max_depth {
                        return Err(ThawFailure::Refused(NotStarted::Depth { limit: self.max_depth }));
                    }
                    let thawed = self.thaw_one(cache, name, caller, target, lowest)?;
                    lowest = false;
                    if let Some(handler) = caller.filter(|_| paused) {
                        self.stack.at_mut(handler).pauses.push(Pause { target, base: here });
                    }
                    self.stack.push(Box::new(thawed.entry));
                    // Done last: its callee, or, where it is the yielder itself, how it was paused.
                    work.push(match thawed.callee {
                        Some((target, name)) => {
                            Work::Instance { name, caller: Some(here), target, paused: false }
                        }
                        None => Work::Kind(thawed.kind),
                    });
                    for (target, name) in thawed.pauses.into_iter().rev() {
                        work.push(Work::Reference { referent: here });
                        work.push(Work::Instance { name, caller: Some(here), target, paused: true });
                    }
                }
            }
        }
        Ok(kind)
    }

    /// Takes one frozen instance apart.
    fn thaw_one(
        &mut self,
        cache: &mut CacheDirectory,
        name: CapHashOrRef,
        caller: Option<usize>,
        target: SlotPath,
        lowest: bool,
    ) -> Result<Thawed, ThawFailure> {
        let cap = cache.fetch(name)?;
        let Cap::Instance(instance) = &*cap else { return Err(malformed("a frozen callee is no instance")) };
        let Some(stopped) = instance.status().suspension() else {
            return Err(malformed("a frozen callee is idle"));
        };
        let (table, upper) = split_table(cache, instance)?;
        let record = upper.record(cache)?;
        let small = |list: &[u64]| -> Result<Vec<u32>, ThawFailure> {
            list.iter().map(|n| u32::try_from(*n).map_err(|_| malformed("a number is too large"))).collect()
        };
        let (stale, paged, zeroed) = (small(&record.stale)?, small(&record.paged)?, small(&record.zeroed)?);
        let image = self.image_cache.load(cache, instance.image_hash)?;
        let base = HeldInstance::from(instance.clone());
        let mut machine = Instance::new(&image.module);
        let laid_out = layout::lay_out(cache, &image, &table, &base, &stale, &mut machine.memory).map_err(
            |failure| match failure {
                LayoutFailure::Refused(why) => ThawFailure::Refused(why),
                LayoutFailure::Host(error) => error.into(),
            },
        )?;
        layout::restore(&mut machine.memory, &stopped.ephemeral, &zeroed, &paged)
            .map_err(|_| malformed("a kept page is not mapped"))?;
        machine.regs.gpr = stopped.regs;
        machine.regs.pc = stopped.pc;
        machine.gas_charged = stopped.gas_charged;
        let mut entry = InstanceEntry {
            caller,
            name: if lowest {
                name
            } else {
                upper.before.ok_or(malformed("a callee has no earlier value"))?
            },
            target,
            endpoint: 0,
            base,
            table,
            image,
            lineage: instance.image_hash_chain,
            machine: Some(Box::new(machine)),
            laid_out,
            paged,
            owner: cache.new_owner(),
            gas_payer: None,
            quota_payer: None,
            pauses: Vec::new(),
            emits: upper.emits(cache)?,
            awaiting: None,
            yielded: None,
            unpaid: None,
            marker: stopped.marker.and_then(|name| name.as_hash().copied()),
        };
        (entry.gas_payer, entry.quota_payer) = self.payers(&entry, self.stack.len());
        let mut callee = None;
        if stopped.target != SlotPath::root(0) {
            callee = Some((stopped.target, take_slot(cache, &mut entry, stopped.target)?));
        }
        let mut pauses = Vec::with_capacity(record.pauses.len());
        for raw in &record.pauses {
            let path = SlotPath::decode(*raw).map_err(|_| malformed("a paused call has no slot"))?;
            pauses.push((path, take_slot(cache, &mut entry, path)?));
        }
        let kind = match (&callee, entry.marker) {
            (Some(_), _) => PauseKind::Yield,
            (None, None) => return Err(malformed("a yielder has no marker")),
            (None, Some(marker)) => kind_of(&marker, record.fault.first().copied()),
        };
        Ok(Thawed { entry, callee, pauses, kind })
    }
}

/// What so many events count.
const fn events(number: u64) -> u64 {
    number.div_ceil(4)
}

/// What a paused value counts when it is put back on the stack: what is frozen in it, as in `units_above`. Stops
/// counting past `limit`, so that a price which cannot be paid costs no more to find out. A value that makes no sense
/// counts what was seen of it: putting it back is refused.
pub(crate) fn frozen_units(cache: &CacheDirectory, name: CapHashOrRef, limit: u64) -> Result<u64, CapError> {
    let (mut units, mut names) = (0u64, vec![name]);
    while let Some(name) = names.pop().filter(|_| units <= limit) {
        let cap = cache.fetch(name)?;
        let Cap::Instance(instance) = &*cap else { continue };
        let Some(stopped) = instance.status().suspension() else { continue };
        let (table, upper) = match split_table(cache, instance) {
            Ok(halves) => halves,
            Err(ThawFailure::Host(VmError::Cap(error))) => return Err(error),
            Err(_) => continue,
        };
        let record = match upper.record(cache) {
            Ok(record) => record,
            Err(ThawFailure::Host(VmError::Cap(error))) => return Err(error),
            Err(_) => continue,
        };
        units = units.saturating_add(1 + stopped.ephemeral.count() + record.zeroed.len() as u64);
        for emits in &upper.emits {
            if let Cap::CNode(cnode) = &*cache.fetch(*emits)? {
                units = units.saturating_add(events(cnode.occupied() / 2));
            }
        }
        let paused = record.pauses.iter().filter_map(|raw| SlotPath::decode(*raw).ok());
        for path in paused.chain([stopped.target]).filter(|path| path.root_slot() != 0) {
            match path::read_path(cache, &table, path) {
                Ok(name) => names.extend(name),
                Err(OpFailure::Refused(_)) => {}
                Err(OpFailure::Host(error)) => return Err(error),
            }
        }
    }
    Ok(units)
}

/// The name of a marker that the kernel yields; the value is in the directory, since a value names it.
fn kernel_marker(cache: &mut CacheDirectory, image: KernelImage) -> Result<CapHash, VmError> {
    let hash = marker_hash(image);
    if !cache.contains(hash.into()) {
        kernel_instance(cache, image)?;
    }
    Ok(hash)
}

/// A frozen instance, taken apart.
struct Thawed {
    entry: InstanceEntry,
    /// Its callee, if it waits for one.
    callee: Option<(SlotPath, CapHashOrRef)>,
    /// Its paused calls, oldest first.
    pauses: Vec<(SlotPath, CapHashOrRef)>,
    /// How it was paused, if it is the yielder.
    kind: PauseKind,
}

/// How a yielder with this marker was paused.
fn kind_of(marker: &CapHash, fault: Option<u64>) -> PauseKind {
    if *marker == marker_hash(KernelImage::OogMarker) {
        PauseKind::OutOfGas
    } else if *marker == marker_hash(KernelImage::StorageExhaustedMarker) {
        PauseKind::Storage
    } else if *marker == marker_hash(KernelImage::Pager) {
        let page = fault.unwrap_or(1).wrapping_sub(1) as u32;
        PauseKind::PageFault(page.wrapping_mul(PAGE_SIZE as u32))
    } else {
        PauseKind::Yield
    }
}

/// Empties the slot of a frozen callee.
fn take_slot(
    cache: &mut CacheDirectory,
    entry: &mut InstanceEntry,
    path: SlotPath,
) -> Result<CapHashOrRef, ThawFailure> {
    let taken = check_callee_slot(path)
        .map_err(OpFailure::from)
        .and_then(|()| path::write_path(cache, &mut entry.table, path, None, entry.owner));
    match taken {
        Ok(Some(name)) => Ok(name),
        Ok(None) | Err(OpFailure::Refused(_)) => Err(malformed("a frozen callee is not in its slot")),
        Err(OpFailure::Host(error)) => Err(error.into()),
    }
}

/// The table of a frozen entry, with an upper half where there is something to put into it.
fn frozen_table(
    cache: &mut CacheDirectory,
    entry: &InstanceEntry,
    before: Option<CapHashOrRef>,
    record: &Record,
) -> Result<CNodeCap, VmError> {
    if before.is_none() && record.is_empty() && entry.emits.is_empty() {
        return Ok(entry.table.clone());
    }
    let mut table = CNodeCap::new(WIDE_LOG)?;
    for (slot, name) in entry.table.iter() {
        table.set(slot, Some(name))?;
    }
    table.set(BEFORE, before)?;
    if !record.is_empty() {
        let data = cache.insert_working(Cap::Data(DataCap::new(&record.to_bytes())));
        table.set(RECORD, Some(CapHashOrRef::Ref(data)))?;
    }
    if entry.emits.len() > EMITS.len() * EMITS_PER_CNODE {
        return Err(VmError::TooManyEvents);
    }
    let mut emits = entry.emits.iter();
    for slot in EMITS.take(entry.emits.len().div_ceil(EMITS_PER_CNODE)) {
        let mut cnode = CNodeCap::new(javm_cap::MAX_SIZE_LOG)?;
        for (n, emit) in (0..).zip(emits.by_ref().take(EMITS_PER_CNODE)) {
            let ty = cache.insert_working(Cap::Type(TypeCap::new(emit.lineage)));
            cnode.set(SlotIdx(4 * n), Some(emit.payload))?;
            cnode.set(SlotIdx(4 * n + 1), emit.on_failure)?;
            cnode.set(SlotIdx(4 * n + 2), Some(CapHashOrRef::Ref(ty)))?;
        }
        let name = cache.insert_working(Cap::CNode(cnode));
        table.set(SlotIdx(slot), Some(CapHashOrRef::Ref(name)))?;
    }
    Ok(table)
}

/// The upper half of a frozen table.
#[derive(Default)]
struct Upper {
    before: Option<CapHashOrRef>,
    record: Option<CapHashOrRef>,
    emits: Vec<CapHashOrRef>,
}

/// Splits the table of a frozen instance.
fn split_table(cache: &CacheDirectory, instance: &InstanceCap) -> Result<(CNodeCap, Upper), ThawFailure> {
    let cap = cache.fetch(instance.root_cnode)?;
    match &*cap {
        Cap::CNode(table) if table.size_log() == ROOT_SIZE_LOG => Ok((table.clone(), Upper::default())),
        Cap::CNode(wide) if wide.size_log() == WIDE_LOG => {
            let mut table = CNodeCap::new_root();
            for (slot, name) in wide.iter().take_while(|(slot, _)| slot.0 < BEFORE.0) {
                table.set(slot, Some(name))?;
            }
            let emits = EMITS.map_while(|slot| wide.get(SlotIdx(slot))).collect();
            Ok((table, Upper { before: wide.get(BEFORE), record: wide.get(RECORD), emits }))
        }
        _ => Err(malformed("a frozen instance has no table")),
    }
}

impl Upper {
    fn record(&self, cache: &CacheDirectory) -> Result<Record, ThawFailure> {
        let Some(name) = self.record else { return Ok(Record::default()) };
        match &*cache.fetch(name)? {
            Cap::Data(data) => Record::from_data(data).ok_or(malformed("the record makes no sense")),
            _ => Err(malformed("the record is no Data")),
        }
    }

    fn emits(&self, cache: &CacheDirectory) -> Result<VecDeque<PendingEmit>, ThawFailure> {
        let mut emits = VecDeque::new();
        for name in &self.emits {
            let cap = cache.fetch(*name)?;
            let Cap::CNode(cnode) = &*cap else { return Err(malformed("events are no cnode")) };
            for n in (0..EMITS_PER_CNODE as u32).map(|n| 4 * n) {
                let Some(payload) = cnode.get(SlotIdx(n)) else { break };
                let ty = cnode.get(SlotIdx(n + 2)).map(|name| cache.fetch(name)).transpose()?;
                let Some(Cap::Type(ty)) = ty.as_deref() else {
                    return Err(malformed("an event has no emitter"));
                };
                let on_failure = cnode.get(SlotIdx(n + 1));
                emits.push_back(PendingEmit { payload, on_failure, lineage: ty.lineage });
            }
        }
        Ok(emits)
    }
}
