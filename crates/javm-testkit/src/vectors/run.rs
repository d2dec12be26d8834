//! Running vectors and collecting what differed.

use javm_exec::{Config, ConfigError, Engine, GasModel};
use javm_gas::BlockCosts;
use javm_isa::Code;

use super::{Failure, FileReport, RunConfig, Status, Step, Vector, VectorFile, machine::Machine};

/// Runs every vector of a file.
///
/// # Errors
/// [`ConfigError`] when there is no such engine here.
pub fn run_file(file: &VectorFile, config: &RunConfig) -> Result<FileReport, ConfigError> {
    let engine = |model| Engine::new(Config::new().backend(config.backend).gas_model(model));
    let engines = [engine(GasModel::Pipeline)?, engine(GasModel::PerInstruction)?];
    let mut report = FileReport::default();
    for vector in &file.vectors {
        let model = config.gas_model.unwrap_or(vector.gas_model);
        let [pipeline, per_instruction] = &engines;
        let engine = if model == GasModel::Pipeline { pipeline } else { per_instruction };
        match run(engine, vector) {
            None => report.skipped += 1,
            Some(Ok(())) => report.passed += 1,
            Some(Err(difference)) => report.failed.push(Failure { name: vector.name.clone(), difference }),
        }
    }
    Ok(report)
}

/// Runs one vector on an engine. `None` when it says nothing about an engine with this gas model.
#[must_use]
pub fn run_vector(engine: &Engine, vector: &Vector) -> Option<Result<(), Failure>> {
    let named = |difference| Failure { name: vector.name.clone(), difference };
    run(engine, vector).map(|result| result.map_err(named))
}

fn run(engine: &Engine, vector: &Vector) -> Option<Result<(), String>> {
    let own_gas = engine.gas_model() == vector.gas_model;
    let runs_out =
        |step: &Step| matches!(step, Step::Assert(expected) if expected.status == Status::OutOfGas);
    if !own_gas && (vector.steps.is_empty() || vector.steps.iter().any(runs_out)) {
        return None;
    }
    let code = javm_program::bare::read(&vector.program, vector.numbering).ok().map(|p| p.into_code());
    if let Some(costs) = vector.block_costs.as_ref().filter(|_| own_gas)
        && let Err(difference) = compare_costs(code.as_ref(), vector.gas_model, costs)
    {
        return Some(Err(difference));
    }
    let gas = if own_gas { vector.initial_gas } else { i64::MAX };
    let mut machine = Machine::new(engine, code, vector, gas);
    let result = vector.steps.iter().enumerate().try_for_each(|(n, step)| {
        let result = match step {
            Step::Map { address, length, writable } => machine.map(*address, *length, *writable),
            Step::Write { address, contents } => machine.write(*address, contents),
            Step::SetReg { reg, value } => machine.set_reg(*reg, *value),
            Step::Run => {
                machine.run();
                Ok(())
            }
            Step::Assert(expected) => machine.compare(expected, own_gas),
        };
        result.map_err(|difference| format!("step {n}: {difference}"))
    });
    engine.recycle(machine.into_memory());
    Some(result)
}

/// Compares the set of block starts and each cost. A program that does not load has no blocks.
fn compare_costs(code: Option<&Code>, model: GasModel, expected: &[(u64, u64)]) -> Result<(), String> {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let found: Vec<(u64, u64)> = code.map_or_else(Vec::new, |code| {
        BlockCosts::new(code, model).iter().map(|(pc, cost)| (pc.into(), cost.into())).collect()
    });
    for (pc, cost) in &expected {
        match found.binary_search_by_key(pc, |block| block.0).ok().map(|n| found[n].1) {
            None => return Err(format!("no block starts at {pc}")),
            Some(ours) if ours != *cost => {
                return Err(format!("the block at {pc} costs {ours}, not {cost}"));
            }
            Some(_) => {}
        }
    }
    match found.iter().find(|block| expected.binary_search_by_key(&block.0, |b| b.0).is_err()) {
        Some((pc, _)) => Err(format!("a block starts at {pc}, which the vector does not have")),
        None => Ok(()),
    }
}
