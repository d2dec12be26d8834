//! The model beside the real kernel: every step is done by both, then everything that can be seen is compared.
//!
//! Steps reach the kernel in two ways. [`Way::Dispatch`] asks it for the operation; [`Way::Code`] runs guest code
//! that does. The code is the same for all VMs, a snippet for each kind of step, and the program counter is set to
//! the snippet before the step; blocks are paid by giving the VM what its next block costs.

use std::fmt::Debug;

use javm_exec::{Access, Engine};
use javm_gas::BlockCosts;
use javm_invocation::{Cap as RealCap, DispatchResult, Invocation, Prepared, Vm as RealVm, VmFault, VmState};
use javm_isa::{Code, asm::assemble};
use javm_program::{Access as Mapping, Manifest, ManifestCap, manifest::to_code_blob};

use super::{
    Cap, Event, Fault, InitialData, Model, Outcome, PAGE, PAGES, State, Vm,
    generate::{Action, Step},
};
use crate::Rng;

/// How a step reaches the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is asked for the operation.
    Dispatch,
    /// Guest code asks.
    Code,
}

/// Slots with code.
const CODES: [(u8, u8); 3] = [(64, 0), (60, 1), (61, 2)];
/// Pages of an invocation.
const MEMORY: u32 = 96;
/// What an invocation is given.
const GAS: u64 = 4_000_000;

/// A program that all comparisons are made of. Cheap to start with again and again.
pub struct World {
    prepared: Prepared,
    data: Vec<InitialData>,
    code: Code,
    costs: BlockCosts,
    snippets: Snippets,
}

/// Code offsets.
struct Snippets {
    ecall: u32,
    trap: u32,
    panic: u32,
    halt: u32,
    /// By the slot that is called.
    ecalli: Vec<u32>,
    /// By log2 of the number of bytes.
    store: [u32; 4],
    load: [u32; 4],
}

/// The registers that snippets use: what is stored or loaded, and where.
const VALUE: usize = 3;
const ADDRESS: usize = 4;

/// An operation that there is not: it ends the step of a snippet that has done its work.
const NO_OPERATION: u64 = 1;

fn source() -> String {
    let mut text = String::from("ecall: ecall\n trap\ntrap: trap\npanic: jump @1\nhalt: jump_ind ra, 0\n");
    for (n, width) in ["u8", "u16", "u32", "u64"].iter().enumerate() {
        text += &format!("store{n}: store_ind_{width} t1, t2, 0\n ecall\n trap\n");
        text += &format!("load{n}: load_ind_{width} t1, t2, 0\n ecall\n trap\n");
    }
    for slot in 0..256 {
        text += &format!("ecalli{slot}: ecalli {slot}\n trap\n");
    }
    text
}

impl World {
    /// A world for an engine.
    ///
    /// # Panics
    /// Never: its program is fixed.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        let assembled = assemble(&source()).expect("the text is fixed");
        let code = assembled.code().expect("the text is fixed");
        let at = |name: &str| assembled.labels[name];
        let snippets = Snippets {
            ecall: at("ecall"),
            trap: at("trap"),
            panic: at("panic"),
            halt: at("halt"),
            ecalli: (0..256).map(|slot| at(&format!("ecalli{slot}"))).collect(),
            store: [0, 1, 2, 3].map(|n| at(&format!("store{n}"))),
            load: [0, 1, 2, 3].map(|n| at(&format!("load{n}"))),
        };
        let data = vec![
            InitialData { slot: 65, base: 20, count: 3, writable: true, contents: b"three pages".to_vec() },
            InitialData { slot: 40, base: 1, count: 2, writable: false, contents: vec![7; 5000] },
            InitialData { slot: 41, base: 0x100, count: 9, writable: true, contents: Vec::new() },
        ];
        let blob = to_code_blob(&code);
        let mut caps: Vec<_> = CODES.iter().map(|(slot, _)| ManifestCap::new_code(*slot, &blob)).collect();
        caps.extend(data.iter().map(|d| {
            let access = if d.writable { Mapping::ReadWrite } else { Mapping::ReadOnly };
            ManifestCap::new_data(d.slot, d.base, d.count, access, &d.contents)
        }));
        let manifest = Manifest { memory_pages: MEMORY, invoke_slot: CODES[0].0, caps };
        let bytes = manifest.to_bytes().expect("six small entries");
        let prepared = Prepared::new(engine, &bytes).expect("the manifest is fixed");
        let costs = BlockCosts::new(&code, engine.gas_model());
        Self { prepared, data, code, costs, snippets }
    }

    /// The first state.
    ///
    /// # Panics
    /// Never: there is gas enough.
    #[must_use]
    pub fn start(&self) -> Pair<'_> {
        let kernel = self.prepared.invoke(&[], GAS).expect("the world has enough of everything");
        Pair { world: self, kernel, model: Model::new(&CODES, &self.data, MEMORY, GAS) }
    }
}

