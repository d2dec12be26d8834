//! Loops that copy, fill or compare memory a few bytes at a time: [`Bulk`], what one does, and [`Bulk::at`], which
//! recognises it. `emit` writes vector code for it.
//!
//! These are the loops of `memcpy`, `memset` and `memcmp` as compilers put them into every guest. A *round* does what
//! [`Bulk::turns`] turns of the loop do, gas included, and leaves the machine at the loop's head as they would. It
//! does so only when all of them come to their end for certain: enough are left, there is gas for them, what is read
//! and what is written do not overlap (whatever addresses a page has), and all of it can be accessed. Whatever else
//! happens, happens in the loop itself, whose code is as ever. So no exit leads out of a round, and a fault in one only
//! says that pages have to be looked after ([`Bulk::touch`]) or that the loop will fault.

mod emit;

use javm_isa::{Code, Instruction, Op, Reg, reg::NUM_REGS};

use super::asm::Load;
use crate::{Regs, memory::GuestAccess};

/// Bytes that a round copies or fills, and that one compares.
const MOVED: u32 = 64;
const COMPARED: u32 = 32;

/// The most instructions of such a loop.
const MAX_INSTRUCTIONS: usize = 12;
/// The most by which a register changes in a turn.
const MAX_STEP: u64 = 4096;

/// Where a turn accesses memory, in terms of the registers at the loop's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    base: Reg,
    disp: i32,
}

/// A load: how, to which register, from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    kind: Load,
    value: Reg,
    from: Place,
}

/// What a turn does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Copy {
        read: Read,
        to: Place,
    },
    Fill {
        value: Reg,
        to: Place,
    },
    /// The loop is left when they differ.
    Compare {
        left: Read,
        right: Read,
    },
}

/// When the loop goes on: a register that changes by `step` has not come to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    moving: Reg,
    step: i32,
    /// `None` is zero.
    end: Option<Reg>,
    /// Going on wants it to be before the end, not just anywhere else.
    ordered: bool,
}

/// A loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bulk {
    body: Body,
    bound: Bound,
    /// By how much each register changes in a turn.
    steps: [i32; NUM_REGS],
    /// Bytes of one access.
    width: u32,
    /// Addresses go down.
    backward: bool,
    /// Where the loop's second block begins, if it has one.
    pub(super) second: Option<u32>,
    /// The block behind the loop.
    pub(super) behind: u32,
}

/// How a load reads, and how many bytes.
const fn load(op: Op) -> Option<(Load, u32)> {
    Some(match op {
        Op::LoadIndU8 => (Load::U8, 1),
        Op::LoadIndI8 => (Load::I8, 1),
        Op::LoadIndU16 => (Load::U16, 2),
        Op::LoadIndI16 => (Load::I16, 2),
        Op::LoadIndU32 => (Load::U32, 4),
        Op::LoadIndI32 => (Load::I32, 4),
        Op::LoadIndU64 => (Load::U64, 8),
        _ => return None,
    })
}

/// How many bytes a store writes.
const fn store(op: Op) -> Option<u32> {
    Some(match op {
        Op::StoreIndU8 => 1,
        Op::StoreIndU16 => 2,
        Op::StoreIndU32 => 4,
        Op::StoreIndU64 => 8,
        _ => return None,
    })
}

/// Where an operation can stand in such a loop.
#[derive(Clone, Copy)]
enum Role {
    None,
    Inner,
    /// At the end of a block.
    Branch,
}

/// The roles by opcode.
static ROLES: [Role; 256] = {
    let mut roles = [Role::None; 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        let op = Op::ALL[n];
        roles[op.opcode() as usize] = match op {
            Op::BranchNe | Op::BranchNeImm | Op::BranchLtU => Role::Branch,
            Op::Unlikely | Op::AddImm64 => Role::Inner,
            _ if load(op).is_some() || store(op).is_some() => Role::Inner,
            _ => Role::None,
        };
        n += 1;
    }
    roles
};

