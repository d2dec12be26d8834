//! t
use javm_exec::*;
use javm_isa::{Instruction, Op};
use javm_testkit::builder::*;
use std::time::Instant;
#[test]
fn speed() {
    for backend in [Backend::Interpreter, Backend::Recompiler] {
        let e = Engine::new(Config::new().backend(backend)).unwrap();
        let mut b = Builder::new();
        b.push(&instr(Op::LoadImm, &[7, 0]));
        b.push(&instr(Op::LoadImm, &[8, 100_000_000]));
        let l = b.label();
        b.place_block(l);
        b.push(&instr(Op::Add64, &[7, 7, 8]));
        b.push(&instr(Op::Xor, &[9, 7, 8]));
        b.push(&instr(Op::AddImm64, &[8, 8, -1]));
        b.jump(&instr(Op::BranchNeImm, &[8, 0, 0]), l);
        b.push(&Instruction::new(Op::Trap));
        let m = Module::new(&e, b.code().unwrap());
        let mut i = Instance::new(&m);
        i.gas = GasCounter::new(1 << 60);
        m.compile();
        let t = Instant::now();
        let r = i.run(&mut ExitOnEcall);
        println!(
            "{backend} {r} {:?} {:?} code {:?} a0 {:x}",
            t.elapsed(),
            (1u64 << 60) - i.gas.remaining(),
            m.machine_code().map(|c| c.len()),
            i.regs.gpr[7]
        );

        // host calls
        let mut b = Builder::new();
        b.push(&instr(Op::LoadImm, &[8, 1_000_000]));
        let l = b.label();
        b.place_block(l);
        b.push(&instr(Op::Ecalli, &[3]));
        b.push(&instr(Op::AddImm64, &[8, 8, -1]));
        b.jump(&instr(Op::BranchNeImm, &[8, 0, 0]), l);
        b.push(&Instruction::new(Op::Trap));
        struct C(u64);
        impl EcallHandler for C {
            fn ecall(
                &mut self,
                _: EcallKind,
                r: &mut Regs,
                _: &mut dyn Mem,
                _: &mut GasCounter,
            ) -> EcallResult {
                self.0 += 1;
                r.gpr[7] = self.0;
                EcallResult::Continue
            }
        }
        let m = Module::new(&e, b.code().unwrap());
        let mut i = Instance::new(&m);
        i.gas = GasCounter::new(1 << 60);
        m.compile();
        let mut c = C(0);
        i.run(&mut c);
        i.regs.pc = 0;
        i.gas_charged = false;
        let t = Instant::now();
        let r = i.run(&mut c);
        println!("{backend} {r} {:?} per ecall {}", t.elapsed() / 1_000_000, c.0);

        // small instance
        let code = code(&[
            instr(Op::StoreU64, &[7, 0x2_0008]),
            instr(Op::StoreU64, &[7, 0x3_0008]),
            instr(Op::LoadU64, &[7, 0x1_0008]),
            instr(Op::Trap, &[]),
        ]);
        let m = Module::new(&e, code);
        m.compile();
        let ro: std::sync::Arc<dyn PageSource> = std::sync::Arc::new(vec![1u8; 4096]);
        let rw: std::sync::Arc<dyn PageSource> = std::sync::Arc::new(vec![2u8; 4096]);
        for _ in 0..3 {
            let n = 100_000;
            let t = Instant::now();
            for _ in 0..n {
                let mut i = Instance::new(&m);
                i.gas = GasCounter::new(1 << 60);
                i.memory.map(0x10, 1, Access::ReadOnly, Some((ro.clone(), 0))).unwrap();
                i.memory.map(0x20, 1, Access::ReadWrite, Some((rw.clone(), 0))).unwrap();
                i.memory.map(0x30, 1, Access::ReadWrite, None).unwrap();
                assert_eq!(i.run(&mut ExitOnEcall), ExitReason::Trap);
                e.recycle(i.memory);
            }
            println!("{backend} small instance {:?}", t.elapsed() / n);
        }
        // 64 KiB touched
        let n = 10_000;
        let t = Instant::now();
        for _ in 0..n {
            let mut i = Instance::new(&m);
            i.gas = GasCounter::new(1 << 60);
            i.memory.map(0x10, 1, Access::ReadOnly, Some((ro.clone(), 0))).unwrap();
            i.memory.map(0x20, 1, Access::ReadWrite, Some((rw.clone(), 0))).unwrap();
            i.memory.map(0x30, 16, Access::ReadWrite, None).unwrap();
            for p in 0..16 {
                i.memory.write((0x30 + p) << 12, &[1]).unwrap();
            }
            assert_eq!(i.run(&mut ExitOnEcall), ExitReason::Trap);
            e.recycle(i.memory);
        }
        println!("{backend} 64K instance {:?}", t.elapsed() / n);
    }
}
