//! The first σ of a chain.
//!
//! Genesis makes the first instance of the chain's image and issues the kernel's resources into its slots:
//! whoever runs as the chain instance decides who gets what of them.

use javm::{
    KernelImage, PublishError, first_instance,
    kernel_assist::{kernel_catcher, kernel_handle, kernel_instance, marker_hash},
};
use javm_cap::{CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, SlotIdx};

use crate::state::State;

/// Id of the root meter and of the root quota.
pub const ROOT: u64 = 0;

/// Root slots of the chain instance that genesis fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSlots {
    /// A `Gas` handle of the root meter.
    pub gas: SlotIdx,
    /// A `Quota` handle of the root quota.
    pub quota: SlotIdx,
    /// The right to set meters.
    pub set_gas_meter: SlotIdx,
    /// The right to set quotas.
    pub set_storage_quota: SlotIdx,
    /// The right to make gas handles.
    pub mint_gas: SlotIdx,
    /// The right to make quota handles.
    pub mint_quota: SlotIdx,
    /// The right to make catchers.
    pub create_yield_catcher: SlotIdx,
    /// The right to open files.
    pub host_open: SlotIdx,
    /// The right to save files.
    pub host_save: SlotIdx,
    /// A catcher that lists the out-of-gas and the storage-exhausted markers, in this order.
    pub yield_catcher: SlotIdx,
}

impl Default for KernelSlots {
    /// Slots 240 to 249, in the order of the fields.
    fn default() -> Self {
        let slot = |n: u32| SlotIdx(240 + n);
        Self {
            gas: slot(0),
            quota: slot(1),
            set_gas_meter: slot(2),
            set_storage_quota: slot(3),
            mint_gas: slot(4),
            mint_quota: slot(5),
            create_yield_catcher: slot(6),
            host_open: slot(7),
            host_save: slot(8),
            yield_catcher: slot(9),
        }
    }
}

/// Why there is no first state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The chain instance cannot be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A value is missing, or a slot cannot be filled.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// The image itself fills a slot that the kernel needs.
    #[error("slot {slot} is the kernel's, but the image fills it")]
    SlotTaken {
        /// The slot.
        slot: SlotIdx,
    },
}

/// What a chain begins with.
#[derive(Clone, Debug, Default)]
pub struct Genesis {
    /// Where the kernel's resources go. An image that declares a `yield_marker_slot`, `gas_slots` or
    /// `quota_slots` has the catcher, and the root handles, in (the first of) those instead.
    pub slots: KernelSlots,
    /// More content for the chain instance's slots.
    pub extra: Vec<(SlotIdx, CapHash)>,
}

impl Genesis {
    /// Makes the first state of a chain whose image, with what it pins, is in the directory.
    ///
    /// # Errors
    /// [`GenesisError`] when the image is missing or none, or slots collide.
    pub fn build(&self, cache: &mut CacheDirectory, image: CapHash) -> Result<State, GenesisError> {
        let cap = cache.fetch(CapHashOrRef::Hash(image))?;
        let (taken, slots) = match &*cap {
            Cap::Image(body) => {
                let taken: Vec<SlotIdx> =
                    body.pinned_slots.keys().chain(body.initial_slots.keys()).copied().collect();
                let slots = KernelSlots {
                    yield_catcher: body.yield_marker_slot.unwrap_or(self.slots.yield_catcher),
                    gas: body.gas_slots.first().copied().unwrap_or(self.slots.gas),
                    quota: body.quota_slots.first().copied().unwrap_or(self.slots.quota),
                    ..self.slots
                };
                (taken, slots)
            }
            other => return Err(PublishError::NotAnImage { found: other.kind() }.into()),
        };
        let mut filled = self.extra.clone();
        filled.extend(resources(cache, slots)?);
        if let Some((slot, _)) = filled.iter().find(|(slot, _)| taken.contains(slot)) {
            return Err(GenesisError::SlotTaken { slot: *slot });
        }
        Ok(State::new(first_instance(cache, image, &filled)?))
    }
}

/// The kernel's resources, each with its slot.
fn resources(cache: &mut CacheDirectory, slots: KernelSlots) -> Result<Vec<(SlotIdx, CapHash)>, CapError> {
    let markers = [KernelImage::OogMarker, KernelImage::StorageExhaustedMarker];
    for marker in markers {
        // The catcher names them; whoever reads it finds them.
        kernel_instance(cache, marker)?;
    }
    Ok(vec![
        (slots.gas, kernel_handle(cache, KernelImage::Gas, ROOT)?),
        (slots.quota, kernel_handle(cache, KernelImage::Quota, ROOT)?),
        (slots.set_gas_meter, kernel_instance(cache, KernelImage::SetGasMeter)?),
        (slots.set_storage_quota, kernel_instance(cache, KernelImage::SetStorageQuota)?),
        (slots.mint_gas, kernel_instance(cache, KernelImage::MintGas)?),
        (slots.mint_quota, kernel_instance(cache, KernelImage::MintQuota)?),
        (slots.create_yield_catcher, kernel_instance(cache, KernelImage::CreateYieldCatcher)?),
        (slots.host_open, kernel_instance(cache, KernelImage::HostOpen)?),
        (slots.host_save, kernel_instance(cache, KernelImage::HostSave)?),
        (slots.yield_catcher, kernel_catcher(cache, &markers.map(marker_hash))?),
    ])
}
