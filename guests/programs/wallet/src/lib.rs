//! The right to pay from one account of a vault: yields a marker that only it holds, with a request.
//!
//! The marker sits in slot 1, where the vault put it. No endpoint lets it out, and nobody but the instance
//! itself reaches into its slots.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{Data, Instance, SCRATCHPAD, Slot, endpoint};
use support::payment::Request;

const MARKER: Slot<Instance> = Slot::root(1);
const MESSAGE: Slot<Data> = SCRATCHPAD.cast();

/// Moves money to another account; returns what is left, or why not.
#[endpoint(0)]
pub fn pay(to: u64, amount: u64) -> u64 {
    ask(Request::Pay { to, amount })
}

/// What is in the account.
#[endpoint(1)]
pub fn balance() -> u64 {
    ask(Request::Balance)
}

fn ask(request: Request) -> u64 {
    MESSAGE.mint(&request.to_bytes());
    MARKER.yield_marker();
    let mut answer = [0; 8];
    let _ = MESSAGE.read_into(&mut answer, 0);
    MESSAGE.clear();
    u64::from_le_bytes(answer)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use javm_guest::GuestOp;
    use javm_guest::host::{Operation, install};
    use support::payment::REQUEST;

    #[test]
    fn a_wallet_asks_and_returns_the_answer() {
        let mut asked = std::vec::Vec::new();
        install(move |operation: Operation<'_>| {
            match operation.row() {
                Some(GuestOp::HostMintDataCap) => asked = operation.memory.to_vec(),
                Some(GuestOp::HostYield) => assert_eq!(operation.registers[0], 1),
                Some(GuestOp::HostReadDataCap) => {
                    let asked: &[u8; REQUEST] = asked.first_chunk().expect("a request");
                    let answer: u64 = match Request::from_bytes(asked) {
                        Some(Request::Pay { to: 7, amount: 30 }) => 70,
                        Some(Request::Balance) => 100,
                        other => unreachable!("{other:?}"),
                    };
                    operation.memory.copy_from_slice(&answer.to_le_bytes());
                }
                other => assert_eq!(other, Some(GuestOp::MgmtDrop)),
            }
            [0; 3]
        });
        assert_eq!((balance(), pay(7, 30)), (100, 70));
    }
}
