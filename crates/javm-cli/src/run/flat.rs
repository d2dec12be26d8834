//! A program flat on the engine: its own memory and registers, no slots, and no host that knows its calls but a
//! script's.

use std::{collections::BTreeSet, convert::Infallible, io::Write, time::Instant};

use javm_abi::{reg, status};
use javm_exec::{
    Access, EcallHandler, EcallKind, EcallResult, ExitReason, GasCounter, Instance, Mem, Memory as Ram, Regs,
    Step, module_key,
};
use javm_program::{Format, Program, Region};

use super::{
    Args,
    report::{Entry, Gas, HostCalls, Memory, Outcome, RunReport},
    syscalls::Syscalls,
};
use crate::{
    error::CliError,
    fault::FaultReport,
    load::{self, path_name},
    options::number,
    show::{clean, registers},
    world::World,
};

/// What a host call that nobody knows costs (Gray Paper, appendix B).
const WHAT_PRICE: u64 = 10;

/// Registers for arguments: a0 to a5.
const ARGUMENTS: usize = 6;

/// Answers every call with WHAT, for its price.
#[derive(Default)]
struct NoHost {
    count: u64,
    numbers: BTreeSet<u32>,
}

impl EcallHandler for NoHost {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        _: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        if !gas.charge(WHAT_PRICE) {
            return EcallResult::Exit(ExitReason::OutOfGas);
        }
        self.count += 1;
        self.numbers.insert(match kind {
            EcallKind::Ecalli(n) => n,
            EcallKind::Ecall => regs.gpr[reg::A4] as u32,
        });
        regs.gpr[reg::A0] = status::WHAT;
        EcallResult::Continue
    }
}

/// Who answers the calls.
enum Host {
    Nobody(NoHost),
    Script(Syscalls),
}

impl EcallHandler for Host {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        match self {
            Self::Nobody(host) => host.ecall(kind, regs, mem, gas),
            Self::Script(host) => host.ecall(kind, regs, mem, gas),
        }
    }
}

pub(super) fn run(args: &Args, program: &Program, json: bool) -> Result<RunReport, CliError> {
    let jam = matches!(program.format(), Format::JamService { .. });
    check(args, jam)?;
    let (numbers, input) = args.arguments(if jam { 0 } else { ARGUMENTS })?;
    let (name, pc) = entry(args, program)?;
    let engine = args.engine.engine()?;
    let code = program.code();
    let Ok(module) = engine.module(module_key(code), || Ok::<_, Infallible>(code.clone()));
    let mut machine = Instance::new(&module);
    let mut argument = None;
    machine.regs.gpr = program.registers();
    if jam {
        let bytes = input.map_or_else(|| Ok(Vec::new()), |file| load::bytes(&file))?;
        let failed = |source| CliError::Program { name: path_name(&args.program), source };
        (machine.regs.gpr, argument) = program.with_args(&bytes).map_err(failed)?;
    } else {
        // A bare blob says nothing of registers; this way it can return.
        machine.regs.gpr[reg::RA] = reg::HALT_ADDRESS;
        machine.regs.gpr[reg::A0..reg::A0 + numbers.len()].copy_from_slice(&numbers);
    }
    let regions: Vec<&Region> = program.regions().iter().chain(&argument).collect();
    regions.iter().try_for_each(|region| map(&mut machine.memory, region))?;
    machine.regs.pc = pc;
    machine.gas = GasCounter::new(args.gas);

    let mut host = match &args.syscalls {
        Some(script) => Host::Script(Syscalls::new(script, program.imports(), json)?),
        None => Host::Nobody(NoHost::default()),
    };
    let start = Instant::now();
    let exit = if args.trace {
        machine.run_traced(&mut host, &mut |step| trace(step))
    } else {
        machine.run(&mut host)
    };
    let wall_time_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);

    let (host_calls, syscalls) = match host {
        Host::Nobody(NoHost { count, numbers }) => {
            (HostCalls { count, numbers: numbers.into_iter().collect() }, None)
        }
        Host::Script(Syscalls { error: Some(error), .. }) => return Err(error),
        Host::Script(Syscalls { count, seen, .. }) => (HostCalls { count, numbers: Vec::new() }, Some(seen)),
    };
    let halted = exit == ExitReason::Halt;
    let outcome = match exit {
        ExitReason::Halt => Outcome::Halt,
        ExitReason::HostCall(_) | ExitReason::Ecall => Outcome::Pause,
        _ => Outcome::Fault,
    };
    let output = if jam && halted { output(&mut machine) } else { Vec::new() };
    if let Some(file) = args.output.as_ref().filter(|_| halted) {
        load::write(file, &output)?;
    }
    let value = halted.then_some(machine.regs.gpr[reg::A0]);
    Ok(RunReport {
        program: path_name(&args.program),
        format: program.format().to_string(),
        kind: "flat",
        entry: Entry { endpoint: None, name, pc },
        backend: RunReport::backend(&engine),
        gas_model: engine.gas_model().to_string(),
        outcome,
        value,
        value_hex: value.map(|v| format!("{v:#x}")),
        gas: Gas::new(args.gas, args.gas - machine.gas.remaining()),
        memory: Memory::of(&machine, &regions),
        instance: None,
        output: (jam && halted).then(|| held(&output)).transpose()?,
        host_calls: Some(host_calls),
        syscalls,
        fault: (outcome == Outcome::Fault).then(|| FaultReport::of_machine(exit, &machine.regs, program)),
        handled_fault: None,
        wall_time_ns,
    })
}

