//! Loads and stores: one machine instruction each, which is also the one that faults.

use javm_isa::Reg;

use crate::jit::{
    asm::{Address, Load, Store},
    compile::Compiler,
    regs::host,
};

fn address(base: Option<Reg>, x: u64) -> Address {
    Address { base: base.map(host), disp: x as i32 }
}

impl Compiler<'_> {
    pub(super) fn load(&mut self, kind: Load, a: Reg, base: Option<Reg>, x: u64) {
        self.asm.load(kind, host(a), address(base, x));
    }

    pub(super) fn store(&mut self, kind: Store, a: Reg, base: Option<Reg>, x: u64) {
        self.asm.store(kind, address(base, x), host(a));
    }

    pub(super) fn store_imm(&mut self, kind: Store, base: Option<Reg>, x: u64, y: u64) {
        self.asm.store_imm(kind, address(base, x), y as i32);
    }
}
