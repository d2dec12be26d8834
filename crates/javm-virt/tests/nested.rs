//! Programs that run programs: what the driver of `guests/programs/virt_nest` sees natively and inside a guest is
//! the same, on each backend; depth, gas and what a hostile guest gets.
#![forbid(unsafe_code)]

mod support;

use std::sync::LazyLock;

use javm_exec::{Backend, Config, Engine};
use javm_virt::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MemoryError, MemoryT as _, Nested, Virt,
    VirtConfig, VirtMemory, VirtT,
    wire::{self, Call, NO_BUFFER, OUTCOME_LEN},
};
use support::{Parts, RO, RW, container, engines};

macro_rules! blob {
    ($name:literal) => {
        include_bytes!(concat!("../../../guests/blobs/", $name, ".polkavm"))
    };
}

const NEST: &[u8] = blob!("virt_nest");

/// The name of an export, and gas.
type NamedCall = (&'static str, i64);

/// Programs with the calls that are made of them.
const PROGRAMS: [(&str, &[u8], &[NamedCall]); 4] = [
    (
        "virt_fixture",
        blob!("virt_fixture"),
        &[
            ("counter", 10_000),
            ("offset", 10_000),
            ("offset", 10_000),
            ("add_99", 1_000),
            ("add_99", 120),
            ("do_panic", 10_000),
            ("do_subcall", 10_000),
            ("increment_forever", 5_000),
            ("offset", 10_000),
            ("do_exit", 10_000),
            ("offset", 10_000),
            ("nothing", 10_000),
            ("counter", 0),
            ("counter", -1),
        ],
    ),
    (
        "virt_args",
        blob!("virt_args"),
        &[
            ("numbers", 10_000),
            ("numbers", 10_000),
            ("buffers", 10_000),
            ("strays", 10_000),
            ("deep", 1_000_000),
            ("numbers", 10_000),
        ],
    ),
    (
        "virt_sort",
        blob!("virt_sort"),
        &[
            ("on_the_stack", 200_000_000),
            ("in_a_static", 200_000_000),
            ("twice", 1_000_000),
            ("twice", 1_000_000),
        ],
    ),
    (
        "virt_primes",
        blob!("virt_primes"),
        &[("next", 10_000), ("many", 10_000_000), ("forever", 1_000_000), ("next", 10_000_000)],
    ),
];

/// Enough for the deepest of the runs here, and what an inner run is given then.
const GAS: i64 = 1 << 50;

/// The input of the driver.
fn input(program: &[u8], calls: &[(&str, i64)], inner: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, gas) in calls {
        list.extend(gas.to_le_bytes());
        list.push(name.len() as u8);
        list.extend(name.as_bytes());
    }
    let part = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    [part(program), part(&list), inner.to_vec()].concat()
}

/// The input that has the driver run the driver on an input.
fn nested(inner: &[u8], gas: i64) -> Vec<u8> {
    input(NEST, &[("run", gas)], inner)
}

/// `VirtT` natively, with an engine of this backend and configuration of its own.
macro_rules! native {
    ($name:ident, $inner:ident, $backend:ident) => {
        struct $name($inner);

        impl VirtT for $name {
            type Memory = VirtMemory;

            fn instantiate(program: &[u8]) -> Result<Self, InstantiateError> {
                static SHARED: LazyLock<(Engine, VirtConfig)> = LazyLock::new(|| {
                    let engine = Engine::new(Config::new().backend(Backend::$backend));
                    (engine.expect("is asked for where there is one"), VirtConfig::new())
                });
                $inner::with(&SHARED.0, &SHARED.1, program).map(Self)
            }

            fn run(&mut self, gas_left: i64, action: ExecAction<'_>) -> Result<ExecOutcome, ExecError> {
                self.0.run(gas_left, action)
            }

            fn memory(&self) -> VirtMemory {
                self.0.memory()
            }
        }
    };
}
native!(Interpreted, Virt, Interpreter);
native!(Recompiled, Virt, Recompiler);
native!(NestedInterpreted, Nested, Interpreter);
native!(NestedRecompiled, Nested, Recompiler);

fn seen_natively<V: VirtT>(input: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    virt_nest::drive::<V>(input, &mut |bytes| seen.extend_from_slice(bytes));
    seen
}

