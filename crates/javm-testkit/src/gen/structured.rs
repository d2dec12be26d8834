//! The statements that structured programs are made of.

use std::sync::{Arc, LazyLock};

use javm_exec::{HALT_ADDRESS, NUM_REGS};
use javm_isa::{Flow, Instruction, Op, Reg, Shape};

use super::{Case, Mapping, Options, contents, gas, priced_otherwise};
use crate::{
    builder::{Builder, Label},
    rng::Rng,
    spell::{self, Dialect},
};

/// Operations by what they do to control flow.
static BY_FLOW: LazyLock<[Vec<Op>; 4]> = LazyLock::new(|| {
    let all = |flow| Op::ALL.iter().copied().filter(|op| op.flow() == flow && *op != Op::Unlikely).collect();
    [all(Flow::Next), all(Flow::Load), all(Flow::Store), all(Flow::Branch)]
});

/// Registers that point into memory.
const BASES: [Reg; 3] = [Reg::SP, Reg::S0, Reg::S1];
/// Loop counters, by depth of the loop; nothing else writes them.
const COUNTERS: [Reg; 2] = [Reg::T0, Reg::T1];
/// Registers for anything.
const FREE: [Reg; 8] = [Reg::RA, Reg::T2, Reg::A0, Reg::A1, Reg::A2, Reg::A3, Reg::A4, Reg::A5];

/// Pages of the mapped ranges. The first is writable, the second, right behind it, is not; the third follows
/// the second in the common dialect, so that no store runs from a read-only page into nothing.
const WRITABLE: u32 = 0x20;
const READ_ONLY: u32 = 0x22;
const BEHIND: u32 = 0x23;
const FAR: u32 = 0xF_0000;

struct Generator {
    rng: Rng,
    options: Options,
    builder: Builder,
    /// What the base registers hold unless something went wrong.
    bases: [u32; 3],
    /// Statements that may still be made.
    budget: u32,
}

pub(super) fn generate(seed: u64, options: Options) -> Case {
    let mut rng = Rng::new(seed);
    let mut generator = Generator {
        bases: [0x2_0000 + rng.below(0x2000) as u32, 0x2_1F00 + rng.below(0x200) as u32, 0xF000_0800],
        budget: rng.between(30, 90) as u32,
        rng,
        options,
        builder: Builder::new(),
    };
    while generator.budget > 0 {
        generator.statement(0);
    }
    generator.end();
    generator.finish(seed)
}

impl Generator {
    fn common(&self) -> bool {
        self.options.dialect == Dialect::Common
    }

    fn push(&mut self, i: &Instruction) {
        if self.common() && priced_otherwise(i.op) {
            let start = self.builder.label();
            self.builder.place_block(start);
        }
        let spelling = spell::random(i, &mut self.rng, self.options.dialect);
        self.builder.spelled(&spelling, None);
    }

    fn jump(&mut self, i: &Instruction, label: Label) {
        let spelling = spell::random(i, &mut self.rng, self.options.dialect);
        self.builder.spelled(&spelling, Some(label));
    }

    /// An immediate as instructions have them.
    fn imm(&mut self) -> u64 {
        self.rng.interesting() as i32 as u64
    }

    fn any(&mut self) -> Reg {
        *self.rng.one_of(&Reg::ALL)
    }

    /// A register to write: hardly ever one that points somewhere, never a counter.
    fn target(&mut self) -> Reg {
        if self.rng.one_in(100) { *self.rng.one_of(&BASES) } else { *self.rng.one_of(&FREE) }
    }

    /// Puts a number into a register.
    fn load_imm(&mut self, reg: Reg, value: u64) {
        let op =
            if value as i32 as u64 == value && !self.rng.one_in(8) { Op::LoadImm } else { Op::LoadImm64 };
        self.push(&Instruction { a: reg, x: value, ..Instruction::new(op) });
    }

    fn statement(&mut self, depth: usize) {
        // What is begun is finished, with statements that begin nothing.
        let kind = if self.budget == 0 { 0 } else { self.rng.below(100) };
        self.budget = self.budget.saturating_sub(1);
        match kind {
            0..42 => self.alu(),
            42..48 => {
                let (reg, value) = (self.target(), self.rng.interesting());
                self.load_imm(reg, value);
            }
            48..66 => self.access(),
            66..70 => self.rebase(),
            70..78 if depth < COUNTERS.len() => self.repeat(depth),
            70..88 => self.branch(depth),
            88..94 => self.forward(depth),
            94..96 => self.call(),
            96 | 97 => self.push(&Instruction::new(Op::Unlikely)),
            98 => self.push(&Instruction::new(Op::Fallthrough)),
            _ if self.rng.one_in(10) => self.mishap(),
            _ => self.alu(),
        }
    }

