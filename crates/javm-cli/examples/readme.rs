//! The library in a page: a program becomes an image, the image an instance, and calls make new values of it.
//! `README.md` shows this file; a test keeps the two alike.

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance, publish};
use javm_cap::CacheDirectory;
use javm_program::Program;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/blobs/counter.polkavm");
    let program = Program::load(&std::fs::read(file)?)?;

    // Values live in a directory that belongs to the caller; the machine borrows it for a call.
    let mut values = CacheDirectory::new();
    let image = publish(&mut values, &program)?;
    let zero = first_instance(&mut values, image, &[])?;

    // Endpoint 1 of the counter adds its argument. 100,000 is the gas that the call may take.
    let mut vm = Vm::new(InProcessKernelAssist::new());
    let called = vm.invoke_cached(&mut values, zero, 1, [5, 0, 0, 0], 100_000)?;
    let CallResult::Halt { return_value, post_instance_hash: five, .. } = called else {
        return Err(format!("{:?}", vm.last_fault()).into());
    };
    assert_eq!(return_value, 5);

    // A call changes nothing: it names a new value, and the old one is still there to be called.
    assert_ne!(zero, five);
    let again = vm.invoke_cached(&mut values, zero, 1, [5, 0, 0, 0], 100_000)?;
    assert!(matches!(again, CallResult::Halt { post_instance_hash, .. } if post_instance_hash == five));
    Ok(())
}
