//! Manifests for tests, and what is done to an invocation again and again.
#![allow(dead_code, reason = "each file of tests uses a part")]

use javm_abi::microkernel::{CapRef, EcallOp, WHAT, operands};
use javm_exec::{Backend, Config, Engine};
use javm_invocation::{Cap, DispatchResult, Invocation};

/// An entry of a manifest.
pub(crate) enum Item {
    Code(u8, &'static str),
    /// Slot, base page, pages, whether it can be written, contents.
    Data(u8, u32, u32, bool, Vec<u8>),
}

fn code_blob(text: &str) -> Vec<u8> {
    let program = javm_isa::asm::assemble(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let mut blob = (program.jump_table.len() as u32).to_le_bytes().to_vec();
    blob.push(4);
    blob.extend((program.code.len() as u32).to_le_bytes());
    program.jump_table.iter().for_each(|entry| blob.extend(entry.to_le_bytes()));
    blob.extend(&program.code);
    blob.extend(&program.packed_bitmask);
    blob
}

pub(crate) fn manifest(memory_pages: u32, invoke: u8, items: &[Item]) -> Vec<u8> {
    let mut blob = b"JAR\x02".to_vec();
    blob.extend(memory_pages.to_le_bytes());
    blob.extend([items.len() as u8, invoke]);
    let mut section = Vec::new();
    for item in items {
        let (slot, kind, base, pages, access, contents) = match item {
            Item::Code(slot, text) => (*slot, 0, 0, 0, 0, code_blob(text)),
            Item::Data(slot, base, pages, rw, bytes) => {
                (*slot, 1, *base, *pages, u8::from(*rw), bytes.clone())
            }
        };
        blob.extend([slot, kind]);
        blob.extend(base.to_le_bytes());
        blob.extend(pages.to_le_bytes());
        blob.push(access);
        blob.extend((section.len() as u32).to_le_bytes());
        blob.extend((contents.len() as u32).to_le_bytes());
        section.extend(contents);
    }
    blob.extend(section);
    blob
}

pub(crate) fn engine(backend: Backend) -> Option<Engine> {
    Engine::new(Config::new().backend(backend)).ok()
}

/// The engines that there are here.
pub(crate) fn engines() -> Vec<Engine> {
    [Backend::Interpreter, Backend::Recompiler].into_iter().filter_map(engine).collect()
}

pub(crate) fn interpreter() -> Engine {
    engine(Backend::Interpreter).expect("there is always an interpreter")
}

/// An invocation of one VM with code that only replies, in slot 64, and plenty of gas.
pub(crate) fn kernel(memory_pages: u32) -> Invocation {
    let blob = manifest(memory_pages, 64, &[Item::Code(64, "ecalli 0")]);
    Invocation::new(&interpreter(), &blob, &[], 1_000_000).expect("the manifest is good")
}

/// Direct operations, for tests.
pub(crate) trait Ops {
    fn set(&mut self, register: usize, value: u64);
    fn reg(&self, register: usize) -> u64;
    /// `ecall` with references; registers from φ7 on.
    fn op(&mut self, op: EcallOp, subject: u32, object: u32, registers: &[u64]) -> DispatchResult;
    /// As `op`; whether it was done.
    fn done(&mut self, op: EcallOp, subject: u32, object: u32, registers: &[u64]) -> bool;
    /// `ecalli` with φ7.. and φ12.
    fn call(&mut self, imm: u32, registers: &[u64], last: u64) -> DispatchResult;
    fn cap(&self, vm: u16, slot: u8) -> Option<Cap>;
    /// Makes pages, in a slot of the active VM.
    fn retype(&mut self, pages: u64, slot: u8);
    /// Makes a VM of the code in slot 64.
    fn create(&mut self, mask: u64, slot: u8) -> u16;
}

impl Ops for Invocation {
    fn set(&mut self, register: usize, value: u64) {
        self.regs_mut().gpr[register] = value;
    }

    fn reg(&self, register: usize) -> u64 {
        self.regs().gpr[register]
    }

    fn op(&mut self, op: EcallOp, subject: u32, object: u32, registers: &[u64]) -> DispatchResult {
        self.regs_mut().gpr[7..7 + registers.len()].copy_from_slice(registers);
        self.set(12, operands(CapRef(subject), CapRef(object)));
        self.dispatch_ecall(u64::from(op.number().unwrap_or(0xFF)))
    }

    fn done(&mut self, op: EcallOp, subject: u32, object: u32, registers: &[u64]) -> bool {
        let gas = self.gas();
        if registers.is_empty() {
            self.set(7, 0);
        }
        assert_eq!(self.op(op, subject, object, registers), DispatchResult::Continue);
        assert_eq!(gas - self.gas(), 10, "{}", op.name());
        self.reg(7) != WHAT
    }

    fn call(&mut self, imm: u32, registers: &[u64], last: u64) -> DispatchResult {
        self.regs_mut().gpr[7..7 + registers.len()].copy_from_slice(registers);
        self.set(12, last);
        self.dispatch_ecalli(imm)
    }

    fn cap(&self, vm: u16, slot: u8) -> Option<Cap> {
        self.vm(vm).expect("there is this VM").table().get(slot).copied()
    }

    fn retype(&mut self, pages: u64, slot: u8) {
        assert_eq!(self.op(EcallOp::Call, 254, u32::from(slot), &[pages]), DispatchResult::Continue);
        assert_eq!(self.reg(7), u64::from(slot));
    }

    fn create(&mut self, mask: u64, slot: u8) -> u16 {
        assert_eq!(self.call(64, &[mask], u64::from(slot)), DispatchResult::Continue);
        assert_eq!(self.reg(7), u64::from(slot));
        match self.cap(self.active(), slot) {
            Some(Cap::Handle(handle)) => handle.vm.index,
            other => panic!("{other:?}"),
        }
    }
}
