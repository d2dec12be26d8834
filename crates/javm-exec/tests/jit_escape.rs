//! Programs that aim at the edges of the sandbox: where jumps may land, where code ends, where the machine may
//! be entered. Both backends end in the same exit, and the process lives.

use std::sync::Arc;

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, HALT_ADDRESS, Instance, Module, Reg,
};
use javm_isa::{Code, Instruction, Op};
use javm_testkit::{
    Rng,
    builder::{Builder, instr},
};

fn engines() -> Option<[Engine; 2]> {
    let engine = |backend| Engine::new(Config::new().backend(backend)).ok();
    Some([engine(Backend::Interpreter)?, engine(Backend::Recompiler)?])
}

/// Both backends, side by side.
struct Pair([Instance; 2]);

impl Pair {
    fn new(engines: &[Engine; 2], code: Code) -> Self {
        let code = Arc::new(code);
        Self(engines.each_ref().map(|engine| {
            let mut instance = Instance::new(&Module::new(engine, Arc::clone(&code)));
            instance.gas = GasCounter::new(1 << 40);
            instance
        }))
    }

    fn each(&mut self, f: impl Fn(&mut Instance)) {
        self.0.iter_mut().for_each(f);
    }

    /// Runs both; what both say.
    fn run(&mut self) -> ExitReason {
        let [a, b] = self.0.each_mut().map(|instance| {
            let exit = instance.run(&mut ExitOnEcall);
            (exit, instance.regs, instance.gas, instance.gas_charged)
        });
        assert_eq!(a, b);
        a.0
    }
}

#[test]
fn indirect_jumps_land_in_the_table_or_nowhere() {
    let Some(engines) = engines() else { return };
    for op in [Op::JumpInd, Op::LoadImmJumpInd] {
        for offset in [0i64, 4, -4, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let mut builder = Builder::new();
            match op {
                Op::JumpInd => builder.push(&instr(op, &[7, offset])),
                // The base is also what is written.
                _ => builder.push(&instr(op, &[7, 7, -5, offset])),
            }
            builder.push(&Instruction::new(Op::Trap));
            let block = builder.pc();
            builder.push(&instr(Op::LoadImm, &[8, 0x1234]));
            builder.push(&Instruction::new(Op::Trap));
            // A block, the middle of an instruction, an instruction within a block, and nowhere at all.
            for target in [block, block + 1, 0, block + 4, builder.pc(), u32::MAX, block] {
                builder.table_offset(target);
            }
            let mut pair = Pair::new(&engines, builder.code().unwrap());
            let halt = u64::from(HALT_ADDRESS);
            let mut addresses: Vec<u64> = (0..20).chain(halt - 3..halt + 4).collect();
            addresses.extend([u64::MAX, 1 << 31, (1 << 31) + 2, u64::from(u32::MAX)]);
            for address in addresses {
                for high in [0, 1 << 32, 0xFFFF_FFFF << 32] {
                    pair.each(|i| {
                        i.regs.gpr = [0; 13];
                        i.regs.set(Reg::A0, (address.wrapping_sub(offset as u64) & 0xFFFF_FFFF) | high);
                        i.regs.pc = 0;
                        i.gas = GasCounter::new(10_000);
                        i.gas_charged = false;
                    });
                    pair.run();
                }
            }
        }
    }
}

#[test]
fn entering_anywhere_is_safe() {
    let Some(engines) = engines() else { return };
    let mut builder = Builder::new();
    builder.push(&instr(Op::LoadImm64, &[7, 0x0001_0203_0405_0607]));
    builder.push(&instr(Op::Ecalli, &[1]));
    builder.push(&instr(Op::StoreIndU64, &[7, 8, 0x100]));
    builder.push(&Instruction::new(Op::Fallthrough));
    builder.push(&instr(Op::Ecalli, &[2]));
    let code = builder.code().unwrap();
    let len = u64::from(code.len());
    let mut pair = Pair::new(&engines, code);
    for pc in (0..len + 3).chain([u64::from(u32::MAX), 1 << 32, u64::MAX, 1 << 40]) {
        for charged in [false, true] {
            for gas in [0, 1, 1000] {
                pair.each(|i| {
                    i.regs.pc = pc;
                    i.gas_charged = charged;
                    i.gas = GasCounter::new(gas);
                });
                let exit = pair.run();
                if matches!(exit, ExitReason::HostCall(_)) {
                    pair.each(Instance::skip_ecall);
                    pair.run();
                }
            }
        }
    }
}

