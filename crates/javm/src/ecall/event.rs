//! Events: `EMIT`.

use super::{Failure, Op};
use crate::{callstack::PendingEmit, kernel_assist::KernelAssist};

impl<K: KernelAssist> Op<'_, K> {
    /// `EMIT`: the payload, and what to do on failure, wait for the outermost instance to halt.
    pub(super) fn emit(&mut self) -> Result<(), Failure> {
        let path = self.path(0)?;
        let payload = self.full(path)?;
        let on_failure = match self.operand(1) {
            javm_abi::reg::NO_SLOT => None,
            _ => {
                let path = self.path(1)?;
                Some(self.full(path)?)
            }
        };
        let lineage = self.entry.lineage;
        self.entry.emits.push_back(PendingEmit { payload, on_failure, lineage });
        // The event names what the table names: nothing below may change in place from now on.
        self.entry.owner = self.cache.new_owner();
        Ok(())
    }
}
