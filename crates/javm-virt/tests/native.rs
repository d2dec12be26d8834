//! `VirtT` and `MemoryT` over the engine: every sentence of `virtualization.md` sections 1 and 3, on each backend.
#![forbid(unsafe_code)]

mod support;

use javm_exec::Engine;
use javm_program::ProgramError;
use javm_virt::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MemoryError, MemoryT as _, ModuleError, Virt,
    VirtConfig, VirtModule, VirtT,
};
use support::{JAM_V1, Parts, RO, RW, STACK_TOP, container, container_of, engines};

const TEXT: &str = "
.export count @count
.export six @six
.export endless @endless
.export burn @burn
.export trap @trap
.export null @null
.export stranger @stranger
.export stack @stack
.export deep @deep
.export overflow @overflow
.export quiet @quiet
.export long @long

; Adds one to a variable, shows it, and keeps what the host answers in the next one.
count:
    load_u64 a0, 0x30000
    add_imm_64 a0, a0, 1
    store_u64 a0, 0x30000
    ecalli 0
    store_u64 a0, 0x30008
    jump_ind ra, 0
; Six arguments in registers, a seventh and an eighth where the sixth says.
six:
    load_imm a0, 1
    load_imm a1, 2
    load_imm a2, -3
    load_imm a3, 4
    load_imm a4, 5
    add_imm_64 a5, sp, -16
    load_imm t0, 7
    store_ind_u64 t0, a5, 0
    load_imm t0, 8
    store_ind_u64 t0, a5, 8
    ecalli 1
    jump_ind ra, 0
endless:
    jump @endless
; A thousand rounds.
burn:
    load_imm t0, 1000
    fallthrough
again:
    add_imm_64 t0, t0, -1
    branch_ne_imm t0, 0, @again
    jump_ind ra, 0
trap:
    trap
null:
    load_u64 a0, 0
    jump_ind ra, 0
stranger:
    ecalli 9
    jump_ind ra, 0
; Shows what lies on the stack, then leaves something there.
stack:
    load_ind_u64 a0, sp, -8
    ecalli 0
    load_imm t0, 77
    store_ind_u64 t0, sp, -8
    jump_ind ra, 0
; The same with a mark on each of 16 pages.
deep:
    move_reg t0, sp
    load_imm t1, 16
    load_imm a0, 0
    fallthrough
page:
    add_imm_64 t0, t0, -4096
    load_ind_u64 t2, t0, 0
    add_64 a0, a0, t2
    store_imm_ind_u64 t0, 0, 1
    add_imm_64 t1, t1, -1
    branch_ne_imm t1, 0, @page
    ecalli 0
    jump_ind ra, 0
overflow:
    add_imm_64 t0, sp, -65544
    store_ind_u64 t0, t0, 0
    jump_ind ra, 0
quiet:
    jump_ind ra, 0
; As `count`, with a block behind the one of the syscall.
long:
    load_u64 a0, 0x30000
    add_imm_64 a0, a0, 1
    store_u64 a0, 0x30000
    ecalli 0
    fallthrough
    jump_ind ra, 0
";

fn program() -> Vec<u8> {
    let parts = Parts {
        imports: &[b"show", b"six"],
        ro_data: b"constant",
        rw_data: &[3, 0, 0, 0, 0, 0, 0, 0],
        rw_size: 2 * 4096,
        stack_size: 16 * 4096,
    };
    container(TEXT, &parts)
}

const GAS: i64 = 1_000_000;

fn execute(function: &str) -> ExecAction<'_> {
    ExecAction::Execute { function: function.as_bytes() }
}

const fn resume(return_value: u64) -> ExecAction<'static> {
    ExecAction::Resume { return_value }
}

