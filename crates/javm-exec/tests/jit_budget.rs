//! When mappings run short: memory moves to the heap, in the middle of a run too, and nobody notices.
//!
//! One test, alone in its process: it takes the budget of the whole process away.

use std::sync::Arc;

use javm_exec::{
    Access, Backend, Config, EcallHandler, EcallKind, EcallResult, Engine, ExitReason, GasCounter, Instance,
    Mem, Module, PAGE_SIZE, PageSource, Reg, Regs,
};
use javm_isa::{Code, Instruction, Op};
use javm_testkit::builder::{Builder, instr};

/// Takes what is left of the budget at the third call, and writes into the guest's memory at each.
struct Host {
    calls: u32,
    taken: usize,
    shorten: bool,
}

impl EcallHandler for Host {
    fn ecall(
        &mut self,
        _: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        self.calls += 1;
        if self.shorten && self.calls == 3 {
            self.taken = javm_sys::MAPPINGS.left();
            assert!(javm_sys::MAPPINGS.take(self.taken));
        }
        assert!(gas.charge(u64::from(self.calls)));
        mem.write(0x20_0000 + self.calls * 0x1_1000, &[self.calls as u8]).unwrap();
        regs.set(Reg::A5, regs.get(Reg::A5) + 1);
        EcallResult::Continue
    }
}

/// Reads and writes a word on every 37th page of a large region, with a call in between.
fn program() -> Code {
    let mut builder = Builder::new();
    builder.push(&instr(Op::LoadImm, &[7, 0x10_0000]));
    let head = builder.label();
    builder.place_block(head);
    builder.push(&instr(Op::LoadIndU64, &[8, 7, 4]));
    builder.push(&instr(Op::Add64, &[9, 9, 8]));
    builder.push(&instr(Op::Ecalli, &[1]));
    builder.push(&instr(Op::StoreIndU64, &[9, 7, 0x2FFC]));
    builder.push(&instr(Op::AddImm64, &[7, 7, 37 * 0x1000]));
    builder.jump(&instr(Op::BranchLtUImm, &[7, 0x300_0000, 0]), head);
    builder.push(&Instruction::new(Op::Trap));
    builder.code().unwrap()
}

#[test]
fn a_run_goes_on_when_mappings_run_short() {
    let code = Arc::new(program());
    let source: Arc<dyn PageSource> =
        Arc::new((0..PAGE_SIZE * 64).map(|n| (n * 31) as u8).collect::<Vec<_>>());
    let run = |backend, shorten| {
        let engine = Engine::new(Config::new().backend(backend)).ok()?;
        let mut instance = Instance::new(&Module::new(&engine, Arc::clone(&code)));
        instance.gas = GasCounter::new(1 << 30);
        instance.memory.map(0x100, 0x1800, Access::ReadWrite, Some((Arc::clone(&source), 0))).unwrap();
        instance.memory.map(0x1900, 0x1800, Access::ReadWrite, None).unwrap();
        let mut host = Host { calls: 0, taken: 0, shorten };
        let exit = instance.run(&mut host);
        assert_eq!(exit, ExitReason::Trap);
        let pages: Vec<Vec<u8>> = (0x100..0x3100)
            .map(|page| {
                let mut bytes = instance.memory.page(page).unwrap_or_default().to_vec();
                bytes.resize(PAGE_SIZE, 0);
                bytes
            })
            .collect();
        let native = format!("{:?}", instance.memory).contains("native: true");
        let seen = (instance.regs, instance.gas, instance.gas_charged, pages);
        javm_sys::MAPPINGS.give(host.taken);
        Some((seen, native))
    };
    let Some((expected, _)) = run(Backend::Interpreter, false) else { return };
    let Some((found, native)) = run(Backend::Recompiler, false) else { return };
    assert!(native && found == expected);
    let Some((found, native)) = run(Backend::Recompiler, true) else { return };
    assert!(!native, "it was meant to run short");
    assert!(found == expected);
    // And back to normal.
    let Some((found, native)) = run(Backend::Recompiler, false) else { return };
    assert!(native && found == expected);
}
