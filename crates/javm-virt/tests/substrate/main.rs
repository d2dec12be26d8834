//! The backend for Substrate: its crate's own test driver on two fixtures, storage keys, modules, error codes.
//!
//! The published fixture is built by `cargo xtask fixtures`; where it is not there, the tests run on ours alone.
#![forbid(unsafe_code)]

mod externalities;
#[path = "../support/mod.rs"]
mod support;

use externalities::TestExternalities;
use javm_exec::Engine;
use javm_virt::{VirtConfig, substrate::VirtManager};
use sp_externalities::set_and_run_with_externalities;
use sp_storage::ChildInfo;
use sp_virtualization::{
    CompileStatus, DestroyError, ExecError, ExecStatus, InstanceId, InstantiateError, MemoryError, Module,
    ModuleError, ModuleId, VirtManagerBackend as _,
    tests::{GAS_MAX, RunResult, make_handler, run_loop},
};
use support::{engines, published_fixture};

/// Ours, checked in.
const OURS: &[u8] = include_bytes!("../../../../guests/blobs/virt_fixture.polkavm");

/// Every fixture on every backend, each in externalities of its own.
fn on_each(test: impl Fn(&[u8], &mut TestExternalities)) {
    for program in [Some(OURS.to_vec()), published_fixture()].into_iter().flatten() {
        for engine in engines() {
            let mut externalities = TestExternalities::default();
            VirtManager::new(&engine, &VirtConfig::new())
                .register(&mut externalities)
                .expect("nothing is registered yet");
            test(&program, &mut externalities);
        }
    }
}

#[test]
fn the_published_driver_is_content() {
    on_each(|program, externalities| {
        set_and_run_with_externalities(externalities, || sp_virtualization::run_tests(program));
    });
}

/// Runs `counter` to its end.
fn count(module: &Module) {
    let execution = module.instantiate().unwrap().prepare(b"counter").unwrap();
    let (mut gas, mut counter) = (GAS_MAX, 0);
    let result = run_loop(execution, &mut gas, make_handler(&mut counter));
    assert!(matches!(result, RunResult::Ok(_)));
    assert_eq!(counter, 8);
}

#[test]
fn programs_are_found_by_identifier_and_by_storage_key() {
    on_each(|program, externalities| {
        externalities.main.insert(b"code:main".to_vec(), program.to_vec());
        externalities.main.insert(b"code:garbage".to_vec(), b"no program".to_vec());
        let child = ChildInfo::new_default(b"contracts").storage_key().to_vec();
        externalities.children.entry(child).or_default().insert(b"code:child".to_vec(), program.to_vec());
        set_and_run_with_externalities(externalities, || {
            use CompileStatus::{Cached, Compiled};
            let bytes = |identifier| Module::from_bytes(program, identifier).map(|(_, status)| status);
            let key = |key, child| {
                Module::from_storage_key(key, child).map(|(module, status)| {
                    count(&module);
                    status
                })
            };
            assert_eq!([bytes(None), bytes(None)], [Ok(Compiled), Ok(Compiled)]);
            assert_eq!([bytes(Some(b"one")), bytes(Some(b"one"))], [Ok(Compiled), Ok(Cached)]);
            assert_eq!(key(b"one", b""), Ok(Cached));
            // A lookup reads no storage.
            assert_eq!(Module::lookup(b"code:main").map(|_| ()), Err(ModuleError::NotCached));
            assert_eq!([key(b"code:main", b""), key(b"code:main", b"")], [Ok(Compiled), Ok(Cached)]);
            count(&Module::lookup(b"code:main").unwrap());
            assert_eq!(key(b"code:child", b""), Err(ModuleError::NotFound));
            assert_eq!(key(b"code:child", b"contracts"), Ok(Compiled));
            assert_eq!(key(b"code:garbage", b""), Err(ModuleError::InvalidImage));
            assert_eq!(key(b"code:garbage", b""), Err(ModuleError::InvalidImage), "which is not kept");
        });
    });
}

#[test]
fn a_manager_is_registered_once() {
    let mut externalities = TestExternalities::default();
    VirtManager::default().register(&mut externalities).expect("is the first");
    VirtManager::default().register(&mut externalities).expect_err("there is one");
}

/// An instance of ours that stands at the first syscall of `counter`.
fn at_syscall(manager: &mut VirtManager) -> InstanceId {
    let module = manager.compile_from_bytes(OURS, None).unwrap();
    let instance = manager.instantiate(module).unwrap();
    manager.prepare(instance, b"counter").unwrap();
    let (status, buffer) = manager.run(instance, GAS_MAX, 0).unwrap();
    assert_eq!((status, buffer.syscall_symbol.as_ref()), (ExecStatus::Syscall, &b"read_counter"[..]));
    instance
}