    fn alu(&mut self) {
        let op = *self.rng.one_of(&BY_FLOW[0]);
        let mut i = Instruction::new(op);
        (i.a, i.b, i.d) = (self.any(), self.any(), self.target());
        if op.shape().destination() == Some(javm_isa::shape::OperandRole::A) {
            i.a = self.target();
        }
        i.x = if op.shape() == Shape::dst_imm64 { self.rng.interesting() } else { self.imm() };
        self.push(&i);
    }

    /// An address to read or write.
    fn address(&mut self, store: bool) -> u32 {
        const PAGE: u64 = 0x1000;
        let writable = [0x2_0000, 0xF000_0000];
        let anywhere = [0x2_0000, 0x2_2000, 0xF000_0000];
        let inside: u64 = *self.rng.one_of(if store { &writable } else { &anywhere[..] });
        let address = match self.rng.below(400) {
            // Within one page.
            0..320 => inside + self.rng.below(PAGE - 8),
            // From the first writable page to the second, or around any page's ends, into whatever is there.
            320..375 => 0x2_1000 - self.rng.below(9),
            375..392 => inside + PAGE * self.rng.below(4) - self.rng.below(9),
            392..396 => 0x2_2000 + self.rng.below(PAGE),
            396..398 => self.rng.bits(),
            398 => self.rng.below(9).wrapping_neg(),
            _ => self.rng.below(0x1_0008),
        };
        address as u32
    }

    fn access(&mut self) {
        let store = self.rng.one_in(2);
        let op = *self.rng.one_of(&BY_FLOW[if store { 2 } else { 1 }]);
        let address = self.address(store);
        let n = self.rng.index(BASES.len());
        let distance = address.wrapping_sub(self.bases[n]) as i32 as u64;
        let absolute = address as i32 as u64;
        let mut i = Instruction::new(op);
        match op.shape() {
            Shape::src_imm_imm => (i.a, i.x, i.y) = (BASES[n], distance, self.imm()),
            Shape::src_src_imm => (i.a, i.b, i.x) = (self.any(), BASES[n], distance),
            Shape::dst_src_imm => (i.a, i.b, i.x) = (self.target(), BASES[n], distance),
            Shape::imm_imm => (i.x, i.y) = (absolute, self.imm()),
            Shape::src_imm => (i.a, i.x) = (self.any(), absolute),
            _ => (i.a, i.x) = (self.target(), absolute),
        }
        self.push(&i);
    }

    /// Lets a register point into memory again.
    fn rebase(&mut self) {
        let n = self.rng.index(BASES.len());
        // The upper half does not matter for an address.
        let upper = if self.rng.one_in(2) { 0 } else { self.rng.bits() << 32 };
        self.load_imm(BASES[n], u64::from(self.bases[n]) | upper);
    }

    fn body(&mut self, depth: usize) {
        for _ in 0..self.rng.between(1, 5) {
            self.statement(depth);
        }
    }

    /// A loop that counts down.
    fn repeat(&mut self, depth: usize) {
        let counter = COUNTERS[depth];
        let times = self.rng.between(1, 6);
        self.load_imm(counter, times);
        let start = self.builder.label();
        self.builder.place_block(start);
        self.body(depth + 1);
        let step = *self.rng.one_of(&[Op::AddImm64, Op::AddImm32]);
        self.push(&Instruction { a: counter, b: counter, x: u64::MAX, ..Instruction::new(step) });
        let (op, x) = *self.rng.one_of(&[
            (Op::BranchNeImm, 0),
            (Op::BranchGtSImm, 0),
            (Op::BranchGtUImm, 0),
            (Op::BranchGeUImm, 1),
            (Op::BranchGeSImm, 1),
        ]);
        self.jump(&Instruction { a: counter, x, ..Instruction::new(op) }, start);
    }

    /// One way or the other, or a few statements more or less.
    fn branch(&mut self, depth: usize) {
        let op = *self.rng.one_of(&BY_FLOW[3]);
        let mut i = Instruction::new(op);
        (i.a, i.b, i.x) = (self.any(), self.any(), self.imm());
        let end = self.builder.label();
        if !self.common() && self.rng.one_in(40) {
            // Nobody starts a block there; it matters only if it is taken.
            i.y = if self.rng.one_in(2) { self.rng.bits() >> 40 } else { u64::from(self.builder.pc()) + 1 };
            self.builder.push(&i);
            return;
        }
        if self.rng.one_in(2) {
            self.jump(&i, end);
        } else {
            let other = self.builder.label();
            self.jump(&i, other);
            self.body(depth);
            self.jump(&Instruction::new(Op::Jump), end);
            self.builder.place_block(other);
        }
        if self.rng.one_in(8) {
            self.push(&Instruction::new(Op::Unlikely));
        }
        self.body(depth);
        self.builder.place_block(end);
    }

