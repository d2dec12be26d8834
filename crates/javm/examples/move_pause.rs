//! Pause here, resume in another process.
//!
//! A job yields after each step. This process runs it for two steps, takes the paused stack off the machine as
//! one value, and writes that value and all that it reaches into a pipe. Another process, started by this
//! example from itself, reads them, puts the stack back and goes on where the job stood.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    sync::Mutex,
};

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance, marker, publish};
use javm_cap::{CacheDirectory, Cap, CapHash, CapHashOrRef, CapStore, SlotIdx, StoreError, decode};
use javm_program::Program;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `run(steps, seed)` of the job, and the slot of the marker that it yields.
const RUN: u8 = 0;
const ARGUMENTS: [u64; 4] = [5, 1, 0, 0];
const CHECKPOINT: SlotIdx = SlotIdx(1);

fn main() -> Result<()> {
    match std::env::args().nth(1) {
        None => start(),
        Some(gas) => go_on(gas.parse()?),
    }
}

/// A machine whose embedder catches the job's marker.
fn machine(cache: &mut CacheDirectory) -> Result<(Vm<InProcessKernelAssist>, CapHash)> {
    let checkpoint = marker(cache, b"checkpoint")?;
    let mut assist = InProcessKernelAssist::new();
    assist.catch_at_root(checkpoint);
    Ok((Vm::new(assist), checkpoint))
}

/// The first process.
fn start() -> Result<()> {
    let mut cache = CacheDirectory::new();
    let (mut vm, checkpoint) = machine(&mut cache)?;
    let program = Program::load(include_bytes!("../../../guests/blobs/job.polkavm"))?;
    let image = publish(&mut cache, &program)?;
    let job = first_instance(&mut cache, image, &[(CHECKPOINT, checkpoint)])?;

    let mut result = vm.invoke_cached(&mut cache, job, RUN, ARGUMENTS, 10_000_000)?;
    report("first process", &cache, &result)?;
    result = vm.call_resume(&mut cache, None)?;
    report("first process", &cache, &result)?;

    // No value carries gas: what is left travels beside it.
    let (paused, gas) = vm.suspend(&mut cache)?;
    let luggage = Luggage::default();
    cache.persist(paused, &luggage)?;
    let mut other = Command::new(std::env::current_exe()?)
        .arg(gas.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // The pipe ends where it is dropped.
    other.stdin.take().ok_or("no pipe")?.write_all(&luggage.bytes()?)?;
    let output = other.wait_with_output()?;
    print!("{}", String::from_utf8(output.stdout)?);

    // A paused value can be resumed any number of times: here it ends in the same way.
    vm.restore(&mut cache, paused)?;
    vm.add_gas(gas);
    while let CallResult::Paused { .. } = result {
        result = vm.call_resume(&mut cache, None)?;
    }
    report("first process again", &cache, &result)?;
    if output.status.success() { Ok(()) } else { Err("the other process failed".into()) }
}

/// The other process.
fn go_on(gas: u64) -> Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut cache = CacheDirectory::new();
    let (mut vm, _) = machine(&mut cache)?;
    // Each value is checked, and gets the name that its bytes give it: nobody has to be believed.
    let mut paused = None;
    let mut rest = &bytes[..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let (value, after) =
            after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("the pipe broke")?;
        paused = Some(cache.put_cap(&decode(value)?)?);
        rest = after;
    }
    // Children come first, so the last one is the paused computation.
    vm.restore(&mut cache, paused.ok_or("nothing came through the pipe")?)?;
    vm.add_gas(gas);
    loop {
        let result = vm.call_resume(&mut cache, None)?;
        report("other process", &cache, &result)?;
        if !matches!(result, CallResult::Paused { .. }) {
            return Ok(());
        }
    }
}

/// Prints what a job says of itself: its number of steps and its checksum.
fn report(who: &str, cache: &CacheDirectory, result: &CallResult) -> Result<()> {
    match result {
        CallResult::Paused { marker_payload: Some(CapHashOrRef::Hash(payload)), .. } => {
            let Some(Cap::Data(progress)) = cache.get((*payload).into()).as_deref().cloned() else {
                return Err("the job yielded something else".into());
            };
            let mut step = [0; 8];
            progress.read(0, &mut step);
            println!("{who}: paused after step {}", u64::from_le_bytes(step));
            Ok(())
        }
        CallResult::Halt { return_value, .. } => {
            println!("{who}: done, checksum {return_value:016x}");
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

/// A store that is written once: each value's length and bytes, children first.
#[derive(Default)]
struct Luggage(Mutex<Vec<u8>>);

impl Luggage {
    fn bytes(self) -> Result<Vec<u8>> {
        Ok(self.0.into_inner().map_err(|_| StoreError::Io)?)
    }
}

impl CapStore for Luggage {
    fn get(&self, _: &CapHash) -> std::result::Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn put(&self, _: &CapHash, value: &[u8]) -> std::result::Result<(), StoreError> {
        let length = u32::try_from(value.len()).map_err(|_| StoreError::ReadOnly)?;
        let mut bytes = self.0.lock().map_err(|_| StoreError::Io)?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
        Ok(())
    }
}
