//! Does the steps of a scenario, one after the other, up to the first that is not as expected.

use std::collections::BTreeMap;

use javm::CallResult;
use javm_cap::{Cap, CapHash, CapHashOrRef, SlotIdx, SlotPath};
use javm_exec::Engine;
use javm_program::Program;
use serde::Serialize;

use super::{
    Files,
    scenario::{Call, Endpoint, Number, Scenario, Step, Value},
};
use crate::{
    error::CliError,
    fault::FaultReport,
    options::number,
    show::{clean, hex},
    world::{Held, World, find_endpoint},
};

/// What was played.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) scenario: String,
    pub(super) title: String,
    pub(super) about: String,
    pub(super) backend: String,
    pub(super) gas_model: String,
    pub(super) programs: Vec<Published>,
    pub(super) steps: Vec<Event>,
    pub(super) gas_used: u64,
    /// What was not as expected; nothing is played behind it.
    pub(super) failure: Option<Failure>,
}

/// A program that became an image.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) code_bytes: u32,
    pub(super) endpoints: usize,
}

/// Where the story went wrong.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    /// The step, from 1.
    pub(super) step: usize,
    /// The first difference.
    pub(super) difference: String,
}

/// What a step did.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Event {
    Say { text: String },
    Instance { name: String, program: String, hash: String, slots: BTreeMap<String, String> },
    Put { instance: String, slot: String, value: String, before: String, after: String },
    Call(Box<Called>),
    Snapshot { of: String, name: String, hash: String },
    Revert { instance: String, to: String, before: String, after: String },
    Same { a: String, b: String, hash: String },
    Different { a: String, b: String, hashes: [String; 2] },
    Show { instance: String, hash: String, image: String, slots: Vec<(u32, Held)> },
}

/// What a call did.
#[derive(Debug, Serialize)]
pub(super) struct Called {
    pub(super) instance: String,
    pub(super) endpoint: String,
    pub(super) args: Vec<u64>,
    /// `halt`, `fault` or `pause`.
    pub(super) outcome: &'static str,
    pub(super) value: Option<u64>,
    pub(super) gas_used: u64,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) output: Option<Held>,
    pub(super) fault: Option<FaultReport>,
    pub(super) handled_fault: Option<FaultReport>,
    pub(super) note: Option<String>,
}

/// Either a step that cannot be done, or one that is not as expected.
enum Stop {
    Error(CliError),
    Unexpected(String),
}

impl<E: Into<CliError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

struct Player<'a> {
    world: World,
    files: &'a Files,
    /// Images and programs, by the scenario's names.
    programs: BTreeMap<String, (CapHash, Program)>,
    /// What names stand for: instances and snapshots alike are values.
    values: BTreeMap<String, CapHash>,
    gas: u64,
    events: Vec<Event>,
}

pub(super) fn play(
    name: &str,
    scenario: &Scenario,
    files: &Files,
    engine: Engine,
) -> Result<Report, CliError> {
    let mut player = Player {
        world: World::new(engine.clone()),
        files,
        programs: BTreeMap::new(),
        values: BTreeMap::new(),
        gas: scenario.gas.value()?,
        events: Vec::with_capacity(scenario.steps.len()),
    };
    let mut programs = Vec::with_capacity(scenario.programs.len());
    for (program, file) in &scenario.programs {
        programs.push(player.publish(program, file)?);
    }
    let mut failure = None;
    for (n, step) in scenario.steps.iter().enumerate() {
        match player.step(step) {
            Ok(()) => {}
            Err(Stop::Unexpected(difference)) => {
                failure = Some(Failure { step: n + 1, difference });
                break;
            }
            Err(Stop::Error(source)) => {
                return Err(CliError::Step { name: name.to_owned(), step: n + 1, source: Box::new(source) });
            }
        }
    }
    let gas_used = player.events.iter().map(|e| if let Event::Call(c) = e { c.gas_used } else { 0 }).sum();
    Ok(Report {
        scenario: name.to_owned(),
        title: clean(&scenario.title),
        about: scenario.about.lines().map(clean).collect::<Vec<_>>().join("\n"),
        backend: engine.backend().to_string(),
        gas_model: engine.gas_model().to_string(),
        programs,
        steps: player.events,
        gas_used,
        failure,
    })
}

