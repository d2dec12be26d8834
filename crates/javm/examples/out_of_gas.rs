//! Catch "out of gas", top up, go on.
//!
//! Running out of gas is a yield of the kernel's: whoever catches its marker, here the embedder, decides. The
//! guest cannot tell that it waited: result, hash and gas are those of a run that had enough from the start.

use javm::{
    CallResult, InProcessKernelAssist, KernelImage, Vm, first_instance, kernel_assist::marker_hash, publish,
};
use javm_cap::CacheDirectory;
use javm_program::Program;

/// Endpoint of `fib`: a number of a thousand Fibonacci steps, one after the other.
const FIB_ITER: u8 = 0;
const ARGUMENTS: [u64; 4] = [1000, 0, 0, 0];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut assist = InProcessKernelAssist::new();
    assist.catch_at_root(marker_hash(KernelImage::OogMarker));
    let mut vm = Vm::new(assist);
    let mut cache = CacheDirectory::new();
    let program = Program::load(include_bytes!("../../../guests/blobs/fib.polkavm"))?;
    let image = publish(&mut cache, &program)?;
    let fib = first_instance(&mut cache, image, &[])?;

    // With enough gas, to compare.
    let enough = vm.invoke_cached(&mut cache, fib, FIB_ITER, ARGUMENTS, 1_000_000)?;
    let CallResult::Halt { return_value: expected, gas_used: price, .. } = enough else {
        return Err(format!("{enough:?}").into());
    };

    // With a fifth of it, and another fifth as often as it asks.
    let portion = price.div_ceil(5);
    let mut result = vm.invoke_cached(&mut cache, fib, FIB_ITER, ARGUMENTS, portion)?;
    let mut used = result.gas_used();
    while let CallResult::Paused { .. } = result {
        println!("out of gas: topped up");
        vm.add_gas(portion);
        result = vm.call_resume(&mut cache, None)?;
        used += result.gas_used();
    }
    let CallResult::Halt { return_value, .. } = result else { return Err(format!("{result:?}").into()) };
    println!("the same result: {}", return_value == expected);
    println!("the same price: {}", used == price);
    Ok(())
}
