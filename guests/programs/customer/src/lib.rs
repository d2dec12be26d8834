//! Holds a wallet and pays with it: what anybody could write, also somebody who is not to be trusted.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{CallError, Instance, SCRATCHPAD, Slot, endpoint, persistent};

const WALLET: Slot<Instance> = Slot::root(1);

/// The wallet's endpoint `pay`.
const PAY: u8 = 0;

/// A wallet that faults, as a revoked one does, makes [`buy`] return this and its fault code.
pub const NO_WALLET: u64 = 1 << 63 | 0x200;

persistent! {
    static BOUGHT: u64 = 0;
}

/// Takes the wallet in slot 0.
#[endpoint(0)]
pub fn take() {
    SCRATCHPAD.move_to(WALLET.any());
}

/// Pays an account; returns what is left, or why not.
#[endpoint(1)]
pub fn buy(from: u64, price: u64) -> u64 {
    match WALLET.call(PAY, [from, price, 0, 0]) {
        Ok(left) => {
            BOUGHT.set(BOUGHT.get() + 1);
            left
        }
        Err(CallError::Faulted(code)) => NO_WALLET | code.number(),
        Err(error) => panic!("{error}"),
    }
}

/// Pays, and then faults.
#[endpoint(2)]
pub fn buy_and_fault(from: u64, price: u64) {
    buy(from, price);
    javm_guest::fault();
}

/// Tries to be a wallet: yields the wallet itself, which is no marker of anybody.
#[endpoint(3)]
pub fn pretend() {
    WALLET.yield_marker();
}

/// How often something was paid for.
#[endpoint(4)]
pub fn bought() -> u64 {
    BOUGHT.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_guest::host::{Operation, install};
    use javm_guest::{FaultCode, GuestOp};

    #[test]
    fn a_purchase_is_a_call_of_the_wallet() {
        install(|operation: Operation<'_>| {
            assert_eq!((operation.row(), operation.registers[0]), (Some(GuestOp::HostCall), 1));
            match operation.registers[3] {
                30 => [70, 0, 0],
                _ => [FaultCode::UnhandledMarker.number(), 2, 0],
            }
        });
        assert_eq!((buy(7, 30), buy(7, 31), bought()), (70, NO_WALLET | 5, 1));
    }
}
