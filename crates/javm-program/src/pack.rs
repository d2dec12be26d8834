//! A program of the public toolchain made one that a virtual machine of the capability microkernel can run.
//!
//! Such a machine starts at code offset 0 with registers that its caller chose, and has the memory that its
//! capabilities map. [`vm_code`] puts a preamble in front of the code that sets stack pointer and return
//! address and goes to the export that φ7 names; [`Packed`] adds the memory as data capabilities. Which
//! capabilities a blob has besides is its maker's business, what they mean the microkernel's. Source: the
//! head and Part A2 of `capability-kernel.md`.

use std::collections::BTreeSet;

use javm_isa::{Code, CodeError, Instruction, Op, Reg, code::JUMP_ALIGNMENT};

use crate::{
    EndpointError, HALT_ADDRESS,
    manifest::{Manifest, ManifestCap, ManifestKind, ManifestWriteError, to_code_blob},
    program::Program,
    region::{Access, PAGE_SIZE, RegionKind},
    relayout::relayout,
};

/// Slot of the arguments of a packed program: the one where a callee finds what it is handed.
pub const ARGS_SLOT: u8 = 0;

/// Slot of the code of a packed program; stack, read-only data, read-write data and heap follow it.
pub const CODE_SLOT: u8 = 64;

/// Page of the arguments: half-way between where every plan of memory ends and the halt address, 32 KiB from
/// both.
pub const ARGS_PAGE: u32 = 0xF_FFE8;

/// Page where the memory of a child program is put: it is mapped there in the first machine until that one
/// moves it away.
pub const CHILD_PAGE: u32 = 0x8_0000;

/// The symbol of an import that becomes the instruction `ecall`, which the toolchain cannot write.
pub const ECALL_SYMBOL: &[u8] = b"ecall";

