//! Balances of 256 accounts in persistent memory.
//!
//! Whoever holds the instance may do everything; what that means for people is its owner's business (see
//! `bank`). A request that makes no sense (an unknown account, an overdraft, more than fits) is a fault: then
//! nothing has changed.
#![no_std]
#![forbid(unsafe_code)]

use core::cell::Cell;
use javm_guest::{endpoint, persistent};

/// Accounts are numbered from 0 to one less than this.
pub const ACCOUNTS: usize = 256;

/// The sum of all balances stays below this, so that no balance looks like an error code.
pub const LIMIT: u64 = 1 << 63;

persistent! {
    static BALANCES: [u64; ACCOUNTS] = [0; ACCOUNTS];
    static TOTAL: u64 = 0;
}

fn account(id: u64) -> &'static Cell<u64> {
    BALANCES.cells().get(id as usize).expect("no such account")
}

/// Creates money in an account; returns its new balance.
#[endpoint(0)]
pub fn mint_to(to: u64, amount: u64) -> u64 {
    let total = TOTAL.get().checked_add(amount).filter(|total| *total < LIMIT);
    TOTAL.set(total.expect("more than fits"));
    let to = account(to);
    to.set(to.get() + amount);
    to.get()
}

/// The balance of an account.
#[endpoint(1)]
pub fn balance(of: u64) -> u64 {
    account(of).get()
}

/// Moves money from one account to another; returns what is left in the first.
#[endpoint(2)]
pub fn transfer(from: u64, to: u64, amount: u64) -> u64 {
    let (from, to) = (account(from), account(to));
    from.set(from.get().checked_sub(amount).expect("overdraft"));
    to.set(to.get() + amount);
    from.get()
}

/// The sum of all balances.
#[endpoint(3)]
pub fn total() -> u64 {
    TOTAL.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_moves_and_is_conserved() {
        assert_eq!(mint_to(1, 100), 100);
        assert_eq!(mint_to(255, 7), 7);
        assert_eq!(transfer(1, 255, 30), 70);
        assert_eq!(transfer(1, 1, 70), 70);
        assert_eq!((balance(0), balance(1), balance(255), total()), (0, 70, 37, 107));
    }

    #[test]
    #[should_panic(expected = "overdraft")]
    fn an_overdraft_faults() {
        mint_to(1, 100);
        transfer(1, 2, 101);
    }

    #[test]
    #[should_panic(expected = "no such account")]
    fn an_unknown_account_faults() {
        balance(256);
    }

    #[test]
    #[should_panic(expected = "more than fits")]
    fn the_limit_holds() {
        mint_to(1, LIMIT - 1);
        mint_to(2, 1);
    }
}
