//! [`Program`]: a program whose regions are compiled when they are first entered, or all at once.
//!
//! Regions know each other in two ways. A jump to a region that is published already is bound to it before its
//! own code is. Every other one goes through a table with a place for each block, which is empty (zero) until
//! somebody came by, was told where the block is, and wrote that down for the next. The table begins with the
//! targets of indirect jumps, which lead to a stub of the same purpose at first. Published code is never written
//! again, the table is data. Nothing is freed before the program is, so whatever a thread has seen stays true.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use javm_gas::GasModel;
use javm_isa::Code;
use javm_sys::CodeMemory;

use super::{
    asm::Asm,
    blocks::BlockIndex,
    compile::{Compiler, end_cost},
    disk::Shelf,
    publish::{self, Entry, Shared},
    region::{Block, GAS_CHECK_LEN, RegionTables},
    stored,
};

/// Compiling all of a program publishes whenever there is as much machine code as this.
const BATCH: usize = 8 << 20;

/// So many regions are much code, in which blocks come more than once.
const MANY: usize = 16;

/// How much memory of the compiler a thread keeps.
const KEPT: usize = 1 << 20;

thread_local! {
    /// What the compiler writes to, kept because fresh memory is slow.
    static SCRATCH: RefCell<Asm> = RefCell::default();
}

/// A compiled region.
#[derive(Debug)]
pub(super) struct Region {
    memory: CodeMemory,
    /// Where its code begins in the memory, which it may share with others.
    begin: u32,
    tables: RegionTables,
}

impl Region {
    #[inline]
    fn entry(&self, native: u32) -> Entry<'_> {
        Entry { code: &self.memory, offset: self.begin + native }
    }

    fn base(&self) -> u64 {
        self.entry(0).address()
    }

    /// The host call with this number: where it is, its kind, and where the code goes on.
    #[inline]
    pub(super) fn site(&self, number: u64) -> Option<(u32, crate::EcallKind, Entry<'_>)> {
        let site = self.tables.sites.get(usize::try_from(number).ok()?)?;
        Some((site.pc, site.kind, self.entry(site.next)))
    }
}

/// Where a program can be entered again without looking for it: behind a host call that ended a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resumption {
    /// Number of the program; 0 is none's.
    program: u64,
    region: u32,
    /// Number of the host call in the region.
    number: u64,
    /// The instruction behind it.
    pc: u32,
}

/// A program as the recompiler runs it.
#[derive(Debug)]
pub(crate) struct Program {
    /// Tells it from all others.
    id: u64,
    model: GasModel,
    index: BlockIndex,
    /// What an entry at the end of the code costs.
    end_cost: u32,
    /// `None` inside: it cannot be compiled, and is interpreted.
    regions: Box<[OnceLock<Option<Box<Region>>>]>,
    /// Held while regions are compiled and published.
    compiling: Mutex<()>,
    /// Addresses: by the number of an indirect jump's rotated address, then by block.
    table: Box<[AtomicU64]>,
    /// The regions by the address of their code.
    places: RwLock<BTreeMap<u64, u32>>,
    /// Where regions are kept on disk.
    shelf: Option<Shelf>,
    /// Bytes of code and tables of the regions.
    bytes: AtomicUsize,
    /// How many regions were compiled here, and how many came from the disk.
    compiled: AtomicUsize,
    loaded: AtomicUsize,
}

