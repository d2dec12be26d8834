//! Who pays: gas meters and storage quotas.
//!
//! An instance whose image has `gas_slots` draws each charge, whole, from the first of those slots that
//! holds a `Gas` handle whose meter can pay; any other instance draws on what its caller draws on, and in
//! the end on the root pool, which is meter 0. Quotas alike, but with no quota anywhere storage is free.
//! Balances live in the kernel's tables, so copies of a handle name one meter.
//!
//! The engine knows one counter. A meter's balance is lent to it as a whole while no earlier meter has
//! anything left; where an earlier one has too little for the charge at hand, exactly that charge is lent,
//! so that the earlier meter is asked again for the next.
//!
//! Source: capability machine, sections 5, 7 and 9.

use javm_cap::{CNodeCap, CacheDirectory, Cap, CapError, CapHashOrRef, InstanceCap, SlotIdx};

use crate::{
    kernel_assist::{KernelAssist, KernelImage},
    vm::Vm,
};

/// The id that a handle carries in the first 8 bytes of its memory.
pub(crate) fn handle_id(instance: &InstanceCap) -> u64 {
    let mut id = [0; 8];
    instance.memory().pages().read(0, &mut id);
    u64::from_le_bytes(id)
}

/// A handle: the id, where the name is an instance of that kernel image.
pub(crate) fn handle(
    cache: &CacheDirectory,
    name: CapHashOrRef,
    image: KernelImage,
) -> Result<Option<u64>, CapError> {
    Ok(match &*cache.fetch(name)? {
        Cap::Instance(instance) if KernelImage::from_hash(&instance.image_hash) == Some(image) => {
            Some(handle_id(instance))
        }
        _ => None,
    })
}

/// The ids of the handles in a table's slots, in order; slots that hold none are skipped.
pub(crate) fn handles(
    cache: &CacheDirectory,
    table: &CNodeCap,
    slots: &[SlotIdx],
    image: KernelImage,
) -> Result<Vec<u64>, CapError> {
    let mut ids = Vec::with_capacity(slots.len());
    for name in slots.iter().filter_map(|slot| table.get(*slot)) {
        ids.extend(handle(cache, name, image)?);
    }
    Ok(ids)
}

/// Gas on loan to the engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loan {
    /// The meter.
    pub(crate) meter: u64,
    /// What the engine got.
    pub(crate) lent: u64,
    /// What the meter kept.
    pub(crate) kept: u64,
}

impl<K: KernelAssist> Vm<K> {
    /// The meters that pay for an entry, first first.
    pub(crate) fn meters(&self, cache: &CacheDirectory, index: usize) -> Result<Vec<u64>, CapError> {
        match self.stack.at(index).gas_payer {
            None => Ok(vec![0]),
            Some(payer) => {
                let payer = self.stack.at(payer);
                handles(cache, &payer.table, &payer.image.image().gas_slots, KernelImage::Gas)
            }
        }
    }

    /// The quotas that pay for an entry, first first; `None`: storage is free.
    pub(crate) fn quotas(&self, cache: &CacheDirectory, index: usize) -> Result<Option<Vec<u64>>, CapError> {
        let Some(payer) = self.stack.at(index).quota_payer else { return Ok(None) };
        let payer = self.stack.at(payer);
        handles(cache, &payer.table, &payer.image.image().quota_slots, KernelImage::Quota).map(Some)
    }

    /// Balance of a meter.
    pub(crate) fn balance(&self, meter: u64) -> u64 {
        if meter == 0 { self.pool.remaining() } else { self.kernel_assist.gas_meter(meter) }
    }

    /// Sets a meter, returning its previous balance.
    pub(crate) fn set_balance(&mut self, meter: u64, value: u64) -> u64 {
        if meter == 0 {
            let previous = self.pool.remaining();
            self.pool.set(value);
            previous
        } else {
            self.kernel_assist.set_gas_meter(meter, value)
        }
    }

    /// Lends gas for a charge of `need`; for `None`, whatever the first meter has. `None` when no meter can
    /// pay.
    pub(crate) fn lend(&mut self, meters: &[u64], need: Option<u64>) -> Option<Loan> {
        let balances = meters.iter().map(|meter| (*meter, self.balance(*meter)));
        let mut earlier_left = false;
        let mut found = None;
        for (meter, balance) in balances {
            if balance >= need.unwrap_or(1) {
                found = Some((meter, balance));
                break;
            }
            earlier_left |= balance > 0;
        }
        let (meter, balance) = match (found, need) {
            (Some(found), _) => found,
            // Nothing to lend; the first charge will say so.
            (None, None) => (*meters.first()?, 0),
            (None, Some(_)) => return None,
        };
        let lent = if earlier_left { need.unwrap_or(balance) } else { balance };
        let loan = Loan { meter, lent, kept: balance - lent };
        self.set_balance(meter, loan.kept);
        Some(loan)
    }

    /// Takes back what is left of a loan.
    pub(crate) fn take_back(&mut self, loan: Loan, left: u64) {
        self.consumed = self.consumed.saturating_add(loan.lent.saturating_sub(left));
        self.set_balance(loan.meter, loan.kept.saturating_add(left));
    }

    /// Charges an entry outside a run. `false`, and nothing is taken, when no meter can pay.
    pub(crate) fn charge(&mut self, meters: &[u64], price: u64) -> bool {
        let Some(meter) = meters.iter().copied().find(|meter| self.balance(*meter) >= price) else {
            return price == 0;
        };
        let left = self.balance(meter) - price;
        self.set_balance(meter, left);
        self.consumed = self.consumed.saturating_add(price);
        true
    }
}

impl<K: KernelAssist> Vm<K> {
    /// Charges the entry at `index` outside a run. `false`, and nothing is taken, when nobody can pay.
    pub(crate) fn charge_entry(
        &mut self,
        cache: &CacheDirectory,
        index: usize,
        price: u64,
    ) -> Result<bool, CapError> {
        match self.stack.at(index).gas_payer {
            None => Ok(self.charge(&[0], price)),
            Some(_) => {
                let meters = self.meters(cache, index)?;
                Ok(self.charge(&meters, price))
            }
        }
    }
}

/// Which of these quotas pays `bytes`: `Ok(None)` is nobody because storage is free, `Err` the exhausted one.
pub(crate) fn paying_quota<K: KernelAssist>(
    assist: &K,
    quotas: Option<&[u64]>,
    bytes: u64,
) -> Result<Option<u64>, u64> {
    let Some(quotas) = quotas.filter(|_| bytes > 0) else { return Ok(None) };
    match quotas.iter().find(|quota| assist.quota(**quota) >= bytes) {
        Some(quota) => Ok(Some(*quota)),
        None => Err(quotas.first().copied().unwrap_or(0)),
    }
}

/// Debits a quota that [`paying_quota`] found.
pub(crate) fn debit<K: KernelAssist>(assist: &mut K, quota: Option<u64>, bytes: u64) {
    if let Some(quota) = quota {
        let left = assist.quota(quota).saturating_sub(bytes);
        assist.set_quota(quota, left);
    }
}