/// Refuses what only instances have.
fn check(args: &Args, jam: bool) -> Result<(), CliError> {
    let at_file = args.args.iter().any(|text| load::at_file(text).is_some());
    let refusal = if !args.slots.is_empty() {
        "--slot: a flat program has no slots"
    } else if args.state.is_some() {
        "--state: a flat program has no value that could be kept"
    } else if at_file {
        "@FILE: a flat program has no slot 0; the arguments of a JAM program come by --input"
    } else if !jam && args.input.is_some() {
        "--input: of flat programs only a JAM program takes bytes"
    } else if !jam && args.output.is_some() {
        "--output: of flat programs only a JAM program gives bytes"
    } else if jam && !args.args.is_empty() {
        "a JAM program takes bytes, not numbers: use --input"
    } else {
        return Ok(());
    };
    Err(CliError::NotHere(refusal))
}

/// Where to begin: an export, or a code offset; else 0, of a PolkaVM program its endpoint 0.
fn entry(args: &Args, program: &Program) -> Result<(Option<String>, u64), CliError> {
    let exports: Vec<_> = program.exports().iter().map(|e| (clean(&e.name_lossy()), e.pc)).collect();
    let Some(wanted) = &args.endpoint else {
        let first = exports.iter().find(|(name, _)| name.ends_with("@0")).or(exports.first());
        return Ok(first.map_or((None, 0), |(name, pc)| (Some(name.clone()), u64::from(*pc))));
    };
    let matches = |name: &str| name == wanted || name.rsplit_once('@').is_some_and(|(n, _)| n == wanted);
    if let Some((name, pc)) = exports.iter().find(|(name, _)| matches(name)) {
        return Ok((Some(name.clone()), u64::from(*pc)));
    }
    let pc = number(wanted).ok_or_else(|| {
        let names: Vec<_> = exports.iter().map(|(name, pc)| format!("{name} ({pc})")).collect();
        let known = if names.is_empty() { "none, but any code offset".to_owned() } else { names.join(", ") };
        CliError::NoEndpoint { wanted: clean(wanted), known }
    })?;
    if !program.code().is_instruction_start(pc) {
        return Err(CliError::NoInstruction { pc });
    }
    Ok((None, pc))
}

fn map(memory: &mut Ram, region: &Region) -> Result<(), CliError> {
    javm_virt::map_region(memory, region).map_err(|_| CliError::NotHere("the program's memory plan overlaps"))
}

/// What a JAM program leaves: `a1` bytes from `a0` on if it can read them all, else nothing.
fn output(machine: &mut Instance) -> Vec<u8> {
    let (address, len) = (machine.regs.gpr[reg::A0], machine.regs.gpr[reg::A1]);
    let inside = address.checked_add(len).is_some_and(|end| end <= 1 << 32);
    let (Ok(address), Ok(len)) = (u32::try_from(address), usize::try_from(len)) else { return Vec::new() };
    if !inside || machine.memory.check(address, len, Access::ReadOnly).is_err() {
        return Vec::new();
    }
    let mut bytes = vec![0; len];
    if machine.memory.read(address, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// Output bytes as they are reported.
fn held(bytes: &[u8]) -> Result<crate::world::Held, CliError> {
    let mut world = World::new(javm_exec::Engine::default());
    let data = world.data(bytes)?;
    world.held(data.into())
}

fn trace(step: &Step<'_>) {
    let line = format!("{:>8}  {:<40} gas {}\n", step.pc, step.instruction.to_string(), step.gas);
    let text = line + &registers(&step.regs.gpr, "          ");
    // A reader that has gone away does not end the run.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
