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
use javm_cap::{
    CacheDirectory, Cap, CapError, CapHashOrRef, DataCap, InstanceCap, OpFailure, image::MappingSource, path,
};
use javm_exec::{Access, Memory, PageSource};

use crate::{
    callstack::{InstanceEntry, LaidOut},
    fault::NotStarted,
    image_cache::LoadedImage,
};

/// Pages of a Data.
struct DataPages(Arc<Cap>);

impl PageSource for DataPages {
    fn page(&self, index: u32) -> Option<&[u8]> {
        match &*self.0 {
            Cap::Data(data) => data.page(u64::from(index)),
            Cap::Instance(_) | Cap::Image(_) | Cap::CNode(_) | Cap::Type(_) => None,
        }
    }
}

/// Pages of an instance's anonymous memory.
struct AnonymousPages(Arc<InstanceCap>);

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

/// Maps what the image asks for into an empty memory.
pub(crate) fn lay_out(
    cache: &mut CacheDirectory,
    image: &LoadedImage,
    table: &javm_cap::CNodeCap,
    instance: &Arc<InstanceCap>,
    memory: &mut Memory,
) -> Result<Vec<LaidOut>, LayoutFailure> {
    let mappings = &image.image().memory_mappings;
    let mut laid_out = Vec::with_capacity(mappings.len());
    for (mapping, m) in mappings.iter().enumerate() {
        let refuse = |reason| LayoutFailure::Refused(NotStarted::Layout { mapping, reason });
        let mut name = None;
        let mut source: Option<(Arc<dyn PageSource>, u32)> = None;
        let mut access = Access::ReadWrite;
        if let MappingSource::Slot(path) = m.source {
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
        laid_out.push(LaidOut { name });
    }
    let pages = instance.memory().page_count() as u32;
    if pages > 0 {
        memory
            .map(0, pages, Access::ReadWrite, Some((Arc::new(AnonymousPages(Arc::clone(instance))), 0)))
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

/// Whether bytes, zero-extended, are the same.
fn same(a: &[u8], b: &[u8]) -> bool {
    let n = a.len().min(b.len());
    a[..n] == b[..n] && a[n..].iter().chain(&b[n..]).all(|byte| *byte == 0)
}

/// The dirty pages of everything that persists, by mapping. A mapping whose slot has changed since it was
/// laid out has none: the slot stands.
pub(crate) fn dirty(cache: &CacheDirectory, entry: &InstanceEntry) -> Result<Vec<Dirty>, CapError> {
    let InstanceEntry { image, table, before, laid_out, machine, .. } = entry;
    let Some(memory) = machine.as_deref().map(|machine| &machine.memory) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (n, (m, was)) in image.image().memory_mappings.iter().zip(laid_out).enumerate() {
        let MappingSource::Slot(path) = m.source else { continue };
        let written = memory.written(m.first_page() as u32, m.pages() as u32);
        if written.is_empty() || is_pinned(image, &path) {
            continue;
        }
        let reachable = path::read_path(cache, table, path);
        match reachable {
            Ok(name) if name == was.name => {}
            Ok(_) | Err(OpFailure::Refused(_)) => continue,
            Err(OpFailure::Host(error)) => return Err(error),
        }
        let cap = was.name.map(|name| cache.fetch(name)).transpose()?;
        let data = match cap.as_deref() {
            Some(Cap::Data(data)) => Some(data),
            _ => None,
        };
        let original = |index| data.and_then(|d| d.page(index)).unwrap_or_default();
        push_changed(&mut all, Some(n), m.first_page() as u32, written, memory, original);
    }
    let anonymous = before.memory();
    let written = memory.written(0, anonymous.page_count() as u32);
    if !written.is_empty() {
        let original = |index| anonymous.pages().page(index).unwrap_or_default();
        push_changed(&mut all, None, 0, written, memory, original);
    }
    Ok(all)
}

fn push_changed<'a>(
    all: &mut Vec<Dirty>,
    mapping: Option<usize>,
    first: u32,
    written: Vec<u32>,
    memory: &Memory,
    original: impl Fn(u64) -> &'a [u8],
) {
    let pages: Vec<(u64, u32)> = written
        .into_iter()
        .map(|page| (u64::from(page - first), page))
        .filter(|(index, page)| !same(original(*index), memory.page(*page).unwrap_or_default()))
        .collect();
    if !pages.is_empty() {
        all.push(Dirty { mapping, pages });
    }
}

/// How many pages are dirty.
pub(crate) fn dirty_pages(dirty: &[Dirty]) -> u64 {
    dirty.iter().map(|d| d.pages.len() as u64).sum()
}

/// Puts dirty pages into new working values: Data into their slots, anonymous memory into `instance`.
pub(crate) fn commit(
    cache: &mut CacheDirectory,
    entry: &mut InstanceEntry,
    instance: &mut InstanceCap,
    dirty: &[Dirty],
) -> Result<(), CapError> {
    let InstanceEntry { image, table, laid_out, machine, owner, .. } = entry;
    let Some(memory) = machine.as_deref().map(|machine| &machine.memory) else { return Ok(()) };
    for d in dirty {
        let pages = d.pages.iter().map(|(index, page)| (*index, memory.page(*page).unwrap_or_default()));
        let Some(n) = d.mapping else {
            let mut anonymous = instance.memory().clone();
            for (index, bytes) in pages {
                anonymous.set_page(index, bytes);
            }
            instance.set_memory(anonymous);
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
