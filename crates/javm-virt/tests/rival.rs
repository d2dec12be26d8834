//! Flat guests on our backends and on `polkavm`, metered as the stock Substrate backend meters: the same syscalls with
//! the same arguments, and the same gas left at each.
#![forbid(unsafe_code)]

mod support;

use javm_exec::Engine;
use javm_virt::{ExecAction, ExecError, ExecOutcome, MemoryT as _, Virt, VirtConfig, VirtT as _};
use polkavm::{
    BackendKind, CacheModel, Config, CostModelKind, GasMeteringKind, InterruptKind, Module, ModuleConfig,
    ProgramBlob, Reg,
};
use support::engines;

/// What is seen of a call: at each syscall the symbol, gas left, six arguments; at the end how it ended.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Syscall(Vec<u8>, i64, [u64; 6]),
    Finished(i64),
    OutOfGas,
    Trap,
}

const ARGUMENTS: [Reg; 6] = [Reg::A0, Reg::A1, Reg::A2, Reg::A3, Reg::A4, Reg::A5];

/// What a syscall returns, and what is written to the address in its first argument.
fn answer(symbol: &[u8], a: &[u64; 6], counter: &mut u64) -> (u64, Vec<u8>) {
    match symbol {
        b"read_counter" => (1, counter.to_le_bytes().to_vec()),
        b"increment_counter" => {
            *counter += 1;
            (2 << 56, Vec::new())
        }
        b"fill" => (a[1], (0..a[1].min(40_000)).map(|n| (n * 83) as u8).collect()),
        _ => (a.iter().fold(1, |sum: u64, word| sum.rotate_left(9) ^ word), Vec::new()),
    }
}

fn ours(engine: &Engine, program: &[u8], calls: &[(&str, i64)]) -> Vec<Seen> {
    let mut virt = Virt::with(engine, &VirtConfig::new(), program).expect("is a program");
    let (mut memory, mut counter) = (virt.memory(), 0);
    let mut seen = Vec::new();
    for (function, gas) in calls {
        let mut result = virt.run(*gas, ExecAction::Execute { function: function.as_bytes() });
        while let Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 }) = result {
            let a = [a0, a1, a2, a3, a4, a5];
            seen.push(Seen::Syscall(syscall_symbol.to_vec(), gas_left, a));
            let (return_value, bytes) = answer(&syscall_symbol, &a, &mut counter);
            memory.write(a0 as u32, &bytes).expect("is writable");
            result = virt.run(gas_left, ExecAction::Resume { return_value });
        }
        seen.push(match result {
            Ok(ExecOutcome::Finished { gas_left }) => Seen::Finished(gas_left),
            Err(ExecError::OutOfGas) => Seen::OutOfGas,
            Err(ExecError::Trap) => Seen::Trap,
            other => panic!("{other:?}"),
        });
    }
    seen
}

fn theirs(program: &[u8], calls: &[(&str, i64)]) -> Vec<Seen> {
    let mut config = Config::new();
    config.set_backend(Some(BackendKind::Interpreter));
    let engine = polkavm::Engine::new(&config).expect("the interpreter runs everywhere");
    let mut config = ModuleConfig::new();
    config
        .set_gas_metering(Some(GasMeteringKind::Sync))
        .set_cost_model(Some(CostModelKind::Full(CacheModel::L2Hit)));
    let blob = ProgramBlob::parse(program.into()).expect("is a program");
    let module = Module::from_blob(&engine, &config, blob).expect("is a program");
    let mut instance = module.instantiate().expect("there is memory");
    let (mut seen, mut counter) = (Vec::new(), 0);
    for (function, gas) in calls {
        let export = module.exports().find(|export| export.symbol().as_bytes() == function.as_bytes());
        instance.prepare_call_untyped(export.expect("is exported").program_counter(), &[]);
        instance.set_gas(*gas);
        let end = loop {
            match instance.run().expect("the interpreter works") {
                InterruptKind::Ecalli(number) => {
                    let symbol = module.imports().get(number).expect("is imported").as_bytes().to_vec();
                    let a = ARGUMENTS.map(|reg| instance.reg(reg));
                    let (value, bytes) = answer(&symbol, &a, &mut counter);
                    seen.push(Seen::Syscall(symbol, instance.gas(), a));
                    if !bytes.is_empty() {
                        instance.write_memory(a[0] as u32, &bytes).expect("is writable");
                    }
                    instance.set_reg(Reg::A0, value);
                }
                InterruptKind::Finished => break Seen::Finished(instance.gas()),
                InterruptKind::NotEnoughGas => break Seen::OutOfGas,
                InterruptKind::Trap => break Seen::Trap,
                other => panic!("{other:?}"),
            }
        };
        seen.push(end);
    }
    seen
}

/// Whether the two agree on gas: `polkavm` 0.37 counts the destination of a conditional move as a source, which
/// neither the Gray Paper's vectors do nor 0.33, which the stock backend is built on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gas {
    Same,
    ConditionalMoves,
}

#[track_caller]
fn same(name: &str, program: &[u8], calls: &[(&str, i64)], gas: Gas) {
    let comparable = |mut seen: Vec<Seen>| {
        for event in seen.iter_mut().filter(|_| gas == Gas::ConditionalMoves) {
            if let Seen::Syscall(_, left, _) | Seen::Finished(left) = event {
                *left = 0;
            }
        }
        seen
    };
    let theirs = comparable(theirs(program, calls));
    assert!(theirs.len() > calls.len(), "{name}: there are syscalls");
    for engine in engines() {
        let ours = comparable(ours(&engine, program, calls));
        let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        if let Some(at) = at {
            panic!("{name}, event {at}: {:?}, and in polkavm {:?}", ours[at], theirs[at]);
        }
        assert_eq!(ours.len(), theirs.len(), "{name}");
    }
}

const MUCH: i64 = 1 << 40;

#[test]
fn gas_and_syscalls_are_those_of_polkavm() {
    let fixture: &[(&str, i64)] = &[
        ("counter", MUCH),
        ("add_99", MUCH),
        ("offset", MUCH),
        ("do_subcall", 1000),
        ("do_panic", 1000),
        ("do_exit", MUCH),
        ("increment_forever", 100_000),
        ("increment_forever", 126),
        ("increment_forever", 125),
    ];
    same("virt_fixture", include_bytes!("../../../guests/blobs/virt_fixture.polkavm"), fixture, Gas::Same);
    if let Some(published) = support::published_fixture() {
        same("the published fixture", &published, fixture, Gas::Same);
    }
    let args = [("numbers", MUCH), ("buffers", MUCH), ("strays", 2000), ("deep", MUCH), ("numbers", 1)];
    same("virt_args", include_bytes!("../../../guests/blobs/virt_args.polkavm"), &args, Gas::Same);
    let sort = [("on_the_stack", MUCH), ("in_a_static", MUCH), ("twice", MUCH), ("twice", 5000)];
    same(
        "virt_sort",
        include_bytes!("../../../guests/blobs/virt_sort.polkavm"),
        &sort,
        Gas::ConditionalMoves,
    );
    let primes = [("next", MUCH), ("many", MUCH), ("forever", 100_000), ("next", MUCH)];
    same("virt_primes", include_bytes!("../../../guests/blobs/virt_primes.polkavm"), &primes, Gas::Same);
}
