//! The digest: BLAKE2b-256 with the kind of the input as *personalisation* (capability machine, section 3).
//!
//! This file is the only home of the tags. Everything that is hashed anywhere goes through one of the
//! functions here, so two kinds of input can never collide. Integers are little endian. Which parts make
//! up a value is told by the value's own file in `kinds`.

use std::sync::LazyLock;

use blake2b_simd::Params;
use blake2b_simd::many::{HashManyJob, hash_many};
use javm_abi::reg::PAGE_SIZE;

/// The name of a settled value: 32 bytes of BLAKE2b.
pub type CapHash = [u8; 32];

/// Bytes that one BLAKE2b compression takes in: the unit in which hashing is priced.
pub const BLOCK_BYTES: usize = 128;

/// Compressions that one page takes.
pub(crate) const PAGE_COST: u64 = (PAGE_SIZE / BLOCK_BYTES) as u64;

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Inner node of a tree.
    Node,
    /// A page of memory or data, zero padded.
    Page,
    /// `Cap::Data`.
    Data,
    /// `Cap::CNode`.
    CNode,
    /// `Cap::Image`, and the names of kernel images.
    Image,
    /// `Cap::Instance`.
    Instance,
    /// The status of an instance.
    Status,
    /// The anonymous memory of an instance.
    Memory,
    /// `Cap::Type`.
    Type,
    /// A step of a lineage.
    Lineage,
    /// The state of a chain.
    State,
}

impl Tag {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Node => b"javm:node",
            Self::Page => b"javm:page",
            Self::Data => b"javm:data",
            Self::CNode => b"javm:cnode",
            Self::Image => b"javm:image",
            Self::Instance => b"javm:instance",
            Self::Status => b"javm:status",
            Self::Memory => b"javm:memory",
            Self::Type => b"javm:type",
            Self::Lineage => b"javm:lineage",
            Self::State => b"jar:state",
        }
    }

    fn params(self) -> Params {
        let mut params = Params::new();
        params.hash_length(size_of::<CapHash>()).personal(self.bytes());
        params
    }
}

/// Counts compressions, so that tests can hold prices against what really happens.
#[cfg(test)]
pub(crate) mod meter {
    use std::cell::Cell;

    thread_local! {
        static BLOCKS: Cell<u64> = const { Cell::new(0) };
    }

    /// Notes the hashing of `len` bytes.
    pub(crate) fn add(len: usize) {
        BLOCKS.with(|blocks| blocks.set(blocks.get() + super::cost(len as u64)));
    }

    /// Compressions on this thread since the last call of this.
    pub(crate) fn take() -> u64 {
        BLOCKS.with(|blocks| blocks.replace(0))
    }
}

fn to_hash(digest: &blake2b_simd::Hash) -> CapHash {
    let mut hash = CapHash::default();
    hash.copy_from_slice(digest.as_bytes());
    hash
}

/// The digest of the concatenation of `parts`.
pub(crate) fn digest(tag: Tag, parts: &[&[u8]]) -> CapHash {
    #[cfg(test)]
    meter::add(parts.iter().map(|part| part.len()).sum());
    let mut state = tag.params().to_state();
    for part in parts {
        state.update(part);
    }
    to_hash(&state.finalize())
}

/// The digests of inputs of one kind, several at a time where the processor can.
pub(crate) fn digest_each(tag: Tag, inputs: &[&[u8]], mut take: impl FnMut(usize, CapHash)) {
    #[cfg(test)]
    inputs.iter().for_each(|input| meter::add(input.len()));
    let params = tag.params();
    if let [input] = inputs {
        return take(0, to_hash(&params.hash(input)));
    }
    let mut jobs: Vec<_> = inputs.iter().map(|input| HashManyJob::new(&params, input)).collect();
    hash_many(jobs.iter_mut());
    for (i, job) in jobs.iter().enumerate() {
        take(i, to_hash(&job.to_hash()));
    }
}

