//! Lineages: how an instance came to be, as one hash. It is the instance's type.
//!
//! Genesis is the hash of the first image. Each change of image, and each spawn, is a step over the image
//! that came next (capability machine, section 4). Nothing that a guest can reach writes a lineage; only
//! the rules here derive one.

use crate::hash::{self, CapHash, Tag};

/// The lineage of a first instance of an image: the image's hash.
#[must_use]
pub const fn genesis(image: CapHash) -> CapHash {
    image
}

/// The lineage after `SET_IMAGE`, or of a child that was spawned with `image`.
#[must_use]
pub fn step(previous: &CapHash, image: &CapHash) -> CapHash {
    hash::digest(Tag::Lineage, &[previous, image])
}

/// The lineage folded over the images, in order.
#[must_use]
pub fn fold<'a>(start: &CapHash, images: impl IntoIterator<Item = &'a CapHash>) -> CapHash {
    images.into_iter().fold(*start, |lineage, image| step(&lineage, image))
}
