//! [`Prepared`]: a manifest, read and checked once, from which invocations are made.
//!
//! How the first VM comes to be is here: its table, its memory, its registers. Source: `capability-kernel.md`, "Root
//! VM construction", A2 and A5.

use std::{convert::Infallible, ops::Range, sync::Arc};

use javm_abi::microkernel::{MAX_CODES, PAGE_GAS, PROTOCOL_SLOTS, UNTYPED_SLOT};
use javm_exec::{Access, Engine, GasCounter, Module, module_key};
use javm_program::manifest::{Manifest, ManifestKind};

use crate::{Cap, CapTable, DataCap, Invocation, InvocationError};

/// An entry of the manifest.
#[derive(Debug)]
struct Entry {
    slot: u8,
    what: What,
}

#[derive(Debug)]
enum What {
    Code(u8),
    /// `contents`: of the blob. Many entries may have the same.
    Data {
        base_page: u32,
        pages: u32,
        access: Access,
        contents: Range<usize>,
    },
}

/// A program of the microkernel, ready to be invoked any number of times. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    blob: Box<[u8]>,
    entries: Vec<Entry>,
    codes: Arc<[Module]>,
    invoked: u8,
    memory_pages: u32,
    price: u64,
}

impl Prepared {
    /// Reads a manifest (`JAR\x02`) and checks its code, which is compiled when it first runs.
    ///
    /// # Errors
    /// [`InvocationError`] for what is no manifest, has bad code or too much of it, no code where it says that it
    /// starts, or contents that do not fit.
    pub fn new(engine: &Engine, blob: &[u8]) -> Result<Self, InvocationError> {
        let manifest = Manifest::read(blob)?;
        let count = manifest.caps.iter().filter(|c| c.kind == ManifestKind::Code).count();
        if count > MAX_CODES {
            return Err(InvocationError::TooManyCodes { count });
        }
        let (mut entries, mut codes, mut price, mut invoked) = (Vec::new(), Vec::new(), 0u64, None);
        for cap in &manifest.caps {
            let what = match cap.kind {
                ManifestKind::Code => {
                    let code = cap.code()?;
                    let Ok(module) = engine.module(module_key(&code), || Ok::<_, Infallible>(code));
                    codes.push(module);
                    What::Code(codes.len() as u8 - 1)
                }
                ManifestKind::Data => {
                    let pages = cap.page_count;
                    if cap.contents.len() as u64 > u64::from(pages) * javm_exec::PAGE_SIZE as u64 {
                        let bytes = cap.contents.len();
                        return Err(InvocationError::ContentsTooLong { slot: cap.slot, bytes, pages });
                    }
                    let contents = cap.offset..cap.offset + cap.contents.len();
                    price += PAGE_GAS * u64::from(pages);
                    let access = match cap.access {
                        javm_program::Access::ReadOnly => Access::ReadOnly,
                        javm_program::Access::ReadWrite => Access::ReadWrite,
                    };
                    What::Data { base_page: cap.base_page, pages, access, contents }
                }
            };
            if cap.slot == manifest.invoke_slot {
                invoked = if let What::Code(n) = what { Some(n) } else { None };
            }
            entries.push(Entry { slot: cap.slot, what });
        }
        let Some(invoked) = invoked else {
            // The reader has the words for it.
            manifest.invoked_code()?;
            return Err(InvocationError::Program(javm_program::ProgramError::UnknownFormat));
        };
        let memory_pages = manifest.memory_pages;
        let blob = blob.into();
        Ok(Self(Arc::new(Inner { blob, entries, codes: codes.into(), invoked, memory_pages, price })))
    }

    /// The code of the manifest, in the order of its entries.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.0.codes
    }

    /// What making an invocation costs: the pages of the data entries.
    #[must_use]
    pub fn price(&self) -> u64 {
        self.0.price
    }

    /// Makes an invocation. The arguments are put into the DATA of slot 0; φ7, the operation, is 0 and the
    /// embedder's to set.
    ///
    /// # Errors
    /// [`InvocationError`] when the gas does not pay for the pages, or the pages or the arguments do not fit.
    pub fn invoke(&self, arguments: &[u8], gas: u64) -> Result<Invocation, InvocationError> {
        let Inner { blob, entries, codes, invoked, memory_pages, price } = &*self.0;
        let Some(left) = gas.checked_sub(*price) else {
            return Err(InvocationError::OutOfGas { price: *price, gas });
        };
        let mut table = CapTable::new();
        for slot in PROTOCOL_SLOTS {
            table.set_original(slot, slot);
        }
        let mut invocation = Invocation::start(Arc::clone(codes), *invoked, table, *memory_pages);
        for Entry { slot, what } in entries {
            invocation.overwrite_root(*slot);
            let cap = match what {
                What::Code(n) => Cap::Code(*n),
                What::Data { base_page, pages, access, contents } => {
                    let at = (*base_page, *pages, *access);
                    let contents = blob.get(contents.clone()).unwrap_or_default();
                    Cap::Data(initial(&mut invocation, *slot, at, contents)?)
                }
            };
            invocation.root_mut().table.set(*slot, cap);
        }
        if *memory_pages > 0 {
            invocation.overwrite_root(UNTYPED_SLOT);
            invocation.root_mut().table.set(UNTYPED_SLOT, Cap::Untyped);
        }
        give_arguments(&mut invocation, arguments)?;
        invocation.root_mut().gas = GasCounter::new(left);
        Ok(invocation)
    }
}

/// Takes the pages of a data entry, fills and maps them.
fn initial(
    invocation: &mut Invocation,
    slot: u8,
    (base_page, pages, access): (u32, u32, Access),
    contents: &[u8],
) -> Result<DataCap, InvocationError> {
    let (left, total) = (invocation.untyped.left(), invocation.untyped.total);
    let backing =
        invocation.untyped.take(pages).ok_or(InvocationError::NoPages { slot, pages, left, total })?;
    invocation
        .root_mut()
        .space
        .map(backing, base_page, access, 0, pages)
        .map_err(|source| InvocationError::Mapping { slot, source })?;
    invocation.store.write(backing, 0, contents);
    invocation.store.clear_written(backing);
    Ok(DataCap { backing, base_page: Some(base_page), access: Some(access) })
}

/// Puts the arguments where they are looked for, and says where that is.
fn give_arguments(invocation: &mut Invocation, arguments: &[u8]) -> Result<(), InvocationError> {
    let data = match invocation.root_mut().table.get(0) {
        Some(Cap::Data(data)) => Some(*data),
        _ => None,
    };
    let regs = &mut invocation.root_mut().regs;
    regs.gpr[9] = arguments.len() as u64;
    let Some(data) = data.filter(|_| !arguments.is_empty()) else { return Ok(()) };
    regs.gpr[8] = u64::from(data.base_page.unwrap_or(0)) * javm_exec::PAGE_SIZE as u64;
    if !invocation.store.write(data.backing, 0, arguments) {
        let pages = data.backing.count;
        return Err(InvocationError::ArgumentsTooLong { bytes: arguments.len(), pages });
    }
    invocation.store.clear_written(data.backing);
    Ok(())
}