/// Runs the driver in a guest; what it logs, and what it costs.
fn seen_inside<V: VirtT>(input: &[u8]) -> (Vec<u8>, i64) {
    let mut virt = V::instantiate(NEST).expect("is a program");
    let mut memory = virt.memory();
    let mut seen = Vec::new();
    let mut outcome = virt.run(GAS, ExecAction::Execute { function: b"run" });
    loop {
        let (gas_left, symbol, a) = match outcome {
            Ok(ExecOutcome::Finished { gas_left }) => return (seen, GAS - gas_left),
            Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, .. }) => {
                (gas_left, syscall_symbol, [a0, a1, a2])
            }
            Err(error) => panic!("{error} after {} bytes", seen.len()),
        };
        let return_value = match &*symbol {
            b"input_len" => input.len() as u64,
            b"input" => {
                let bytes = &input[a[1] as usize..][..a[2] as usize];
                memory.write(a[0] as u32, bytes).expect("the buffer is the guest's");
                a[2]
            }
            b"log" => {
                let start = seen.len();
                seen.resize(start + a[1] as usize, 0);
                memory.read(a[0] as u32, &mut seen[start..]).expect("the buffer is the guest's");
                a[1]
            }
            _ => panic!("the host does not know {symbol}"),
        };
        outcome = virt.run(gas_left, ExecAction::Resume { return_value });
    }
}

fn has_recompiler() -> bool {
    engines().iter().any(|engine| engine.backend() == Backend::Recompiler)
}

/// What the driver sees natively, inside a guest, and on the other backend, must be the same.
#[track_caller]
fn same_everywhere(name: &str, input: &[u8], natively: &[u8]) {
    let (inside, gas) = seen_inside::<NestedInterpreted>(input);
    assert!(inside == natively, "{name}: {} bytes inside, {} natively", inside.len(), natively.len());
    if has_recompiler() {
        assert!((inside, gas) == seen_inside::<NestedRecompiled>(input), "{name}");
    }
}

#[test]
fn five_programs_run_the_same_natively_and_inside_a_guest() {
    for (name, program, calls) in PROGRAMS {
        let input = input(program, calls, &[]);
        let natively = seen_natively::<Interpreted>(&input);
        assert!(natively.len() > 1000, "{name}: there is something to see");
        if has_recompiler() {
            assert!(natively == seen_natively::<Recompiled>(&input), "{name}");
        }
        same_everywhere(name, &input, &natively);
    }
    // The fifth is the driver itself, which runs one of the others.
    let (_, program, calls) = PROGRAMS[0];
    let input = nested(&input(program, calls, &[]), GAS >> 10);
    same_everywhere("virt_nest", &input, &seen_natively::<NestedInterpreted>(&input));
}

/// A name that is in no program.
const CALL: &str = "quux";

/// What is seen of so many drivers inside each other, of which the innermost runs a program.
fn tower(levels: u32, config: &VirtConfig, engine: &Engine) -> Vec<u8> {
    let (_, program, _) = PROGRAMS[3];
    let mut data = input(program, &[(CALL, 10_000)], &[]);
    for level in 1..levels {
        data = nested(&data, GAS >> (10 - level));
    }
    let mut virt = Nested::with(engine, config, NEST).expect("is a program");
    let mut memory = virt.memory();
    let mut seen = Vec::new();
    let mut outcome = virt.run(GAS, ExecAction::Execute { function: b"run" });
    while let Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, .. }) = outcome {
        let return_value = match &*syscall_symbol {
            b"input_len" => data.len() as u64,
            b"input" => memory.write(a0 as u32, &data[a1 as usize..][..a2 as usize]).map_or(0, |()| a2),
            _ => {
                let mut bytes = vec![0; a1 as usize];
                memory.read(a0 as u32, &mut bytes).expect("the buffer is the guest's");
                seen.extend(bytes);
                a1
            }
        };
        outcome = virt.run(gas_left, ExecAction::Resume { return_value });
    }
    assert!(matches!(outcome, Ok(ExecOutcome::Finished { .. })), "{outcome:?}");
    seen
}

