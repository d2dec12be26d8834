//! A host call of one's own.
//!
//! Operations from 64 on belong to the chain that embeds the machine. `KernelAssist` is its one seam: meters,
//! quotas and files, and here operation 64, which says how high the chain is.

use javm::{
    CallResult, InProcessKernelAssist, KernelAssist, SaveResult, Vm, first_instance,
    kernel_assist::{UserCall, UserCallResult},
    publish,
};
use javm_cap::{CacheDirectory, CapHash};
use javm_exec::Mem;
use javm_program::Program;

/// The operation, its price beyond what every chain's operation costs, and φ7, where its result goes.
const BLOCK_HEIGHT: u32 = 64;
const PRICE: u64 = 50;
const A0: usize = 7;

/// A chain that knows how high it is, and leaves the rest to the default.
#[derive(Default)]
struct Chain {
    height: u64,
    rest: InProcessKernelAssist,
}

impl KernelAssist for Chain {
    fn user_call(&mut self, call: UserCall<'_>, _memory: &mut dyn Mem) -> UserCallResult {
        if call.number != BLOCK_HEIGHT {
            return UserCallResult::Refused;
        }
        if !call.gas.charge(PRICE) {
            // The guest is out of gas at the operation, and asks again when somebody tops up.
            return UserCallResult::OutOfGas { price: PRICE };
        }
        call.regs.gpr[A0] = self.height;
        UserCallResult::Done
    }

    fn gas_meter(&self, id: u64) -> u64 {
        self.rest.gas_meter(id)
    }
    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64 {
        self.rest.set_gas_meter(id, value)
    }
    fn quota(&self, id: u64) -> u64 {
        self.rest.quota(id)
    }
    fn set_quota(&mut self, id: u64, value: u64) -> u64 {
        self.rest.set_quota(id, value)
    }
    fn open_file(&mut self, id: u64) -> Option<CapHash> {
        self.rest.open_file(id)
    }
    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> SaveResult {
        self.rest.save_file(content, size, quota)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut cache = CacheDirectory::new();
    let mut vm = Vm::new(Chain::default());
    let program = Program::load(include_bytes!("../../../guests/blobs/clock.polkavm"))?;
    let image = publish(&mut cache, &program)?;
    let mut clock = first_instance(&mut cache, image, &[])?;

    for height in [1_000, 1_001, 1_042] {
        vm.kernel_assist.height = height;
        match vm.invoke_cached(&mut cache, clock, 0, [0; 4], 100_000)? {
            CallResult::Halt { return_value: age, post_instance_hash, .. } => {
                println!("block {height}: the clock is {age} blocks old");
                clock = post_instance_hash;
            }
            other => return Err(format!("{other:?}").into()),
        }
    }

    // To a machine without the chain the operation is none.
    let mut alone = Vm::new(InProcessKernelAssist::new());
    match alone.invoke_cached(&mut cache, clock, 0, [0; 4], 100_000)? {
        CallResult::Faulted { reason, .. } => println!("without the chain: {reason}"),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