/// The root of a chain's state (the chain kernel, section 1), over its canonical encoding.
#[must_use]
pub fn state_root(encoding: &[u8]) -> CapHash {
    digest(Tag::State, &[encoding])
}

/// Compressions that an input of `len` bytes takes.
pub(crate) const fn cost(len: u64) -> u64 {
    let blocks = len.div_ceil(BLOCK_BYTES as u64);
    if blocks == 0 { 1 } else { blocks }
}

/// The inner node over two subtrees.
#[must_use]
pub fn node(left: &CapHash, right: &CapHash) -> CapHash {
    digest(Tag::Node, &[left, right])
}

/// A page: at most 4,096 bytes, taken as if zero padded to that size. Bytes past a page are not looked at.
#[must_use]
pub fn page(bytes: &[u8]) -> CapHash {
    let mut padded = [0; PAGE_SIZE];
    let len = bytes.len().min(PAGE_SIZE);
    padded[..len].copy_from_slice(&bytes[..len]);
    digest(Tag::Page, &[&padded])
}

/// Heights of the trees there are: pages of a `u64` length, and the nodes of 16 above them.
pub(crate) const HEIGHTS: usize = 64;

fn zero_roots(leaf: CapHash) -> [CapHash; HEIGHTS] {
    let mut roots = [leaf; HEIGHTS];
    for height in 1..HEIGHTS {
        roots[height] = node(&roots[height - 1], &roots[height - 1]);
    }
    roots
}

/// Roots of all-zero page trees, by height.
pub(crate) static ZERO_PAGES: LazyLock<[CapHash; HEIGHTS]> = LazyLock::new(|| zero_roots(page(&[])));

/// Roots of empty slot trees, by height.
pub(crate) static ZERO_SLOTS: LazyLock<[CapHash; HEIGHTS]> = LazyLock::new(|| zero_roots([0; 32]));

/// The images that the kernel recognises (section 9), in the order of the specification. No Image value
/// exists for them; an instance of one is answered natively.
pub const KERNEL_IMAGES: [&str; 14] = [
    "YieldCatcher",
    "Gas",
    "Quota",
    "SetGasMeter",
    "SetStorageQuota",
    "MintGas",
    "MintQuota",
    "CreateYieldCatcher",
    "File",
    "HostOpen",
    "HostSave",
    "OogMarker",
    "StorageExhaustedMarker",
    "Pager",
];

static KERNEL_HASHES: LazyLock<[CapHash; KERNEL_IMAGES.len()]> =
    LazyLock::new(|| KERNEL_IMAGES.map(kernel_image_hash));

/// The image hash of the kernel image `name`: the digest of `kernel:NAME`.
#[must_use]
pub fn kernel_image_hash(name: &str) -> CapHash {
    digest(Tag::Image, &[b"kernel:", name.as_bytes()])
}

/// Which of [`KERNEL_IMAGES`] a hash names, if it names one.
#[must_use]
pub fn kernel_image(hash: &CapHash) -> Option<&'static str> {
    let at = KERNEL_HASHES.iter().position(|known| known == hash)?;
    KERNEL_IMAGES.get(at).copied()
}

/// A hash as people read it: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(
    /// The hash to show.
    pub &'a CapHash,
);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_agree_with_single_digests() {
        let inputs: Vec<Vec<u8>> = (0..9u8).map(|i| vec![i; 64 * usize::from(i) + 1]).collect();
        for count in 0..=inputs.len() {
            let slices: Vec<&[u8]> = inputs[..count].iter().map(Vec::as_slice).collect();
            let mut seen = vec![None; count];
            digest_each(Tag::Node, &slices, |i, hash| seen[i] = Some(hash));
            for (input, hash) in slices.iter().zip(seen) {
                assert_eq!(hash, Some(digest(Tag::Node, &[input])));
            }
        }
    }

    #[test]
    fn kernel_images_are_known_by_their_hash() {
        for name in KERNEL_IMAGES {
            assert_eq!(kernel_image(&kernel_image_hash(name)), Some(name));
        }
        assert_eq!(kernel_image(&kernel_image_hash("Nothing")), None);
    }
}