/// Runs to the first syscall, which must be `show`; what it shows.
fn shown(virt: &mut Virt, function: &str) -> u64 {
    match virt.run(GAS, execute(function)) {
        Ok(ExecOutcome::Syscall { a0, syscall_symbol, .. }) if syscall_symbol == b"show" => a0,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn finish(virt: &mut Virt, value: u64) {
    let outcome = virt.run(GAS, resume(value));
    assert!(matches!(outcome, Ok(ExecOutcome::Finished { .. })), "{outcome:?}");
}

fn on_each(test: impl Fn(&Engine, &VirtConfig)) {
    for engine in engines() {
        test(&engine, &VirtConfig::new());
    }
}

fn virt(engine: &Engine, config: &VirtConfig) -> Virt {
    Virt::with(engine, config, &program()).expect("it is a program")
}

#[test]
fn globals_last_and_a_new_instance_has_its_own() {
    on_each(|engine, config| {
        let mut first = virt(engine, config);
        for n in 4..8 {
            assert_eq!(shown(&mut first, "count"), n);
            finish(&mut first, n * 10);
        }
        let mut second = virt(engine, config);
        assert_eq!(shown(&mut second, "count"), 4);
        finish(&mut second, 1);
        let mut word = [0; 8];
        first.memory().read(RW + 8, &mut word).expect("is mapped");
        assert_eq!(u64::from_le_bytes(word), 70);
        second.memory().read(RW + 8, &mut word).expect("is mapped");
        assert_eq!(u64::from_le_bytes(word), 1);
    });
}

#[test]
fn a_call_begins_on_an_empty_stack() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        // More pages than are cleared one by one, and fewer.
        for function in ["deep", "deep", "stack", "stack", "deep"] {
            assert_eq!(shown(&mut virt, function), 0, "{function}");
            finish(&mut virt, 0);
        }
        // A call that ended badly leaves nothing either.
        assert_eq!(shown(&mut virt, "stack"), 0);
        assert_eq!(virt.run(0, resume(0)).map(|_| ()), Ok(()), "what is left of the block is paid");
        assert_eq!(virt.run(GAS, execute("overflow")), Err(ExecError::Trap));
        assert_eq!(shown(&mut virt, "deep"), 0);
    });
}

#[test]
fn each_action_has_its_time() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        assert_eq!(virt.run(GAS, resume(0)), Err(ExecError::InvalidInstance));
        assert_eq!(shown(&mut virt, "count"), 4);
        assert_eq!(virt.run(GAS, execute("count")), Err(ExecError::InvalidInstance));
        assert_eq!(virt.run(GAS, execute("nothing")), Err(ExecError::InvalidInstance));
        // The syscall still waits.
        finish(&mut virt, 0);
        assert_eq!(virt.run(GAS, resume(0)), Err(ExecError::InvalidInstance));
        assert_eq!(shown(&mut virt, "count"), 5);
    });
}

#[test]
fn an_unknown_export_is_no_image_and_harms_nothing() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        for name in [&b"nothing"[..], b"", b"coun", b"count\0", &[255; 1000]] {
            let outcome = virt.run(GAS, ExecAction::Execute { function: name });
            assert_eq!(outcome, Err(ExecError::InvalidImage));
        }
        assert_eq!(shown(&mut virt, "count"), 4);
        // Neither is an `ecalli` that no import explains; that call is over.
        finish(&mut virt, 0);
        assert_eq!(virt.run(GAS, execute("stranger")), Err(ExecError::InvalidImage));
        assert_eq!(virt.run(GAS, resume(0)), Err(ExecError::InvalidInstance));
        assert_eq!(shown(&mut virt, "count"), 5);
    });
}

#[test]
fn a_syscall_has_six_arguments_and_more_in_memory() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        let Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 }) =
            virt.run(GAS, execute("six"))
        else {
            panic!("a syscall")
        };
        assert_eq!(&syscall_symbol[..], b"six");
        assert!((0..GAS).contains(&gas_left));
        let there = u64::from(STACK_TOP - 16);
        assert_eq!([a0, a1, a2, a3, a4, a5], [1, 2, -3i64 as u64, 4, 5, there]);
        let mut more = [0; 16];
        virt.memory().read(a5 as u32, &mut more).expect("is the stack");
        assert_eq!(more, [7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        finish(&mut virt, 0);
    });
}

#[test]
fn a_syscall_returns_64_bits() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        shown(&mut virt, "count");
        finish(&mut virt, u64::MAX - 1);
        let mut word = [0; 8];
        virt.memory().read(RW + 8, &mut word).expect("is mapped");
        assert_eq!(u64::from_le_bytes(word), u64::MAX - 1);
    });
}

