//! Real guests, end to end: programs of the SDK as instances.

use std::sync::Arc;

use javm::{CallResult, ExitReason, InProcessKernelAssist, Vm, first_instance, publish};
use javm_cap::{CacheDirectory, CapHash, SlotIdx};
use javm_program::Program;

const GAS: u64 = 10_000_000;

struct World {
    vm: Vm<InProcessKernelAssist>,
    cache: CacheDirectory,
}

impl World {
    fn new() -> Self {
        Self { vm: Vm::new(InProcessKernelAssist::new()), cache: CacheDirectory::new() }
    }

    fn instance(&mut self, name: &str, slots: &[(SlotIdx, CapHash)]) -> CapHash {
        let path = format!("{}/../../guests/blobs/{name}.polkavm", env!("CARGO_MANIFEST_DIR"));
        let program = Program::load(&std::fs::read(path).unwrap()).unwrap();
        let image = publish(&mut self.cache, &program).unwrap();
        self.vm.image_cache.attach(image, Arc::new(program));
        first_instance(&mut self.cache, image, slots).unwrap()
    }

    fn call(&mut self, instance: CapHash, endpoint: u8, args: &[u64], gas: u64) -> CallResult {
        let mut four = [0; 4];
        four[..args.len()].copy_from_slice(args);
        self.vm.invoke_cached(&mut self.cache, instance, endpoint, four, gas).unwrap()
    }

    fn halt(&mut self, instance: CapHash, endpoint: u8, args: &[u64]) -> (u64, CapHash) {
        match self.call(instance, endpoint, args, GAS) {
            CallResult::Halt { return_value, post_instance_hash, .. } => (return_value, post_instance_hash),
            other => panic!("{other:?}: {}", self.vm.last_fault().unwrap()),
        }
    }
}

#[test]
fn counter_keeps_its_count_in_its_value() {
    let mut w = World::new();
    let zero = w.instance("counter", &[]);
    let (value, five) = w.halt(zero, 1, &[5]);
    assert_eq!(value, 5);
    assert_eq!(w.halt(five, 0, &[]), (5, five), "asking changes nothing, not even the hash");
    assert_eq!(w.halt(five, 1, &[u64::MAX - 4]), (0, zero), "a count of zero is the first value again");
    assert_eq!(w.halt(zero, 0, &[]).0, 0, "old values stay what they were");
}

#[test]
fn ledger_faults_on_an_overdraft_and_nothing_changes() {
    let mut w = World::new();
    let empty = w.instance("ledger", &[]);
    let (_, rich) = w.halt(empty, 0, &[1, 100]);
    let (left, after) = w.halt(rich, 2, &[1, 2, 30]);
    assert_eq!(left, 70);
    assert_eq!(w.halt(after, 1, &[2]).0, 30);
    let len = w.cache.len();
    let refused = w.call(after, 2, &[1, 2, 71], GAS);
    assert!(matches!(refused, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{refused:?}");
    assert_eq!(w.cache.len(), len, "a fault leaves nothing behind");
    let words = w.vm.last_fault().unwrap().to_string();
    assert!(words.starts_with("trap at offset") && words.contains("ledger"), "{words}");
    assert_eq!(w.halt(after, 3, &[]).0, 100);
}