/// A kernel and a model in the same state.
pub struct Pair<'a> {
    world: &'a World,
    /// The kernel.
    pub kernel: Invocation,
    /// The model.
    pub model: Model,
}

/// What differs.
pub type Difference = String;

fn same<T: PartialEq + Debug>(what: &str, kernel: T, model: T) -> Result<(), Difference> {
    if kernel == model {
        Ok(())
    } else {
        Err(format!("{what}: the kernel has {kernel:?}, the model {model:?}"))
    }
}

impl Pair<'_> {
    /// Does a step in both and compares what comes of it, and all state but the contents of pages that it did not
    /// write. Protocol calls are answered. Says whether the invocation goes on.
    ///
    /// # Errors
    /// What differs.
    pub fn step(&mut self, rng: &mut Rng, way: Way, step: &Step) -> Result<bool, Difference> {
        let step = self.prepare(way, step);
        let (kernel, model) = match way {
            Way::Dispatch => self.dispatch(&step)?,
            Way::Code => self.run(&step)?,
        };
        match (kernel, model) {
            (DispatchResult::ProtocolCall { slot, regs, gas }, Outcome::ProtocolCall(id)) => {
                let me = self.model.me();
                same("a protocol call", (slot, regs, gas), (id, me.phi, me.gas))?;
                let (r0, r1) = (rng.bits(), rng.interesting());
                self.kernel.resume(r0, r1).map_err(|error| error.to_string())?;
                self.model.answer(r0, r1);
            }
            (DispatchResult::Continue, Outcome::Continue)
            | (DispatchResult::RootPanic, Outcome::RootPanic)
            | (DispatchResult::RootOutOfGas, Outcome::RootOutOfGas) => {}
            (DispatchResult::RootHalt(a), Outcome::RootHalt(b)) => same("the result", a, b)?,
            (DispatchResult::RootPageFault(a), Outcome::RootPageFault(b)) => same("the page", a, b)?,
            (kernel, model) => return Err(format!("the kernel says {kernel:?}, the model {model:?}")),
        }
        self.compare()?;
        let writes = matches!(step.action, Action::Store { .. })
            || matches!(self.model.event, Event::Done("MEMCPY" | "DIRTY"));
        if writes {
            self.compare_contents()?;
        }
        self.probe(rng)?;
        Ok(self.model.vms[&0].state != State::Halted)
    }

    /// A step as it can be done in a way: code has its operands in registers.
    fn prepare(&self, way: Way, step: &Step) -> Step {
        let Step { mut phi, mut action } = step.clone();
        if way == Way::Dispatch {
            return Step { phi, action };
        }
        let charged = self.kernel.vm(self.kernel.active()).is_some_and(RealVm::gas_charged);
        match &action {
            Action::Ecalli(imm) if *imm > 255 => {
                phi[11] = 0;
                phi[12] = u64::from(*imm) << 32 | phi[12] & 0xFFFF_FFFF;
                action = Action::Ecall;
            }
            Action::Store { address, bytes } => {
                let mut value = [0; 8];
                value[..bytes.len()].copy_from_slice(bytes);
                (phi[ADDRESS], phi[VALUE]) = (u64::from(*address), u64::from_le_bytes(value));
                phi[11] = NO_OPERATION;
            }
            Action::Load { address, .. } => {
                (phi[ADDRESS], phi[11]) = (u64::from(*address), NO_OPERATION);
            }
            Action::Fault(Fault::Page(address)) => {
                (phi[ADDRESS], phi[11]) = (u64::from(*address), NO_OPERATION);
                action = Action::Load { address: *address, len: 1 };
            }
            // A block that is paid runs without gas.
            Action::Fault(Fault::OutOfGas) if charged => action = Action::Fault(Fault::Trap),
            Action::Halt => phi[0] = 0xFFFF_0000,
            _ => {}
        }
        Step { phi, action }
    }

    /// Asks both for the operation.
    fn dispatch(&mut self, step: &Step) -> Result<(DispatchResult, Outcome), Difference> {
        let Self { kernel, model, .. } = self;
        kernel.regs_mut().gpr = step.phi;
        model.me_mut().phi = step.phi;
        let (vm, going_on) = (model.active, (DispatchResult::Continue, Outcome::Continue));
        Ok(match &step.action {
            Action::Ecalli(imm) => (kernel.dispatch_ecalli(*imm), model.ecalli(*imm)),
            Action::Ecall => (kernel.dispatch_ecall(step.phi[11]), model.ecall()),
            Action::Fault(fault) => (kernel.inject_fault(real(*fault)), model.fault(*fault)),
            Action::Halt => (kernel.inject_halt(), model.halt()),
            Action::Store { address, bytes } => {
                let done = kernel.write_memory(vm, *address, bytes).is_ok();
                same("a store", done, model.store(vm, *address, bytes).is_ok())?;
                going_on
            }
            Action::Load { address, len } => {
                let mut bytes = vec![0; *len as usize];
                let read = kernel.read_memory(vm, *address, &mut bytes).ok().map(|()| bytes);
                same("a load", read, model.load(vm, *address, *len).ok())?;
                going_on
            }
            Action::Gas(gas) => {
                kernel.set_gas(*gas);
                model.me_mut().gas = *gas;
                going_on
            }
        })
    }

    /// Lets code do it in the kernel.
    fn run(&mut self, step: &Step) -> Result<(DispatchResult, Outcome), Difference> {
        let Snippets { ecall, trap, panic, halt, ecalli, store, load } = &self.world.snippets;
        let width = |len: usize| len.trailing_zeros() as usize;
        let pc = match &step.action {
            Action::Gas(_) => return self.dispatch(step),
            Action::Ecalli(imm) => ecalli[*imm as usize],
            Action::Ecall => *ecall,
            Action::Fault(Fault::Trap | Fault::OutOfGas) => *trap,
            Action::Fault(_) => *panic,
            Action::Halt => *halt,
            Action::Store { bytes, .. } => store[width(bytes.len())],
            Action::Load { len, .. } => load[width(*len as usize)],
        };
        let Self { world, kernel, model } = self;
        let vm = model.active;
        let charged = kernel.vm(vm).is_some_and(RealVm::gas_charged);
        let block = world.costs.cost(world.code.block_of(pc)).unwrap_or(0);
        let cost = if charged { 0 } else { u64::from(block) };
        let me = model.me_mut();
        me.phi = step.phi;
        if step.action == Action::Fault(Fault::OutOfGas) {
            // One too little.
            me.gas = cost - 1;
            kernel.set_gas(me.gas);
        } else {
            kernel.set_gas(me.gas + cost);
        }
        kernel.regs_mut().gpr = step.phi;
        kernel.regs_mut().pc = u64::from(pc);
        let outcome = match &step.action {
            Action::Ecalli(imm) => model.ecalli(*imm),
            Action::Ecall => model.ecall(),
            Action::Fault(fault) => model.fault(*fault),
            Action::Halt => model.halt(),
            Action::Store { address, bytes } => match model.store(vm, *address, bytes) {
                Ok(()) => model.ecall(),
                Err(fault) => model.fault(fault),
            },
            Action::Load { address, len } => match model.load(vm, *address, *len) {
                Ok(bytes) => {
                    let value = bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
                    model.me_mut().phi[VALUE] = value;
                    model.ecall()
                }
                Err(fault) => model.fault(fault),
            },
            Action::Gas(_) => Outcome::Continue,
        };
        let result = kernel.step();
        // The halt address is where the next call of the VM begins again.
        if step.action == Action::Halt
            && let Some(vm) = kernel.vm(vm).filter(|vm| vm.state() == VmState::Idle)
        {
            same("the program counter", vm.regs().pc, 0)?;
        }
        Ok((result, outcome))
    }

    /// Compares everything but contents.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(&self) -> Result<(), Difference> {
        let Self { kernel, model, .. } = self;
        same("the active VM", kernel.active(), model.active)?;
        same("untyped", kernel.untyped(), (model.untyped_offset, model.untyped_total))?;
        same("calls that wait", kernel.callers().len(), model.frames.len())?;
        for (real, frame) in kernel.callers().zip(&model.frames) {
            same("a call that waits", real, (frame.caller, frame.ipc))?;
        }
        let mut vms = model.vms.values();
        for real in kernel.vms() {
            let Some(vm) = vms.next() else { return Err(format!("VM {} is gone", real.id().index)) };
            compare_vm(real, vm).map_err(|error| format!("VM {}: {error}", vm.name.index))?;
        }
        match vms.next() {
            Some(vm) => Err(format!("the kernel lacks VM {}", vm.name.index)),
            None => Ok(()),
        }
    }

    /// Compares the contents of all data, and which pages were written.
    ///
    /// # Errors
    /// What differs.
    pub fn compare_contents(&self) -> Result<(), Difference> {
        let mut bytes = [0; PAGE as usize];
        for vm in self.model.vms.values() {
            let index = vm.name.index;
            for (slot, cap) in &vm.slots {
                let Cap::Data(data) = cap else { continue };
                let written = self.kernel.written(index, *slot).map_err(|error| error.to_string())?;
                for page in 0..data.count {
                    let what = || format!("page {page} of slot {slot} of VM {index}");
                    let offset = u64::from(page) * PAGE;
                    self.kernel.read_data(index, *slot, offset, &mut bytes).map_err(|e| e.to_string())?;
                    let expected = self.model.page(data.first + page);
                    if bytes != *expected {
                        let at = bytes.iter().zip(expected).position(|(a, b)| a != b);
                        return Err(format!("{} differs from byte {at:?} on", what()));
                    }
                    let bit = written[page as usize / 8] >> (page % 8) & 1 != 0;
                    if bit != self.model.written.contains(&(data.first + page)) {
                        return Err(format!("{} is written in one of them", what()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at a page through the eyes of a VM: it sees what its capabilities map, and nothing else.
    fn probe(&mut self, rng: &mut Rng) -> Result<(), Difference> {
        let nth = rng.index(self.model.vms.len());
        let index = self.model.vms.keys().nth(nth).copied().unwrap_or(0);
        let at = match rng.below(3) {
            0 => rng.below(40) as u32,
            1 => 0x100 + rng.below(12) as u32,
            _ => PAGES as u32 - 1 - rng.below(12) as u32,
        };
        let seen = self.model.window(index, at);
        let (mut bytes, offset) = ([0; 16], rng.below(PAGE - 16));
        let read = self.kernel.read_memory(index, at * PAGE as u32 + offset as u32, &mut bytes);
        let expected = seen.map(|(page, _)| &self.model.page(page)[offset as usize..][..16]);
        let access = self.kernel.vm(index).and_then(|vm| vm.space().access(at));
        let access = access.map(|a| a == Access::ReadWrite);
        if read.is_ok().then_some(&bytes[..]) != expected || access != seen.map(|(_, writable)| writable) {
            return Err(format!(
                "VM {index} sees another page {at:#x}: {access:?} {bytes:?}, not {expected:?}"
            ));
        }
        Ok(())
    }
}

const fn real(fault: Fault) -> VmFault {
    match fault {
        Fault::Trap => VmFault::Trap,
        Fault::Panic => VmFault::Panic,
        Fault::OutOfGas => VmFault::OutOfGas,
        Fault::Page(address) => VmFault::PageFault(address),
    }
}

fn compare_vm(real: &RealVm, vm: &Vm) -> Result<(), Difference> {
    same("its name", (real.id().index, real.id().serial), (vm.name.index, vm.name.serial))?;
    let state = match real.state() {
        VmState::Idle => State::Idle,
        VmState::Running => State::Running,
        VmState::WaitingForReply => State::Waiting,
        VmState::Halted => State::Halted,
        VmState::Faulted => State::Faulted,
    };
    same("its state", state, vm.state)?;
    same("its code", real.code(), vm.code)?;
    same("its gas", real.gas(), vm.gas)?;
    same("its registers", real.regs().gpr, vm.phi)?;
    let mut slots = vm.slots.iter();
    for (slot, cap) in real.table().iter() {
        match slots.next() {
            Some((expected, with)) if *expected == slot => compare_cap(real, cap, with)
                .map_err(|error| format!("slot {slot} has {cap}, the model {with:?}; {error}"))?,
            other => return Err(format!("slot {slot} has {cap}, next of the model is {other:?}")),
        }
    }
    same("slots", None, slots.next())
}

fn compare_cap(vm: &RealVm, real: &RealCap, cap: &Cap) -> Result<(), Difference> {
    match (real, cap) {
        (RealCap::Untyped, Cap::Untyped) => Ok(()),
        (RealCap::Code(a), Cap::Code(b)) | (RealCap::Protocol(a), Cap::Protocol(b)) => same("number", a, b),
        (RealCap::Handle(h), Cap::Handle { vm, max_gas }) => {
            same("VM", (h.vm.index, h.vm.serial, h.max_gas), (vm.index, vm.serial, *max_gas))
        }
        (RealCap::Callable(h), Cap::Callable { vm, max_gas }) => {
            same("VM", (h.vm.index, h.vm.serial, h.max_gas), (vm.index, vm.serial, *max_gas))
        }
        (RealCap::Data(d), Cap::Data(data)) => {
            same("pages", (d.backing.first, d.backing.count), (data.first, data.count))?;
            same("base", d.base_page, data.base)?;
            same("access", d.access.map(|a| a == Access::ReadWrite), data.access)?;
            same("mapped pages", vm.space().mapped_pages(d.backing), data.mapped.len() as u32)?;
            match data.mapped.iter().find(|page| !vm.space().is_mapped(d.backing, **page)) {
                Some(page) => Err(format!("page {page} is not mapped")),
                None => Ok(()),
            }
        }
        _ => Err("another kind".to_owned()),
    }
}