#[test]
fn memory_is_there_from_instantiation_to_destruction() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        let mut memory = virt.memory();
        let mut word = [0; 8];
        // Before the first call.
        memory.read(RW, &mut word).expect("is mapped");
        assert_eq!(word[0], 3);
        memory.write(RW, &[40]).expect("is writable");
        // While a syscall waits.
        assert_eq!(shown(&mut virt, "count"), 41);
        memory.read(RW, &mut word).expect("is mapped");
        assert_eq!(word[0], 41);
        memory.write(RW, &[50]).expect("is writable");
        finish(&mut virt, 0);
        // After the end, whatever it was.
        assert_eq!(shown(&mut virt, "count"), 51);
        finish(&mut virt, 9);
        assert_eq!(virt.run(GAS, execute("trap")), Err(ExecError::Trap));
        assert_eq!(virt.run(10, execute("endless")), Err(ExecError::OutOfGas));
        memory.read(RW + 8, &mut word).expect("is mapped");
        assert_eq!(word[0], 9);
        // After destruction: nothing, and no byte of the buffer changes.
        let mut other = virt.memory();
        drop(virt);
        assert_eq!(memory.read(RW, &mut word), Err(MemoryError::InvalidInstance));
        assert_eq!(other.write(RW, &word), Err(MemoryError::InvalidInstance));
        assert_eq!(other.read(RW, &mut []), Err(MemoryError::InvalidInstance));
        assert_eq!(word[0], 9);
    });
}

#[test]
fn memory_ends_where_it_ends() {
    on_each(|engine, config| {
        let virt = virt(engine, config);
        let mut memory = virt.memory();
        let end = RW + 2 * 4096;
        let bottom = STACK_TOP - 16 * 4096;
        let mut four = [9; 4];
        let refused = [
            (end - 3, 4),
            (end, 1),
            (RW - 1, 2),
            (RO - 1, 4),
            (RO + 4094, 4),
            (STACK_TOP - 1, 4),
            (bottom - 1, 4),
            (0, 4),
            (u32::MAX, 1),
            // Around the end of the address space.
            (u32::MAX - 1, 4),
        ];
        for (address, len) in refused {
            assert_eq!(memory.read(address, &mut four[..len]), Err(MemoryError::OutOfBounds), "{address:#x}");
            assert_eq!(memory.write(address, &[7; 4][..len]), Err(MemoryError::OutOfBounds), "{address:#x}");
            assert_eq!(four, [9; 4]);
        }
        // Nothing of a refused write was done.
        memory.read(end - 3, &mut four[..3]).expect("is mapped");
        assert_eq!(four, [0, 0, 0, 9]);
        for address in [end - 4, RW, bottom, STACK_TOP - 4, RW + 4094] {
            memory.write(address, &[1, 2, 3, 4]).expect("is writable");
            memory.read(address, &mut four).expect("is mapped");
            assert_eq!(four, [1, 2, 3, 4]);
        }
        // No bytes are nowhere.
        assert_eq!(memory.read(0, &mut []), Ok(()));
        assert_eq!(memory.write(u32::MAX, &[]), Ok(()));
        // A whole region and a byte more.
        let mut all = vec![0; 2 * 4096 + 1];
        assert_eq!(memory.read(RW, &mut all), Err(MemoryError::OutOfBounds));
        assert_eq!(memory.read(RW, &mut all[1..]), Ok(()));
    });
}

#[test]
fn constants_can_be_read_and_not_written() {
    on_each(|engine, config| {
        let virt = virt(engine, config);
        let mut memory = virt.memory();
        let mut bytes = [0; 8];
        memory.read(RO, &mut bytes).expect("is mapped");
        assert_eq!(&bytes, b"constant");
        assert_eq!(memory.write(RO, b"x"), Err(MemoryError::OutOfBounds));
        memory.read(RO, &mut bytes).expect("is mapped");
        assert_eq!(&bytes, b"constant");
    });
}

#[test]
fn out_of_gas_ends_the_call_and_not_the_instance() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        for gas in [100, 1, 0, -1, i64::MIN] {
            assert_eq!(virt.run(gas, execute("endless")), Err(ExecError::OutOfGas));
            assert_eq!(virt.run(GAS, resume(0)), Err(ExecError::InvalidInstance));
        }
        // Out of gas behind a syscall; its variable was set before.
        assert_eq!(shown(&mut virt, "long"), 4);
        assert_eq!(virt.run(0, resume(0)), Err(ExecError::OutOfGas));
        assert_eq!(shown(&mut virt, "long"), 5);
        assert_eq!(virt.run(-1, resume(0)), Err(ExecError::OutOfGas));
        // The block that a syscall is in was paid when it began.
        assert_eq!(shown(&mut virt, "count"), 6);
        assert_eq!(virt.run(0, resume(0)), Ok(ExecOutcome::Finished { gas_left: 0 }));
        assert_eq!(shown(&mut virt, "count"), 7);
        assert_eq!(virt.run(-5, resume(0)), Ok(ExecOutcome::Finished { gas_left: -5 }));
        // The same gas is used whatever there is, and one less is not enough.
        let Ok(ExecOutcome::Finished { gas_left }) = virt.run(i64::MAX, execute("burn")) else {
            panic!("it ends")
        };
        let used = i64::MAX - gas_left;
        assert_eq!(virt.run(used, execute("burn")), Ok(ExecOutcome::Finished { gas_left: 0 }));
        assert_eq!(virt.run(used - 1, execute("burn")), Err(ExecError::OutOfGas));
    });
}

