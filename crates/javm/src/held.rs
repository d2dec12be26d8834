//! [`HeldInstance`]: an instance inside a value that others hold too. A call keeps the value as it found it,
//! and copies nothing.

use std::{ops::Deref, sync::Arc};

use javm_cap::{Cap, InstanceCap, Kind};

/// A shared value that is an instance.
#[derive(Clone, Debug)]
pub(crate) struct HeldInstance(Arc<Cap>);

impl HeldInstance {
    /// The instance that a value is; `Err` is what it is instead.
    pub(crate) fn new(cap: Arc<Cap>) -> Result<Self, Kind> {
        match &*cap {
            Cap::Instance(_) => Ok(Self(cap)),
            other => Err(other.kind()),
        }
    }
}

impl From<InstanceCap> for HeldInstance {
    fn from(instance: InstanceCap) -> Self {
        Self(Arc::new(Cap::Instance(instance)))
    }
}

impl Deref for HeldInstance {
    type Target = InstanceCap;

    fn deref(&self) -> &InstanceCap {
        match &*self.0 {
            Cap::Instance(instance) => instance,
            _ => unreachable!("nothing else is held"),
        }
    }
}
