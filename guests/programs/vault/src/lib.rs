//! A bank that hands out *wallets*: how state is shared where values are copied.
//!
//! The money has one owner, the vault. A wallet is an instance of a small program that holds a *marker*, yields
//! it with a request, and can do nothing else. The vault's catcher lists the markers of all wallets, so the
//! yield leads here, however deep inside a visitor the wallet was used, and its position in the list says
//! which account asks. Markers are instances that the vault has spawned: nobody can make one, and no operation
//! takes one out of a wallet. Copies of a wallet are the same right to the same account; revoking takes its
//! marker off the list, and all copies are dead.
//!
//! Published with the wallet's image in slot 1 and an empty catcher in slot 5.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{
    CNode, CallError, Catcher, Data, Image, Instance, SCRATCHPAD, Slot, endpoint, image, persistent,
};
use support::payment::{NO_ACCOUNT, OVERDRAFT, REFUSED, REQUEST, Request};

image! { yield_marker_slot: 5 }

const WALLET: Slot<Image> = Slot::root(1);
/// The marker of each account, by its number.
const MARKERS: Slot<CNode> = Slot::root(2);
/// The table of an instance in the making.
const TABLE: Slot<CNode> = Slot::root(3);
const VISITOR: Slot<Instance> = Slot::root(4);
const CATCHER: Catcher = Catcher::new(Slot::root(5));
const MESSAGE: Slot<Data> = SCRATCHPAD.cast();

/// How many accounts there can be; also the size of [`MARKERS`].
const ACCOUNTS: usize = 64;

/// A visitor that faults makes [`visit`] return this and its fault code.
pub const FAULTED: u64 = REFUSED | 0x100;

persistent! {
    static OPENED: u64 = 0;
    static BALANCES: [u64; ACCOUNTS] = [0; ACCOUNTS];
    // Which account's marker stands at each position of the catcher, and how many do.
    static LISTED: [u8; ACCOUNTS] = [0; ACCOUNTS];
    static LIVE: u64 = 0;
}

/// Opens an account with so much money in it and leaves its wallet in slot 0; returns its number.
#[endpoint(0)]
pub fn open(deposit: u64) -> u64 {
    let account = OPENED.get();
    assert!(account < ACCOUNTS as u64 && deposit < REFUSED, "no room");
    if account == 0 {
        MARKERS.mint_cnode(6);
    }
    // Its number makes a marker differ from every other; its lineage makes it the vault's own.
    let marker = MARKERS.entry(account as u16);
    TABLE.mint_cnode(8);
    TABLE.entry(1).mint(&(account + 1).to_le_bytes());
    WALLET.spawn(TABLE, marker);
    let position = CATCHER.add(marker).expect("it is new");
    LISTED.cells()[position as usize].set(account as u8);
    LIVE.set(position + 1);

    TABLE.mint_cnode(8);
    marker.copy_to(TABLE.entry(1));
    WALLET.spawn(TABLE, SCRATCHPAD.cast());
    OPENED.set(account + 1);
    BALANCES.cells()[account as usize].set(deposit);
    account
}

/// Calls an endpoint of the instance in slot 0, and serves the wallets that it uses meanwhile. Leaves it in
/// slot 0; returns what it returned.
///
/// A visitor that faults is what it was before, so its payments are undone as well: what its owner decides.
#[endpoint(1)]
pub fn visit(endpoint: u8, a: u64, b: u64) -> u64 {
    SCRATCHPAD.move_to(VISITOR.any());
    let before = BALANCES.get();
    let mut outcome = VISITOR.call(endpoint, [a, b, 0, 0]);
    while let Err(CallError::Paused { marker, .. }) = outcome {
        let account = LISTED.cells()[marker as usize].get();
        let mut request = [0; REQUEST];
        let _ = MESSAGE.read_into(&mut request, 0);
        MESSAGE.mint(&serve(account, Request::from_bytes(&request)).to_le_bytes());
        outcome = VISITOR.resume();
    }
    VISITOR.move_to(SCRATCHPAD.cast());
    outcome.unwrap_or_else(|error| {
        BALANCES.set(before);
        match error {
            CallError::Faulted(code) => FAULTED | code.number(),
            _ => REFUSED,
        }
    })
}

/// What is in an account.
#[endpoint(2)]
pub fn balance(account: u64) -> u64 {
    BALANCES.cells()[account as usize].get()
}

/// Makes all copies of an account's wallet useless; the money stays.
#[endpoint(3)]
pub fn revoke(account: u64) {
    let position = CATCHER.remove(MARKERS.entry(account as u16)).expect("it was revoked before");
    let listed = &LISTED.cells()[position as usize..LIVE.get() as usize];
    for pair in listed.windows(2) {
        pair[0].set(pair[1].get());
    }
    LIVE.set(LIVE.get() - 1);
}

/// Does what the holder of an account's wallet asks for.
fn serve(account: u8, request: Option<Request>) -> u64 {
    let mine = &BALANCES.cells()[usize::from(account)];
    match request {
        Some(Request::Balance) => mine.get(),
        Some(Request::Pay { to, .. }) if to >= OPENED.get() => NO_ACCOUNT,
        Some(Request::Pay { to, amount }) => {
            let Some(left) = mine.get().checked_sub(amount) else { return OVERDRAFT };
            mine.set(left);
            let other = &BALANCES.cells()[to as usize];
            other.set(other.get() + amount);
            mine.get()
        }
        None => REFUSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_are_served_from_the_ledger() {
        OPENED.set(2);
        BALANCES.cells()[0].set(100);
        let pay = |from, to, amount| serve(from, Some(Request::Pay { to, amount }));
        assert_eq!((pay(0, 1, 30), pay(1, 0, 31), pay(0, 2, 1)), (70, OVERDRAFT, NO_ACCOUNT));
        assert_eq!(pay(0, 0, 70), 70);
        assert_eq!((serve(1, Some(Request::Balance)), serve(1, None)), (30, REFUSED));
    }
}
