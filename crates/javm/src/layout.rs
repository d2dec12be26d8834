//! Memory of a call: mappings in, dirty pages out.
//!
//! Laying out maps and copies nothing: pages come from the values when they are first touched. Committing
//! looks only at pages that may have been written, and only those whose bytes differ from what was laid
//! out are dirty, so that what is stored, hashed and charged does not depend on how a backend notices
//! writes.
//!
//! Source: capability machine, section 5.

use std::sync::Arc;

use javm_abi::SlotPath;
use javm_abi::reg::PAGE_SIZE;
use javm_cap::tree::pages::PageTree;
use javm_cap::{
    CacheDirectory, Cap, CapError, CapHashOrRef, DataCap, EPHEMERAL_DEPTH, OpFailure,
    image::{MappingSource, MemoryMapping},
    path,
};
use javm_exec::{Access, MapError, Memory, PageSource, memory::same_page};

use crate::{
    callstack::{InstanceEntry, LaidOut},
    fault::NotStarted,
    held::HeldInstance,
    image_cache::LoadedImage,
};

/// Pages of a Data.
pub(crate) struct DataPages(pub(crate) Arc<Cap>);

impl PageSource for DataPages {
    fn page(&self, index: u32) -> Option<&[u8]> {
        match &*self.0 {
            Cap::Data(data) => data.page(u64::from(index)),
            Cap::Instance(_) | Cap::Image(_) | Cap::CNode(_) | Cap::Type(_) => None,
        }
    }
}

/// Pages of an instance's anonymous memory.
struct AnonymousPages(HeldInstance);

impl PageSource for AnonymousPages {
    fn page(&self, index: u32) -> Option<&[u8]> {
        self.0.memory().pages().page(u64::from(index))
    }
}

/// Why memory was not laid out.
pub(crate) enum LayoutFailure {
    /// The call is refused.
    Refused(NotStarted),
    /// The call ends in a host error.
    Host(CapError),
}

impl From<CapError> for LayoutFailure {
    fn from(error: CapError) -> Self {
        Self::Host(error)
    }
}

/// Whether a mapping's source is a pinned slot.
fn is_pinned(image: &LoadedImage, path: &SlotPath) -> bool {
    path.is_root() && image.image().pinned_slots.contains_key(&path.root_slot().into())
}

/// Reads a slot; a path that does not lead anywhere holds nothing.
fn slot(
    cache: &CacheDirectory,
    table: &javm_cap::CNodeCap,
    path: SlotPath,
) -> Result<Option<CapHashOrRef>, CapError> {
    match path::read_path(cache, table, path) {
        Ok(name) => Ok(name),
        Err(OpFailure::Refused(_)) => Ok(None),
        Err(OpFailure::Host(error)) => Err(error),
    }
}

/// Maps what the image asks for into an empty memory. The mappings in `stale`, whose slots have changed since
/// they were laid out, get no source: their pages are restored one by one.
pub(crate) fn lay_out(
    cache: &CacheDirectory,
    image: &LoadedImage,
    table: &javm_cap::CNodeCap,
    instance: &HeldInstance,
    stale: &[u32],
    memory: &mut Memory,
) -> Result<Vec<LaidOut>, LayoutFailure> {
    let mappings = &image.image().memory_mappings;
    let mut laid_out = Vec::with_capacity(mappings.len());
    for (mapping, m) in mappings.iter().enumerate() {
        let refuse = |reason| LayoutFailure::Refused(NotStarted::Layout { mapping, reason });
        let mut name = None;
        let mut source: Option<(Arc<dyn PageSource>, u32)> = None;
        let mut access = Access::ReadWrite;
        let stale = stale.contains(&(mapping as u32));
        if let MappingSource::Slot(path) = m.source
            && !stale
        {
            name = slot(cache, table, path)?;
            if is_pinned(image, &path) {
                access = Access::ReadOnly;
            }
            if let Some(name) = name {
                let cap = cache.fetch(name)?;
                let Cap::Data(data) = &*cap else { return Err(refuse("its source is no Data")) };
                if data.content_len() > m.pages() * PAGE_SIZE as u64 {
                    return Err(refuse("its source is larger than the mapping"));
                }
                source = Some((Arc::new(DataPages(cap)), 0));
            }
        }
        memory
            .map(m.first_page() as u32, m.pages() as u32, access, source)
            .map_err(|_| refuse("it does not fit the address space"))?;
        laid_out.push(LaidOut { name, stale });
    }
    let pages = instance.memory().page_count() as u32;
    if pages > 0 {
        memory
            .map(0, pages, Access::ReadWrite, Some((Arc::new(AnonymousPages(instance.clone())), 0)))
            .map_err(|_| {
                LayoutFailure::Refused(NotStarted::Layout {
                    mapping: mappings.len(),
                    reason: "anonymous memory overlaps a mapping",
                })
            })?;
    }
    Ok(laid_out)
}

