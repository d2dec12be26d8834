//! Compiled code that is kept: modules by key within an engine, regions on disk from one engine to the next.
//! What lies on disk is found again, and never run when anything about it is not as it was written.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use javm_exec::{
    Backend, Code, CodeCacheError, CodeError, Config, ConfigError, Engine, ExitOnEcall, ExitReason,
    GasCounter, GasModel, Instance, Module, Reg, module_key,
};
use javm_isa::asm::assemble;

const KEY: [u8; 32] = [7; 32];

/// An empty folder, removed when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("code-cache-{name}"));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// The files of regions, in order.
    fn files(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let mut files: Vec<_> =
            list(&self.0).iter().filter(|path| path.is_dir()).flat_map(|path| list(path)).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(folder: &Folder) -> Config {
    Config::new().backend(Backend::Recompiler).code_cache(&folder.0)
}

/// An engine that keeps code in a folder; `None` where there is no recompiler.
fn engine(folder: &Folder) -> Option<Engine> {
    match Engine::new(config(folder)) {
        Ok(engine) => Some(engine),
        Err(ConfigError::Unsupported(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

fn code(text: &str) -> Code {
    let assembled = assemble(text).unwrap();
    Code::new(&assembled.code, &assembled.packed_bitmask, &assembled.jump_table).unwrap()
}

/// Counts down from a number and calls the host with the sum.
fn small(number: u32) -> Code {
    code(&format!(
        "load_imm t0, {number}\nfallthrough\nround: add_64 a0, a0, t0\nadd_imm_64 t0, t0, -1\n\
         branch_ne_imm t0, 0, @round\necalli 9"
    ))
}

/// Several regions that jump to each other: each adds its number.
fn large(regions: u32) -> Code {
    let mut text = String::new();
    for n in 0..regions {
        text.push_str(&format!("r{n}: add_imm_64 a0, a0, {}\njump @r{}\n", n + 1, n + 1));
        text.push_str(&"add_64 t0, t1, t2\n".repeat(2000));
        text.push_str("trap\n");
    }
    text.push_str(&format!("r{regions}: ecalli 9"));
    code(&text)
}

fn module(engine: &Engine, code: &Code) -> Module {
    engine.module(KEY, || Ok::<_, CodeError>(code.clone())).unwrap()
}

/// Runs from the start to the host call: A0 and the gas that is left.
fn run(module: &Module) -> (u64, u64) {
    let mut instance = Instance::new(module);
    instance.gas = GasCounter::new(1_000_000);
    assert_eq!(instance.run(&mut ExitOnEcall), ExitReason::HostCall(9));
    (instance.regs.get(Reg::A0), instance.gas.remaining())
}

/// What a run without a cache gives.
fn expected(code: &Code, model: GasModel) -> (u64, u64) {
    let config = Config::new().backend(Backend::Interpreter).gas_model(model);
    run(&Module::new(&Engine::new(config).unwrap(), code.clone()))
}

#[test]
fn the_next_engine_compiles_nothing_and_loads_what_it_enters() {
    let folder = Folder::new("next");
    let code = large(3);
    let expected = expected(&code, GasModel::Pipeline);
    let Some(first) = engine(&folder) else { return };
    let module_of_first = module(&first, &code);
    assert_eq!(run(&module_of_first), expected);
    let (compiled, loaded) = module_of_first.compiled_and_loaded();
    assert!(compiled >= 3 && loaded == 0, "{compiled} {loaded}");

    let second = engine(&folder).unwrap();
    let module_of_second = module(&second, &code);
    assert_eq!(module_of_second.compiled_and_loaded(), (0, 0), "nothing before it is entered");
    assert_eq!(run(&module_of_second), expected);
    assert_eq!(module_of_second.compiled_and_loaded(), (0, compiled));
    // The same bytes as were compiled, and the rest is compiled.
    assert_eq!(module_of_second.machine_code(), module_of_first.machine_code());

    let third = engine(&folder).unwrap();
    let module_of_third = module(&third, &code);
    module_of_third.compile();
    assert_eq!(module_of_third.compiled_and_loaded().0, 0);
    assert_eq!(run(&module_of_third), expected);
    // Without a key nothing is looked for.
    let without = Module::new(&third, code);
    assert_eq!((run(&without), without.compiled_and_loaded().1), (expected, 0));
}

#[test]
fn a_file_with_any_byte_changed_is_compiled_again() {
    let folder = Folder::new("changed");
    let code = small(3);
    let Some(first) = engine(&folder) else { return };
    let expected = expected(&code, GasModel::Pipeline);
    assert_eq!(run(&module(&first, &code)), expected);
    let file = folder.files().pop().unwrap();
    let good = fs::read(&file).unwrap();
    let check = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).unwrap();
        let module = module(&engine(&folder).unwrap(), &code);
        assert_eq!(run(&module), expected, "{what}");
        assert_eq!(module.compiled_and_loaded(), (1, 0), "{what}");
        assert!(fs::read(&file).unwrap() == good, "{what}: replaced by a good one");
    };
    for n in 0..good.len() {
        let mut bytes = good.clone();
        bytes[n] ^= 1 << (n % 8);
        check(&bytes, &format!("byte {n}"));
    }
    for len in (0..good.len()).step_by(7).chain([good.len() - 1]) {
        check(&good[..len], &format!("{len} bytes"));
    }
    check(&[&good[..], &[0]].concat(), "a byte more");
    check(&vec![0; 1 << 20], "a megabyte of zeros");
}

#[test]
fn code_of_another_place_is_never_run() {
    let folder = Folder::new("foreign");
    let code = large(2);
    let Some(first) = engine(&folder) else { return };
    run(&module(&first, &code));
    let files = folder.files();
    let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let compiled_again = |code: &Code, model: GasModel| {
        let engine = Engine::new(config(&folder).gas_model(model)).unwrap();
        let module = module(&engine, code);
        assert_eq!(run(&module), expected(code, model));
        module.compiled_and_loaded()
    };
    assert_eq!(compiled_again(&code, GasModel::Pipeline), (0, files.len()));

    // Another region's file.
    fs::write(&files[0], &contents[1]).unwrap();
    assert_eq!(compiled_again(&code, GasModel::Pipeline), (1, files.len() - 1));

    // Another gas model has files of its own; the same files under its names are no good.
    assert_eq!(compiled_again(&code, GasModel::PerInstruction), (files.len(), 0));
    let others: Vec<_> = folder.files().into_iter().filter(|file| !files.contains(file)).collect();
    assert_eq!(others.len(), files.len());
    others.iter().zip(&contents).for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
    assert_eq!(compiled_again(&code, GasModel::PerInstruction), (files.len(), 0));

    // Another program with the same key.
    let mut other = large(2).bytes().to_vec();
    other[2] ^= 2;
    let other = Code::new(&other, &code.packed_bitmask(), &[]).unwrap();
    assert_ne!(compiled_again(&other, GasModel::Pipeline).0, 0);

    // A folder with another secret.
    fs::remove_file(folder.0.join("secret")).unwrap();
    assert_eq!(compiled_again(&code, GasModel::Pipeline), (files.len(), 0));
    assert_eq!(compiled_again(&code, GasModel::Pipeline), (0, files.len()));
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let folder = Folder::new("rights");
    if engine(&folder).is_none() {
        return;
    }
    let refused = || match Engine::new(config(&folder)) {
        Err(ConfigError::CodeCache(error)) => error,
        other => panic!("{other:?}"),
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let secret = folder.0.join("secret");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    mode(&secret, 0o644);
    assert_eq!(refused(), CodeCacheError::Secret);
    mode(&secret, 0o600);
    mode(&folder.0, 0o777);
    assert_eq!(refused(), CodeCacheError::Folder);
    mode(&folder.0, 0o700);
    fs::write(&secret, [1; 31]).unwrap();
    assert_eq!(refused(), CodeCacheError::Secret);
    fs::remove_file(&secret).unwrap();
    fs::remove_dir_all(&folder.0).unwrap();
    fs::write(&folder.0, b"a file").unwrap();
    assert!(matches!(refused(), CodeCacheError::Io(_)));
    assert_eq!(
        ConfigError::from(CodeCacheError::Folder).to_string(),
        "the code cache cannot be used: others may write to the folder"
    );
    fs::remove_file(&folder.0).unwrap();
    // Nobody compiles, nobody needs a folder.
    assert!(Engine::new(config(&folder).backend(Backend::Interpreter)).is_ok() && !folder.0.exists());
}

#[test]
fn a_folder_that_disappears_or_fills_up_costs_time_only() {
    let folder = Folder::new("gone");
    let Some(lost) = engine(&folder) else { return };
    let code = large(4);
    let expected = expected(&code, GasModel::Pipeline);
    fs::remove_dir_all(&folder.0).unwrap();
    fs::write(&folder.0, b"in the way").unwrap();
    assert_eq!(run(&module(&lost, &code)), expected);
    fs::remove_file(&folder.0).unwrap();

    // Room for some of ten programs.
    let bounded = Engine::new(config(&folder).code_cache_limit(200_000)).unwrap();
    let size = || folder.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    for n in 0..10 {
        let module = bounded.module([n; 32], || Ok::<_, CodeError>(code.clone())).unwrap();
        module.compile();
        assert_eq!(run(&module), expected);
        assert!(size() <= 200_000, "{n}: {}", size());
    }
    assert!(size() > 50_000, "{}", size());
}

#[test]
fn a_key_has_one_module_whoever_asks() {
    let engine = Engine::new(Config::new()).unwrap();
    let code = large(3);
    let expected = expected(&code, GasModel::Pipeline);
    let modules: Vec<Module> = thread::scope(|scope| {
        let ask = || {
            let module = module(&engine, &code);
            assert_eq!(run(&module), expected);
            module
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let parts = modules[0].compiled_and_loaded();
    modules.iter().for_each(|module| assert_eq!(module.compiled_and_loaded(), parts));
    if engine.backend() == Backend::Recompiler {
        // Those with the jumps, and the end; eight threads compiled each of them once.
        assert!((3..=5).contains(&parts.0), "{parts:?}");
    }
    assert_eq!(engine.modules().0, 1);
    let none: Result<Module, _> = engine.module([1; 32], || Code::new(&[], &[], &[]));
    assert_eq!(none.map(|_| ()), Err(CodeError::Empty));
    assert_eq!(engine.modules().0, 1);
}

#[test]
fn modules_are_kept_within_bounds() {
    let engine = Engine::new(Config::new().module_cache(300_000)).unwrap();
    let mut first = None;
    for n in 0..40 {
        let code = large(1 + n % 2);
        let module = engine.module([n as u8; 32], || Ok::<_, CodeError>(code)).unwrap();
        module.compile();
        first.get_or_insert(module);
        // What has grown since is found when it is asked for again.
        engine.module([n as u8; 32], || Err::<Code, _>(())).unwrap();
        let (count, bytes) = engine.modules();
        assert!(count > 0 && bytes <= 300_000, "{count} {bytes}");
    }
    // Whoever has a module keeps it.
    run(&first.unwrap());
    assert_ne!(module_key(&large(1)), module_key(&large(2)));
}