/// Why a program cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Exports do not number entry points.
    #[error(transparent)]
    Exports(#[from] EndpointError),
    /// An export is at an instruction that no jump can reach.
    #[error("export {position} is at code offset {pc}, where no basic block starts")]
    ExportTarget {
        /// Its number.
        position: u8,
        /// Code offset.
        pc: u32,
    },
    /// The code would become too long, or its jump table.
    #[error("with the preamble, {0}")]
    Code(CodeError),
    /// Two capabilities for one slot.
    #[error("slot {slot} is taken")]
    SlotTaken {
        /// The slot.
        slot: u8,
    },
    /// A slot above 255.
    #[error("slot {slot} does not exist: there are 256")]
    NoSlot {
        /// The slot.
        slot: u32,
    },
    /// Data that does not fit into its pages.
    #[error("slot {slot}: {len} bytes do not fit into {pages} pages")]
    ContentsTooLong {
        /// The slot.
        slot: u8,
        /// Bytes of data.
        len: usize,
        /// Pages that it has.
        pages: u32,
    },
    /// Pages that reach past the end of the address space.
    #[error("slot {slot}: {pages} pages from page {base_page} on reach past the address space")]
    OutsideMemory {
        /// The slot.
        slot: u8,
        /// First page.
        base_page: u32,
        /// How many.
        pages: u32,
    },
    /// Two capabilities want one page.
    #[error("slots {first} and {second} both have page {page}")]
    PageTaken {
        /// One of them.
        first: u8,
        /// The other.
        second: u8,
        /// The first page that both have.
        page: u32,
    },
    /// The memory of the invocation is smaller than what the capabilities start with.
    #[error("{memory_pages} pages of memory, but the capabilities have {needed}")]
    TooLittleMemory {
        /// Pages of the invocation.
        memory_pages: u32,
        /// Pages of all data capabilities.
        needed: u64,
    },
    /// The code to start with is in no slot, or something else is there.
    #[error("slot {slot} holds no code to start with")]
    NothingToInvoke {
        /// The slot.
        slot: u8,
    },
    /// The blob cannot be written.
    #[error(transparent)]
    Write(#[from] ManifestWriteError),
}

/// The code of a program for a machine: a preamble, then the program's own code.
///
/// At offset 0, φ7 below the number of entry points selects one (its number is N for an export `NAME@N`,
/// else the position in the list of exports; any other φ7 traps). SP and RA are set as the program's own
/// start would have them, so returning is a reply; T0 is overwritten, all other registers are kept. Every
/// `ecalli` whose number the program's imports call [`ECALL_SYMBOL`] becomes `ecall`. Jump-table entries keep
/// their addresses. A program without exports gets no preamble: it starts at its own offset 0.
///
/// # Errors
/// [`PackError::Exports`], [`PackError::ExportTarget`] or [`PackError::Code`].
pub fn vm_code(program: &Program) -> Result<Code, PackError> {
    let code = program.code();
    let entries = entry_points(program)?;
    let preamble = if entries.is_empty() { Vec::new() } else { preamble(program, entries.len()) };
    let ecalls: BTreeSet<u32> =
        program.imports().iter().filter(|i| i.symbol == ECALL_SYMBOL).map(|i| i.number).collect();
    // Both parts get offsets of their own: the preamble's are those below `shift`.
    let shift = preamble.len() as u64;
    // What was no instruction's stays so: behind everything.
    let moved = |pc: u64| if code.is_instruction_start(pc) { pc + shift } else { u64::from(u32::MAX) };
    let instructions = || {
        let front = preamble.iter().enumerate().map(|(n, i)| (n as u32, *i));
        let rest = code.instructions(0).map(|(pc, mut i)| {
            if i.op == Op::Ecalli && ecalls.contains(&(i.x as u32)) {
                i = Instruction::new(Op::Ecall);
            }
            if let Some(target) = i.target() {
                i.y = moved(target);
            }
            (pc + shift as u32, i)
        });
        front.chain(rest)
    };
    // A hole among the entry points leads to the preamble's trap, its last instruction.
    let holes = shift.saturating_sub(1);
    let entries = entries.iter().map(|pc| pc.map_or(holes, |pc| moved(u64::from(pc))) as u32);
    let table: Vec<u32> =
        code.jump_table().iter().map(|pc| moved(u64::from(*pc)) as u32).chain(entries).collect();
    let (code, _) = relayout(instructions, instructions().count(), &table).map_err(PackError::Code)?;
    Ok(code)
}

/// The code offsets of a program's entry points by number.
fn entry_points(program: &Program) -> Result<Vec<Option<u32>>, PackError> {
    let mut entries = Vec::new();
    for (position, export) in program.endpoints()? {
        if !program.code().is_block_start(u64::from(export.pc)) {
            return Err(PackError::ExportTarget { position, pc: export.pc });
        }
        let index = usize::from(position);
        entries.resize(entries.len().max(index + 1), None);
        entries[index] = Some(export.pc);
    }
    Ok(entries)
}

/// The preamble for some number of entry points, whose jump-table entries stand behind the program's own.
fn preamble(program: &Program, entries: usize) -> Vec<Instruction> {
    let registers = program.registers();
    let with = |op: Op, set: &dyn Fn(&mut Instruction)| {
        let mut i = Instruction::new(op);
        set(&mut i);
        i
    };
    let first = JUMP_ALIGNMENT * (program.code().jump_table().len() as u64 + 1);
    let load = |reg: Reg, x: u64| {
        with(Op::LoadImm64, &|i| {
            i.a = reg;
            i.x = x;
        })
    };
    let mut list = vec![
        with(Op::BranchGeUImm, &|i| {
            i.a = Reg::A0;
            i.x = entries as u64;
        }),
        with(Op::ShloLImm64, &|i| {
            i.a = Reg::T0;
            i.b = Reg::A0;
            i.x = u64::from(JUMP_ALIGNMENT.trailing_zeros());
        }),
        load(Reg::SP, registers[Reg::SP as usize]),
        load(Reg::RA, u64::from(HALT_ADDRESS)),
        with(Op::JumpInd, &|i| {
            i.a = Reg::T0;
            i.x = first;
        }),
        Instruction::new(Op::Trap),
    ];
    // The branch leads to the trap, the last of them.
    list[0].y = list.len() as u64 - 1;
    list
}

/// What a packed program gets besides its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// Pages of stack; none: those that the program asks for.
    pub stack_pages: Option<u32>,
    /// Pages of heap, right behind the read-write data.
    pub heap_pages: u32,
    /// Pages for arguments.
    pub args_pages: u32,
    /// Pages of memory of the invocation; none: those of the capabilities.
    pub memory_pages: Option<u32>,
}

