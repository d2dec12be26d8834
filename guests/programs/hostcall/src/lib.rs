//! Asking the kernel, over and over: what leaving the code and coming back costs.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{SCRATCHPAD, SlotKind, endpoint, gas_left};

/// Asks `n` times for the gas left; returns how often it was less than before. That is `n` times: asking
/// costs.
#[endpoint(0)]
pub fn gas(n: u64) -> u64 {
    let mut before = u64::MAX;
    (0..n).filter(|_| core::mem::replace(&mut before, gas_left()) > before).count() as u64
}

/// Asks `n` times what lies in slot 0; returns how often it was something.
#[endpoint(1)]
pub fn kind(n: u64) -> u64 {
    (0..n).filter(|_| SCRATCHPAD.kind() != SlotKind::Empty).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_guest::GuestOp;
    use javm_guest::host::{Operation, install};

    #[test]
    fn every_question_is_asked() {
        let mut gas = 1000;
        install(move |operation: Operation<'_>| match operation.row() {
            Some(GuestOp::GasLeft) => {
                gas -= 40;
                [gas, 0, 0]
            }
            Some(GuestOp::MgmtKind) => [3, 0, 0],
            other => unreachable!("{other:?}"),
        });
        assert_eq!((super::gas(10), kind(7)), (10, 7));
    }
}
