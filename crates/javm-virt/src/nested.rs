//! [`Nested`]: a program that may run programs of its own, which may run programs of their own.
//!
//! The host calls of [`wire`] are answered here, whoever of the instances makes them; every other
//! syscall goes to whoever runs the instance: its caller in the tree, or at the root the host. So a host that
//! swaps [`Virt`](crate::Virt) for [`Nested`] sees the same program.
//!
//! The invariant: an instance can name its own children and nothing else, and every step that is taken for it is
//! paid from the gas of the outermost run. Calls are a list, not recursion.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    vec,
    vec::Vec,
};

use javm_exec::{Access, Engine};

use crate::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MemoryError, VirtConfig, VirtMemory, VirtT,
    machine::{Machine, State},
    virt::{DEFAULTS, lock},
    wire::{self, Call, NO_BUFFER, OUTCOME_LEN},
};

/// Bytes that are copied at a time between two memories.
const CHUNK: usize = 4096;

/// An instance whose program may run others, by host calls: as deep as
/// [`VirtConfig::max_depth`] allows, and within the limits that count for all instances of the configuration.
///
/// The gas of what it runs is its own: an inner run gets no more than its caller has left, and what it uses its
/// caller has used. When an inner run comes to the end of its caller's gas before its own, its caller's call is
/// out of gas.
#[derive(Debug)]
pub struct Nested {
    root: Arc<Mutex<Machine>>,
    tree: Tree,
}

/// All instances below the root.
#[derive(Debug)]
struct Tree {
    engine: Engine,
    config: VirtConfig,
    family: Family,
    nodes: BTreeMap<Key, Node>,
    next: u64,
}

/// Names an instance of the tree. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Root,
    Node(u64),
}

#[derive(Debug)]
struct Node {
    machine: Machine,
    /// 1 for a child of the root.
    depth: u32,
    family: Family,
}

/// Children by the ids that their parent has for them.
#[derive(Debug, Default)]
struct Family {
    children: BTreeMap<u32, Key>,
    next: u32,
}

impl Nested {
    /// As [`Virt::with`](crate::Virt::with).
    ///
    /// # Errors
    /// [`InstantiateError`].
    pub fn with(engine: &Engine, config: &VirtConfig, program: &[u8]) -> Result<Self, InstantiateError> {
        let (engine, config) = (engine.clone(), config.clone());
        let machine = Machine::with(&engine, &config, program)?;
        let tree = Tree { engine, config, family: Family::default(), nodes: BTreeMap::new(), next: 0 };
        Ok(Self { root: Arc::new(Mutex::new(machine)), tree })
    }
}

impl VirtT for Nested {
    type Memory = VirtMemory;

    fn instantiate(program: &[u8]) -> Result<Self, InstantiateError> {
        let (engine, config) = &*DEFAULTS;
        Self::with(engine, config, program)
    }

    fn run(&mut self, gas_left: i64, action: ExecAction<'_>) -> Result<ExecOutcome, ExecError> {
        let mut root = lock(&self.root);
        let result = root.act(gas_left, action);
        World { root: &mut root, tree: &mut self.tree }.go_on(result)
    }

    fn memory(&self) -> VirtMemory {
        VirtMemory::of(&self.root)
    }
}

/// A run that waits for the one that it started.
#[derive(Clone, Copy, Debug)]
struct Frame {
    caller: Key,
    /// What the caller has left, before the inner run.
    left: i64,
    /// What the caller said the inner run may use.
    asked: i64,
    /// What it got: not more than the caller has.
    given: i64,
    /// Where in the caller's memory the outcome goes; was writable when the run began, and has not changed.
    outcome: u32,
}

/// What is done about a host call.
enum Served {
    /// The caller goes on with this in φ7 and this much gas.
    Answer(i64, i64),
    /// An inner run begins, with this in φ7.
    Run(Frame, Key, u64),
    /// The caller cannot pay.
    OutOfGas,
}

/// The tree while it runs.
struct World<'a> {
    root: &'a mut Machine,
    tree: &'a mut Tree,
}

