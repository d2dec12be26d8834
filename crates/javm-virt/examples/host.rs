//! A host of one program: it keeps a counter, which the program reads and increments.
//!
//! `cargo run -p javm-virt --example host [-- PROGRAM FUNCTION]`
#![forbid(unsafe_code)]

use std::{error::Error, process::ExitCode};

use javm_exec::{Backend, Config, Engine};
use javm_virt::{ExecAction, ExecOutcome, MemoryT, Virt, VirtConfig, VirtT};

fn run(program: &[u8], function: &[u8]) -> Result<u64, Box<dyn Error>> {
    let engine = Engine::new(Config::new().backend(Backend::Auto))?;
    let limits = VirtConfig::new().max_code_size(1 << 20).max_pages(1024);
    let mut virt = Virt::with(&engine, &limits, program)?;
    let mut memory = virt.memory();
    let mut counter: u64 = 40;

    let mut outcome = virt.run(100_000, ExecAction::Execute { function })?;
    while let ExecOutcome::Syscall { gas_left, syscall_symbol, a0, .. } = outcome {
        let mut bytes = [0; 8];
        let return_value = match &*syscall_symbol {
            b"read_counter" => {
                memory.write(a0 as u32, &counter.to_le_bytes())?;
                1
            }
            b"increment_counter" => {
                memory.read(a0 as u32, &mut bytes)?;
                counter = counter.wrapping_add(u64::from_le_bytes(bytes));
                2 << 56
            }
            // Whoever does not answer ends the call.
            b"exit" => return Ok(counter),
            _ => return Err(format!("the program asks for `{syscall_symbol}`").into()),
        };
        println!("{syscall_symbol}({a0:#x}) = {return_value:#x}, {gas_left} gas left");
        outcome = virt.run(gas_left, ExecAction::Resume { return_value })?;
    }
    Ok(counter)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().unwrap_or_else(|| "guests/blobs/virt_fixture.polkavm".to_owned());
    let function = arguments.next().unwrap_or_else(|| "counter".to_owned());
    let done = std::fs::read(program).map_err(Into::into).and_then(|p| run(&p, function.as_bytes()));
    match done {
        Ok(counter) => println!("the counter is at {counter}"),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
