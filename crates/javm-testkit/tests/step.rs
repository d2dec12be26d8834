//! Running equals single-stepping, whatever interrupts it.

use javm_exec::{Config, Engine, GasModel};
use javm_testkit::{
    r#gen::{Options, case, raw},
    oracle::step_equals_run,
};

fn all(options: &Options, generate: fn(u64, &Options) -> javm_testkit::r#gen::Case, cases: u64) {
    for model in GasModel::ALL {
        let engine = Engine::new(Config::new().gas_model(model)).unwrap();
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
