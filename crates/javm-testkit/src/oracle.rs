//! Properties that hold for every input. Tests call them with fixed seeds, fuzzers with what they find;
//! each gives the first difference in words, or panics where the code under test does.

use javm_exec::{Backend, Config, Engine, GasModel};
use javm_isa::{Code, Instruction};
use javm_program::{Manifest, Program, bare};

use crate::{
    drive::{EngineMachine, Mode, difference, drive},
    r#gen::{Case, Mapping},
    rng::Rng,
    spell::Dialect,
};

/// Running and single-stepping show the same at every exit.
///
/// # Errors
/// The first exit at which they do not.
pub fn step_equals_run(engine: &Engine, case: &Case) -> Result<(), String> {
    let machine = |mode| EngineMachine { instance: case.instance(engine), mode };
    let (mut run, mut step) = (machine(Mode::Run), machine(Mode::Step));
    let result = match difference(&drive(case, &mut run), &drive(case, &mut step)) {
        None => Ok(()),
        Some(difference) => Err(format!("run and step differ: seed {}, {difference}", case.seed)),
    };
    engine.recycle(run.instance.memory);
    engine.recycle(step.instance.memory);
    result
}

/// A case out of any bytes: nine bytes that choose registers, gas and memory, then code with its bitmask.
/// `None` where the rest is no valid code.
#[must_use]
pub fn case_from_bytes(bytes: &[u8]) -> Option<Case> {
    let (head, rest) = bytes.split_first_chunk::<9>()?;
    let (seed, flags) = (u64::from_le_bytes(*head.first_chunk()?), head[8]);
    let code = code_from_bytes(rest)?;
    let mut rng = Rng::new(seed);
    let mut regs = [0; javm_exec::NUM_REGS];
    regs.fill_with(|| if rng.one_in(2) { 0x2_0000 + rng.below(0x1000) } else { rng.interesting() });
    let mut memory = vec![Mapping { first: 0x20, count: 2, writable: true, contents: rest.to_vec() }];
    for (bit, first) in [(0, 0), (1, 0x1F), (2, 0x22), (3, 0xF_FFFF)] {
        if flags >> bit & 1 != 0 {
            let writable = flags >> (bit + 4) & 1 != 0;
            memory.push(Mapping { first, count: 1, writable, contents: Vec::new() });
        }
    }
    memory[0].contents.truncate(0x2000);
    let pc = if rng.one_in(4) { rng.below(u64::from(code.len()) + 2) } else { 0 };
    // The guest has no end of ways to loop; gas ends them all.
    let gas = rng.below(20_000);
    Some(Case { seed, code: code.into(), pc, regs, gas, memory, dialect: Dialect::GrayPaper })
}

/// Reads bytes as code: one ninth of them is the bitmask, and up to three jump-table entries lead to its
/// first instructions. `None` where that is no valid code.
#[must_use]
pub fn code_from_bytes(bytes: &[u8]) -> Option<Code> {
    let len = bytes.len() * 8 / 9;
    let (code, mask) = bytes.split_at(len);
    let mask = mask.get(..len.div_ceil(8))?;
    Code::new(code, mask, &[0, u32::from(*code.first()?), 2]).ok()
}

/// Running and single-stepping a case out of any bytes show the same, under both gas models.
///
/// # Errors
/// The first exit at which they do not.
pub fn exec_step_vs_run(bytes: &[u8]) -> Result<(), String> {
    let Some(case) = case_from_bytes(bytes) else { return Ok(()) };
    for model in GasModel::ALL {
        let config = Config::new().backend(Backend::Interpreter).gas_model(model);
        let engine = Engine::new(config).map_err(|error| error.to_string())?;
        step_equals_run(&engine, &case).map_err(|difference| format!("{model}: {difference}"))?;
    }
    Ok(())
}