#[test]
fn every_error_has_its_code() {
    for engine in engines() {
        let mut manager = VirtManager::new(&engine, &VirtConfig::new());
        let manager = &mut manager;
        assert_eq!(manager.compile_from_bytes(b"PVM", None), Err(ModuleError::InvalidImage));
        assert_eq!(manager.lookup(b"x"), Err(ModuleError::NotCached));
        assert_eq!(manager.instantiate(ModuleId::from(0)), Err(InstantiateError::InvalidModule));

        let module = manager.compile_from_bytes(OURS, None).unwrap();
        let instance = manager.instantiate(module).unwrap();
        assert_eq!((u32::from(module), u32::from(instance)), (0, 0));
        let run =
            |manager: &mut VirtManager, gas, a0| manager.run(instance, gas, a0).map(|(status, _)| status);
        // Idle: neither to be run nor looked into.
        assert_eq!(run(manager, GAS_MAX, 0), Err(ExecError::InvalidInstance));
        assert_eq!(manager.read_memory(instance, 0x2_0000, &mut [0]), Err(MemoryError::InvalidInstance));
        assert_eq!(manager.prepare(instance, b"nothing"), Err(ExecError::InvalidImage));
        // Prepared: both.
        assert_eq!(manager.prepare(instance, b"counter"), Ok(()));
        assert_eq!(manager.prepare(instance, b"counter"), Err(ExecError::InvalidInstance));
        let mut byte = [0];
        assert_eq!(manager.read_memory(instance, 0x2_0000, &mut byte), Ok(()));
        assert_eq!(byte, [3]);
        assert_eq!(manager.write_memory(instance, 0x2_0fff, &[1, 2]), Err(MemoryError::OutOfBounds));
        assert_eq!(run(manager, GAS_MAX, 0), Ok(ExecStatus::Syscall));
        assert_eq!(manager.prepare(instance, b"counter"), Err(ExecError::InvalidInstance));
        assert_eq!(run(manager, 0, 1), Err(ExecError::OutOfGas));
        assert_eq!(manager.write_memory(instance, 0x2_0000, &[9]), Err(MemoryError::InvalidInstance));
        assert_eq!(manager.prepare(instance, b"do_panic"), Ok(()));
        assert_eq!(run(manager, GAS_MAX, 0), Err(ExecError::Trap));
        assert_eq!(manager.destroy(instance), Ok(()));
        assert_eq!(manager.destroy(instance), Err(DestroyError::InvalidInstance));
        assert_eq!(manager.prepare(instance, b"counter"), Err(ExecError::InvalidInstance));
        assert_eq!(run(manager, GAS_MAX, 0), Err(ExecError::InvalidInstance));
        assert_eq!(manager.read_memory(instance, 0x2_0000, &mut byte), Err(MemoryError::InvalidInstance));
        // Numbers are not used again.
        assert_eq!(manager.instantiate(module).map(u32::from), Ok(1));
    }
}

#[test]
fn the_first_run_takes_an_argument() {
    let text = ".export show @show\nshow:\necalli 0\njump_ind ra, 0";
    let program = support::container(text, &support::Parts { imports: &[b"show"], ..Default::default() });
    for engine in engines() {
        let mut manager = VirtManager::new(&engine, &VirtConfig::new());
        let module = manager.compile_from_bytes(&program, None).unwrap();
        let instance = manager.instantiate(module).unwrap();
        manager.prepare(instance, b"show").unwrap();
        assert_eq!(manager.run(instance, GAS_MAX, 77).map(|(_, buffer)| buffer.a0), Ok(77));
    }
}

#[test]
fn managers_share_code_and_nothing_else() {
    let config = VirtConfig::new().max_instances(2);
    let [mut first, mut second] = [(); 2].map(|()| VirtManager::new(&Engine::default(), &config));
    first.compile_from_bytes(OURS, Some(b"name")).unwrap();
    assert_eq!(second.lookup(b"name"), Err(ModuleError::NotCached));
    let mine = at_syscall(&mut first);
    assert_eq!(second.run(mine, GAS_MAX, 0).map(|_| ()), Err(ExecError::InvalidInstance));
    assert_eq!(u32::from(at_syscall(&mut second)), u32::from(mine));
    // A limit that both share.
    let module = second.compile_from_bytes(OURS, None).unwrap();
    assert_eq!(second.instantiate(module), Err(InstantiateError::InvalidImage));
    first.destroy(mine).unwrap();
    assert!(second.instantiate(module).is_ok());
    drop((first, second));
    assert_eq!(config.instances(), 0);
}