#[test]
fn depth_has_a_limit() {
    // The name of the innermost call is logged when there is an instance to call, and at no other time.
    let arrived = |seen: &[u8]| seen.windows(CALL.len()).any(|window| window == CALL.as_bytes());
    for engine in engines() {
        for depth in 0..3 {
            let config = VirtConfig::new().max_depth(depth);
            // The outermost driver is at depth 0, the program of the innermost one at the number of drivers.
            if depth > 0 {
                assert!(arrived(&tower(depth, &config, &engine)), "depth {depth}");
            }
            let seen = tower(depth + 1, &config, &engine);
            assert!(!arrived(&seen), "depth {depth}");
            if depth == 0 {
                assert_eq!(seen, [&b"i"[..], &InstantiateError::Limit.code().to_le_bytes()].concat());
            }
            assert_eq!(config.instances(), 0);
        }
    }
}

/// A guest that makes the host calls that its host tells it: its registers are in its memory.
const PUPPET: &str = "
.export pull @pull
.export spin @spin
pull:
    load_u64 t0, 0x30030
    load_u64 a0, 0x30000
    load_u64 a1, 0x30008
    load_u64 a2, 0x30010
    load_u64 a3, 0x30018
    load_u64 a4, 0x30020
    branch_eq_imm t0, 0, @instantiate
    branch_eq_imm t0, 1, @execute
    branch_eq_imm t0, 2, @resume
    branch_eq_imm t0, 3, @read
    branch_eq_imm t0, 4, @write
    branch_eq_imm t0, 5, @destroy
    ecalli 6
    jump @done
instantiate:
    ecalli 0
    jump @done
execute:
    ecalli 1
    jump @done
resume:
    ecalli 2
    jump @done
read:
    ecalli 3
    jump @done
write:
    ecalli 4
    jump @done
destroy:
    ecalli 5
    fallthrough
done:
    store_u64 a0, 0x30028
    jump_ind ra, 0
spin:
    jump @spin
";

/// A puppet, and the program that lies in its memory: another puppet.
struct Puppet {
    virt: Nested,
    gas: i64,
}

/// Where things lie in a puppet's memory.
const OUTCOME: u64 = RW as u64 + 0x100;
const NAME: u64 = RW as u64 + 0x200;
const DATA: u64 = RW as u64 + 0x1000;
const PROGRAM: u64 = RW as u64 + 0x2000;
const RW_SIZE: u32 = 0x6000;

fn puppet_blob() -> Vec<u8> {
    let symbols = Call::ALL.map(|call| call.symbol().as_bytes());
    let imports = [&symbols[..], &[b"virt_unknown"]].concat();
    let parts = Parts { imports: &imports, ro_data: b"read only", rw_size: RW_SIZE, ..Parts::default() };
    container(PUPPET, &parts)
}

impl Puppet {
    fn new(engine: &Engine, config: &VirtConfig) -> Self {
        let blob = puppet_blob();
        let virt = Nested::with(engine, config, &blob).expect("is a program");
        virt.memory().write(PROGRAM as u32, &blob).expect("has room");
        virt.memory().write(NAME as u32, b"pullspin").expect("has room");
        Self { virt, gas: GAS }
    }

    fn place(&self, call: u64, a: [u64; 5]) {
        let bytes: Vec<u8> = a.iter().chain(&[0, call]).flat_map(|word| word.to_le_bytes()).collect();
        self.virt.memory().write(RW, &bytes).expect("is its memory");
    }

    fn word(&self, address: u64) -> i64 {
        let mut word = [0; 8];
        self.virt.memory().read(address as u32, &mut word).expect("is its memory");
        i64::from_le_bytes(word)
    }

    /// Has the puppet make a call; what it returned.
    fn call(&mut self, call: Call, a: [u64; 5]) -> i64 {
        let number = Call::ALL.iter().position(|c| *c == call).expect("is one") as u64;
        self.place(number, a);
        match self.virt.run(self.gas, ExecAction::Execute { function: b"pull" }) {
            Ok(ExecOutcome::Finished { gas_left }) => {
                assert!((0..=self.gas).contains(&gas_left));
                self.gas = gas_left;
                self.word(u64::from(RW) + 0x28)
            }
            other => panic!("{call:?} {a:x?}: {other:?}"),
        }
    }

