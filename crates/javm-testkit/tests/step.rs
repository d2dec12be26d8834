//! Running equals single-stepping, whatever interrupts it: the interpreter, which the recompiler is compared with
//! elsewhere (`javm-exec/tests/jit_random.rs`).

use javm_exec::{Backend, Config, Engine, GasModel};
use javm_testkit::{
    r#gen::{Options, case, raw},
    oracle::step_equals_run,
};

fn all(options: &Options, generate: fn(u64, &Options) -> javm_testkit::r#gen::Case, cases: u64) {
    for model in GasModel::ALL {
        let config = Config::new().backend(Backend::Interpreter).gas_model(model);
        let engine = Engine::new(config).unwrap();
        for seed in 0..cases {
            step_equals_run(&engine, &generate(seed, options)).unwrap();
        }
    }
}

#[test]
fn structured_programs() {
    all(&Options::ALL, case, 6_000);
}

#[test]
fn any_valid_code() {
    all(&Options::ALL, raw, 20_000);
}