/// A persistent mapping, or anonymous memory, with its dirty pages: index in the source and bytes.
pub(crate) struct Dirty {
    /// Which mapping; `None` is anonymous memory.
    mapping: Option<usize>,
    pages: Vec<(u64, u32)>,
}

/// The dirty pages of everything that persists, by mapping. A mapping whose slot has changed since it was
/// laid out has none: the slot stands.
pub(crate) fn dirty(cache: &CacheDirectory, entry: &InstanceEntry) -> Result<Vec<Dirty>, CapError> {
    let mut all = Vec::new();
    let pages = written(entry);
    for (n, m) in entry.image.image().memory_mappings.iter().enumerate() {
        let first = m.first_page() as u32;
        let written = within(&pages, first, m.pages() as u32);
        if written.is_empty() || !persists(cache, entry, n)? {
            continue;
        }
        let source = source(cache, entry, n)?;
        push_changed(&mut all, entry, Some(n), first, written, |index| page_of(source.as_deref(), index));
    }
    let anonymous = entry.base.memory();
    let written = within(&pages, 0, anonymous.page_count() as u32);
    if !written.is_empty() {
        let original = |index| anonymous.pages().page(index).unwrap_or_default();
        push_changed(&mut all, entry, None, 0, written, original);
    }
    Ok(all)
}

/// The pages that may have been written, ascending.
fn written(entry: &InstanceEntry) -> Vec<u32> {
    entry.machine.as_deref().map(|machine| machine.memory.written(0, u32::MAX)).unwrap_or_default()
}

/// Those of a range.
fn within(pages: &[u32], first: u32, count: u32) -> &[u32] {
    let end = first.saturating_add(count);
    &pages[pages.partition_point(|page| *page < first)..pages.partition_point(|page| *page < end)]
}

/// The bytes of a page as they stand.
fn bytes(entry: &InstanceEntry, page: u32) -> &[u8] {
    entry.machine.as_deref().and_then(|machine| machine.memory.page(page)).unwrap_or_default()
}

/// Whether the pages of mapping `n` go back to its slot at HALT.
fn persists(cache: &CacheDirectory, entry: &InstanceEntry, n: usize) -> Result<bool, CapError> {
    let (m, was) = (&entry.image.image().memory_mappings[n], &entry.laid_out[n]);
    let MappingSource::Slot(path) = m.source else { return Ok(false) };
    if was.stale || is_pinned(&entry.image, &path) || entry.paused_target(path).is_some() {
        return Ok(false);
    }
    match path::read_path(cache, &entry.table, path) {
        Ok(name) => Ok(name == was.name),
        Err(OpFailure::Refused(_)) => Ok(false),
        Err(OpFailure::Host(error)) => Err(error),
    }
}

/// The Data that mapping `n` was laid out from.
fn source(cache: &CacheDirectory, entry: &InstanceEntry, n: usize) -> Result<Option<Arc<Cap>>, CapError> {
    entry.laid_out[n].name.map(|name| cache.fetch(name)).transpose()
}

/// A page of a Data, if there is one.
fn page_of(source: Option<&Cap>, index: u64) -> &[u8] {
    match source {
        Some(Cap::Data(data)) => data.page(index).unwrap_or_default(),
        _ => &[],
    }
}

fn push_changed<'a>(
    all: &mut Vec<Dirty>,
    entry: &InstanceEntry,
    mapping: Option<usize>,
    first: u32,
    written: &[u32],
    original: impl Fn(u64) -> &'a [u8],
) {
    let pages: Vec<(u64, u32)> = written
        .iter()
        .map(|page| (u64::from(page - first), *page))
        .filter(|(index, page)| !same_page(original(*index), bytes(entry, *page)))
        .collect();
    if !pages.is_empty() {
        all.push(Dirty { mapping, pages });
    }
}

/// How many pages are dirty.
pub(crate) fn dirty_pages(dirty: &[Dirty]) -> u64 {
    dirty.iter().map(|d| d.pages.len() as u64).sum()
}

/// Memory of a paused instance, as what differs from laying its image out anew.
pub(crate) struct Snapshot {
    /// Pages with content, by page number.
    pub(crate) pages: PageTree,
    /// Pages that are zero now, though laying out would not make them so.
    pub(crate) zeroed: Vec<u32>,
    /// Mappings whose slot has changed since they were laid out.
    pub(crate) stale: Vec<u32>,
}

