//! Images and first instances from programs.
//!
//! A program's exports become endpoints, its memory plan becomes mappings: read-only data is pinned slot
//! 255, read-write data initial slot 254 (persistent), the stack ephemeral. Imports are operations: by
//! number as they are, by name renumbered.
//!
//! Source: capability machine, section 4, "From a PolkaVM program".

use std::collections::BTreeMap;

use javm_abi::{GuestOp, SlotPath};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, DataCap, InstanceCap, Kind, SlotIdx,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
    lineage,
};
use javm_program::{EndpointError, Program, ProgramError, RegionKind};

/// Root slot of the read-only data of a program.
pub const RO_DATA_SLOT: SlotIdx = SlotIdx(255);
/// Root slot of the read-write data of a program.
pub const RW_DATA_SLOT: SlotIdx = SlotIdx(254);

/// Why a program is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Exports do not number endpoints.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// An import's name is no operation.
    #[error(
        "import {number} is called `{name}`, which is no operation of the kernel: the program runs flat only"
    )]
    UnknownImport {
        /// The `ecalli` number in the program.
        number: u32,
        /// The symbol.
        name: String,
    },
    /// Imports cannot be renumbered.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The image is not valid, or a value is missing.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// The value is no image.
    #[error("a first instance is made from an image, this is a {found}")]
    NotAnImage {
        /// What it is.
        found: Kind,
    },
}

/// An image and the values that it names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageParts {
    /// The image, without pinned and initial slots.
    pub image: Image,
    /// Content of its pinned slots.
    pub pinned: Vec<(SlotIdx, DataCap)>,
    /// Content of its initial slots.
    pub initial: Vec<(SlotIdx, DataCap)>,
    /// The program with its imports renumbered: its offsets are those of the image.
    pub program: Program,
}

/// Whether imports were numbered by the linker. It sorts names and counts from 0; a program that numbers its
/// imports itself leaves holes or another order.
fn numbered_by_name(program: &Program) -> bool {
    let imports = program.imports();
    imports.iter().zip(0..).all(|(import, n)| import.number == n)
        && imports.windows(2).all(|pair| pair[0].symbol <= pair[1].symbol)
}

/// Renumbers imports that are given by name. An import by index keeps its number, whatever it is called.
fn resolve_imports(program: &Program) -> Result<Program, PublishError> {
    let mut map = BTreeMap::new();
    if numbered_by_name(program) {
        for import in program.imports() {
            let name = import.symbol_lossy();
            let Some(op) = GuestOp::from_name(&name) else {
                return Err(PublishError::UnknownImport { number: import.number, name: name.into_owned() });
            };
            map.insert(import.number, op.number());
        }
    }
    let mut program = program.clone();
    program.renumber_imports(&map)?;
    Ok(program)
}

/// The image of a program.
///
/// # Errors
/// [`PublishError`] when exports or imports are not those of an image.
pub fn image_of(program: &Program) -> Result<ImageParts, PublishError> {
    let program = resolve_imports(program)?;
    let mut endpoints = BTreeMap::new();
    for (index, export) in program.endpoints()? {
        let def = EndpointDef {
            entry_pc: u64::from(export.pc),
            initial_regs: program.registers(),
            arg_cnode_size: 0,
        };
        endpoints.insert(index, def);
    }
    let (mut pinned, mut initial, mut memory_mappings) = (Vec::new(), Vec::new(), Vec::new());
    for region in program.regions() {
        let persistent = |slot: SlotIdx, list: &mut Vec<(SlotIdx, DataCap)>| {
            if list.iter().any(|(s, _)| *s == slot) {
                return MappingSource::Ephemeral;
            }
            list.push((slot, DataCap::new(&region.contents)));
            MappingSource::Slot(SlotPath::root(slot.0 as u8))
        };
        let source = match region.kind {
            RegionKind::RoData => persistent(RO_DATA_SLOT, &mut pinned),
            RegionKind::RwData | RegionKind::Heap => persistent(RW_DATA_SLOT, &mut initial),
            _ => MappingSource::Ephemeral,
        };
        memory_mappings.push(MemoryMapping {
            start: u64::from(region.start),
            size: u64::from(region.size),
            source,
        });
    }
    let code = program.code();
    let image = Image {
        code: code.bytes().to_vec(),
        packed_bitmask: code.packed_bitmask(),
        jump_table: code.jump_table().to_vec(),
        endpoints,
        memory_mappings,
        ..Image::default()
    };
    Ok(ImageParts { image, pinned, initial, program })
}

/// Puts the image of a program, and the values it names, into a directory.
///
/// # Errors
/// As [`image_of`], and [`PublishError::Cap`] when the image is not valid.
pub fn publish(cache: &mut CacheDirectory, program: &Program) -> Result<CapHash, PublishError> {
    let parts = image_of(program)?;
    let mut put = |list: &[(SlotIdx, DataCap)]| {
        list.iter()
            .map(|(slot, data)| Ok((*slot, cache.put_cap(&Cap::Data(data.clone()))?)))
            .collect::<Result<Vec<_>, CapError>>()
    };
    let (pinned, initial) = (put(&parts.pinned)?, put(&parts.initial)?);
    Ok(cache.put_cap(&Cap::image_with_slots(&parts.image, &pinned, &initial)?)?)
}

/// Makes the first instance of an image: its pinned and initial slots, then `slots` over them, lineage
/// genesis.
///
/// # Errors
/// [`PublishError`] when the image is missing or no image, or a slot is out of range.
pub fn first_instance(
    cache: &mut CacheDirectory,
    image: CapHash,
    slots: &[(SlotIdx, CapHash)],
) -> Result<CapHash, PublishError> {
    let cap = cache.fetch(CapHashOrRef::Hash(image))?;
    let Cap::Image(body) = &*cap else { return Err(PublishError::NotAnImage { found: cap.kind() }) };
    let mut table = CNodeCap::new_root();
    let defaults = body.initial_slots.iter().chain(&body.pinned_slots).map(|(slot, hash)| (*slot, *hash));
    for (slot, hash) in defaults.chain(slots.iter().copied()) {
        table.set(slot, Some(CapHashOrRef::Hash(hash)))?;
    }
    let root = cache.put_cap(&Cap::CNode(table))?;
    let instance = InstanceCap::new(lineage::genesis(image), image, CapHashOrRef::Hash(root));
    Ok(cache.put_cap(&Cap::Instance(instance))?)
}
