//! The loop.
//!
//! `rest` are the operations behind the one that runs. An operation either falls through to the next one, ends
//! the run, or (a terminator) breaks out with the operations to go on at; the first of those says what the block
//! costs, which is taken before the second runs. Where several instructions are one operation, `BEHIND` says
//! which of them is running, for the program counter of an exit. What made it fast, and what did not:
//! `docs/interpreter.md`.

use javm_isa::alu;

use super::{
    Interpreter, Machine,
    lower::NO_BLOCK,
    ops::{IOp, for_each_fused},
};
use crate::{
    EcallHandler, EcallKind, EcallResult, ExitReason, Fault, HALT_ADDRESS, Regs, memory::GuestAccess,
};

const fn fault_exit(fault: Fault) -> ExitReason {
    match fault {
        Fault::Panic => ExitReason::Panic,
        Fault::Page(address) => ExitReason::PageFault(address),
    }
}

/// Never: the last operation ends every run. A function, so that the hot path holds nothing of it.
#[cold]
#[inline(never)]
const fn off_the_end() -> ExitReason {
    ExitReason::Panic
}

impl Interpreter {
    /// Cost of the block that operation `ip` lies in.
    fn cost_at(&self, ip: usize) -> u64 {
        let block = self.starts.partition_point(|start| *start as usize <= ip) - 1;
        match self.ops[self.starts[block] as usize] {
            IOp::Enter(cost) | IOp::EnterUnlikely(cost) => u64::from(cost),
            _ => unreachable!("that is what stands where a block starts"),
        }
    }
}