    fn spawn(&mut self) -> i64 {
        let len = puppet_blob().len() as u64;
        self.call(Call::Instantiate, [PROGRAM, len, 0, 0, 0])
    }
}

const NO_INSTANCE: i64 = ExecError::InvalidInstance.code();
const OUT_OF_BOUNDS: i64 = MemoryError::OutOfBounds.code();

#[test]
fn forged_ids_lengths_and_pointers_get_errors_and_nothing_else() {
    for engine in engines() {
        let config = VirtConfig::new().max_instances(4);
        let mut puppet = Puppet::new(&engine, &config);
        let end = u64::from(RW + RW_SIZE);
        let big = [end, end - 1, 0, 1 << 32, u64::MAX, u64::from(RO) - 1, 0xffff_ffff, 1 << 63];
        // Ids that nobody gave, before there is an instance and after.
        for _ in 0..2 {
            for id in [1, 2, 77, u64::from(u32::MAX), 1 << 32, u64::MAX, 1 << 63] {
                assert_eq!(puppet.call(Call::Execute, [id, 1000, NAME, 4, OUTCOME]), NO_INSTANCE);
                assert_eq!(puppet.call(Call::Resume, [id, 1000, 0, OUTCOME, 0]), NO_INSTANCE);
                assert_eq!(puppet.call(Call::Read, [id, RW.into(), DATA, 8, 0]), NO_INSTANCE);
                assert_eq!(puppet.call(Call::Write, [id, RW.into(), DATA, 8, 0]), NO_INSTANCE);
                assert_eq!(puppet.call(Call::Destroy, [id, 0, 0, 0, 0]), NO_INSTANCE);
            }
            if config.instances() == 1 {
                assert_eq!(puppet.spawn(), 0);
            }
        }
        assert_eq!(config.instances(), 2);
        // Programs that are not in memory, or no programs.
        for address in big {
            assert_eq!(puppet.call(Call::Instantiate, [address, 8, 0, 0, 0]), NO_BUFFER, "{address:x}");
        }
        let of_len = |puppet: &mut Puppet, len| puppet.call(Call::Instantiate, [PROGRAM, len, 0, 0, 0]);
        for len in [u64::from(RW_SIZE), 1 << 32, 1 << 40] {
            assert_eq!(of_len(&mut puppet, len), NO_BUFFER);
        }
        for len in [0, 1, 100] {
            assert_eq!(of_len(&mut puppet, len), InstantiateError::InvalidImage.code());
        }
        // Names and outcomes.
        for address in big {
            assert_eq!(puppet.call(Call::Execute, [0, 1000, NAME, 4, address]), NO_BUFFER, "{address:x}");
            assert_eq!(puppet.call(Call::Execute, [0, 1000, address, 4, OUTCOME]), NO_BUFFER, "{address:x}");
            assert_eq!(puppet.call(Call::Resume, [0, 1000, 0, address, 0]), NO_BUFFER, "{address:x}");
        }
        assert_eq!(puppet.call(Call::Execute, [0, 1000, NAME, 4, end - OUTCOME_LEN as u64 + 1]), NO_BUFFER);
        assert_eq!(puppet.call(Call::Execute, [0, 1000, NAME, 4, RO.into()]), NO_BUFFER);
        assert_eq!(puppet.call(Call::Execute, [0, 1000, NAME, 1 << 40, OUTCOME]), NO_BUFFER);
        assert_eq!(puppet.call(Call::Execute, [0, 1000, NAME, 5, OUTCOME]), ExecError::InvalidImage.code());
        assert_eq!(puppet.call(Call::Resume, [0, 1000, 0, OUTCOME, 0]), NO_INSTANCE);
        // Memory on either side.
        puppet.virt.memory().write(DATA as u32, b"before..").expect("is its memory");
        for address in big {
            for call in [Call::Read, Call::Write] {
                assert_eq!(puppet.call(call, [0, address, DATA, 2, 0]), OUT_OF_BOUNDS, "{address:x}");
                assert_eq!(puppet.call(call, [0, DATA, address, 2, 0]), NO_BUFFER, "{address:x}");
            }
        }
        for len in [1 << 32, 1 << 33, (1 << 32) - 1] {
            assert_eq!(puppet.call(Call::Read, [0, DATA, DATA, len, 0]), OUT_OF_BOUNDS);
        }
        assert_eq!(puppet.call(Call::Write, [0, RO.into(), DATA, 8, 0]), OUT_OF_BOUNDS);
        assert_eq!(puppet.call(Call::Read, [0, DATA, RO.into(), 8, 0]), NO_BUFFER);
        assert_eq!(puppet.word(DATA).to_le_bytes(), *b"before..");
        // Honest calls still work, also over the edge of what is copied at a time.
        assert_eq!(puppet.call(Call::Write, [0, DATA - 3, DATA, 0x1000 + 5, 0]), 0);
        assert_eq!(puppet.call(Call::Read, [0, DATA - 3, DATA + 0x800, 0x1000 + 5, 0]), 0);
        assert_eq!(puppet.word(DATA + 0x800).to_le_bytes(), *b"before..");
        assert_eq!(puppet.call(Call::Read, [0, 0, 0, 0, 0]), 0, "of nothing");
        puppet.virt.memory().write(PROGRAM as u32, &puppet_blob()).expect("has room");
        // Limits count for all, and what is destroyed makes room; its id is not used again.
        assert_eq!([(); 3].map(|()| puppet.spawn()), [1, 2, InstantiateError::Limit.code()]);
        assert_eq!(puppet.call(Call::Destroy, [1, 0, 0, 0, 0]), 0);
        assert_eq!(puppet.call(Call::Destroy, [1, 0, 0, 0, 0]), NO_INSTANCE);
        assert_eq!(puppet.spawn(), 3);
        drop(puppet);
        assert_eq!(config.instances(), 0, "all of them are gone with the root");
    }
}

