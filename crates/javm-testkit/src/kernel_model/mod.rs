//! The capability microkernel as a model: the pseudo-code of `capability-kernel.md`, Part C, with what the head of
//! that page changes, over plain data.
//!
//! It is the measure that the real kernel is compared with, so it shares nothing with it: no engine, no tables of
//! operations, no numbers. It is written to be read against the specification and is as slow as it likes. Pages are
//! numbers; their contents lie in one map. What a VM sees of them follows from its capabilities alone.
//!
//! * here: what there is ([`Model`], [`Vm`], [`Cap`]) and what can be asked about it;
//! * `ops.rs`: what `ecalli`, `ecall`, faults and replies do;
//! * [`memory`]: what guests and hosts see of pages;
//! * [`against`]: the model beside the real kernel;
//! * [`generate`]: random operations, chosen by someone who sees the whole state.
//!
//! No code is run: whoever drives the model sets the active VM's registers and says what it does next. Program
//! counters and the prices of code are therefore no part of it.

pub mod against;
pub mod generate;
pub mod memory;
mod ops;

use std::collections::{BTreeMap, BTreeSet};

/// φ7 after an operation that failed.
pub const WHAT: u64 = 0u64.wrapping_sub(2);
/// φ7 of the caller of a VM that ran out of gas.
pub const LOW: u64 = 0u64.wrapping_sub(8);
/// φ7 of the caller of a VM that panicked.
pub const HUH: u64 = 0u64.wrapping_sub(9);
/// What every operation costs.
pub const DISPATCH: u64 = 10;
/// What calling and resuming a VM, and RETYPE, cost besides.
pub const CALLCOST: u64 = 10;
/// What a page costs.
pub const PAGECOST: u64 = 1500;
/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Pages of an address space.
pub const PAGES: u64 = 1 << 20;

/// Names a VM: a number that no other VM ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VmName {
    /// Place in the pool: the lowest that was free.
    pub index: u16,
    /// How many VMs had been made before it.
    pub serial: u64,
}

/// Pages of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Number of its first page.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// Where its page 0 is, or would be, mapped.
    pub base: Option<u32>,
    /// Whether it is mapped for writing.
    pub access: Option<bool>,
    /// Which of its pages are mapped in the VM that has it.
    pub mapped: BTreeSet<u32>,
}

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Pages that nobody has yet.
    Untyped,
    /// Pages.
    Data(Data),
    /// Code by its number.
    Code(u8),
    /// The right to run a VM and to reach into it.
    Handle {
        /// The VM.
        vm: VmName,
        /// The most gas that a call hands over.
        max_gas: Option<u64>,
    },
    /// The right to call a VM.
    Callable {
        /// The VM.
        vm: VmName,
        /// The most gas that a call hands over.
        max_gas: Option<u64>,
    },
    /// Something of the host's.
    Protocol(u8),
}

impl Cap {
    /// Whether there may be two of it.
    #[must_use]
    pub const fn copyable(&self) -> bool {
        !matches!(self, Self::Data(_) | Self::Handle { .. })
    }
}

/// What a VM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing: it can be called.
    Idle,
    /// It runs.
    Running,
    /// It waits for a VM that it called.
    Waiting,
    /// It is the first and has replied.
    Halted,
    /// It faulted: it can be resumed.
    Faulted,
}

/// A VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Its name.
    pub name: VmName,
    /// What it does.
    pub state: State,
    /// Its code.
    pub code: u8,
    /// φ0 to φ12.
    pub phi: [u64; 13],
    /// Its gas.
    pub gas: u64,
    /// Its capabilities.
    pub slots: BTreeMap<u8, Cap>,
}

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Place of who waits.
    pub caller: u16,
    /// The slot that a capability was passed from.
    pub ipc: Option<u8>,
    /// Base and access of the passed pages, if some were mapped.
    pub saved: Option<(u32, bool)>,
}

/// How a VM faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The instruction `trap`.
    Trap,
    /// Any other panic.
    Panic,
    /// Something cannot be paid.
    OutOfGas,
    /// A page that cannot be accessed so: its address.
    Page(u32),
}

/// What comes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The active VM goes on.
    Continue,
    /// The host is asked: the protocol id.
    ProtocolCall(u8),
    /// The first VM replied with this.
    RootHalt(u64),
    /// The first VM panicked.
    RootPanic,
    /// The first VM is out of gas.
    RootOutOfGas,
    /// The first VM has no such page: its address.
    RootPageFault(u32),
}