impl Player<'_> {
    fn publish(&mut self, name: &str, file: &str) -> Result<Published, CliError> {
        let bytes = self.files.read(file)?;
        let program =
            Program::load(&bytes).map_err(|source| CliError::Program { name: clean(file), source })?;
        let image = self.world.publish(name, &program)?;
        let published = Published {
            name: clean(name),
            image: hex(&image),
            code_bytes: program.code().len(),
            endpoints: program.exports().len(),
        };
        self.programs.insert(name.to_owned(), (image, program));
        Ok(published)
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        let event = match step {
            Step::Say { text } => Event::Say { text: text.lines().map(clean).collect::<Vec<_>>().join("\n") },
            Step::Instance { name, program, slots } => self.instance(name, program, slots)?,
            Step::Put { instance, slot, value } => self.put(instance, slot, value)?,
            Step::Call(call) => return self.call(call),
            Step::Snapshot { of, name } => {
                let hash = self.value(of)?;
                self.values.insert(name.clone(), hash);
                Event::Snapshot { of: clean(of), name: clean(name), hash: hex(&hash) }
            }
            Step::Revert { instance, to } => {
                let (before, after) = (self.own(instance)?, self.value(to)?);
                self.values.insert(instance.clone(), after);
                let (before, after) = (hex(&before), hex(&after));
                Event::Revert { instance: clean(instance), to: clean(to), before, after }
            }
            Step::Same { a, b } => {
                let (left, right) = (self.value(a)?, self.value(b)?);
                if left != right {
                    let (left, right) = (hex(&left), hex(&right));
                    return Err(Stop::Unexpected(format!("`{a}` is {left}, `{b}` is {right}: not the same")));
                }
                Event::Same { a: clean(a), b: clean(b), hash: hex(&left) }
            }
            Step::Different { a, b } => {
                let (left, right) = (self.value(a)?, self.value(b)?);
                if left == right {
                    return Err(Stop::Unexpected(format!("`{a}` and `{b}` are both {}", hex(&left))));
                }
                Event::Different { a: clean(a), b: clean(b), hashes: [hex(&left), hex(&right)] }
            }
            Step::Show { instance } => self.show(instance)?,
        };
        self.events.push(event);
        Ok(())
    }

    /// What a name stands for, without a path behind it.
    fn own(&self, name: &str) -> Result<CapHash, CliError> {
        self.values.get(name).copied().ok_or_else(|| CliError::UnknownName { name: clean(name) })
    }

    /// What `NAME` or `NAME/SLOT/…` stands for.
    fn value(&self, name: &str) -> Result<CapHash, CliError> {
        let Some((name, rest)) = name.split_once('/') else { return self.own(name) };
        let path = path(rest)?;
        let slot = self.world.slot(self.own(name)?, path)?;
        let settled = slot.and_then(|name| name.as_hash().copied());
        settled.ok_or_else(|| CliError::NoInstance { name: clean(name), path })
    }

    /// Makes what goes into a slot.
    fn make(&mut self, value: &Value) -> Result<Option<CapHash>, CliError> {
        let hash = match value {
            Value::Instance(name) => self.value(name)?,
            Value::Cnode(size_log) => self.world.cache.put_cap(&Cap::empty_cnode(*size_log)?)?,
            Value::Empty(true) => return Ok(None),
            data => {
                let bytes = self.bytes(data)?;
                self.world.data(&bytes)?
            }
        };
        Ok(Some(hash))
    }

    /// The bytes that a value spells.
    fn bytes(&self, value: &Value) -> Result<Vec<u8>, CliError> {
        match value {
            Value::Text(text) => Ok(text.clone().into_bytes()),
            Value::File(file) => self.files.read(file),
            Value::Hex(digits) => unhex(digits),
            Value::Empty(true) => Ok(Vec::new()),
            Value::Empty(false) => Err(CliError::NotHere("`empty` is true or not there")),
            Value::Instance(_) | Value::Cnode(_) => Err(CliError::NotHere("a Data is text, hex or file")),
        }
    }

    fn instance(
        &mut self,
        name: &str,
        program: &str,
        slots: &BTreeMap<String, Value>,
    ) -> Result<Event, CliError> {
        let unknown = || CliError::UnknownName { name: clean(program) };
        let image = self.programs.get(program).ok_or_else(unknown)?.0;
        if name.contains('/') {
            return Err(CliError::NotHere("a name has no `/`"));
        }
        let mut filled: Vec<(SlotIdx, CapHash)> = Vec::new();
        let mut described = BTreeMap::new();
        for (slot, value) in slots {
            let at = path(slot)?;
            if !at.is_root() || at.root_slot() == 0 {
                return Err(CliError::Slot {
                    slot: clean(slot),
                    reason: "a new instance has root slots 1 to 255",
                });
            }
            if let Some(hash) = self.make(value)? {
                filled.push((SlotIdx(u32::from(at.root_slot())), hash));
            }
            described.insert(slot.clone(), describe(value));
        }
        let hash = self.world.instance(image, &filled)?;
        self.values.insert(name.to_owned(), hash);
        Ok(Event::Instance { name: clean(name), program: clean(program), hash: hex(&hash), slots: described })
    }

    fn put(&mut self, instance: &str, slot: &str, value: &Value) -> Result<Event, CliError> {
        let (before, content) = (self.own(instance)?, self.make(value)?);
        let after = self.world.put(before, path(slot)?, content)?;
        self.values.insert(instance.to_owned(), after);
        Ok(Event::Put {
            instance: clean(instance),
            slot: clean(slot),
            value: describe(value),
            before: hex(&before),
            after: hex(&after),
        })
    }

    fn show(&self, instance: &str) -> Result<Event, CliError> {
        let hash = self.value(instance)?;
        let image = self.world.image_of(hash)?;
        let mut slots = Vec::new();
        for root in 0..=255u8 {
            if let Some(name) = self.world.slot(hash, SlotPath::root(root))? {
                slots.push((u32::from(root), self.world.held(name)?));
            }
        }
        let image = self.world.name_of(&image).map_or_else(|| hex(&image), clean);
        Ok(Event::Show { instance: clean(instance), hash: hex(&hash), image, slots })
    }

    fn call(&mut self, call: &Call) -> Result<(), Stop> {
        let before = self.own(&call.instance)?;
        let args = call.args.iter().map(Number::value).collect::<Result<Vec<_>, _>>()?;
        let mut four = [0; 4];
        let fits = four.get_mut(..args.len());
        fits.ok_or(CliError::TooManyArguments { given: args.len(), limit: 4 })?.copy_from_slice(&args);
        let endpoint = self.endpoint(before, &call.endpoint)?;
        let scratchpad = call.input.as_ref().map(|value| self.make(value)).transpose()?.flatten();
        let gas = call.gas.as_ref().map_or(Ok(self.gas), Number::value)?;
        let called = self.world.call(before, endpoint, four, scratchpad, gas)?;
        let gas_used = called.result.gas_used();
        let (outcome, value, after, slot0) = match called.result {
            CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. } => {
                ("halt", Some(return_value), post_instance_hash, reflected_slot0)
            }
            CallResult::Faulted { reflected_slot0, .. } => ("fault", None, before, reflected_slot0),
            CallResult::Paused { marker_payload, .. } => ("pause", None, before, marker_payload),
        };
        let (fault, handled_fault) =
            if outcome == "fault" { (called.fault, None) } else { (None, called.fault) };
        self.values.insert(call.instance.clone(), after);
        let output = slot0.map(|name| self.world.held(name)).transpose()?;
        self.events.push(Event::Call(Box::new(Called {
            instance: clean(&call.instance),
            endpoint: clean(&call.endpoint.to_string()),
            args,
            outcome,
            value,
            gas_used,
            before: hex(&before),
            after: hex(&after),
            output,
            fault: fault.clone(),
            handled_fault: handled_fault.clone(),
            note: call.note.as_deref().map(clean),
        })));
        self.compare(call, value, [fault, handled_fault], slot0, before, after)
    }

    /// The endpoint's index, by the program of the instance's image.
    fn endpoint(&self, instance: CapHash, wanted: &Endpoint) -> Result<u8, CliError> {
        let name = match wanted {
            Endpoint::Index(index) => return Ok(*index),
            Endpoint::Name(name) => name,
        };
        let image = self.world.image_of(instance)?;
        let program = self.programs.values().find(|(hash, _)| *hash == image).map(|(_, program)| program);
        let program = program.ok_or(CliError::NotHere("the instance is of no program of this scenario"))?;
        Ok(find_endpoint(program, name)?.0)
    }

    /// The first difference to what is expected.
    fn compare(
        &self,
        call: &Call,
        value: Option<u64>,
        [fault, handled]: [Option<FaultReport>; 2],
        slot0: Option<CapHashOrRef>,
        before: CapHash,
        after: CapHash,
    ) -> Result<(), Stop> {
        let expect = &call.expect;
        let what = format!("{}.{}", clean(&call.instance), clean(&call.endpoint.to_string()));
        let unexpected = |text: String| Err(Stop::Unexpected(format!("{what}: {text}")));
        for (found, wanted, kind) in
            [(&fault, &expect.fault, "fault"), (&handled, &expect.handled, "handled fault")]
        {
            let reason = found.as_ref().map(|f| f.reason);
            if reason != wanted.as_deref() {
                let shown = reason.map_or("none", |r| r);
                return unexpected(format!(
                    "{kind} is {shown}, expected {}",
                    clean(wanted.as_deref().unwrap_or("none"))
                ));
            }
        }
        if fault.is_none() && value.is_none() {
            return unexpected("it paused, which no expectation is for".to_owned());
        }
        if let Some(wanted) = &expect.value {
            let wanted = wanted.value()?;
            if value != Some(wanted) {
                let found = value.map_or_else(|| "none".to_owned(), |v| format!("{v} ({v:#x})"));
                return unexpected(format!("value is {found}, expected {wanted} ({wanted:#x})"));
            }
        }
        if let Some(wanted) = &expect.output {
            let (found, wanted) = (self.slot0_bytes(slot0)?, self.bytes(wanted)?);
            let stripped = wanted.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            if found != wanted[..stripped] {
                let at =
                    found.iter().zip(&wanted).position(|(a, b)| a != b).unwrap_or(found.len().min(stripped));
                let lengths = format!("{} and {stripped} bytes", found.len());
                return unexpected(format!("output differs from what is expected at byte {at} ({lengths})"));
            }
        }
        if let Some(changed) = expect.changed
            && changed != (before != after)
        {
            let word = if changed { "has not" } else { "has" };
            return unexpected(format!("the instance {word} changed: {} to {}", hex(&before), hex(&after)));
        }
        if let Some(name) = &expect.same_as {
            let wanted = self.value(name)?;
            if wanted != after {
                let (found, wanted) = (hex(&after), hex(&wanted));
                return unexpected(format!("the instance is {found}, expected `{}`, {wanted}", clean(name)));
            }
        }
        Ok(())
    }

    fn slot0_bytes(&self, slot0: Option<CapHashOrRef>) -> Result<Vec<u8>, CliError> {
        let Some(name) = slot0 else { return Ok(Vec::new()) };
        match &*self.world.cache.fetch(name)? {
            Cap::Data(data) => Ok(data.to_vec()),
            other => Err(CliError::OutputKind { found: other.kind() }),
        }
    }
}

