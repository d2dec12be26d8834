//! Shared memory where the process has no mappings left: the interpreter goes on, results are the same. In a process
//! of its own, because the budget is the process's.

use javm_exec::{
    Access, Backend, Config, Engine, ExitReason, GasCounter, Module, Regs,
    interp::Machine,
    memory::{Extent, SharedMemory, SharedRun, SharedSpace, SharedStore},
};
use javm_isa::asm::assemble;
use javm_sys::MAPPINGS;

const PAGES: u32 = 4096;

/// Writes to every second page, twice.
fn run(engine: &Engine, spaces: usize) -> Vec<(ExitReason, Regs, u64, Vec<u8>)> {
    let text = "loop: load_ind_u64 a2, a0, 0\n add_imm_64 a2, a2, 3\n store_ind_u64 a2, a0, 0\n
        add_imm_64 a0, a0, 8192\n add_imm_64 a5, a5, -1\n branch_ne_imm a5, 0, @loop\n ecalli 1";
    let module = Module::new(engine, assemble(text).unwrap().code().unwrap());
    let count = PAGES / spaces as u32;
    let mut store = SharedStore::new(engine, PAGES);
    let mut all: Vec<SharedSpace> = (0..spaces).map(|_| SharedSpace::new()).collect();
    let mut seen = Vec::new();
    for round in 0..2 {
        for (n, space) in all.iter_mut().enumerate() {
            let extent = Extent { first: n as u32 * count, count };
            for page in (0..count).step_by(2) {
                space.map(extent, 0x20, Access::ReadWrite, page, 1).unwrap();
            }
            let mut gpr = [0; 13];
            (gpr[7], gpr[12]) = (0x2_0008, u64::from(count) / 2);
            let (mut regs, mut gas, mut gas_charged) = (Regs { pc: 0, gpr }, GasCounter::new(1 << 40), false);
            let machine = Machine { regs: &mut regs, gas: &mut gas, gas_charged: &mut gas_charged };
            let mut memory = SharedMemory { space, store: &mut store };
            let reason = module.run_shared(machine, &mut memory, &SharedRun::new());
            let written = store.written(extent);
            assert_eq!(written.iter().map(|b| b.count_ones()).sum::<u32>(), count / 2, "{round}");
            seen.push((reason, regs, gas.remaining(), written));
        }
    }
    seen
}

fn engine(backend: Backend) -> Option<Engine> {
    Engine::new(Config::new().backend(backend)).ok()
}

#[test]
fn without_mappings_code_is_interpreted() {
    let interpreter = engine(Backend::Interpreter).unwrap();
    let Some(recompiler) = engine(Backend::Recompiler) else { return };
    for spaces in [1, 32] {
        let expected = run(&interpreter, spaces);
        assert!(expected.iter().all(|(reason, ..)| *reason == ExitReason::HostCall(1)));
        assert_eq!(run(&recompiler, spaces), expected);
        let before = MAPPINGS.left();
        // None at all, too few for a second window, too few for the runs of one.
        for left in [0, 3, 40, 200] {
            let taken = MAPPINGS.left() - left;
            assert!(MAPPINGS.take(taken));
            assert_eq!(run(&recompiler, spaces), expected, "{left} left");
            MAPPINGS.give(taken);
        }
        assert_eq!(MAPPINGS.left(), before, "all are given back");
    }
}

#[test]
fn what_is_shared_can_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<SharedStore>();
    is_send::<SharedSpace>();
}