/// What the instructions of a turn add up to.
#[derive(Default)]
struct Turn {
    reads: [Option<(Read, u32)>; 2],
    write: Option<(Reg, Place, u32)>,
    steps: [i32; NUM_REGS],
    second: Option<u32>,
}

impl Turn {
    fn place(&self, i: &Instruction) -> Place {
        Place { base: i.b, disp: (i.x as i32).wrapping_add(self.steps[i.b as usize]) }
    }

    fn step(&self, reg: Reg) -> i32 {
        self.steps[reg as usize]
    }

    /// Takes an instruction that does not end a block.
    fn take(&mut self, i: &Instruction) -> Option<()> {
        if let Some((kind, width)) = load(i.op) {
            if self.write.is_some() {
                return None;
            }
            let read = Read { kind, value: i.a, from: self.place(i) };
            *self.reads.iter_mut().find(|read| read.is_none())? = Some((read, width));
        } else if let Some(width) = store(i.op) {
            if self.write.is_some() {
                return None;
            }
            self.write = Some((i.a, self.place(i), width));
        } else if i.op == Op::AddImm64 && i.a == i.b && (i.x as i64).unsigned_abs() <= MAX_STEP {
            self.steps[i.a as usize] += i.x as i32;
        } else {
            return None;
        }
        Some(())
    }

    /// What it does with memory, and how many bytes at a time.
    fn body(&self) -> Option<(Body, u32)> {
        match (self.reads, self.write, self.second) {
            ([Some((read, width)), None], Some((value, to, written)), None) => {
                let fits = read.value == value && width == written && read.from.base != to.base;
                fits.then_some((Body::Copy { read, to }, width))
            }
            ([None, None], Some((value, to, width)), None) => Some((Body::Fill { value, to }, width)),
            ([Some((left, width)), Some((right, other))], None, Some(_)) => (width == other
                && left.value != right.value)
                .then_some((Body::Compare { left, right }, width)),
            _ => None,
        }
    }

    /// What the branch at its end asks.
    fn bound(&self, branch: &Instruction) -> Option<Bound> {
        let (a, b) = (branch.a, branch.b);
        let bound = |moving, end, ordered| Bound { moving, step: self.step(moving), end, ordered };
        match (branch.op, self.step(a).signum(), self.step(b).signum()) {
            (Op::BranchNeImm, -1, _) if branch.x == 0 => Some(bound(a, None, false)),
            (Op::BranchLtU, 1, 0) => Some(bound(a, Some(b), true)),
            (Op::BranchLtU, 0, -1) => Some(bound(b, Some(a), true)),
            (Op::BranchNe, 1 | -1, 0) => Some(bound(a, Some(b), false)),
            (Op::BranchNe, 0, 1 | -1) => Some(bound(b, Some(a), false)),
            _ => None,
        }
    }
}

impl Bulk {
    /// The loop whose head is the block at `head`, if it is one of these.
    pub(super) fn at(code: &Code, head: u32) -> Option<Self> {
        // Most blocks are done with here.
        if !Self::may_be_at(code, head) {
            return None;
        }
        let mut turn = Turn::default();
        let mut instructions = code.instructions(head).take(MAX_INSTRUCTIONS).peekable();
        if let Some((_, Instruction { op: Op::Unlikely, .. })) = instructions.peek() {
            instructions.next();
        }
        for (pc, i) in instructions {
            if !i.op.is_terminator() {
                turn.take(&i)?;
                continue;
            }
            let behind = code.next_pc(pc);
            if !code.is_block_start(behind.into()) {
                return None;
            }
            if i.y == u64::from(head) {
                return Self::new(&turn, &i, behind);
            }
            // Two values were loaded, and the loop is left when they differ.
            let [Some((left, _)), Some((right, _))] = turn.reads else { return None };
            let compares = [(i.a, i.b), (i.b, i.a)].contains(&(left.value, right.value));
            if i.op != Op::BranchNe || !compares || turn.second.is_some() {
                return None;
            }
            turn.second = Some(behind);
        }
        None
    }