impl Program {
    /// Prepares a program; nothing is compiled yet, or loaded. `None` when code cannot be published at all.
    pub(crate) fn new(code: &Code, model: GasModel, shelf: Option<Shelf>) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let shared = Shared::get()?;
        let index = BlockIndex::new(code);
        let jumps = code.jump_table();
        let table = javm_sys::zeros(jumps.len() + 1 + index.count() as usize);
        // Address 0 is no target.
        let targets = core::iter::once(None).chain(jumps.iter().map(|t| index.starting_at(u64::from(*t))));
        for (place, target) in table.iter().zip(targets) {
            let address = if target.is_some() { shared.no_target() } else { shared.bad_target() };
            place.store(address, Ordering::Relaxed);
        }
        let regions = (0..index.regions()).map(|_| OnceLock::new()).collect();
        Some(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            model,
            end_cost: end_cost(code, model),
            regions,
            compiling: Mutex::default(),
            table,
            places: RwLock::default(),
            shelf,
            bytes: AtomicUsize::new(0),
            compiled: AtomicUsize::new(0),
            loaded: AtomicUsize::new(0),
            index,
        })
    }

    /// What an entry at the end of the code costs.
    pub(super) const fn end_cost(&self) -> u32 {
        self.end_cost
    }

    /// What emitted code finds addresses in.
    #[inline]
    pub(super) fn table(&self) -> &[AtomicU64] {
        &self.table
    }

    /// Bytes of memory that the program takes, code and tables, as far as it is compiled.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&*self.table) + self.bytes.load(Ordering::Relaxed)
    }

    /// How many regions were compiled by this program, and how many came from the disk.
    pub(crate) fn origins(&self) -> (usize, usize) {
        (self.compiled.load(Ordering::Relaxed), self.loaded.load(Ordering::Relaxed))
    }

    /// The machine code of all regions, compiled where they were not, in the order of the program.
    pub(crate) fn machine_code(&self, code: &Code) -> Vec<u8> {
        self.compile(code);
        let mut bytes = Vec::new();
        for region in self.regions.iter().filter_map(|region| region.get()?.as_deref()) {
            let at = region.begin as usize..region.begin as usize + region.tables.len as usize;
            bytes.extend_from_slice(region.memory.bytes().get(at).unwrap_or_default());
        }
        bytes
    }

    /// The machine code of the instruction at `pc`, compiled if it was not.
    pub(crate) fn machine_code_at(&self, code: &Code, pc: u32) -> Option<&[u8]> {
        code.is_instruction_start(u64::from(pc)).then_some(())?;
        let region = self.region(code, self.index.region_of(pc))?;
        let span = region.tables.span(code, pc)?;
        region.memory.bytes().get((region.begin + span.start) as usize..(region.begin + span.end) as usize)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.compiling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A region, compiled if it was not. `None` when it cannot be.
    #[inline]
    fn region(&self, code: &Code, region: u32) -> Option<&Region> {
        let place = self.regions.get(region as usize)?;
        match place.get() {
            Some(region) => region.as_deref(),
            None => {
                self.compile_regions(code, region..region + 1);
                place.get()?.as_deref()
            }
        }
    }

    /// Compiles what is not compiled yet.
    pub(crate) fn compile(&self, code: &Code) {
        self.compile_regions(code, 0..self.index.regions());
    }

    /// Compiles those of the regions that are not compiled yet, or loads them.
    #[cold]
    fn compile_regions(&self, code: &Code, regions: core::ops::Range<u32>) {
        let mut fresh = Vec::new();
        let guard = self.lock();
        let asm = SCRATCH.take();
        let mut compiler = Compiler::new(code, self.model, &self.index, asm);
        if regions.len() >= MANY {
            compiler.expect_much();
        }
        let mut batch = Vec::new();
        for region in regions {
            let place = &self.regions[region as usize];
            if place.get().is_some() || self.index.blocks_of(region).is_empty() {
                continue;
            }
            let stored = self.shelf.as_ref().and_then(|shelf| shelf.load(code, &self.index, region));
            if let Some(stored) = stored {
                let begin = compiler.append(stored.code());
                batch.push((region, begin as u32, stored.tables));
                self.loaded.fetch_add(1, Ordering::Relaxed);
            } else if let Some((begin, tables)) = compiler.region(region) {
                if self.shelf.is_some() {
                    let bytes = compiler.asm.bytes().get(begin..).unwrap_or_default();
                    fresh.push((region, stored::encode(&tables, bytes)));
                }
                batch.push((region, begin as u32, tables));
                self.compiled.fetch_add(1, Ordering::Relaxed);
            } else {
                // The compiler is not asked for anything else: it stands in the middle of something.
                let _ = place.set(None);
                let asm = self.publish(core::mem::take(&mut batch), compiler.asm);
                compiler = Compiler::new(code, self.model, &self.index, asm);
            }
            if compiler.asm.bytes().len() >= BATCH {
                compiler.asm = self.publish(core::mem::take(&mut batch), compiler.asm);
                compiler.asm.clear();
            }
        }
        let asm = self.publish(batch, compiler.asm);
        if asm.capacity() <= KEPT {
            SCRATCH.set(asm);
        }
        // Others can go on meanwhile.
        drop(guard);
        if let Some(shelf) = &self.shelf {
            fresh.iter().for_each(|(region, body)| shelf.save(code, &self.index, *region, body));
        }
    }

    /// Publishes compiled regions, with what they know of each other and of those before them bound.
    fn publish(&self, batch: Vec<(u32, u32, RegionTables)>, asm: Asm) -> Asm {
        let bind = |bytes: &mut [u8], base: u64| {
            for (_, begin, tables) in &batch {
                for link in &tables.links {
                    let patch = begin + link.patch;
                    if let Some(target) = self.address(&batch, base, link.target)
                        && let Ok(distance) =
                            i32::try_from(target.wrapping_sub(base + u64::from(patch)) as i64)
                        && let Some(to) = bytes.get_mut(patch as usize - 4..patch as usize)
                    {
                        to.copy_from_slice(&distance.to_le_bytes());
                    }
                }
            }
        };
        let memory = if batch.is_empty() { None } else { publish::publish(asm.bytes(), bind) };
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        for (number, begin, tables) in batch {
            let region = memory.as_ref().map(|memory| {
                self.bytes.fetch_add(tables.len as usize + tables.size(), Ordering::Relaxed);
                let region = Region { memory: memory.clone(), begin, tables };
                places.insert(region.base(), number);
                Box::new(region)
            });
            let _ = self.regions[number as usize].set(region);
        }
        asm
    }

    /// Address of a block that is published, or will be at `base` with the batch.
    fn address(&self, batch: &[(u32, u32, RegionTables)], base: u64, target: u32) -> Option<u64> {
        let block = self.index.starting_at(u64::from(target))?;
        let number = self.index.region_of(target);
        if let Some(region) = self.regions.get(number as usize)?.get() {
            let region = region.as_deref()?;
            return Some(region.entry(region.tables.block(block)?.native).address());
        }
        let n = batch.binary_search_by_key(&number, |(number, ..)| *number).ok()?;
        let (_, begin, tables) = &batch[n];
        Some(base + u64::from(begin + tables.block(block)?.native))
    }

    /// Where the instruction at `pc` is entered when its block is paid, and what its block costs. `None` when it
    /// has to be interpreted.
    pub(super) fn entry(&self, code: &Code, pc: u32) -> Option<(Entry<'_>, u32)> {
        let region = self.region(code, self.index.region_of(pc))?;
        let Block { native, cost } = region.tables.block(self.index.containing(pc))?;
        let native = match self.index.starting_at(u64::from(pc)) {
            Some(_) => native + GAS_CHECK_LEN,
            None => region.tables.entry(code, pc)?,
        };
        Some((region.entry(native), cost))
    }

    /// Where to go on behind the host call that [`Region::site`] knows, at `pc`.
    #[inline]
    pub(super) const fn behind(&self, region: u32, number: u64, pc: u32) -> Resumption {
        Resumption { program: self.id, region, number, pc }
    }

    /// As [`Self::entry`], for an instruction whose block is paid, if it is the one that is resumed.
    #[inline]
    pub(super) fn resume(&self, at: Resumption, pc: u32) -> Option<Entry<'_>> {
        if at.program != self.id || at.pc != pc {
            return None;
        }
        self.compiled(at.region)?.site(at.number).map(|(.., entry)| entry)
    }

    /// Where the block at `pc` is entered, its gas not yet taken; the next jump there finds it in the table. `None`
    /// when it has to be interpreted.
    pub(super) fn block(&self, code: &Code, pc: u32) -> Option<Entry<'_>> {
        let block = self.index.starting_at(u64::from(pc))?;
        let region = self.region(code, self.index.region_of(pc))?;
        let entry = region.entry(region.tables.block(block)?.native);
        let place = code.jump_table().len() + 1 + block as usize;
        self.table.get(place)?.store(entry.address(), Ordering::Release);
        Some(entry)
    }

    /// The offset that an indirect jump to an address goes to, and where it is entered. The next one needs not ask.
    pub(super) fn target(&self, code: &Code, address: u32) -> Option<(u32, Option<Entry<'_>>)> {
        let number = address.rotate_right(1) as usize;
        let target = *code.jump_table().get(number.checked_sub(1)?)?;
        let found = self.block(code, target);
        if let Some(found) = found {
            self.table.get(number)?.store(found.address(), Ordering::Release);
        }
        Some((target, found))
    }

    /// A region that is compiled.
    #[inline]
    pub(super) fn compiled(&self, region: u32) -> Option<&Region> {
        self.regions.get(region as usize)?.get()?.as_deref()
    }

    /// The region whose code an address lies in, and how far from its beginning.
    fn place(&self, address: u64) -> Option<(&Region, u32)> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let (base, number) = places.range(..=address).next_back()?;
        let region = self.regions.get(*number as usize)?.get()?.as_deref()?;
        Some((region, (address - base) as u32))
    }

    /// Offset of the instruction that faulted at an address, and where the next one is entered.
    pub(super) fn instruction_at(&self, code: &Code, address: u64) -> Option<(u32, Entry<'_>)> {
        let (region, native) = self.place(address)?;
        let (pc, next) = region.tables.instruction_at(code, native)?;
        Some((pc, region.entry(next)))
    }

    /// The loop in whose rounds the fault at an address was: where its head is, and where the rounds and the head are
    /// entered.
    pub(super) fn round_at(&self, address: u64) -> Option<(u32, Entry<'_>, Entry<'_>)> {
        let (region, native) = self.place(address)?;
        let round = region.tables.round_at(native)?;
        let head = region.tables.block(self.index.starting_at(round.pc.into())?)?;
        Some((round.pc, region.entry(round.native), region.entry(head.native)))
    }

    /// The block whose out-of-gas call returns to an address: where it begins and what it costs.
    pub(super) fn unpaid_block(&self, code: &Code, address: u64) -> Option<(u32, u32)> {
        let (region, native) = self.place(address)?;
        region.tables.unpaid_block(code, native)
    }
}