#[test]
fn branches_out_of_the_code_panic_when_taken() {
    let Some(engines) = engines() else { return };
    for target in [-1000, -1, 1, 5, 6, 100, 1 << 20, i64::from(i32::MAX)] {
        for value in [0, 1] {
            let mut builder = Builder::new();
            builder.push(&instr(Op::BranchEqImm, &[7, 0, target]));
            builder.push(&instr(Op::Jump, &[target]));
            let mut pair = Pair::new(&engines, builder.code().unwrap());
            pair.each(|i| i.regs.set(Reg::A0, value));
            assert_eq!(pair.run(), ExitReason::Panic);
        }
    }
}

/// A store that runs from a writable page into one that is not changes neither.
#[test]
fn stores_are_whole_or_not_at_all() {
    let Some(engines) = engines() else { return };
    for op in [Op::StoreIndU16, Op::StoreIndU32, Op::StoreIndU64, Op::StoreImmIndU64] {
        let store = if op == Op::StoreImmIndU64 { instr(op, &[8, 0, -1]) } else { instr(op, &[7, 8, 0]) };
        for second in [None, Some(Access::ReadOnly)] {
            let mut builder = Builder::new();
            builder.push(&store);
            builder.push(&Instruction::new(Op::Trap));
            let mut pair = Pair::new(&engines, builder.code().unwrap());
            pair.each(|i| {
                i.memory.map(0x20, 1, Access::ReadWrite, None).unwrap();
                if let Some(access) = second {
                    i.memory.map(0x21, 1, access, None).unwrap();
                }
                i.regs.set(Reg::A0, u64::MAX);
            });
            for back in 1..8 {
                pair.each(|i| {
                    i.regs.pc = 0;
                    i.gas_charged = false;
                    i.regs.set(Reg::A1, 0x2_1000 - back);
                });
                let exit = pair.run();
                if exit == ExitReason::Trap {
                    // It fitted into the first page.
                    pair.each(|i| i.memory.poke(0x2_0FF0, &[0; 16]).unwrap());
                    continue;
                }
                assert_eq!(exit, ExitReason::PageFault(0x2_1000));
                for instance in &pair.0 {
                    for page in [0x20, 0x21] {
                        assert!(instance.memory.page(page).unwrap_or_default().iter().all(|b| *b == 0));
                    }
                }
            }
        }
    }
}

/// Bases with all kinds of upper halves, constants at the ends of what 32 bits hold.
#[test]
fn addresses_are_taken_modulo_the_address_space() {
    let Some(engines) = engines() else { return };
    let mut rng = Rng::new(3);
    for _ in 0..300 {
        let x = i64::from(rng.interesting() as i32);
        let mut builder = Builder::new();
        builder.push(&instr(Op::LoadIndU32, &[9, 8, x]));
        builder.push(&instr(Op::StoreIndU32, &[7, 8, x]));
        builder.push(&instr(Op::LoadU64, &[10, x]));
        builder.push(&Instruction::new(Op::Trap));
        let mut pair = Pair::new(&engines, builder.code().unwrap());
        pair.each(|i| {
            for page in [0, 0x20, 0x7_FFFF, 0x8_0000, 0xF_FFFF] {
                i.memory.map(page, 1, Access::ReadWrite, None).unwrap();
            }
        });
        for _ in 0..20 {
            let (value, base) = (rng.bits(), rng.interesting());
            let near =
                (0x2_0000u64.wrapping_sub(x as u64)).wrapping_add(rng.below(0x1000)) | rng.bits() << 32;
            let base = if rng.one_in(2) { near } else { base };
            pair.each(|i| {
                i.regs.pc = 0;
                i.gas_charged = false;
                i.regs.set(Reg::A0, value);
                i.regs.set(Reg::A1, base);
            });
            pair.run();
        }
        for page in [0, 0x20, 0x7_FFFF, 0x8_0000, 0xF_FFFF] {
            let [a, b] = pair.0.each_ref().map(|i| i.memory.page(page).unwrap_or(&[0; 4096]).to_vec());
            assert!(a == b);
        }
    }
}