impl World<'_> {
    /// Goes on from how the root's run went, until there is something to tell the host.
    fn go_on(&mut self, mut result: Result<ExecOutcome, ExecError>) -> Result<ExecOutcome, ExecError> {
        let mut waiting: Vec<Frame> = Vec::new();
        let mut current = Key::Root;
        loop {
            if let Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, .. }) = result
                && let Some(call) = Call::of(&syscall_symbol)
            {
                result = match self.serve(current, call, gas_left, [a0, a1, a2, a3, a4]) {
                    Served::Answer(value, gas_left) => self.resume(current, gas_left, value as u64),
                    Served::Run(frame, child, value) => {
                        waiting.push(frame);
                        current = child;
                        self.resume(child, frame.given, value)
                    }
                    Served::OutOfGas => self.out_of_gas(current),
                };
                continue;
            }
            let Some(frame) = waiting.pop() else { return result };
            let inner = core::mem::replace(&mut current, frame.caller);
            result = self.return_to(&frame, inner, result);
        }
    }

    /// Goes on with a caller whose inner run went so.
    fn return_to(
        &mut self,
        frame: &Frame,
        inner: Key,
        mut result: Result<ExecOutcome, ExecError>,
    ) -> Result<ExecOutcome, ExecError> {
        let used = match &mut result {
            // It would have had more, but for its caller.
            Err(ExecError::OutOfGas) if frame.given < frame.asked => return self.out_of_gas(frame.caller),
            Err(ExecError::OutOfGas) => frame.given.max(0),
            // Less than nothing is nothing, of which nothing was used: code that is paid goes on without gas.
            Err(_) => frame.given.max(0).saturating_sub(self.machine(inner).map_or(0, |m| m.gas_left())),
            Ok(ExecOutcome::Finished { gas_left } | ExecOutcome::Syscall { gas_left, .. }) => {
                let used = frame.given.saturating_sub(*gas_left);
                *gas_left = frame.asked.saturating_sub(used);
                used
            }
        };
        let (code, bytes) = wire::encode(&result);
        let caller = self.machine(frame.caller).ok_or(ExecError::InvalidInstance)?;
        let code = caller.write(frame.outcome, &bytes).map_or(NO_BUFFER, |()| code);
        self.resume(frame.caller, frame.left.saturating_sub(used), code as u64)
    }

    fn resume(&mut self, key: Key, gas_left: i64, value: u64) -> Result<ExecOutcome, ExecError> {
        self.machine(key).ok_or(ExecError::InvalidInstance)?.run(gas_left, value)
    }

    fn out_of_gas(&mut self, key: Key) -> Result<ExecOutcome, ExecError> {
        self.machine(key).ok_or(ExecError::InvalidInstance)?.abort();
        Err(ExecError::OutOfGas)
    }

    fn machine(&mut self, key: Key) -> Option<&mut Machine> {
        match key {
            Key::Root => Some(self.root),
            key => self.tree.nodes.get_mut(&key).map(|node| &mut node.machine),
        }
    }

    fn family(&mut self, key: Key) -> Option<&mut Family> {
        match key {
            Key::Root => Some(&mut self.tree.family),
            key => self.tree.nodes.get_mut(&key).map(|node| &mut node.family),
        }
    }

    /// The child that a caller means by a register.
    fn child(&mut self, caller: Key, id: u64) -> Option<Key> {
        self.family(caller)?.children.get(&u32::try_from(id).ok()?).copied()
    }

    /// Takes the price of a call and does it.
    fn serve(&mut self, caller: Key, call: Call, gas_left: i64, a: [u64; 5]) -> Served {
        let len = match call {
            Call::Instantiate => a[1],
            Call::Execute | Call::Read | Call::Write => a[3],
            Call::Resume | Call::Destroy => 0,
        };
        let Some(left) = i64::try_from(call.price(len)).ok().and_then(|price| paid(gas_left, price)) else {
            return Served::OutOfGas;
        };
        let code = match call {
            Call::Instantiate => self.instantiate(caller, a[0], a[1]),
            Call::Read => self.copy(caller, a[0], a[1], a[2], a[3], false),
            Call::Write => self.copy(caller, a[0], a[1], a[2], a[3], true),
            Call::Destroy => self.destroy(caller, a[0]),
            Call::Execute | Call::Resume => match self.start(caller, call, a) {
                Ok((child, outcome, value)) => {
                    let asked = a[1] as i64;
                    let frame = Frame { caller, left, asked, given: asked.min(left), outcome };
                    return Served::Run(frame, child, value);
                }
                Err(code) => code,
            },
        };
        Served::Answer(code, left)
    }

    /// Makes a child of a program in the caller's memory; its id or a code.
    fn instantiate(&mut self, caller: Key, address: u64, len: u64) -> i64 {
        let program = self.machine(caller).and_then(|machine| machine.buffer(address, len, Access::ReadOnly));
        let Some((address, len)) = program else { return NO_BUFFER };
        match self.spawn(caller, address, len) {
            Ok(id) => i64::from(id),
            Err(error) => error.code(),
        }
    }

    fn spawn(&mut self, caller: Key, address: u32, len: usize) -> Result<u32, InstantiateError> {
        let depth = match caller {
            Key::Root => 1,
            key => self.tree.nodes.get(&key).map_or(u32::MAX, |node| node.depth).saturating_add(1),
        };
        // Before the bytes are copied: a limit is one of work, too.
        if depth > self.tree.config.max_depth || len > self.tree.config.max_code_size {
            return Err(InstantiateError::Limit);
        }
        let id = self.family(caller).ok_or(InstantiateError::Limit)?.next;
        let next = id.checked_add(1).ok_or(InstantiateError::Limit)?;
        let mut program = vec![0; len];
        let machine = self.machine(caller).ok_or(InstantiateError::Limit)?;
        machine.read(address, &mut program).map_err(|_| InstantiateError::InvalidImage)?;
        let machine = Machine::with(&self.tree.engine, &self.tree.config, &program)?;
        let key = Key::Node(self.tree.next);
        self.tree.next += 1;
        self.tree.nodes.insert(key, Node { machine, depth, family: Family::default() });
        if let Some(family) = self.family(caller) {
            family.children.insert(id, key);
            family.next = next;
        }
        Ok(id)
    }

    /// Gets a child ready to run: it, where its outcome goes, and its φ7. A refusal is a code.
    fn start(&mut self, caller: Key, call: Call, a: [u64; 5]) -> Result<(Key, u32, u64), i64> {
        let child = self.child(caller, a[0]).ok_or(ExecError::InvalidInstance.code())?;
        let outcome = if call == Call::Execute { a[4] } else { a[3] };
        let machine = self.machine(caller).ok_or(NO_BUFFER)?;
        let (outcome, _) = machine.buffer(outcome, OUTCOME_LEN as u64, Access::ReadWrite).ok_or(NO_BUFFER)?;
        if call == Call::Resume {
            let waits = self.machine(child).is_some_and(|child| child.state() == State::Syscall);
            return if waits { Ok((child, outcome, a[2])) } else { Err(ExecError::InvalidInstance.code()) };
        }
        let (address, len) = machine.buffer(a[2], a[3], Access::ReadOnly).ok_or(NO_BUFFER)?;
        // No program that is within the limits has a longer name in it.
        let mut name = vec![0; len.min(self.tree.config.max_code_size.saturating_add(1))];
        let machine = self.machine(caller).ok_or(NO_BUFFER)?;
        machine.read(address, &mut name).map_err(|_| NO_BUFFER)?;
        let inner = self.machine(child).ok_or(ExecError::InvalidInstance.code())?;
        inner.prepare(&name).map_err(ExecError::code)?;
        inner.clear_stack();
        Ok((child, outcome, 0))
    }

    /// Copies between a caller and its child.
    fn copy(&mut self, caller: Key, id: u64, there: u64, here: u64, len: u64, write: bool) -> i64 {
        let Some(child) = self.child(caller, id) else { return MemoryError::InvalidInstance.code() };
        let (of_caller, of_child) = match write {
            true => (Access::ReadOnly, Access::ReadWrite),
            false => (Access::ReadWrite, Access::ReadOnly),
        };
        let there = self.machine(child).and_then(|m| m.buffer(there, len, of_child));
        let Some((there, _)) = there else { return MemoryError::OutOfBounds.code() };
        let here = self.machine(caller).and_then(|m| m.buffer(here, len, of_caller));
        let Some((here, len)) = here else { return NO_BUFFER };
        let (from, to) =
            if write { ((caller, here), (child, there)) } else { ((child, there), (caller, here)) };
        let mut chunk = [0; CHUNK];
        for done in (0..len).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(len - done)];
            // Both ranges were found within memory above, and ranges do not wrap.
            let (from, to) = ((from.0, from.1 + done as u32), (to.0, to.1 + done as u32));
            let read = self.machine(from.0).map(|machine| machine.read(from.1, chunk));
            let written = self.machine(to.0).map(|machine| machine.write(to.1, chunk));
            if (read, written) != (Some(Ok(())), Some(Ok(()))) {
                return NO_BUFFER;
            }
        }
        wire::DONE
    }

    /// Ends a child and all that is below it.
    fn destroy(&mut self, caller: Key, id: u64) -> i64 {
        let id = u32::try_from(id).ok();
        let gone = id.and_then(|id| self.family(caller)?.children.remove(&id));
        let Some(key) = gone else { return MemoryError::InvalidInstance.code() };
        let mut doomed = vec![key];
        while let Some(key) = doomed.pop() {
            if let Some(node) = self.tree.nodes.remove(&key) {
                doomed.extend(node.family.children.into_values());
            }
        }
        wire::DONE
    }
}

/// What is left after a price; `None` when it cannot be paid.
fn paid(gas_left: i64, price: i64) -> Option<i64> {
    gas_left.checked_sub(price).filter(|left| *left >= 0)
}