#[test]
fn gas_is_the_same_on_every_backend() {
    let used = |engine: &Engine| {
        let mut virt = virt(engine, &VirtConfig::new());
        ["count", "six", "burn", "stack", "deep", "quiet"].map(|function| {
            let mut left = GAS;
            let mut action = execute(function);
            loop {
                match virt.run(left, action).expect("none of these fails") {
                    ExecOutcome::Finished { gas_left } => return GAS - gas_left,
                    ExecOutcome::Syscall { gas_left, .. } => left = gas_left,
                }
                action = resume(0);
            }
        })
    };
    let all: Vec<_> = engines().iter().map(used).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    assert!(all[0].iter().all(|gas| *gas > 0));
}

#[test]
fn whatever_a_program_may_not_do_is_a_trap() {
    on_each(|engine, config| {
        let mut virt = virt(engine, config);
        for function in ["trap", "null", "overflow"] {
            assert_eq!(virt.run(GAS, execute(function)), Err(ExecError::Trap), "{function}");
            assert_eq!(virt.run(GAS, resume(0)), Err(ExecError::InvalidInstance));
        }
        assert!(matches!(virt.run(GAS, execute("quiet")), Ok(ExecOutcome::Finished { .. })));
    });
}

#[test]
fn symbols_have_32_bytes_at_most() {
    on_each(|engine, config| {
        let text = ".export go @go\ngo:\necalli 1\njump_ind ra, 0";
        let with = |symbol: &[u8]| container(text, &Parts { imports: &[b"x", symbol], ..Parts::default() });
        let long: [u8; 33] = core::array::from_fn(|n| n as u8 + 100);
        let mut virt = Virt::with(engine, config, &with(&long[..32])).expect("32 bytes fit");
        match virt.run(GAS, execute("go")) {
            Ok(ExecOutcome::Syscall { syscall_symbol, .. }) => assert_eq!(&syscall_symbol[..], &long[..32]),
            other => panic!("{other:?}"),
        }
        let refused = Virt::with(engine, config, &with(&long)).map(|_| ());
        assert_eq!(refused, Err(InstantiateError::InvalidImage));
        let why = VirtModule::new(engine, config, &with(&long)).expect_err("33 bytes do not");
        assert_eq!(why, ModuleError::Symbol { number: 1, len: 33 });
        assert_eq!(why.to_string(), "import 1 has a symbol of 33 bytes, more than 32");
    });
}

#[test]
fn what_is_no_polkavm_program_is_refused() {
    let program = program();
    let refused = |bytes: &[u8]| Virt::instantiate(bytes).map(|_| ()).expect_err("is no program");
    for bytes in [&[][..], b"PVM\0", &program[..program.len() - 1], &[0; 100], b"\x7fELF\x02\x01\x01"] {
        assert_eq!(refused(bytes), InstantiateError::InvalidImage);
    }
    // 32-bit programs, and instruction sets that are not known.
    let of = |version| container_of(version, "trap", &Parts::default());
    let why = |version| {
        VirtModule::new(&Engine::default(), &VirtConfig::new(), &of(version))
            .map(|_| ())
            .expect_err("is refused")
    };
    assert_eq!(refused(&of(1)), InstantiateError::InvalidImage);
    assert!(matches!(why(1), ModuleError::Program(ProgramError::Isa32 { .. })));
    assert_eq!(why(77), ModuleError::Program(ProgramError::PolkaVmVersion { version: 77 }));
    assert!(Virt::instantiate(&of(JAM_V1)).is_ok());
    // Other formats that the engine knows are no PolkaVM programs.
    let bare = [0, 0, 1, 0, 1];
    assert!(javm_program::Program::load(&bare).is_ok());
    assert_eq!(refused(&bare), InstantiateError::InvalidImage);
}

