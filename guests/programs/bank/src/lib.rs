//! Accounts over a ledger: an instance that owns another and calls it.
//!
//! The bank keeps in its own memory which accounts are open and what was paid in; the money is the ledger's
//! (slot [`LEDGER`]). When the ledger faults, the kernel undoes what it did; the bank returns an error and has
//! changed nothing of its own either.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{CallError, Instance, Slot, endpoint, persistent};

/// Where the ledger lies in the bank's table.
pub const LEDGER: Slot<Instance> = Slot::root(1);

/// A result with this bit is an error; below it stands the reason: the fault code of the ledger's call (1 to
/// 10), or one of the constants below.
pub const ERROR: u64 = 1 << 63;
/// The account is not open.
pub const NOT_OPEN: u64 = ERROR | 0x100;
/// All accounts that the ledger has are open.
pub const NO_MORE_ACCOUNTS: u64 = ERROR | 0x101;
/// Something below the ledger yielded: a bank waits for nobody.
pub const YIELDED: u64 = ERROR | 0x102;

/// How many accounts the ledger has.
const ACCOUNTS: u64 = 256;

/// The ledger's endpoints.
mod at {
    pub(crate) const MINT_TO: u8 = 0;
    pub(crate) const BALANCE: u8 = 1;
    pub(crate) const TRANSFER: u8 = 2;
}

persistent! {
    static OPEN: u64 = 0;
    static DEPOSITED: u64 = 0;
}

fn ledger(endpoint: u8, args: [u64; 4]) -> Result<u64, u64> {
    LEDGER.call(endpoint, args).map_err(|error| match error {
        CallError::Faulted(code) => ERROR | code.number(),
        // A yield leaves the call waiting and the slot empty; giving it up restores the ledger.
        _ => {
            LEDGER.drop_paused();
            YIELDED
        }
    })
}

fn open(account: u64) -> Result<u64, u64> {
    if account < OPEN.get() { Ok(account) } else { Err(NOT_OPEN) }
}

fn value(result: Result<u64, u64>) -> u64 {
    result.unwrap_or_else(|error| error)
}

/// Opens the next account and returns its number, from 0.
#[endpoint(0)]
pub fn open_account() -> u64 {
    let account = OPEN.get();
    if account == ACCOUNTS {
        return NO_MORE_ACCOUNTS;
    }
    OPEN.set(account + 1);
    account
}

/// Pays in; returns the new balance.
#[endpoint(1)]
pub fn deposit(account: u64, amount: u64) -> u64 {
    value(open(account).and_then(|account| ledger(at::MINT_TO, [account, amount, 0, 0])).inspect(|_| {
        DEPOSITED.set(DEPOSITED.get() + amount);
    }))
}

/// Moves money between two open accounts; returns what is left in the first.
#[endpoint(2)]
pub fn transfer(from: u64, to: u64, amount: u64) -> u64 {
    value(open(from).and(open(to)).and_then(|to| ledger(at::TRANSFER, [from, to, amount, 0])))
}

/// The balance of an open account.
#[endpoint(3)]
pub fn balance(account: u64) -> u64 {
    value(open(account).and_then(|account| ledger(at::BALANCE, [account, 0, 0, 0])))
}

/// What was paid in, over all accounts: the bank's own book, without asking the ledger.
#[endpoint(4)]
pub fn total() -> u64 {
    DEPOSITED.get()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use javm_guest::host::{Operation, install};
    use javm_guest::{FaultCode, GuestOp};

    /// A kernel that knows one instance: the ledger, run natively.
    fn with_ledger() {
        install(|operation: Operation<'_>| {
            let [slot, endpoint, a, b, c, _] = operation.registers;
            assert_eq!((operation.row(), slot), (Some(GuestOp::HostCall), 1));
            let outcome = std::panic::catch_unwind(|| match endpoint {
                0 => ledger::mint_to(a, b),
                1 => ledger::balance(a),
                2 => ledger::transfer(a, b, c),
                _ => unreachable!("the bank uses no other endpoint"),
            });
            outcome.map_or([FaultCode::Trap.number(), 2, 0], |value| [value, 0, 0])
        });
    }

    #[test]
    fn a_bank_is_its_ledger_with_accounts() {
        with_ledger();
        assert_eq!(deposit(0, 5), NOT_OPEN);
        assert_eq!((open_account(), open_account()), (0, 1));
        assert_eq!(deposit(0, 100), 100);
        assert_eq!(transfer(0, 1, 30), 70);
        assert_eq!((balance(0), balance(1), balance(2), total()), (70, 30, NOT_OPEN, 100));
    }

    #[test]
    fn a_fault_of_the_ledger_changes_nothing() {
        with_ledger();
        open_account();
        open_account();
        deposit(0, 10);
        assert_eq!(transfer(0, 1, 11), ERROR | FaultCode::Trap.number());
        assert_eq!(deposit(0, u64::MAX), ERROR | FaultCode::Trap.number());
        assert_eq!((balance(0), balance(1), total()), (10, 0, 10));
    }

    #[test]
    fn accounts_end_where_the_ledger_ends() {
        assert_eq!(ACCOUNTS, ledger::ACCOUNTS as u64);
        (0..ACCOUNTS).for_each(|account| assert_eq!(open_account(), account));
        assert_eq!(open_account(), NO_MORE_ACCOUNTS);
    }
}
