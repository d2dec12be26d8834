//! Snapshot, try, revert.
//!
//! A hash is a snapshot, and taking one costs nothing. A batch of transfers is tried on the bank; when one of
//! them is refused, the bank is simply what it was: bank, ledger and every balance.

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance, publish};
use javm_cap::{CacheDirectory, CapHash, SlotIdx};
use javm_program::Program;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

// Endpoints of the bank, and the slot where it keeps its ledger.
const OPEN: u8 = 0;
const DEPOSIT: u8 = 1;
const TRANSFER: u8 = 2;
const BALANCE: u8 = 3;
const LEDGER: SlotIdx = SlotIdx(1);
/// A result with this bit is an error of the bank's.
const ERROR: u64 = 1 << 63;

struct World {
    vm: Vm<InProcessKernelAssist>,
    cache: CacheDirectory,
}

impl World {
    fn instance(&mut self, blob: &[u8], slots: &[(SlotIdx, CapHash)]) -> Result<CapHash> {
        let image = publish(&mut self.cache, &Program::load(blob)?)?;
        Ok(first_instance(&mut self.cache, image, slots)?)
    }

    fn call(&mut self, bank: CapHash, endpoint: u8, [a, b, c]: [u64; 3]) -> Result<(u64, CapHash)> {
        match self.vm.invoke_cached(&mut self.cache, bank, endpoint, [a, b, c, 0], 1_000_000)? {
            CallResult::Halt { return_value, post_instance_hash, .. } => {
                Ok((return_value, post_instance_hash))
            }
            other => Err(format!("{other:?}").into()),
        }
    }

    /// All transfers, or none.
    fn batch(&mut self, snapshot: CapHash, transfers: &[[u64; 3]]) -> Result<CapHash> {
        let mut bank = snapshot;
        for &[from, to, amount] in transfers {
            let (left, next) = self.call(bank, TRANSFER, [from, to, amount])?;
            if left & ERROR != 0 {
                println!("  {amount} from {from} to {to}: refused, everything is reverted");
                return Ok(snapshot);
            }
            println!("  {amount} from {from} to {to}: {left} left");
            bank = next;
        }
        Ok(bank)
    }

    fn show(&mut self, bank: CapHash) -> Result<()> {
        let (a, b) = (self.call(bank, BALANCE, [0; 3])?.0, self.call(bank, BALANCE, [1, 0, 0])?.0);
        println!("balances: {a} and {b}");
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut world = World { vm: Vm::new(InProcessKernelAssist::new()), cache: CacheDirectory::new() };
    let ledger = world.instance(include_bytes!("../../../guests/blobs/ledger.polkavm"), &[])?;
    let mut bank =
        world.instance(include_bytes!("../../../guests/blobs/bank.polkavm"), &[(LEDGER, ledger)])?;
    for amount in [100, 50] {
        let (account, opened) = world.call(bank, OPEN, [0; 3])?;
        bank = world.call(opened, DEPOSIT, [account, amount, 0])?.1;
    }
    world.show(bank)?;

    println!("a batch that goes through:");
    let bank = world.batch(bank, &[[0, 1, 60], [1, 0, 10]])?;
    world.show(bank)?;

    println!("a batch that does not:");
    let after = world.batch(bank, &[[1, 0, 70], [0, 1, 1000]])?;
    world.show(after)?;
    println!("the same hash as before: {}", after == bank);
    Ok(())
}