    /// A jump over something, in one of the ways that there are.
    fn forward(&mut self, depth: usize) {
        let over = self.builder.label();
        let link = self.target();
        match self.rng.below(4) {
            0 => self.jump(&Instruction::new(Op::Jump), over),
            1 => {
                let i = Instruction { a: link, x: self.imm(), ..Instruction::new(Op::LoadImmJump) };
                self.jump(&i, over);
            }
            kind => {
                let address = self.builder.table_entry(over);
                let (base, offset) = (*self.rng.one_of(&FREE), self.imm());
                self.load_imm(base, u64::from(address).wrapping_sub(offset));
                let i = if kind == 2 {
                    Instruction { a: base, x: offset, ..Instruction::new(Op::JumpInd) }
                } else {
                    let x = self.imm();
                    Instruction { a: link, b: base, x, y: offset, ..Instruction::new(Op::LoadImmJumpInd) }
                };
                self.push(&i);
            }
        }
        self.body(depth);
        self.builder.place_block(over);
    }

    fn call(&mut self) {
        let op = if self.options.ecall && self.rng.one_in(2) { Op::Ecall } else { Op::Ecalli };
        let x = self.imm();
        self.push(&Instruction { x, ..Instruction::new(op) });
    }

    /// Something that ends the run: now, or when it is next reached.
    fn mishap(&mut self) {
        let base = *self.rng.one_of(&FREE);
        let bad = [0, 1, 0xFFFF_0002, self.rng.bits() | 1, 1 << 20];
        let address = *self.rng.one_of(&bad);
        match self.rng.below(6) {
            0 => self.push(&Instruction::new(Op::Trap)),
            1 => self.halt(),
            2 => {
                self.load_imm(base, address);
                self.push(&Instruction { a: base, ..Instruction::new(Op::JumpInd) });
            }
            3 => {
                self.load_imm(base, address);
                let link = self.target();
                self.push(&Instruction { a: link, b: base, x: 5, ..Instruction::new(Op::LoadImmJumpInd) });
            }
            4 => {
                // Into the middle of an instruction, or out of the code.
                let op = *self.rng.one_of(&[Op::Jump, Op::LoadImmJump]);
                let near = u64::from(self.builder.pc()) + 1;
                let y = if self.rng.one_in(2) { near } else { self.rng.interesting() >> 40 | 1 << 20 };
                self.builder.push(&Instruction { a: base, x: 7, y, ..Instruction::new(op) });
            }
            _ => {
                // Through an entry of the table that leads nowhere.
                let address = self.builder.table_offset(1 << 20);
                self.load_imm(base, u64::from(address));
                self.push(&Instruction { a: base, ..Instruction::new(Op::JumpInd) });
            }
        }
    }

    fn halt(&mut self) {
        let base = *self.rng.one_of(&FREE);
        let offset = self.imm();
        self.load_imm(base, u64::from(HALT_ADDRESS).wrapping_sub(offset));
        self.push(&Instruction { a: base, x: offset, ..Instruction::new(Op::JumpInd) });
    }

    fn end(&mut self) {
        match self.rng.below(12) {
            0..7 => self.halt(),
            7 => {
                // For ever.
                let start = self.builder.label();
                self.builder.place_block(start);
                self.alu();
                self.access();
                self.jump(&Instruction::new(Op::Jump), start);
            }
            8 if !self.common() => {
                // Runs off the end, sometimes out of a block that ended properly.
                let op = *self.rng.one_of(&[Op::Fallthrough, Op::Unlikely, Op::BranchNe, Op::Ecalli]);
                return self.builder.push(&Instruction::new(op));
            }
            _ => {}
        }
        // Nothing runs off the end.
        self.push(&Instruction::new(Op::Trap));
    }

    fn finish(mut self, seed: u64) -> Case {
        let mut regs = [0; NUM_REGS];
        regs.fill_with(|| self.rng.interesting());
        for (reg, base) in BASES.iter().zip(self.bases) {
            regs[*reg as usize] = base.into();
        }
        let mut mapping = |first, count, writable| Mapping {
            first,
            count,
            writable,
            contents: contents(&mut self.rng, count as usize * 0xFFF),
        };
        let mut memory =
            vec![mapping(WRITABLE, 2, true), mapping(READ_ONLY, 1, false), mapping(FAR, 1, true)];
        match self.options.dialect {
            Dialect::Common => memory.push(mapping(BEHIND, 1, true)),
            Dialect::GrayPaper if seed.is_multiple_of(8) => {
                memory.push(mapping(0, 2, true));
                memory.push(mapping(0xF_FFFF, 1, !seed.is_multiple_of(16)));
            }
            Dialect::GrayPaper => {}
        }
        let starts = self.builder.instruction_starts();
        let pc = if self.rng.one_in(10) { u64::from(*self.rng.one_of(starts)) } else { 0 };
        let gas = gas(&mut self.rng);
        match self.builder.code() {
            Ok(code) => {
                let dialect = self.options.dialect;
                Case { seed, code: Arc::new(code), pc, regs, gas, memory, dialect }
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}
