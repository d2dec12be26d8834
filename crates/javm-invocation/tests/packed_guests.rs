//! Guests of the toolchain as virtual machines: packed, run on both backends, with what they return and cost.
#![forbid(unsafe_code)]

use std::path::Path;

use javm_exec::{Backend, Config, Engine};
use javm_invocation::{DispatchResult, Invocation, VmState};
use javm_program::{
    Access, ManifestKind, Program,
    pack::{PackOptions, Packed, PackedCap},
};

const GAS: u64 = 20_000_000;

fn guest(name: &str, memory_pages: u32) -> Packed {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../guests/blobs/{name}.polkavm"));
    let program = Program::load(&std::fs::read(path).unwrap()).unwrap();
    Packed::new(&program, &PackOptions { memory_pages: Some(memory_pages), ..PackOptions::default() })
        .unwrap()
}

/// Runs a blob on both backends with φ10 as its argument, answering protocol calls. Both must come to the same, gas
/// included; returns the value, the gas used and the invocation as it is left.
fn run(
    packed: &Packed,
    argument: u64,
    answer: impl Fn(u8, [u64; 13]) -> (u64, u64),
) -> (u64, u64, Invocation) {
    let blob = packed.to_bytes().unwrap();
    let mut ends = Vec::new();
    for backend in [Backend::Interpreter, Backend::Auto] {
        let engine = Engine::new(Config::new().backend(backend)).unwrap();
        let mut invocation = Invocation::new(&engine, &blob, &[], GAS).unwrap();
        invocation.regs_mut().gpr[10] = argument;
        let result = invocation.run_with(|invocation, id| Some(answer(id, invocation.regs().gpr)));
        let DispatchResult::RootHalt(value) = result else { panic!("{result:?}") };
        ends.push((value, GAS - invocation.gas(), invocation));
    }
    assert_eq!((ends[0].0, ends[0].1), (ends[1].0, ends[1].1));
    let states = |i: &Invocation| i.vms().map(|vm| (vm.id(), vm.state(), *vm.regs())).collect::<Vec<_>>();
    assert_eq!(states(&ends[0].2), states(&ends[1].2));
    ends.swap_remove(0)
}

fn nobody(id: u8, _: [u64; 13]) -> (u64, u64) {
    panic!("nobody asks protocol {id}")
}

#[test]
fn a_pager_gives_its_child_the_pages_that_it_touches() {
    let file: Vec<u8> = (0..16 * 4096u32).map(|n| (n * 7 + n / 4096) as u8).collect();
    let mut packed = guest("vm_pager", 60);
    let slot = PackedCap::data(90, 0x8_0000, 16, Access::ReadOnly);
    packed.add(PackedCap { kind: ManifestKind::Data, contents: file.clone(), ..slot }).unwrap();
    for (step, pages) in [(512, 16), (3 * 4096, 6), (65_536, 1)] {
        let expected: u64 = file.iter().step_by(step).map(|byte| u64::from(*byte)).sum();
        let (value, _, invocation) = run(&packed, step as u64, nobody);
        assert_eq!((value >> 32, value & 0xFFFF_FFFF), (pages, expected), "every {step}th byte");
        // The child has that many pages of the file, and its stack.
        let child = invocation.vm(1).unwrap();
        assert_eq!(child.state(), VmState::Idle);
        let mapped = invocation.data(1, 100).unwrap();
        assert_eq!(u64::from(child.space().mapped_pages(mapped.backing)), pages);
    }
}

#[test]
fn a_policy_stands_between_an_application_and_a_service() {
    let packed = guest("vm_sandbox", 60);
    let denied = 1 << 40;
    let service = |id: u8, regs: [u64; 13]| {
        assert_eq!(id, 11, "the only one that anybody holds");
        (regs[7] * 10, 0)
    };
    // Seven requests: five are answered. The one for another service fails.
    let (value, _, _) = run(&packed, 10, service);
    assert_eq!(value, (10..15).map(|key| key * 10).sum::<u64>() + 2 * denied + 1_000_000);
    // From key 97 on only three are allowed at all.
    let (value, _, invocation) = run(&packed, 97, service);
    assert_eq!(value, (97..100).map(|key| key * 10).sum::<u64>() + 4 * denied + 1_000_000);
    // Neither the application nor its callable of the policy reaches into it.
    let caps: Vec<_> =
        invocation.vm(2).unwrap().table().iter().map(|(slot, cap)| (slot, cap.kind())).collect();
    assert_eq!(caps, [(11, "CALLABLE"), (65, "DATA")]);
}

#[test]
fn a_snapshot_copies_what_changed_and_undoes_what_went_wrong() {
    let packed = guest("vm_snapshots", 400);
    for rounds in [1, 2, 3, 4, 9] {
        // What the rounds leave: the last that came to its end counts; every third is undone.
        let mut memory = vec![0u8; 64 * 4];
        let mut copied = 0;
        for round in 0..rounds {
            let writes = (0..4).map(|n| (((round * 7 + n * 3) % 64) * 4 + n, round as u8 + 1));
            if round % 3 == 2 {
                // Three pages were written before the trap.
                copied += 3;
            } else {
                writes.for_each(|(at, byte)| memory[at as usize] = byte);
                copied += 4;
            }
        }
        let sum: u64 = memory.iter().map(|byte| u64::from(*byte)).sum();
        let (value, _, _) = run(&packed, rounds, nobody);
        assert_eq!((value >> 32, value & 0xFFFF_FFFF), (copied, sum), "{rounds} rounds");
    }
}

#[test]
fn a_server_serves_many_and_outlives_one_that_never_stops() {
    let packed = guest("vm_server", 200);
    for clients in [0u64, 1, 7, 60] {
        let (value, used, invocation) = run(&packed, clients, nobody);
        let total: u64 = (0..clients).map(|n| 3 * (n + 1) + 10 + 20).sum();
        assert_eq!((value >> 48, value >> 32 & 0xFFFF, value & 0xFFFF_FFFF), (3 * clients, 1, total));
        // The endless one cost its ceiling, and is gone.
        assert!(used >= 20_000);
        assert_eq!(invocation.vms().count() as u64, 2 + clients);
        assert!(invocation.vms().skip(1).all(|vm| vm.state() == VmState::Idle));
    }
}