/// What of an entry's memory must be kept while it is paused.
pub(crate) fn snapshot(cache: &CacheDirectory, entry: &InstanceEntry) -> Result<Snapshot, CapError> {
    let mut s =
        Snapshot { pages: PageTree::with_depth(EPHEMERAL_DEPTH), zeroed: Vec::new(), stale: Vec::new() };
    let image = entry.image.image();
    let pages = written(entry);
    for (n, m) in image.memory_mappings.iter().enumerate() {
        let (first, count) = (m.first_page() as u32, m.pages() as u32);
        let pinned = matches!(&m.source, MappingSource::Slot(path) if is_pinned(&entry.image, path));
        let slot_sourced = matches!(m.source, MappingSource::Slot(_)) && !pinned;
        let source = source(cache, entry, n)?;
        if slot_sourced && !persists(cache, entry, n)? {
            s.stale.push(n as u32);
            if let Some(Cap::Data(data)) = source.as_deref() {
                for (index, bytes) in data.pages() {
                    s.pages.set_page(u64::from(first) + index, bytes);
                }
            }
        }
        let stale = s.stale.last() == Some(&(n as u32));
        for page in within(&pages, first, count).iter().copied() {
            // A stale mapping is laid out with zeros: there, a page of zeros needs no mention.
            let original = if stale { &[] } else { page_of(source.as_deref(), u64::from(page - first)) };
            s.keep(page, original, bytes(entry, page));
        }
    }
    let anonymous = entry.base.memory();
    for page in within(&pages, 0, anonymous.page_count() as u32).iter().copied() {
        s.keep(page, anonymous.pages().page(u64::from(page)).unwrap_or_default(), bytes(entry, page));
    }
    for page in &entry.paged {
        s.keep(*page, &[], bytes(entry, *page));
    }
    Ok(s)
}

impl Snapshot {
    /// How many pages it keeps.
    pub(crate) fn kept(&self) -> u64 {
        self.pages.count() + self.zeroed.len() as u64
    }

    fn keep(&mut self, page: u32, original: &[u8], now: &[u8]) {
        let zero = now.iter().all(|byte| *byte == 0);
        if zero && !same_page(original, &[]) {
            self.zeroed.push(page);
        }
        if zero || !same_page(original, now) {
            self.pages.set_page(u64::from(page), if zero { &[] } else { now });
        }
    }
}

/// Puts back what [`snapshot`] kept into memory that was just laid out.
pub(crate) fn restore(
    memory: &mut Memory,
    pages: &PageTree,
    zeroed: &[u32],
    paged: &[u32],
) -> Result<(), MapError> {
    for page in paged {
        memory.map(*page, 1, Access::ReadWrite, None)?;
    }
    for page in zeroed {
        memory.poke(address_of(*page), &[0; PAGE_SIZE])?;
    }
    for (page, bytes) in pages.pages() {
        let mut whole = [0; PAGE_SIZE];
        whole[..bytes.len()].copy_from_slice(bytes);
        memory.poke(address_of(page as u32), &whole)?;
    }
    Ok(())
}

/// The first address of a page.
const fn address_of(page: u32) -> u32 {
    page.wrapping_mul(PAGE_SIZE as u32)
}

/// Carries the ephemeral pages that two images both map from one memory to another.
pub(crate) fn carry_ephemeral(old: &InstanceEntry, image: &LoadedImage, memory: &mut Memory) {
    let pages = written(old);
    let ephemeral = |m: &&MemoryMapping| m.source == MappingSource::Ephemeral;
    for was in old.image.image().memory_mappings.iter().filter(ephemeral) {
        for is in image.image().memory_mappings.iter().filter(ephemeral) {
            let first = was.first_page().max(is.first_page());
            let end = (was.first_page() + was.pages()).min(is.first_page() + is.pages());
            for page in within(&pages, first as u32, end.saturating_sub(first) as u32) {
                // Both map it, so the only way to fail does not arise.
                let _ = memory.poke(address_of(*page), bytes(old, *page));
            }
        }
    }
}

/// Puts dirty pages into new working values, Data into their slots, and into anonymous memory.
pub(crate) fn commit(
    cache: &mut CacheDirectory,
    entry: &mut InstanceEntry,
    anonymous: &mut javm_cap::Memory,
    dirty: &[Dirty],
) -> Result<(), CapError> {
    let InstanceEntry { image, table, laid_out, machine, owner, .. } = entry;
    let Some(memory) = machine.as_deref().map(|machine| &machine.memory) else { return Ok(()) };
    for d in dirty {
        let pages = d.pages.iter().map(|(index, page)| (*index, memory.page(*page).unwrap_or_default()));
        let Some(n) = d.mapping else {
            for (index, bytes) in pages {
                anonymous.set_page(index, bytes);
            }
            continue;
        };
        let MappingSource::Slot(path) = image.image().memory_mappings[n].source else { continue };
        let cap = laid_out[n].name.map(|name| cache.fetch(name)).transpose()?;
        let data = match cap.as_deref() {
            Some(Cap::Data(data)) => data.with_pages(pages),
            _ => DataCap::default().with_pages(pages),
        };
        // `dirty` has just read this path, so it leads somewhere.
        let name = CapHashOrRef::Ref(cache.insert_working(Cap::Data(data)));
        match path::write_path(cache, table, path, Some(name), *owner) {
            Ok(_) | Err(OpFailure::Refused(_)) => {}
            Err(OpFailure::Host(error)) => return Err(error),
        }
    }
    Ok(())
}
