//! A program as an instance: published, made or taken from a state file, called once.

use std::{path::Path, time::Instant};

use javm::CallResult;
use javm_cap::{Cap, CapHash, CapHashOrRef, SlotIdx};
use javm_program::Program;

use super::{
    Args,
    report::{Entry, Gas, InstanceHashes, Memory, Outcome, RunReport},
};
use crate::{
    error::CliError,
    load::{self, path_name},
    options::number,
    show::hex,
    state,
    world::{World, find_endpoint},
};

pub(super) fn run(args: &Args, program: &Program) -> Result<RunReport, CliError> {
    if args.trace {
        return Err(CliError::NotHere("--trace follows flat runs only: add --flat"));
    }
    let (numbers, input) = args.arguments(4)?;
    let engine = args.engine.engine()?;
    let mut world = World::new(engine.clone());
    let name = path_name(&args.program);
    let image = world.publish(&name, program)?;
    // Offsets of the image's program: imports may have been renumbered.
    let (endpoint, endpoint_name) = find_endpoint(program, args.endpoint.as_deref().unwrap_or("0"))?;
    let before = instance(args, &mut world, image)?;
    let scratchpad = input.map(|file| world.data(&load::bytes(&file)?)).transpose()?;
    let mut four = [0; 4];
    four[..numbers.len()].copy_from_slice(&numbers);

    let start = Instant::now();
    let called = world.call(before, endpoint, four, scratchpad, args.gas)?;
    let wall_time_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);

    let (outcome, value, after, slot0) = match called.result {
        CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. } => {
            (Outcome::Halt, Some(return_value), post_instance_hash, reflected_slot0)
        }
        CallResult::Faulted { reflected_slot0, .. } => (Outcome::Fault, None, before, reflected_slot0),
        CallResult::Paused { marker_payload, .. } => (Outcome::Pause, None, before, marker_payload),
    };
    if let Some(file) = &args.output {
        write_slot0(&world, slot0, file)?;
    }
    if let Some(file) = args.state.as_ref().filter(|_| outcome == Outcome::Halt) {
        state::save(&world.cache, after, file)?;
    }
    let faulted = outcome == Outcome::Fault;
    let (fault, handled_fault) = if faulted { (called.fault, None) } else { (None, called.fault) };
    Ok(RunReport {
        program: name,
        format: program.format().to_string(),
        kind: "instance",
        entry: Entry {
            endpoint: Some(endpoint),
            name: endpoint_name,
            pc: world.image(image)?.endpoints.get(&endpoint).map_or(0, |e| e.entry_pc),
        },
        backend: RunReport::backend(&engine),
        gas_model: engine.gas_model().to_string(),
        outcome,
        value,
        value_hex: value.map(|v| format!("{v:#x}")),
        gas: Gas::new(args.gas, called.result.gas_used()),
        memory: Memory { pages: world.pages(before)?, changed: world.changed_pages(before, after)? },
        instance: Some(InstanceHashes { image: hex(&image), before: hex(&before), after: hex(&after) }),
        output: slot0.map(|name| world.held(name)).transpose()?,
        host_calls: None,
        syscalls: None,
        fault,
        handled_fault,
        wall_time_ns,
    })
}

/// The instance to call: out of the state file if there is one, else the first of the image.
fn instance(args: &Args, world: &mut World, image: CapHash) -> Result<CapHash, CliError> {
    if let Some(path) = args.state.as_ref().filter(|path| path.exists()) {
        if !args.slots.is_empty() {
            return Err(CliError::SlotsAndState { path: path.clone() });
        }
        let instance = state::load(&mut world.cache, path)?;
        let found = world.image_of(instance)?;
        if found != image {
            let (found, expected) = (hex(&found), hex(&image));
            return Err(CliError::StateOfOther { path: path.clone(), found, expected });
        }
        return Ok(instance);
    }
    let mut slots: Vec<(SlotIdx, CapHash)> = Vec::new();
    for text in &args.slots {
        let refused = |reason| CliError::Slot { slot: crate::show::clean(text), reason };
        let (slot, file) = text.split_once('=').ok_or_else(|| refused("is not of the form N=FILE"))?;
        let slot = number(slot).filter(|n| *n < 256).ok_or_else(|| refused("there are slots 1 to 255"))?;
        let slot = SlotIdx(slot as u32);
        if slot.0 == 0 {
            return Err(refused("slot 0 is the caller's: use @FILE or --input"));
        }
        if slots.iter().any(|(taken, _)| *taken == slot) {
            return Err(refused("is filled twice"));
        }
        slots.push((slot, value_of(args, world, file)?));
    }
    world.instance(image, &slots)
}

/// What a file stands for in a slot.
fn value_of(args: &Args, world: &mut World, file: &str) -> Result<CapHash, CliError> {
    if let Some(file) = file.strip_prefix("data:") {
        let bytes = load::bytes(Path::new(file))?;
        return world.data(&bytes);
    }
    let path = Path::new(file);
    let bytes = load::bytes(path)?;
    if bytes.starts_with(&state::MAGIC) {
        return state::load(&mut world.cache, path);
    }
    let magics: [&[u8]; 3] = [&javm_program::polkavm::MAGIC, b"\x7fELF", &javm_program::manifest::MAGIC];
    if magics.iter().any(|magic| bytes.starts_with(magic)) {
        let program = load::program(path, args.load)?;
        let image = world.publish(&path_name(path), &program)?;
        return world.instance(image, &[]);
    }
    world.data(&bytes)
}

/// Writes the Data in slot 0 to a file; an empty slot is an empty Data.
fn write_slot0(world: &World, slot0: Option<CapHashOrRef>, file: &Path) -> Result<(), CliError> {
    let bytes = match slot0 {
        None => Vec::new(),
        Some(name) => match &*world.cache.fetch(name)? {
            Cap::Data(data) => data.to_vec(),
            other => return Err(CliError::OutputKind { found: other.kind() }),
        },
    };
    load::write(file, &bytes)
}