#[test]
fn damaged_programs_get_errors() {
    let program = program();
    let config = VirtConfig::new();
    let engines = engines();
    for at in 0..program.len() {
        for engine in &engines {
            let mut bytes = program.clone();
            bytes[at] ^= 1 << (at % 8);
            let Ok(mut virt) = Virt::with(engine, &config, &bytes) else { continue };
            for function in ["count", "deep", "trap", "burn"] {
                let _ = virt.run(10_000, execute(function));
                let _ = virt.run(10_000, resume(1));
            }
        }
    }
    assert_eq!(config.instances(), 0);
}

#[test]
fn limits_are_limits() {
    on_each(|engine, _| {
        let program = program();
        let over = |config: &VirtConfig| Virt::with(engine, config, &program).map(|_| ());
        let of_code = |bytes| VirtConfig::new().max_code_size(bytes);
        assert_eq!(over(&of_code(program.len())), Ok(()));
        assert_eq!(over(&of_code(program.len() - 1)), Err(InstantiateError::Limit));
        // Too long is too long, whatever it is.
        let garbage = Virt::with(engine, &of_code(9), &[0; 10]).map(|_| ());
        assert_eq!(garbage, Err(InstantiateError::Limit));
        // A page of constants, two of variables, sixteen of stack.
        let of_pages = |pages| VirtConfig::new().max_pages(pages);
        assert_eq!(over(&of_pages(19)), Ok(()));
        assert_eq!(over(&of_pages(18)), Err(InstantiateError::Limit));
        let why = |config: VirtConfig| {
            VirtModule::new(engine, &config, &program).expect_err("is refused").to_string()
        };
        assert_eq!(why(of_pages(18)), "a memory of 19 pages, more than 18");
        assert!(why(of_code(10)).ends_with("more than 10"));

        let config = VirtConfig::new().max_instances(2);
        let first = virt(engine, &config);
        let module = first.module();
        let second = module.instantiate().expect("two are allowed");
        assert_eq!((over(&config), config.instances()), (Err(InstantiateError::Limit), 2));
        assert_eq!(module.instantiate().map(|_| ()), Err(InstantiateError::Limit));
        assert_eq!(over(&config.clone()), Err(InstantiateError::Limit), "clones count together");
        assert_eq!(over(&VirtConfig::new()), Ok(()), "others do not");
        // A handle does not keep an instance.
        let _memory = second.memory();
        drop(second);
        assert_eq!(over(&config), Ok(()));
        drop((first, module));
        assert_eq!(config.instances(), 0);
    });
}

#[test]
fn a_program_is_compiled_once() {
    on_each(|engine, config| {
        let [first, second] = [(); 2].map(|()| virt(engine, config).module());
        let code = |module: &VirtModule| std::sync::Arc::as_ptr(module.module().code());
        assert_eq!(code(&first), code(&second));
        // A smaller limit counts for what is compiled already.
        let smaller = config.clone().max_pages(1);
        assert_eq!(Virt::with(engine, &smaller, &program()).map(|_| ()), Err(InstantiateError::Limit));
        let names: Vec<_> = first.imports().map(|(number, symbol)| (number, symbol.to_string())).collect();
        assert_eq!(names, [(0, "show".to_owned()), (1, "six".to_owned())]);
        assert_eq!(first.exports().count(), 12);
        assert_eq!(first.pages(), 19);
    });
    // Each engine has a module of its own.
    let config = VirtConfig::new();
    for engine in &engines() {
        assert_eq!(virt(engine, &config).module().engine().backend(), engine.backend());
    }
}

#[test]
fn instances_move_between_threads_and_know_nothing_of_each_other() {
    on_each(|engine, config| {
        let workers: Vec<_> = (0..4u64)
            .map(|n| {
                let mut virt = virt(engine, config);
                std::thread::spawn(move || {
                    for round in 0..50 {
                        assert_eq!(shown(&mut virt, "count"), 4 + round);
                        finish(&mut virt, n);
                    }
                    let mut word = [0; 8];
                    virt.memory().read(RW + 8, &mut word).expect("is mapped");
                    u64::from_le_bytes(word)
                })
            })
            .collect();
        for (n, worker) in workers.into_iter().enumerate() {
            assert_eq!(worker.join().expect("did not panic"), n as u64);
        }
    });
}