/// The program's own stack, no heap, one page of arguments, no memory beyond.
impl Default for PackOptions {
    fn default() -> Self {
        Self { stack_pages: None, heap_pages: 0, args_pages: 1, memory_pages: None }
    }
}

/// A capability of a blob in the making: a [`ManifestCap`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedCap {
    /// Slot in the first machine's table.
    pub slot: u8,
    /// What it is.
    pub kind: ManifestKind,
    /// Page where data is mapped.
    pub base_page: u32,
    /// Pages of data.
    pub page_count: u32,
    /// How data is mapped.
    pub access: Access,
    /// What data starts with; the code blob of code.
    pub contents: Vec<u8>,
}

/// A manifest blob in the making. Capabilities never share a slot or a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    memory_pages: Option<u32>,
    invoke_slot: u8,
    caps: Vec<PackedCap>,
    /// Where the next child's memory goes.
    next_child_page: u32,
}

impl Packed {
    /// A blob that starts with a program: its code in [`CODE_SLOT`], stack, read-only data, read-write data
    /// and heap in the four slots behind it, each at its address, arguments in [`ARGS_SLOT`] at
    /// [`ARGS_PAGE`]. What has no pages gets no capability.
    ///
    /// # Errors
    /// [`PackError`] when the code cannot be packed or the memory does not fit.
    pub fn new(program: &Program, options: &PackOptions) -> Result<Self, PackError> {
        let mut packed = Self {
            memory_pages: options.memory_pages,
            invoke_slot: CODE_SLOT,
            caps: Vec::new(),
            next_child_page: CHILD_PAGE,
        };
        packed.add_code(CODE_SLOT, &vm_code(program)?)?;
        for cap in memory(program, CODE_SLOT, options)? {
            packed.add(cap)?;
        }
        packed.add(PackedCap::data(ARGS_SLOT, ARGS_PAGE, options.args_pages, Access::ReadWrite))?;
        Ok(packed)
    }

    /// Adds the code of another program in `slot` and its memory in the slots behind it, as [`Self::new`]
    /// does. Its pages lie one after another from [`CHILD_PAGE`] on, where they bother nobody: the first
    /// machine moves them to a machine of that code and maps them where they belong, which is returned: the
    /// capabilities with their true base pages and no contents.
    ///
    /// # Errors
    /// [`PackError`] when the code cannot be packed, a slot is taken or the memory does not fit.
    pub fn add_program(
        &mut self,
        slot: u8,
        program: &Program,
        options: &PackOptions,
    ) -> Result<Vec<PackedCap>, PackError> {
        self.add_code(slot, &vm_code(program)?)?;
        let mut places = memory(program, slot, options)?;
        for place in &mut places {
            let contents = core::mem::take(&mut place.contents);
            let cap = PackedCap { base_page: self.next_child_page, contents, ..place.clone() };
            self.next_child_page = self.next_child_page.saturating_add(cap.page_count);
            self.add(cap)?;
        }
        Ok(places)
    }

    /// Adds code in a slot.
    ///
    /// # Errors
    /// [`PackError::SlotTaken`].
    pub fn add_code(&mut self, slot: u8, code: &Code) -> Result<(), PackError> {
        let contents = to_code_blob(code);
        let (kind, access) = (ManifestKind::Code, Access::ReadOnly);
        self.add(PackedCap { slot, kind, base_page: 0, page_count: 0, access, contents })
    }

    /// Adds a capability; data of no pages is left out.
    ///
    /// # Errors
    /// [`PackError`] when its slot is taken, its data is longer than its pages, or a page of it is taken or
    /// outside of the address space.
    pub fn add(&mut self, cap: PackedCap) -> Result<(), PackError> {
        let PackedCap { slot, base_page, page_count: pages, .. } = cap;
        if self.caps.iter().any(|c| c.slot == slot) {
            return Err(PackError::SlotTaken { slot });
        }
        if cap.kind == ManifestKind::Data {
            let len = cap.contents.len();
            if len as u64 > u64::from(pages) * u64::from(PAGE_SIZE) {
                return Err(PackError::ContentsTooLong { slot, len, pages });
            }
            if cap.end() > 1 << 20 {
                return Err(PackError::OutsideMemory { slot, base_page, pages });
            }
            if pages == 0 {
                return Ok(());
            }
            let data = self.caps.iter().filter(|c| c.kind == ManifestKind::Data);
            for other in data {
                let page = base_page.max(other.base_page);
                if u64::from(page) < cap.end().min(other.end()) {
                    return Err(PackError::PageTaken { first: other.slot, second: slot, page });
                }
            }
        }
        self.caps.push(cap);
        Ok(())
    }