/// Runs from `machine.regs.pc`; with `STEP`, one instruction. `None` only with `STEP`, when nothing ended
/// the run.
#[expect(unreachable_code, reason = "nothing comes behind the last of several where that one ends a block")]
#[expect(clippy::too_many_lines, reason = "one arm per instruction; splitting it would hide the loop")]
pub(super) fn execute<const STEP: bool, M: GuestAccess, H: EcallHandler>(
    program: &Interpreter,
    machine: Machine<'_>,
    memory: &mut M,
    handler: &mut H,
) -> Option<ExitReason> {
    let Machine { regs, gas: counter, gas_charged } = machine;
    // Entering anywhere but at an instruction panics, and costs nothing.
    let Some(mut ip) = u32::try_from(regs.pc).ok().and_then(|pc| program.pcs.binary_search(&pc).ok()) else {
        return Some(ExitReason::Panic);
    };
    let ops = &*program.ops;
    // Where a block starts the search may have found either of two.
    ip += usize::from(matches!(ops[ip], IOp::Enter(_) | IOp::EnterUnlikely(_)));
    let mut gas = counter.remaining();
    if !*gas_charged {
        let cost = program.cost_at(ip);
        if gas < cost {
            return Some(ExitReason::OutOfGas);
        }
        gas -= cost;
        *gas_charged = true;
    }

    // On the stack, where nothing that the guest writes can be: the compiler need not read them again.
    let mut gpr = regs.gpr;
    let mut rest = &ops[ip..];
    macro_rules! get {
        ($r:expr) => {
            gpr[*$r as usize]
        };
    }
    macro_rules! set {
        ($r:expr, $v:expr) => {{
            let v = $v;
            gpr[*$r as usize] = v;
        }};
    }
    macro_rules! imm {
        ($x:expr) => {
            i64::from(*$x) as u64
        };
    }
    // The operation before the next one.
    macro_rules! current {
        () => {
            ops.len() - rest.len() - 1
        };
    }
    macro_rules! signed {
        ($v:expr) => {
            ($v as i64)
        };
    }
    macro_rules! address {
        ($b:expr, $x:expr) => {
            (get!($b) as u32).wrapping_add(*$x as u32)
        };
    }

    // How many operations behind the one before `rest` the current one is. The second and the third of several
    // have their own.
    const BEHIND: usize = 0;
    let (reason, behind) = 'run: loop {
        let next = loop {
            macro_rules! load {
                ($a:expr, $address:expr, $t:ty) => {
                    match memory.load($address) {
                        Ok(bytes) => set!($a, <$t>::from_le_bytes(bytes) as i64 as u64),
                        Err(fault) => break 'run (fault_exit(fault), BEHIND),
                    }
                };
            }
            macro_rules! store {
                ($address:expr, $v:expr, $t:ty) => {
                    if let Err(fault) = memory.store($address, ($v as $t).to_le_bytes()) {
                        break 'run (fault_exit(fault), BEHIND);
                    }
                };
            }
            macro_rules! branch {
                ($cond:expr, $target:expr) => {
                    break if $cond { ops.get(*$target as usize..) } else { rest.get(BEHIND..) }
                };
            }
            macro_rules! jump_to {
                ($address:expr) => {{
                    let address: u32 = $address;
                    if address == HALT_ADDRESS {
                        break 'run (ExitReason::Halt, BEHIND);
                    }
                    // Entry n of the jump table is address 2 (n + 1); 0 and odd addresses are none.
                    let index = (address / 2).wrapping_sub(1) as usize;
                    match program.jump_table.get(index) {
                        Some(target) if address % 2 == 0 && *target != NO_BLOCK => {
                            break ops.get(*target as usize..);
                        }
                        _ => break 'run (ExitReason::Panic, BEHIND),
                    }
                }};
            }
            macro_rules! host {
                ($kind:expr) => {{
                    let kind = $kind;
                    let pc = u64::from(program.pcs[current!()]);
                    *regs = Regs { pc, gpr };
                    counter.set(gas);
                    let result = handler.ecall(kind, regs, memory, counter);
                    gas = counter.remaining();
                    gpr = regs.gpr;
                    if let EcallResult::Exit(reason) = result {
                        break 'run (reason, 0);
                    }
                }};
            }

            // Several were executed: goes behind the last of them.
            macro_rules! advance {
                ($others:expr) => {
                    match rest.get($others..) {
                        Some(behind) => rest = behind,
                        None => break 'run (off_the_end(), 0),
                    }
                };
            }
            // What may be one of several.
            macro_rules! exec {
                (Add64 $d:ident $a:ident $b:ident) => {
                    set!($d, alu::add_64(get!($a), get!($b)))
                };
                (AddImm64 $a:ident $b:ident $x:ident) => {
                    set!($a, alu::add_64(get!($b), imm!($x)))
                };
                (And $d:ident $a:ident $b:ident) => {
                    set!($d, alu::and(get!($a), get!($b)))
                };
                (AndImm $a:ident $b:ident $x:ident) => {
                    set!($a, alu::and(get!($b), imm!($x)))
                };
                (AndInv $d:ident $a:ident $b:ident) => {
                    set!($d, alu::and_inv(get!($a), get!($b)))
                };
                (BranchGeU $a:ident $b:ident $t:ident) => {
                    branch!(get!($a) >= get!($b), $t)
                };
                (BranchLtU $a:ident $b:ident $t:ident) => {
                    branch!(get!($a) < get!($b), $t)
                };
                (BranchNe $a:ident $b:ident $t:ident) => {
                    branch!(get!($a) != get!($b), $t)
                };
                (BranchNeImm $a:ident $x:ident $t:ident) => {
                    branch!(get!($a) != imm!($x), $t)
                };
                (JumpInd $a:ident $x:ident) => {
                    jump_to!(address!($a, $x))
                };
                (LoadImm $a:ident $x:ident) => {
                    set!($a, imm!($x))
                };
                (LoadIndI32 $a:ident $b:ident $x:ident) => {
                    load!($a, address!($b, $x), i32)
                };
                (LoadIndU64 $a:ident $b:ident $x:ident) => {
                    load!($a, address!($b, $x), u64)
                };
                (LoadIndU8 $a:ident $b:ident $x:ident) => {
                    load!($a, address!($b, $x), u8)
                };
                (MoveReg $d:ident $a:ident) => {
                    set!($d, get!($a))
                };
                (Mul64 $d:ident $a:ident $b:ident) => {
                    set!($d, alu::mul_64(get!($a), get!($b)))
                };
                (MulUpperUU $d:ident $a:ident $b:ident) => {
                    set!($d, alu::mul_upper_u_u(get!($a), get!($b)))
                };
                (Or $d:ident $a:ident $b:ident) => {
                    set!($d, alu::or(get!($a), get!($b)))
                };
                (RotR32Imm $a:ident $b:ident $x:ident) => {
                    set!($a, alu::rot_r_32(get!($b), imm!($x)))
                };
                (RotR64Imm $a:ident $b:ident $x:ident) => {
                    set!($a, alu::rot_r_64(get!($b), imm!($x)))
                };
                (SetLtU $d:ident $a:ident $b:ident) => {
                    set!($d, alu::set_lt_u(get!($a), get!($b)))
                };
                (ShloLImm64 $a:ident $b:ident $x:ident) => {
                    set!($a, alu::shlo_l_64(get!($b), imm!($x)))
                };
                (ShloRImm64 $a:ident $b:ident $x:ident) => {
                    set!($a, alu::shlo_r_64(get!($b), imm!($x)))
                };
                (StoreIndU64 $a:ident $b:ident $x:ident) => {
                    store!(address!($b, $x), get!($a), u64)
                };
                (StoreIndU8 $a:ident $b:ident $x:ident) => {
                    store!(address!($b, $x), get!($a), u8)
                };
                (Xor $d:ident $a:ident $b:ident) => {
                    set!($d, alu::xor(get!($a), get!($b)))
                };
            }
            // The last operation ends the run, so that there is always a next one.
            let Some((op, behind)) = rest.split_first() else { break 'run (off_the_end(), 0) };
            rest = behind;
            let single;
            let op = if STEP {
                single = op.first();
                &single
            } else {
                op
            };
            macro_rules! dispatch {
                (
                    pairs { $($p:ident = $pa:ident($($paf:ident: $pat:ty),*), $pb:ident($($pbf:ident: $pbt:ty),*);)* }
                    triples { $($t:ident = $ta:ident($($taf:ident: $tat:ty),*), $tb:ident($($tbf:ident: $tbt:ty),*),
                        $tc:ident($($tcf:ident: $tct:ty),*);)* }
                ) => {
            match op {
                IOp::MoveReg(d, a) => exec!(MoveReg d a),
                IOp::CountSetBits64(d, a) => set!(d, alu::count_set_bits_64(get!(a))),
                IOp::CountSetBits32(d, a) => set!(d, alu::count_set_bits_32(get!(a))),
                IOp::LeadingZeroBits64(d, a) => set!(d, alu::leading_zero_bits_64(get!(a))),
                IOp::LeadingZeroBits32(d, a) => set!(d, alu::leading_zero_bits_32(get!(a))),
                IOp::TrailingZeroBits64(d, a) => set!(d, alu::trailing_zero_bits_64(get!(a))),
                IOp::TrailingZeroBits32(d, a) => set!(d, alu::trailing_zero_bits_32(get!(a))),
                IOp::SignExtend8(d, a) => set!(d, alu::sign_extend_8(get!(a))),
                IOp::SignExtend16(d, a) => set!(d, alu::sign_extend_16(get!(a))),
                IOp::ZeroExtend16(d, a) => set!(d, alu::zero_extend_16(get!(a))),
                IOp::ReverseBytes(d, a) => set!(d, alu::reverse_bytes(get!(a))),
                IOp::AddImm32(a, b, x) => set!(a, alu::add_32(get!(b), imm!(x))),
                IOp::AndImm(a, b, x) => exec!(AndImm a b x),
                IOp::XorImm(a, b, x) => set!(a, alu::xor(get!(b), imm!(x))),
                IOp::OrImm(a, b, x) => set!(a, alu::or(get!(b), imm!(x))),
                IOp::MulImm32(a, b, x) => set!(a, alu::mul_32(get!(b), imm!(x))),
                IOp::SetLtUImm(a, b, x) => set!(a, alu::set_lt_u(get!(b), imm!(x))),
                IOp::SetLtSImm(a, b, x) => set!(a, alu::set_lt_s(get!(b), imm!(x))),
                IOp::ShloLImm32(a, b, x) => set!(a, alu::shlo_l_32(get!(b), imm!(x))),
                IOp::ShloRImm32(a, b, x) => set!(a, alu::shlo_r_32(get!(b), imm!(x))),
                IOp::SharRImm32(a, b, x) => set!(a, alu::shar_r_32(get!(b), imm!(x))),
                IOp::AddImm64(a, b, x) => exec!(AddImm64 a b x),
                IOp::MulImm64(a, b, x) => set!(a, alu::mul_64(get!(b), imm!(x))),
                IOp::ShloLImm64(a, b, x) => exec!(ShloLImm64 a b x),
                IOp::ShloRImm64(a, b, x) => exec!(ShloRImm64 a b x),
                IOp::SharRImm64(a, b, x) => set!(a, alu::shar_r_64(get!(b), imm!(x))),
                IOp::RotR64Imm(a, b, x) => exec!(RotR64Imm a b x),
                IOp::RotR32Imm(a, b, x) => exec!(RotR32Imm a b x),
                IOp::NegAddImm32(a, b, x) => set!(a, alu::sub_32(imm!(x), get!(b))),
                IOp::SetGtUImm(a, b, x) => set!(a, alu::set_lt_u(imm!(x), get!(b))),
                IOp::SetGtSImm(a, b, x) => set!(a, alu::set_lt_s(imm!(x), get!(b))),
                IOp::ShloLImmAlt32(a, b, x) => set!(a, alu::shlo_l_32(imm!(x), get!(b))),
                IOp::ShloRImmAlt32(a, b, x) => set!(a, alu::shlo_r_32(imm!(x), get!(b))),
                IOp::SharRImmAlt32(a, b, x) => set!(a, alu::shar_r_32(imm!(x), get!(b))),
                IOp::NegAddImm64(a, b, x) => set!(a, alu::sub_64(imm!(x), get!(b))),
                IOp::ShloLImmAlt64(a, b, x) => set!(a, alu::shlo_l_64(imm!(x), get!(b))),
                IOp::ShloRImmAlt64(a, b, x) => set!(a, alu::shlo_r_64(imm!(x), get!(b))),
                IOp::SharRImmAlt64(a, b, x) => set!(a, alu::shar_r_64(imm!(x), get!(b))),
                IOp::RotR64ImmAlt(a, b, x) => set!(a, alu::rot_r_64(imm!(x), get!(b))),
                IOp::RotR32ImmAlt(a, b, x) => set!(a, alu::rot_r_32(imm!(x), get!(b))),
                IOp::Add32(d, a, b) => set!(d, alu::add_32(get!(a), get!(b))),
                IOp::Sub32(d, a, b) => set!(d, alu::sub_32(get!(a), get!(b))),
                IOp::Mul32(d, a, b) => set!(d, alu::mul_32(get!(a), get!(b))),
                IOp::DivU32(d, a, b) => set!(d, alu::div_u_32(get!(a), get!(b))),
                IOp::DivS32(d, a, b) => set!(d, alu::div_s_32(get!(a), get!(b))),
                IOp::RemU32(d, a, b) => set!(d, alu::rem_u_32(get!(a), get!(b))),
                IOp::RemS32(d, a, b) => set!(d, alu::rem_s_32(get!(a), get!(b))),
                IOp::ShloL32(d, a, b) => set!(d, alu::shlo_l_32(get!(a), get!(b))),
                IOp::ShloR32(d, a, b) => set!(d, alu::shlo_r_32(get!(a), get!(b))),
                IOp::SharR32(d, a, b) => set!(d, alu::shar_r_32(get!(a), get!(b))),
                IOp::Add64(d, a, b) => exec!(Add64 d a b),
                IOp::Sub64(d, a, b) => set!(d, alu::sub_64(get!(a), get!(b))),
                IOp::Mul64(d, a, b) => exec!(Mul64 d a b),
                IOp::DivU64(d, a, b) => set!(d, alu::div_u_64(get!(a), get!(b))),
                IOp::DivS64(d, a, b) => set!(d, alu::div_s_64(get!(a), get!(b))),
                IOp::RemU64(d, a, b) => set!(d, alu::rem_u_64(get!(a), get!(b))),
                IOp::RemS64(d, a, b) => set!(d, alu::rem_s_64(get!(a), get!(b))),
                IOp::ShloL64(d, a, b) => set!(d, alu::shlo_l_64(get!(a), get!(b))),
                IOp::ShloR64(d, a, b) => set!(d, alu::shlo_r_64(get!(a), get!(b))),
                IOp::SharR64(d, a, b) => set!(d, alu::shar_r_64(get!(a), get!(b))),
                IOp::And(d, a, b) => exec!(And d a b),
                IOp::Xor(d, a, b) => exec!(Xor d a b),
                IOp::Or(d, a, b) => exec!(Or d a b),
                IOp::MulUpperSS(d, a, b) => set!(d, alu::mul_upper_s_s(get!(a), get!(b))),
                IOp::MulUpperUU(d, a, b) => exec!(MulUpperUU d a b),
                IOp::MulUpperSU(d, a, b) => set!(d, alu::mul_upper_s_u(get!(a), get!(b))),
                IOp::SetLtU(d, a, b) => exec!(SetLtU d a b),
                IOp::SetLtS(d, a, b) => set!(d, alu::set_lt_s(get!(a), get!(b))),
                IOp::RotL64(d, a, b) => set!(d, alu::rot_l_64(get!(a), get!(b))),
                IOp::RotL32(d, a, b) => set!(d, alu::rot_l_32(get!(a), get!(b))),
                IOp::RotR64(d, a, b) => set!(d, alu::rot_r_64(get!(a), get!(b))),
                IOp::RotR32(d, a, b) => set!(d, alu::rot_r_32(get!(a), get!(b))),
                IOp::AndInv(d, a, b) => exec!(AndInv d a b),
                IOp::OrInv(d, a, b) => set!(d, alu::or_inv(get!(a), get!(b))),
                IOp::Xnor(d, a, b) => set!(d, alu::xnor(get!(a), get!(b))),
                IOp::Max(d, a, b) => set!(d, alu::max(get!(a), get!(b))),
                IOp::MaxU(d, a, b) => set!(d, alu::max_u(get!(a), get!(b))),
                IOp::Min(d, a, b) => set!(d, alu::min(get!(a), get!(b))),
                IOp::MinU(d, a, b) => set!(d, alu::min_u(get!(a), get!(b))),
                IOp::CmovIz(d, a, b) => set!(d, if get!(b) == 0 { get!(a) } else { get!(d) }),
                IOp::CmovNz(d, a, b) => set!(d, if get!(b) != 0 { get!(a) } else { get!(d) }),
                IOp::CmovIzImm(a, b, x) => set!(a, if get!(b) == 0 { imm!(x) } else { get!(a) }),
                IOp::CmovNzImm(a, b, x) => set!(a, if get!(b) != 0 { imm!(x) } else { get!(a) }),
                IOp::LoadImm(a, x) => exec!(LoadImm a x),
                IOp::LoadImm64(a, n) => set!(a, program.wide[*n as usize]),
                IOp::LoadU8(a, x) => load!(a, *x as u32, u8),
                IOp::LoadI8(a, x) => load!(a, *x as u32, i8),
                IOp::LoadU16(a, x) => load!(a, *x as u32, u16),
                IOp::LoadI16(a, x) => load!(a, *x as u32, i16),
                IOp::LoadU32(a, x) => load!(a, *x as u32, u32),
                IOp::LoadI32(a, x) => load!(a, *x as u32, i32),
                IOp::LoadU64(a, x) => load!(a, *x as u32, u64),
                IOp::LoadIndU8(a, b, x) => exec!(LoadIndU8 a b x),
                IOp::LoadIndI8(a, b, x) => load!(a, address!(b, x), i8),
                IOp::LoadIndU16(a, b, x) => load!(a, address!(b, x), u16),
                IOp::LoadIndI16(a, b, x) => load!(a, address!(b, x), i16),
                IOp::LoadIndU32(a, b, x) => load!(a, address!(b, x), u32),
                IOp::LoadIndI32(a, b, x) => exec!(LoadIndI32 a b x),
                IOp::LoadIndU64(a, b, x) => exec!(LoadIndU64 a b x),
                IOp::StoreU8(a, x) => store!(*x as u32, get!(a), u8),
                IOp::StoreU16(a, x) => store!(*x as u32, get!(a), u16),
                IOp::StoreU32(a, x) => store!(*x as u32, get!(a), u32),
                IOp::StoreU64(a, x) => store!(*x as u32, get!(a), u64),
                IOp::StoreIndU8(a, b, x) => exec!(StoreIndU8 a b x),
                IOp::StoreIndU16(a, b, x) => store!(address!(b, x), get!(a), u16),
                IOp::StoreIndU32(a, b, x) => store!(address!(b, x), get!(a), u32),
                IOp::StoreIndU64(a, b, x) => exec!(StoreIndU64 a b x),
                IOp::StoreImmU8(x, y) => store!(*x, imm!(y), u8),
                IOp::StoreImmU16(x, y) => store!(*x, imm!(y), u16),
                IOp::StoreImmU32(x, y) => store!(*x, imm!(y), u32),
                IOp::StoreImmU64(x, y) => store!(*x, imm!(y), u64),
                IOp::StoreImmIndU8(a, x, y) => store!(address!(a, x), imm!(y), u8),
                IOp::StoreImmIndU16(a, x, y) => store!(address!(a, x), imm!(y), u16),
                IOp::StoreImmIndU32(a, x, y) => store!(address!(a, x), imm!(y), u32),
                IOp::StoreImmIndU64(a, x, y) => store!(address!(a, x), imm!(y), u64),
                IOp::BranchEq(a, b, t) => branch!(get!(a) == get!(b), t),
                IOp::BranchNe(a, b, t) => exec!(BranchNe a b t),
                IOp::BranchLtU(a, b, t) => exec!(BranchLtU a b t),
                IOp::BranchLtS(a, b, t) => branch!(signed!(get!(a)) < signed!(get!(b)), t),
                IOp::BranchGeU(a, b, t) => exec!(BranchGeU a b t),
                IOp::BranchGeS(a, b, t) => branch!(signed!(get!(a)) >= signed!(get!(b)), t),
                IOp::BranchEqImm(a, x, t) => branch!(get!(a) == imm!(x), t),
                IOp::BranchNeImm(a, x, t) => exec!(BranchNeImm a x t),
                IOp::BranchLtUImm(a, x, t) => branch!(get!(a) < imm!(x), t),
                IOp::BranchLeUImm(a, x, t) => branch!(get!(a) <= imm!(x), t),
                IOp::BranchGeUImm(a, x, t) => branch!(get!(a) >= imm!(x), t),
                IOp::BranchGtUImm(a, x, t) => branch!(get!(a) > imm!(x), t),
                IOp::BranchLtSImm(a, x, t) => branch!(signed!(get!(a)) < i64::from(*x), t),
                IOp::BranchLeSImm(a, x, t) => branch!(signed!(get!(a)) <= i64::from(*x), t),
                IOp::BranchGeSImm(a, x, t) => branch!(signed!(get!(a)) >= i64::from(*x), t),
                IOp::BranchGtSImm(a, x, t) => branch!(signed!(get!(a)) > i64::from(*x), t),
                IOp::Jump(t) => break ops.get(*t as usize..),
                IOp::LoadImmJump(a, x, t) => {
                    set!(a, imm!(x));
                    break ops.get(*t as usize..);
                }
                IOp::JumpInd(a, x) => exec!(JumpInd a x),
                IOp::LoadImmJumpInd(a, b, x, y) => {
                    // The base is read before A is written, and A is written even if the jump panics.
                    let to = address!(b, y);
                    set!(a, imm!(x));
                    jump_to!(to)
                }
                IOp::Fallthrough => break Some(rest),
                IOp::Unlikely => {}
                IOp::Ecalli(n) => host!(EcallKind::Ecalli(*n)),
                IOp::Ecall => host!(EcallKind::Ecall),
                IOp::Trap => break 'run (ExitReason::Trap, 0),
                IOp::Enter(_) | IOp::EnterUnlikely(_) | IOp::EndOfCode => break 'run (ExitReason::Panic, 0),
                $(IOp::$p($($paf,)* $($pbf),*) => {
                    exec!($pa $($paf)*);
                    {
                        #[allow(dead_code, reason = "only what can end the run asks")]
                        const BEHIND: usize = 1;
                        exec!($pb $($pbf)*);
                    }
                    advance!(1)
                })*
                $(IOp::$t($($taf,)* $($tbf,)* $($tcf),*) => {
                    exec!($ta $($taf)*);
                    {
                        #[allow(dead_code, reason = "only what can end the run asks")]
                        const BEHIND: usize = 1;
                        exec!($tb $($tbf)*);
                    }
                    {
                        #[allow(dead_code, reason = "only what can end the run asks")]
                        const BEHIND: usize = 2;
                        exec!($tc $($tcf)*);
                    }
                    advance!(2)
                })*
            }
                };
            }
            for_each_fused!(dispatch);
            if STEP {
                counter.set(gas);
                *regs = Regs { pc: u64::from(program.pcs[current!() + 1]), gpr };
                return None;
            }
        };
        let (next, cost, behind) = match next {
            Some(next @ [IOp::Enter(cost), behind @ ..]) => (next, cost, behind),
            Some(next @ [IOp::EnterUnlikely(cost), _, behind @ ..]) => (next, cost, behind),
            // Where no block is.
            _ => break (ExitReason::Panic, 0),
        };
        let cost = u64::from(*cost);
        if STEP || gas < cost {
            *gas_charged = false;
            counter.set(gas);
            *regs = Regs { pc: u64::from(program.pcs[ops.len() - next.len()]), gpr };
            return if STEP { None } else { Some(ExitReason::OutOfGas) };
        }
        gas -= cost;
        rest = behind;
    };
    counter.set(gas);
    *regs = Regs { pc: u64::from(program.pcs[current!() + behind]), gpr };
    Some(reason)
}