#[test]
fn a_prefix_alone_is_no_host_call() {
    for engine in engines() {
        let mut puppet = Puppet::new(&engine, &VirtConfig::new());
        puppet.place(99, [1, 2, 3, 4, 5]);
        let outcome = puppet.virt.run(GAS, ExecAction::Execute { function: b"pull" });
        assert!(
            matches!(outcome, Ok(ExecOutcome::Syscall { syscall_symbol, a0: 1, a4: 5, .. })
                if syscall_symbol == b"virt_unknown"),
            "{outcome:?}"
        );
        // To `Virt`, none of them is.
        let mut plain = Virt::with(&engine, &VirtConfig::new(), &puppet_blob()).expect("is a program");
        let outcome = plain.run(GAS, ExecAction::Execute { function: b"pull" });
        assert!(matches!(outcome, Ok(ExecOutcome::Syscall { syscall_symbol, .. })
            if syscall_symbol == b"virt_instantiate"));
    }
}

#[test]
fn the_caller_pays() {
    for engine in engines() {
        let mut puppet = Puppet::new(&engine, &VirtConfig::new());
        assert_eq!(puppet.spawn(), 0);
        let cost = |puppet: &mut Puppet, call, a| {
            let before = puppet.gas;
            let code = puppet.call(call, a);
            (code, before - puppet.gas)
        };
        // A run that uses all that it was given costs just that more.
        let execute = |gas: i64| [0, gas as u64, NAME + 4, 4, OUTCOME];
        let out_of_gas = ExecError::OutOfGas.code();
        let (code, least) = cost(&mut puppet, Call::Execute, execute(0));
        assert_eq!(code, out_of_gas);
        for gas in [1, 1000, 123_456] {
            assert_eq!(cost(&mut puppet, Call::Execute, execute(gas)), (out_of_gas, least + gas));
        }
        for gas in [-1, i64::MIN] {
            assert_eq!(cost(&mut puppet, Call::Execute, execute(gas)), (out_of_gas, least));
        }
        // Bytes cost, whether or not they are there.
        let (code, whole) = cost(&mut puppet, Call::Read, [0, DATA, DATA, 0x1000, 0]);
        let (_, none) = cost(&mut puppet, Call::Read, [0, DATA, DATA, 0, 0]);
        let (refused, as_much) = cost(&mut puppet, Call::Read, [0, 0, DATA, 0x1000, 0]);
        assert_eq!((code, whole - none, refused, as_much), (0, 0x400, OUT_OF_BOUNDS, whole));
        // Who promises more than there is, is out of gas, however much was promised; the inner call ends, too.
        for (promised, left) in [(i64::MAX, 100_000), (GAS, 50_000), (100_000, 99_999)] {
            puppet.place(1, execute(promised));
            let outcome = puppet.virt.run(left, ExecAction::Execute { function: b"pull" });
            assert_eq!(outcome, Err(ExecError::OutOfGas));
            assert_eq!(puppet.call(Call::Resume, [0, 1000, 0, OUTCOME, 0]), NO_INSTANCE);
        }
        // A length that nothing could pay for.
        puppet.place(0, [PROGRAM, u64::MAX, 0, 0, 0]);
        let outcome = puppet.virt.run(i64::MAX, ExecAction::Execute { function: b"pull" });
        assert_eq!(outcome, Err(ExecError::OutOfGas));
        assert_eq!(puppet.call(Call::Execute, execute(5)), out_of_gas, "and it lives on");
    }
}