/// A case out of any bytes shows the same on the interpreter and on the recompiler, under both gas models. Where
/// there is no recompiler nothing is shown.
///
/// # Errors
/// The first exit at which it does not.
pub fn exec_backends(bytes: &[u8]) -> Result<(), String> {
    let Some(case) = case_from_bytes(bytes) else { return Ok(()) };
    for model in GasModel::ALL {
        let run = |backend| {
            let engine = Engine::new(Config::new().backend(backend).gas_model(model)).ok()?;
            let mut machine = EngineMachine { instance: case.instance(&engine), mode: Mode::Run };
            Some(drive(&case, &mut machine))
        };
        let Some((expected, found)) = run(Backend::Interpreter).zip(run(Backend::Recompiler)) else {
            return Ok(());
        };
        if let Some(difference) = difference(&found, &expected) {
            return Err(format!("{model}: recompiler and interpreter differ: {difference}"));
        }
    }
    Ok(())
}

/// Any bytes are a program or an error; the code of a program survives being written and read again.
///
/// # Errors
/// What did not survive.
pub fn program_load(bytes: &[u8]) -> Result<(), String> {
    // ELF files go through PolkaVM's linker, whose panics are not ours to find.
    if bytes.starts_with(b"\x7FELF") {
        return Ok(());
    }
    let Ok(program) = Program::load(bytes) else { return Ok(()) };
    let blob = bare::to_blob(program.code());
    match bare::read(&blob, javm_isa::Numbering::Canonical) {
        Ok(again) if again.code() == program.code() => Ok(()),
        Ok(_) => Err("another program comes back from its own blob".into()),
        Err(error) => Err(format!("a program's own blob is refused: {error}")),
    }
}

/// Any bytes are a value or an error; the bytes of a value are the only ones that it has.
///
/// # Errors
/// A value that is written differently from how it was read.
pub fn cap_decode(bytes: &[u8]) -> Result<(), String> {
    let Ok(cap) = javm_cap::decode(bytes) else { return Ok(()) };
    let again = javm_cap::encode(&cap).map_err(|error| format!("a value cannot be written: {error}"))?;
    if again != bytes {
        return Err(format!("{} is written differently from how it was read", cap.kind()));
    }
    cap.hash().map(drop).map_err(|error| format!("a value has no hash: {error}"))
}

/// Any bytes are a manifest or an error; a manifest survives being written and read again.
///
/// # Errors
/// What did not survive.
pub fn manifest_read(bytes: &[u8]) -> Result<(), String> {
    let Ok(manifest) = Manifest::read(bytes) else { return Ok(()) };
    let written = manifest.to_bytes().map_err(|error| format!("cannot be written: {error}"))?;
    let again = Manifest::read(&written).map_err(|error| format!("its own bytes are refused: {error}"))?;
    for (old, new) in manifest.caps.iter().zip(&again.caps) {
        if old.contents != new.contents {
            return Err(format!("slot {} has other contents", old.slot));
        }
        // Damaged code is refused or read, never a panic.
        let _ = old.code();
    }
    if again.to_bytes().as_ref() != Ok(&written) {
        return Err("written twice it has two forms".into());
    }
    Ok(())
}

/// Every instruction of any valid code survives being encoded and decoded again, in no more bytes.
///
/// # Errors
/// The first instruction that does not.
pub fn isa_roundtrip(bytes: &[u8]) -> Result<(), String> {
    let Some(code) = code_from_bytes(bytes) else { return Ok(()) };
    for (pc, instruction) in code.instructions(0) {
        let encoded = instruction.encode(pc);
        let again = decode(encoded.as_slice(), pc)
            .ok_or_else(|| format!("at {pc}: `{instruction}` is encoded as something invalid"))?;
        if again != instruction {
            return Err(format!("at {pc}: `{instruction}` comes back as `{again}`"));
        }
    }
    Ok(())
}

/// Decodes one instruction at a code offset: behind as many one-byte instructions.
fn decode(bytes: &[u8], pc: u32) -> Option<Instruction> {
    let pc = pc as usize;
    let mut code = vec![1; pc];
    code.extend_from_slice(bytes);
    let mut mask = vec![0; code.len().div_ceil(8)];
    (0..=pc).for_each(|at| mask[at / 8] |= 1 << (at % 8));
    Code::new(&code, &mask, &[]).ok()?.instruction(pc as u32)
}