/// A path spelled `SLOT` or `SLOT/INDEX/…`.
fn path(text: &str) -> Result<SlotPath, CliError> {
    let refused = |reason| CliError::Slot { slot: clean(text), reason };
    let mut parts = text.split('/').map(number);
    let root = parts.next().flatten().and_then(|n| u8::try_from(n).ok());
    let mut path = SlotPath::root(root.ok_or_else(|| refused("a root slot is a number below 256"))?);
    for part in parts {
        let index =
            part.and_then(|n| u16::try_from(n).ok()).ok_or_else(|| refused("a step is below 65536"))?;
        path = path.step(index).ok_or_else(|| refused("a path has at most three steps"))?;
    }
    Ok(path)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Instance(name) => clean(name),
        Value::Text(text) => format!("\"{}\"", clean(text)),
        Value::Hex(digits) => format!("0x{}", clean(digits)),
        Value::File(file) => format!("file {}", clean(file)),
        Value::Cnode(size_log) => format!("cnode of 2^{size_log}"),
        Value::Empty(_) => "nothing".to_owned(),
    }
}

/// Bytes from hexadecimal digits.
fn unhex(digits: &str) -> Result<Vec<u8>, CliError> {
    let refused = || CliError::NotHere("hex: pairs of hexadecimal digits");
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => digit(high).zip(digit(low)).map(|(h, l)| h << 4 | l).ok_or_else(refused),
            _ => Err(refused()),
        })
        .collect()
}
