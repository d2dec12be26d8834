//! A packed program does what the program does: same registers, same gas but for the preamble's.
#![forbid(unsafe_code)]

use std::{fs, path::Path};

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Module, Reg,
};
use javm_program::{
    ManifestKind, Program,
    pack::{PackOptions, Packed, vm_code},
};
use javm_virt::Flat;

/// What the preamble's two blocks cost.
const PREAMBLE: u64 = 1 + 23;
const GAS: u64 = 300_000;

fn packed(engine: &Engine, program: &Program, args: &[u64]) -> Instance {
    let packed = Packed::new(program, &PackOptions::default()).unwrap();
    let mut instance = Instance::new(&Module::new(engine, vm_code(program).unwrap()));
    for cap in packed.caps().iter().filter(|cap| cap.kind == ManifestKind::Data) {
        let access = match cap.access {
            javm_program::Access::ReadOnly => Access::ReadOnly,
            javm_program::Access::ReadWrite => Access::ReadWrite,
        };
        let source: std::sync::Arc<dyn javm_exec::PageSource> = std::sync::Arc::new(cap.contents.clone());
        instance.memory.map(cap.base_page, cap.page_count, access, Some((source, 0))).unwrap();
    }
    instance.regs.gpr[Reg::A0 as usize..][..args.len()].copy_from_slice(args);
    instance.gas = GasCounter::new(GAS + PREAMBLE);
    instance
}

#[test]
fn packed_programs_do_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/blobs");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let (mut halts, mut calls, mut others) = (0, 0, 0);
    for backend in [Backend::Interpreter, Backend::Auto] {
        let engine = Engine::new(Config::new().backend(backend)).unwrap();
        for path in &paths {
            let program = Program::load(&fs::read(path).unwrap()).unwrap();
            for (index, export) in program.endpoints().unwrap() {
                let args = [u64::from(index), 3, 2, 1];
                let flat = Flat::new(&engine, program.clone());
                let mut plain = flat.instance(export.pc, &args, GAS).unwrap();
                let mut vm = packed(&engine, &program, &args);
                let (a, b) = (plain.run(&mut ExitOnEcall), vm.run(&mut ExitOnEcall));
                // The import that becomes an instruction.
                let a = if a == ExitReason::HostCall(256) { ExitReason::Ecall } else { a };
                let what = format!("{} {}", path.display(), export.name_lossy());
                assert_eq!((a, plain.gas), (b, vm.gas), "{what}");
                match a {
                    ExitReason::Halt => halts += 1,
                    ExitReason::HostCall(_) | ExitReason::Ecall => calls += 1,
                    _ => others += 1,
                }
                // The preamble leaves its trace in T0 of programs that never touch it.
                vm.regs.set(Reg::T0, plain.regs.get(Reg::T0));
                assert_eq!(plain.regs.gpr, vm.regs.gpr, "{what}");
            }
            // Behind the last entry point there is nothing.
            let mut vm = packed(&engine, &program, &[256]);
            assert_eq!(vm.run(&mut ExitOnEcall), ExitReason::Trap);
            assert_eq!(vm.regs.get(Reg::SP), 0);
        }
    }
    assert!(halts > 100 && calls > 30, "{halts} {calls} {others}");
}
