//! Images and first instances from programs.
//!
//! A program's exports become endpoints, its memory plan becomes mappings: read-only data is pinned slot
//! 255, read-write data initial slot 254 (persistent), the stack ephemeral. Imports are operations: by
//! number as they are, by name renumbered.
//!
//! What an image says about its slots beyond that, a program declares by the names of exports that are no
//! endpoints (the SDK's `image!` makes them):
//!
//! | export | field of the image |
//! | --- | --- |
//! | `@image:yield_marker_slot=5` | `yield_marker_slot` |
//! | `@image:gas_slots=6,7` | `gas_slots`, in this order |
//! | `@image:quota_slots=8` | `quota_slots`, in this order |
//!
//! Source: capability machine, section 4, "From a PolkaVM program".

use std::collections::BTreeMap;

use javm_abi::{GuestOp, SlotPath, kernel::DECLARATION_PREFIX};
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
    /// A declaration that is none of those above, or that is there twice.
    #[error("the program declares `{DECLARATION_PREFIX}{declaration}` of its image, which {problem}")]
    Declaration {
        /// What stands behind [`DECLARATION_PREFIX`].
        declaration: String,
        /// What is wrong with it.
        problem: &'static str,
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

/// Sets what one declaration says.
fn declare(image: &mut Image, declaration: &[u8]) -> Result<(), PublishError> {
    let text = String::from_utf8_lossy(declaration);
    let refuse = |problem| Err(PublishError::Declaration { declaration: text.clone().into_owned(), problem });
    let Some((field, value)) = text.split_once('=') else { return refuse("gives no value") };
    // Digits alone: `parse` would take a sign.
    let slot = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u8>().ok()).flatten();
    let slots: Option<Vec<_>> = value.split(',').map(|s| slot(s).map(|n| SlotIdx(n.into()))).collect();
    let Some(slots) = slots else { return refuse("names no slots from 0 to 255") };
    let list = match field {
        "gas_slots" => &mut image.gas_slots,
        "quota_slots" => &mut image.quota_slots,
        "yield_marker_slot" => {
            return match (slots.as_slice(), image.yield_marker_slot) {
                ([slot], None) => {
                    image.yield_marker_slot = Some(*slot);
                    Ok(())
                }
                ([_], Some(_)) => refuse("is there twice"),
                _ => refuse("names more than one slot"),
            };
        }
        _ => return refuse("is no field that a program can declare"),
    };
    if !list.is_empty() {
        return refuse("is there twice");
    }
    *list = slots;
    Ok(())
}

/// The image of a program.
///
/// # Errors
/// [`PublishError`] when exports, declarations or imports are not those of an image.
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
    let mut image = Image {
        code: code.bytes().to_vec(),
        packed_bitmask: code.packed_bitmask(),
        jump_table: code.jump_table().to_vec(),
        endpoints,
        memory_mappings,
        ..Image::default()
    };
    for declaration in program.declarations() {
        declare(&mut image, declaration)?;
    }
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

/// A marker that the embedder, or whoever publishes, hands out under a name: an instance that does nothing but
/// trap, with the name as a Data in slot 1. Equal names are equal markers. Guests cannot make one: its lineage
/// starts with its own image.
///
/// # Errors
/// Never in practice: the image is valid.
pub fn marker(cache: &mut CacheDirectory, name: &[u8]) -> Result<CapHash, PublishError> {
    // One `trap`, which is opcode 0.
    let image = Image { code: vec![0], packed_bitmask: vec![1], ..Image::default() };
    let image = cache.put_cap(&Cap::image_with_slots(&image, &[], &[])?)?;
    let name = cache.put_cap(&Cap::Data(DataCap::new(name)))?;
    first_instance(cache, image, &[(SlotIdx(1), name)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(all: &[&str]) -> Result<Image, String> {
        let mut image = Image::default();
        all.iter().try_for_each(|one| declare(&mut image, one.as_bytes())).map_err(|e| e.to_string())?;
        Ok(image)
    }

    #[test]
    fn declarations_become_fields() {
        let image = declared(&["gas_slots=6,7", "yield_marker_slot=5", "quota_slots=255"]).unwrap();
        assert_eq!(image.yield_marker_slot, Some(SlotIdx(5)));
        assert_eq!(image.gas_slots, [SlotIdx(6), SlotIdx(7)]);
        assert_eq!(image.quota_slots, [SlotIdx(255)]);
    }

    #[test]
    fn bad_declarations_are_named() {
        for (declarations, problem) in [
            (&["gas_slots"][..], "gives no value"),
            (&["gas_slots="], "names no slots from 0 to 255"),
            (&["gas_slots=1,"], "names no slots from 0 to 255"),
            (&["gas_slots=256"], "names no slots from 0 to 255"),
            (&["quota_slots=+1"], "names no slots from 0 to 255"),
            (&["colour=1"], "is no field that a program can declare"),
            (&["yield_marker_slot=1,2"], "names more than one slot"),
            (&["yield_marker_slot=1", "yield_marker_slot=1"], "is there twice"),
            (&["gas_slots=1", "gas_slots=2"], "is there twice"),
        ] {
            let last = declarations.last().unwrap();
            let expected = format!("the program declares `@image:{last}` of its image, which {problem}");
            assert_eq!(declared(declarations).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_marker_is_its_name() {
        let mut cache = CacheDirectory::new();
        let [a, b, c] = [&b"a"[..], b"b", b"a"].map(|name| marker(&mut cache, name).unwrap());
        assert_eq!(a, c);
        assert_ne!(a, b);
    }
}
