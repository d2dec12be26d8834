//! What an instruction leaves behind in flags that a later one can use, and the ways in where somebody counts
//! on it.
//!
//! Guest state is in the guest's registers at every boundary, as always. But an instruction that finds in the
//! flags what it would compute says so ([`Compiler::rely`]), and then machine code between the two cannot be
//! entered as it stands: neither behind a fault nor by a host that sets the program counter. So each boundary
//! between them gets a *way in*, behind the code of the region, which makes the flags from the registers and
//! goes there. The table of ways in is looked into before the lengths of instructions are.

use javm_isa::{Instruction, Op, Reg, op::Flow};

use super::{
    asm::{Alu, Cond, Unary, W64},
    compile::Compiler,
    region::Mark,
    regs::{Host, TMP, host},
};

/// Boundaries that something is remembered across; more are no use.
const FAR: usize = 8;

/// What the machine knows beyond the guest's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The carry flag is set if and only if `sum` is below `than`.
    Carry { sum: Reg, than: Reg },
    /// The flags fulfil `cond`, one of those that [`Compiler::make`] knows, if and only if `reg` is not zero.
    Set { reg: Reg, cond: Cond },
}

/// A shift to the left by one to three whose code ends here: where that begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shifted {
    pub(super) d: Reg,
    pub(super) a: Reg,
    pub(super) by: u8,
    pub(super) start: u32,
}

/// A boundary that code is not entered at as it stands.
#[derive(Clone, Copy, Debug)]
struct WayIn {
    pc: u32,
    /// Where the code goes on.
    native: u32,
    missing: Missing,
}

/// What has to be done on the way in.
#[derive(Clone, Copy, Debug)]
enum Missing {
    Fact(Fact),
    /// d += a.
    Sum(Host, Host),
}

/// What instructions know of those before them.
#[derive(Debug, Default)]
pub(super) struct Fusion {
    fact: Option<Fact>,
    /// Boundaries since it has been true: offset of the instruction behind, and of its code.
    since: Vec<(u32, u32)>,
    shifted: Option<Shifted>,
    ways: Vec<WayIn>,
    /// What the instruction at hand leaves behind.
    fresh: Option<Fact>,
    fresh_shift: Option<Shifted>,
    /// Where the code of the instruction before began, if it is gone.
    pub(super) merged: Option<u32>,
}

impl Fusion {
    /// The instruction at hand leaves this in the flags.
    pub(super) fn leave(&mut self, fact: Fact) {
        self.fresh = Some(fact);
    }

    /// The instruction at hand is a shift that an addition may take in.
    pub(super) fn leave_shift(&mut self, shifted: Shifted) {
        self.fresh_shift = Some(shifted);
    }

    /// The shift before the instruction at hand.
    pub(super) fn shifted(&self) -> Option<Shifted> {
        self.shifted
    }

    /// An instruction at `pc`, whose code is at `native`, comes next.
    #[inline(always)]
    pub(super) fn before(&mut self, pc: u32, native: u32) {
        if self.fact.is_some() {
            self.since.push((pc, native));
        }
    }

    /// Forgets what is not true behind this instruction.
    #[inline(always)]
    pub(super) fn behind(&mut self, instruction: &Instruction) {
        self.shifted = self.fresh_shift.take();
        if self.fresh.is_some() || self.fact.is_some() {
            self.go_on(instruction);
        }
    }

    fn go_on(&mut self, instruction: &Instruction) {
        if let Some(fact) = self.fresh.take() {
            self.fact = Some(fact);
            self.since.clear();
            return;
        }
        let written = match KEEPS[instruction.op.opcode() as usize] {
            Keeps::All => None,
            Keeps::AllButA => Some(instruction.a),
            Keeps::AllButD => Some(instruction.d),
            Keeps::Nothing => return self.forget(),
        };
        let touched = match self.fact {
            Some(Fact::Carry { sum, than }) => written == Some(sum) || written == Some(than),
            Some(Fact::Set { reg, .. }) => written == Some(reg),
            None => true,
        };
        if touched || self.since.len() >= FAR {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.fact = None;
        self.since.clear();
    }
}

/// What an instruction leaves as it was, of flags and registers.
#[derive(Clone, Copy)]
enum Keeps {
    Nothing,
    All,
    AllButA,
    AllButD,
}

/// By opcode. Accesses and moves become instructions that leave the flags.
static KEEPS: [Keeps; 256] = {
    let mut keeps = [Keeps::Nothing; 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        let op = Op::ALL[n];
        keeps[op.opcode() as usize] = match op.flow() {
            Flow::Store => Keeps::All,
            Flow::Load => Keeps::AllButA,
            _ if matches!(op, Op::MoveReg) => Keeps::AllButD,
            _ => Keeps::Nothing,
        };
        n += 1;
    }
    keeps
};

impl Compiler<'_> {
    /// Whether a fact is known; who asks counts on it.
    fn rely(&mut self, wanted: Fact) -> bool {
        let known = self.fusion.fact == Some(wanted);
        if known {
            let missing = Missing::Fact(wanted);
            let ways = self.fusion.since.drain(..).map(|(pc, native)| WayIn { pc, native, missing });
            self.fusion.ways.extend(ways);
        }
        known
    }

    /// Whether the carry flag says that a is below b.
    pub(super) fn rely_on_carry(&mut self, a: Reg, b: Reg) -> bool {
        self.rely(Fact::Carry { sum: a, than: b })
    }

    /// The condition that the flags fulfil where a register is not zero.
    pub(super) fn rely_on_set(&mut self, reg: Reg) -> Option<Cond> {
        match self.fusion.fact {
            Some(fact @ Fact::Set { reg: known, cond }) if known == reg => self.rely(fact).then_some(cond),
            _ => None,
        }
    }

    /// The instruction at hand does all that the one before did, whose code began at `start`; entered alone it is
    /// d += a.
    pub(super) fn merged(&mut self, start: u32, d: Reg, a: Reg) {
        self.fusion.merged = Some(start);
        let missing = Missing::Sum(host(d), host(a));
        self.fusion.ways.push(WayIn { pc: self.pc, native: self.asm.pos(), missing });
    }

    /// Writes the ways in; where they are, by the offset of the instruction that is entered.
    pub(super) fn ways_in(&mut self) -> Vec<Mark> {
        let ways = core::mem::take(&mut self.fusion.ways);
        let marks = ways.iter().map(|WayIn { pc, native, missing }| {
            self.asm.reserve(64);
            let mark = Mark { pc: *pc, native: self.asm.pos() };
            match missing {
                Missing::Fact(fact) => self.make(*fact),
                Missing::Sum(d, a) => self.asm.alu(W64, Alu::Add, *d, *a),
            }
            self.asm.jmp(*native);
            mark
        });
        marks.collect()
    }

    /// Makes a fact true.
    fn make(&mut self, fact: Fact) {
        match fact {
            Fact::Carry { sum, than } => self.asm.alu(W64, Alu::Cmp, host(sum), host(than)),
            Fact::Set { reg, cond } => {
                self.asm.zero(TMP);
                self.asm.test(W64, host(reg), host(reg));
                self.asm.setcc(Cond::Ne, TMP);
                match cond {
                    // Minus one is below zero and has a carry; no flag is set for zero but that of zero.
                    Cond::B | Cond::L => self.asm.unary(W64, Unary::Neg, TMP),
                    // One is above zero.
                    _ => self.asm.test(W64, TMP, TMP),
                }
            }
        }
    }
}