    /// Whether the operations from a block's start to its end could be such a loop's.
    #[inline]
    fn may_be_at(code: &Code, head: u32) -> bool {
        let mut pc = head;
        for _ in 0..MAX_INSTRUCTIONS {
            match ROLES[usize::from(code.byte_at(pc.into()))] {
                Role::None => return false,
                Role::Inner => pc = code.next_pc(pc),
                Role::Branch => return true,
            }
        }
        false
    }

    fn new(turn: &Turn, branch: &Instruction, behind: u32) -> Option<Self> {
        let (body, width) = turn.body()?;
        let bound = turn.bound(branch)?;
        let (values, places) = match body {
            Body::Copy { read, to } => ([read.value; 2], [read.from, to]),
            Body::Fill { value, to } => ([value; 2], [to; 2]),
            Body::Compare { left, right } => ([left.value, right.value], [left.from, right.from]),
        };
        // Places follow each other; what is loaded or stored is nothing else.
        let step = turn.step(places[0].base);
        let regular = step.unsigned_abs() == width
            && turn.step(places[1].base) == step
            && values.iter().all(|value| turn.step(*value) == 0)
            // What is filled with may be the end as well.
            && (matches!(body, Body::Fill { .. }) || values.iter().all(|value| Some(*value) != bound.end));
        let backward = step < 0;
        if !regular || backward && turn.second.is_some() {
            return None;
        }
        Some(Self { body, bound, steps: turn.steps, width, backward, second: turn.second, behind })
    }

    /// Whether the processor has what rounds are made of.
    pub(super) fn supported() -> bool {
        std::is_x86_feature_detected!("avx2")
    }

    /// What a round costs, where the loop's blocks cost that; `None` when it is too much.
    pub(super) fn cost(&self, first: u32, second: u32) -> Option<i32> {
        i32::try_from((u64::from(first) + u64::from(second)) * u64::from(self.turns())).ok()
    }

    /// Bytes that a round reads or writes at each of its places.
    const fn round(&self) -> u32 {
        match self.body {
            Body::Compare { .. } => COMPARED,
            Body::Copy { .. } | Body::Fill { .. } => MOVED,
        }
    }

    /// How many turns a round is.
    const fn turns(&self) -> u32 {
        self.round() / self.width
    }

    /// The lowest address of a round at a place.
    const fn lowest(&self, place: Place) -> i32 {
        match self.backward {
            false => place.disp,
            true => place.disp.wrapping_sub((self.round() - self.width) as i32),
        }
    }

    /// The address of a round's last turn at a place.
    const fn last(&self, place: Place) -> i32 {
        match self.backward {
            false => place.disp.wrapping_add((self.round() - self.width) as i32),
            true => self.lowest(place),
        }
    }

    /// Accesses what a round from here would, as its turns do, so that it can be done by emitted code: pages come into
    /// being, and those that are written become so. Nothing that is written changes. `None` when the loop would fault;
    /// nothing was done then that it does not do before.
    pub(super) fn touch(&self, regs: &Regs, memory: &mut impl GuestAccess) -> Option<()> {
        let ends = |place: Place| {
            let lowest = (regs.get(place.base) as u32).wrapping_add(self.lowest(place) as u32);
            let highest = lowest.wrapping_add(self.round() - 1);
            if self.backward { [highest, lowest] } else { [lowest, highest] }
        };
        let (reads, write) = match self.body {
            Body::Copy { read, to } => ([Some(read.from), None], Some(to)),
            Body::Fill { to, .. } => ([None, None], Some(to)),
            Body::Compare { left, right } => ([Some(left.from), Some(right.from)], None),
        };
        for address in reads.into_iter().flatten().flat_map(ends) {
            let _: [u8; 1] = memory.load(address).ok()?;
        }
        for address in write.into_iter().flat_map(ends) {
            let byte: [u8; 1] = memory.load(address).ok()?;
            memory.store(address, byte).ok()?;
        }
        Some(())
    }
}
