//! The same guest sources, linked for each of PolkaVM's instruction sets: the same results, and the same gas
//! where the linker emitted the same instructions.

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance, publish};
use javm_cap::{CacheDirectory, CapHash, SlotIdx};
use javm_program::Program;

const GAS: u64 = 1 << 40;

/// Calls to make in order: endpoint and arguments. Each goes to the value that the one before left.
type Calls = &'static [(u8, [u64; 4])];

const PROGRAMS: &[(&str, Calls)] = &[
    ("counter", &[(1, [5, 0, 0, 0]), (0, [0; 4]), (1, [u64::MAX, 0, 0, 0])]),
    (
        "ledger",
        &[(0, [1, 100, 0, 0]), (2, [1, 2, 30, 0]), (2, [1, 2, 71, 0]), (1, [2, 0, 0, 0]), (3, [0; 4])],
    ),
    (
        "bank",
        &[
            (0, [0; 4]),
            (0, [0; 4]),
            (1, [0, 100, 0, 0]),
            (2, [0, 1, 30, 0]),
            (2, [0, 1, 500, 0]),
            (4, [0; 4]),
        ],
    ),
    ("hashes", &[(0, [4096, 3, 0, 0]), (1, [4096, 3, 0, 0]), (2, [4096, 3, 0, 0])]),
    ("fib", &[(0, [90, 0, 0, 0]), (1, [15, 0, 0, 0]), (2, [12345, 1000, 0, 0])]),
    ("sieve", &[(0, [5000, 0, 0, 0])]),
];

fn program(name: &str, isa: &str) -> Program {
    let path = format!("{}/../../guests/blobs/{name}{isa}.polkavm", env!("CARGO_MANIFEST_DIR"));
    Program::load(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).expect("a guest")
}

/// What each call came to (`None`: a fault), and the gas of all.
fn run(name: &str, isa: &str, calls: Calls) -> (Vec<Option<u64>>, u64) {
    let mut cache = CacheDirectory::new();
    let mut vm = Vm::new(InProcessKernelAssist::new());
    let instance = |cache: &mut CacheDirectory, name: &str, slots: &[(SlotIdx, CapHash)]| {
        let image = publish(cache, &program(name, isa)).expect("a guest is an image");
        first_instance(cache, image, slots).expect("an image has a first instance")
    };
    let ledger = instance(&mut cache, "ledger", &[]);
    let slots: &[_] = if name == "bank" { &[(SlotIdx(1), ledger)] } else { &[] };
    let mut current = instance(&mut cache, name, slots);
    let (mut values, mut gas) = (Vec::new(), 0);
    for (endpoint, args) in calls {
        let result =
            vm.invoke_cached(&mut cache, current, *endpoint, *args, GAS).expect("nothing is missing");
        gas += result.gas_used();
        values.push(match result {
            CallResult::Halt { return_value, post_instance_hash, .. } => {
                current = post_instance_hash;
                Some(return_value)
            }
            _ => None,
        });
    }
    (values, gas)
}

/// The instructions without where they lie: operands that are code offsets differ with the encoding.
fn operations(name: &str, isa: &str) -> Vec<&'static str> {
    program(name, isa).code().instructions(0).map(|(_, i)| i.op.name()).collect()
}

#[test]
fn three_instruction_sets_one_result() {
    let mut same_gas = 0;
    for (name, calls) in PROGRAMS {
        let (values, gas) = run(name, "", calls);
        for isa in [".revive_v1", ".latest64"] {
            let (other, other_gas) = run(name, isa, calls);
            assert_eq!(other, values, "{name}{isa}");
            let same_code = operations(name, isa) == operations(name, "")
                && (*name != "bank" || operations("ledger", isa) == operations("ledger", ""));
            if same_code {
                assert_eq!(other_gas, gas, "{name}{isa}: the same instructions cost the same");
                same_gas += 1;
            }
        }
    }
    assert!(
        same_gas >= PROGRAMS.len(),
        "the linker emits the same instructions at least for ReviveV1: {same_gas}"
    );
    let (bank, _) = run("bank", "", PROGRAMS[2].1);
    assert_eq!((bank[3], bank[5]), (Some(70), Some(100)));
}
