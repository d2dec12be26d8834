//! Embed the machine and call a program.
//!
//! A program is published once, which gives an image; an instance of it is a value with a hash; calling an
//! endpoint gives the next value. Nothing else changes: whoever keeps an old hash keeps the old state.

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance, publish};
use javm_cap::{CacheDirectory, CapHash};
use javm_program::Program;

/// Endpoints of the counter.
const GET: u8 = 0;
const ADD: u8 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Values live in a directory of ours; the machine borrows it for each call.
    let mut cache = CacheDirectory::new();
    let mut vm = Vm::new(InProcessKernelAssist::new());

    let program = Program::load(include_bytes!("../../../guests/blobs/counter.polkavm"))?;
    let image = publish(&mut cache, &program)?;
    let new = first_instance(&mut cache, image, &[])?;

    let mut call = |instance: CapHash, endpoint, argument| {
        // Four arguments, and at most a million gas.
        match vm.invoke_cached(&mut cache, instance, endpoint, [argument, 0, 0, 0], 1_000_000)? {
            CallResult::Halt { return_value, post_instance_hash, .. } => {
                Ok::<_, Box<dyn std::error::Error>>((return_value, post_instance_hash))
            }
            // A guest that goes wrong is an answer, not an error of ours.
            other => Err(format!("the counter did not halt: {other:?}").into()),
        }
    };

    let (count, five) = call(new, ADD, 5)?;
    println!("add 5: {count}");
    let (count, twelve) = call(five, ADD, 7)?;
    println!("add 7: {count}");
    println!("the instance after the first call still says {}", call(five, GET, 0)?.0);
    println!("the one after the second says {}", call(twelve, GET, 0)?.0);
    println!("the same steps lead to the same hash: {}", call(new, ADD, 12)?.1 == twelve);
    Ok(())
}