/// What an operation turned out to be; for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It failed: `WHAT`.
    Failed,
    /// It was done: its name.
    Done(&'static str),
    /// The VM faulted; dispatch-time out of gas included.
    Faulted(Fault),
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The VMs by place.
    pub vms: BTreeMap<u16, Vm>,
    /// The calls that wait, outermost first.
    pub frames: Vec<Frame>,
    /// Place of the VM that runs.
    pub active: u16,
    /// Pages that were given out.
    pub untyped_offset: u32,
    /// Pages that there are.
    pub untyped_total: u32,
    /// Contents of pages that are not all zero.
    pub pages: BTreeMap<u32, Box<[u8; PAGE as usize]>>,
    /// Pages written since somebody asked.
    pub written: BTreeSet<u32>,
    /// The protocol call that the host has not answered.
    pub pending: Option<u8>,
    /// What the last operation was.
    pub event: Event,
    vms_made: u64,
}

/// Data that the first VM starts with.
#[derive(Clone, Debug)]
pub struct InitialData {
    /// The slot.
    pub slot: u8,
    /// Where it is mapped.
    pub base: u32,
    /// How many pages it has.
    pub count: u32,
    /// Whether it may be written.
    pub writable: bool,
    /// What it starts with.
    pub contents: Vec<u8>,
}

impl Model {
    /// The first VM as a manifest describes it: protocol capabilities, code by slot, data, untyped memory. Gas is
    /// what is left when the data's pages are paid.
    #[must_use]
    pub fn new(codes: &[(u8, u8)], data: &[InitialData], memory_pages: u32, gas: u64) -> Self {
        let name = VmName { index: 0, serial: 0 };
        let mut slots: BTreeMap<u8, Cap> = (1..=28).map(|id| (id, Cap::Protocol(id))).collect();
        slots.extend(codes.iter().map(|(slot, code)| (*slot, Cap::Code(*code))));
        let mut model = Self {
            vms: BTreeMap::new(),
            frames: Vec::new(),
            active: 0,
            untyped_offset: 0,
            untyped_total: memory_pages,
            pages: BTreeMap::new(),
            written: BTreeSet::new(),
            pending: None,
            event: Event::Done("start"),
            vms_made: 1,
        };
        let mut gas = gas;
        for InitialData { slot, base, count, writable, contents } in data {
            let first = model.untyped_offset;
            model.untyped_offset += count;
            gas -= PAGECOST * u64::from(*count);
            for (n, bytes) in contents.chunks(PAGE as usize).enumerate() {
                model.page_mut(first + n as u32)[..bytes.len()].copy_from_slice(bytes);
            }
            let (base, access, mapped) = (Some(*base), Some(*writable), (0..*count).collect());
            slots.insert(*slot, Cap::Data(Data { first, count: *count, base, access, mapped }));
        }
        if memory_pages > 0 {
            slots.insert(254, Cap::Untyped);
        }
        model.written.clear();
        model.vms.insert(0, Vm { name, state: State::Running, code: 0, phi: [0; 13], gas, slots });
        model
    }

    /// The VM that runs.
    ///
    /// # Panics
    /// Never: there is always one.
    #[must_use]
    pub fn me(&self) -> &Vm {
        &self.vms[&self.active]
    }

    /// As [`Self::me`].
    ///
    /// # Panics
    /// Never: there is always one.
    pub fn me_mut(&mut self) -> &mut Vm {
        self.vms.get_mut(&self.active).expect("there is always one that runs")
    }

    /// The VM of a name, if it still exists.
    #[must_use]
    pub fn vm(&self, name: VmName) -> Option<&Vm> {
        self.vms.get(&name.index).filter(|vm| vm.name == name)
    }

    /// What a slot holds.
    #[must_use]
    pub fn cap(&self, (vm, slot): (u16, u8)) -> Option<&Cap> {
        self.vms.get(&vm)?.slots.get(&slot)
    }

    /// Data in a slot.
    #[must_use]
    pub fn data(&self, place: (u16, u8)) -> Option<&Data> {
        match self.cap(place) {
            Some(Cap::Data(data)) => Some(data),
            _ => None,
        }
    }

    /// The VM and slot that a reference of the active VM leads to: the handles in bytes 3, 2, 1, those that are 0
    /// left out, then the slot in byte 0.
    #[must_use]
    pub fn resolve(&self, reference: u32) -> Option<(u16, u8)> {
        let [slot, ind0, ind1, ind2] = reference.to_le_bytes();
        let mut at = self.active;
        for hop in [ind2, ind1, ind0] {
            if hop == 0 {
                continue;
            }
            let Some(Cap::Handle { vm, .. }) = self.cap((at, hop)) else { return None };
            let vm = self.vm(*vm)?;
            if matches!(vm.state, State::Running | State::Waiting) {
                return None;
            }
            at = vm.name.index;
        }
        Some((at, slot))
    }

    /// Names of the VMs whose handles a VM has, and theirs, and so on; itself included.
    #[must_use]
    pub fn family(&self, name: VmName) -> BTreeSet<VmName> {
        let mut family = BTreeSet::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            let Some(vm) = self.vm(name) else { continue };
            if family.insert(name) {
                next.extend(vm.slots.values().filter_map(|cap| match cap {
                    Cap::Handle { vm, .. } => Some(*vm),
                    _ => None,
                }));
            }
        }
        family
    }
}