/// What an inner run is given can be negative, and an inner program can go on without gas inside a block that is
/// paid: nobody earns anything by that, whatever the run ends with.
#[test]
fn a_run_that_is_given_less_than_nothing_earns_nothing() {
    let inner = |end: &str| {
        let text = format!(".export pull @pull\npull:\necalli 0\n{end}\n");
        container(&text, &Parts { imports: &[b"ask"], ..Parts::default() })
    };
    for engine in engines() {
        for (end, code) in [
            ("trap", ExecError::Trap.code()),
            ("ecalli 9", ExecError::InvalidImage.code()),
            ("ecalli 0", wire::SYSCALL),
            ("jump_ind ra, 0", wire::DONE),
        ] {
            let mut puppet = Puppet::new(&engine, &VirtConfig::new());
            let program = inner(end);
            puppet.virt.memory().write(PROGRAM as u32, &program).expect("has room");
            assert_eq!(puppet.call(Call::Instantiate, [PROGRAM, program.len() as u64, 0, 0, 0]), 0);
            let mut costs = Vec::new();
            for gas in [0, -1, -1_000_000, i64::MIN] {
                assert_eq!(puppet.call(Call::Execute, [0, 1000, NAME, 4, OUTCOME]), wire::SYSCALL);
                let before = puppet.gas;
                assert_eq!(puppet.call(Call::Resume, [0, gas as u64, 0, OUTCOME, 0]), code, "{end}");
                costs.push(before - puppet.gas);
                if code == wire::SYSCALL {
                    assert_eq!(puppet.call(Call::Resume, [0, 1000, 0, OUTCOME, 0]), ExecError::Trap.code());
                }
            }
            assert!(costs[0] > 0 && costs.iter().all(|cost| *cost == costs[0]), "{end}: {costs:?}");
        }
    }
}

#[test]
fn a_child_of_a_child_is_nobody_elses() {
    for engine in engines() {
        let config = VirtConfig::new();
        let mut puppet = Puppet::new(&engine, &config);
        assert_eq!([puppet.spawn(), puppet.spawn()], [0, 1]);
        // The first child gets a program and spawns a child of its own, which has the same id as itself.
        let len = puppet_blob().len() as u64;
        assert_eq!(puppet.call(Call::Write, [0, PROGRAM, PROGRAM, len, 0]), 0);
        let order: Vec<u8> =
            [PROGRAM, len, 0, 0, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        puppet.virt.memory().write(DATA as u32, &order).expect("is its memory");
        assert_eq!(puppet.call(Call::Write, [0, RW.into(), DATA, order.len() as u64, 0]), 0);
        assert_eq!(puppet.call(Call::Execute, [0, 10_000_000, NAME, 4, OUTCOME]), 0);
        assert_eq!(config.instances(), 4);
        assert_eq!(puppet.call(Call::Read, [0, u64::from(RW) + 0x28, DATA, 8, 0]), 0);
        assert_eq!(puppet.word(DATA), 0, "the id that it got");
        // The root sees two children, and takes the grandchild with the first.
        assert_eq!(puppet.call(Call::Destroy, [2, 0, 0, 0, 0]), NO_INSTANCE);
        assert_eq!(puppet.call(Call::Destroy, [0, 0, 0, 0, 0]), 0);
        assert_eq!(config.instances(), 2);
    }
}