    /// Starts with the code in another slot.
    pub const fn invoke(&mut self, slot: u8) {
        self.invoke_slot = slot;
    }

    /// The capabilities, in the order in which they were added.
    #[must_use]
    pub fn caps(&self) -> &[PackedCap] {
        &self.caps
    }

    /// The manifest. Its memory is what was asked for, else the pages of the capabilities.
    ///
    /// # Errors
    /// [`PackError::NothingToInvoke`], [`PackError::TooLittleMemory`].
    pub fn manifest(&self) -> Result<Manifest<'_>, PackError> {
        let slot = self.invoke_slot;
        if !self.caps.iter().any(|c| c.slot == slot && c.kind == ManifestKind::Code) {
            return Err(PackError::NothingToInvoke { slot });
        }
        // At most 2^20 pages, since no two capabilities share one.
        let needed: u64 = self.caps.iter().map(|c| u64::from(c.page_count)).sum();
        let memory_pages = self.memory_pages.unwrap_or(needed as u32);
        if u64::from(memory_pages) < needed {
            return Err(PackError::TooLittleMemory { memory_pages, needed });
        }
        let caps = self.caps.iter().map(PackedCap::borrowed).collect();
        Ok(Manifest { memory_pages, invoke_slot: slot, caps })
    }

    /// The blob.
    ///
    /// # Errors
    /// As [`Self::manifest`], and [`PackError::Write`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackError> {
        Ok(self.manifest()?.to_bytes()?)
    }
}

impl PackedCap {
    /// Data of zeros.
    #[must_use]
    pub const fn data(slot: u8, base_page: u32, page_count: u32, access: Access) -> Self {
        Self { slot, kind: ManifestKind::Data, base_page, page_count, access, contents: Vec::new() }
    }

    /// The page behind it.
    fn end(&self) -> u64 {
        u64::from(self.base_page) + u64::from(self.page_count)
    }

    fn borrowed(&self) -> ManifestCap<'_> {
        let Self { slot, kind, base_page, page_count, access, contents } = self;
        let cap = ManifestCap::new_data(*slot, *base_page, *page_count, *access, contents);
        ManifestCap { kind: *kind, ..cap }
    }
}

/// The memory of a program whose code is in `code_slot`, each region at its address.
fn memory(program: &Program, code_slot: u8, options: &PackOptions) -> Result<Vec<PackedCap>, PackError> {
    let slot = |behind: u32| {
        let slot = u32::from(code_slot) + behind;
        u8::try_from(slot).map_err(|_| PackError::NoSlot { slot })
    };
    let mut caps = Vec::new();
    let mut heap_page = 16;
    for region in program.regions() {
        let (mut base_page, mut pages) = (region.start / PAGE_SIZE, region.size / PAGE_SIZE);
        let behind = match region.kind {
            RegionKind::Stack => {
                let end = base_page + pages;
                pages = options.stack_pages.unwrap_or(pages).min(end);
                base_page = end - pages;
                1
            }
            RegionKind::RoData => 2,
            RegionKind::RwData => 3,
            RegionKind::Heap => 4,
            RegionKind::Args => continue,
        };
        if behind != 1 {
            heap_page = heap_page.max(base_page + pages);
        }
        let contents = region.contents.clone();
        let cap = PackedCap::data(slot(behind)?, base_page, pages, region.access);
        caps.push(PackedCap { contents, ..cap });
    }
    if options.heap_pages > 0 && program.regions().iter().all(|r| r.kind != RegionKind::Heap) {
        caps.push(PackedCap::data(slot(4)?, heap_page, options.heap_pages, Access::ReadWrite));
    }
    caps.sort_by_key(|c| c.slot);
    Ok(caps)
}
