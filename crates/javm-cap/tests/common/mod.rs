//! What several test files share: a generator with fixed seeds, random values, and a reference hasher that was
//! written from section 3 of the capability machine alone and knows nothing of the crate's trees.
#![allow(dead_code, unreachable_pub, reason = "a module of every test file, each of which uses a part")]

use std::collections::BTreeMap;

use javm_cap::image::{EndpointDef, Image, MappingSource, MemoryMapping};
use javm_cap::{
    CNodeCap, Cap, CapHash, CapHashOrRef, DataCap, InstanceCap, Memory, SlotIdx, SlotPath, Status, Suspension,
};

/// xorshift: the same run every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn hash(&mut self) -> CapHash {
        let mut hash = [0; 32];
        hash.chunks_mut(8).for_each(|word| word.copy_from_slice(&self.next().to_le_bytes()));
        hash
    }

    pub fn bytes(&mut self, max: u64) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.next() as u8).collect()
    }
}

/// The digest of section 3.
pub fn blake(tag: &str, input: &[u8]) -> CapHash {
    let mut personal = [0; 16];
    personal[..tag.len()].copy_from_slice(tag.as_bytes());
    let mut params = blake2b_simd::Params::new();
    params.hash_length(32).personal(&personal);
    params.hash(input).as_bytes().try_into().unwrap()
}

/// Root over all `2^depth` leaves, absent ones being `zero`. Whole rows at a time: nothing sparse, nothing kept.
fn plain_root(leaves: &BTreeMap<u64, CapHash>, depth: u32, zero: CapHash) -> CapHash {
    let (mut row, mut zero) = (leaves.clone(), zero);
    for _ in 0..depth {
        let mut above = BTreeMap::new();
        for at in row.keys().map(|at| at / 2) {
            let child = |i: u64| row.get(&i).copied().unwrap_or(zero);
            above.insert(at, blake("javm:node", &[child(2 * at), child(2 * at + 1)].concat()));
        }
        zero = blake("javm:node", &[zero, zero].concat());
        row = above;
    }
    row.get(&0).copied().unwrap_or(zero)
}

/// Root of a tree of pages.
pub fn page_root(bytes: &BTreeMap<u64, Vec<u8>>, depth: u32) -> CapHash {
    let page = |bytes: &[u8]| {
        let mut padded = bytes.to_vec();
        padded.resize(4096, 0);
        blake("javm:page", &padded)
    };
    plain_root(&bytes.iter().map(|(i, bytes)| (*i, page(bytes))).collect(), depth, page(&[]))
}

/// Depth of the tree of so many pages.
pub fn depth_of(pages: u64) -> u32 {
    (0..64).find(|depth| 1u64 << depth >= pages.max(1)).unwrap()
}

fn pages_of(pages: impl Iterator<Item = (u64, Vec<u8>)>) -> BTreeMap<u64, Vec<u8>> {
    pages.collect()
}

/// The hash of plain bytes as a Data.
pub fn reference_data(bytes: &[u8]) -> CapHash {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let pages = pages_of((0..).zip(bytes[..len].chunks(4096).map(<[u8]>::to_vec)));
    let root = page_root(&pages, depth_of((len as u64).div_ceil(4096)));
    blake("javm:data", &[&(len as u64).to_le_bytes()[..], &root].concat())
}

/// The hash of a cnode with these slots.
pub fn reference_cnode(size_log: u8, slots: &BTreeMap<u64, CapHash>) -> CapHash {
    let root = plain_root(slots, u32::from(size_log), [0; 32]);
    blake("javm:cnode", &[&[size_log][..], &root].concat())
}

/// The hash of a status whose marker is settled.
pub fn reference_status(status: &Status) -> CapHash {
    let (number, regs, pc, stopped) = match status {
        Status::Idle { regs, pc } => (0u8, regs, pc, None),
        Status::Waiting(s) => (1, &s.regs, &s.pc, Some(s)),
        Status::Paused(s) => (2, &s.regs, &s.pc, Some(s)),
    };
    let mut input = vec![number];
    regs.iter().for_each(|reg| input.extend(reg.to_le_bytes()));
    input.extend(pc.to_le_bytes());
    if let Some(stopped) = stopped {
        input.push(u8::from(stopped.gas_charged));
        input.extend(stopped.target.encode().to_le_bytes());
        match stopped.marker {
            None => input.extend([0; 32]),
            Some(CapHashOrRef::Hash(hash)) => input.extend(hash),
            Some(CapHashOrRef::Ref(_)) => panic!("not settled"),
        }
        let pages = pages_of(stopped.ephemeral.pages().map(|(i, bytes)| (i, bytes.to_vec())));
        input.extend(page_root(&pages, 20));
    }
    blake("javm:status", &input)
}

/// The hash of any value, from scratch.
pub fn reference_hash(cap: &Cap) -> CapHash {
    match cap {
        Cap::Data(data) => reference_data(&data.to_vec()),
        Cap::Type(ty) => blake("javm:type", &ty.lineage),
        Cap::Image(image) => blake("javm:image", &reference_image(image.image())),
        Cap::CNode(cnode) => {
            let slots = cnode.iter().map(|(slot, name)| (u64::from(slot.0), *name.as_hash().unwrap()));
            reference_cnode(cnode.size_log(), &slots.collect())
        }
        Cap::Instance(instance) => {
            let memory = instance.memory();
            let pages = pages_of(memory.pages().pages().map(|(i, bytes)| (i, bytes.to_vec())));
            let root = page_root(&pages, depth_of(u64::from(memory.size()).div_ceil(4096)));
            let memory = blake("javm:memory", &[&memory.size().to_le_bytes()[..], &root].concat());
            let parts = [
                instance.image_hash_chain,
                instance.image_hash,
                *instance.root_cnode.as_hash().unwrap(),
                reference_status(instance.status()),
                memory,
            ];
            blake("javm:instance", parts.as_flattened())
        }
    }
}

fn compact(out: &mut Vec<u8>, n: usize) {
    match n {
        0..64 => out.push((n as u8) << 2),
        64..16_384 => out.extend(((n as u16) << 2 | 1).to_le_bytes()),
        _ => out.extend(((n as u32) << 2 | 2).to_le_bytes()),
    }
}

/// SCALE by hand, fields in the order of section 4.
pub fn reference_image(image: &Image) -> Vec<u8> {
    let mut out = Vec::new();
    compact(&mut out, image.code.len());
    out.extend(&image.code);
    let mut mask = image.packed_bitmask.clone();
    mask.resize(image.code.len().div_ceil(8), 0);
    for bit in image.code.len()..mask.len() * 8 {
        mask[bit / 8] &= !(1 << (bit % 8));
    }
    compact(&mut out, mask.len());
    out.extend(mask);
    compact(&mut out, image.jump_table.len());
    image.jump_table.iter().for_each(|target| out.extend(target.to_le_bytes()));
    compact(&mut out, image.endpoints.len());
    for (number, def) in &image.endpoints {
        out.push(*number);
        out.extend(def.entry_pc.to_le_bytes());
        def.initial_regs.iter().for_each(|reg| out.extend(reg.to_le_bytes()));
        out.push(def.arg_cnode_size);
    }
    compact(&mut out, image.memory_mappings.len());
    for mapping in &image.memory_mappings {
        out.extend(mapping.start.to_le_bytes());
        out.extend(mapping.size.to_le_bytes());
        match mapping.source {
            MappingSource::Ephemeral => out.push(0),
            MappingSource::Slot(path) => {
                out.push(1);
                out.extend(path.encode().to_le_bytes());
            }
        }
    }
    for slots in [&image.gas_slots, &image.quota_slots] {
        compact(&mut out, slots.len());
        slots.iter().for_each(|slot| out.extend(slot.0.to_le_bytes()));
    }
    for map in [&image.pinned_slots, &image.initial_slots] {
        compact(&mut out, map.len());
        for (slot, hash) in map {
            out.extend(slot.0.to_le_bytes());
            out.extend(hash);
        }
    }
    match image.yield_marker_slot {
        None => out.push(0),
        Some(slot) => {
            out.push(1);
            out.extend(slot.0.to_le_bytes());
        }
    }
    out
}

/// `fallthrough`s and a `trap` at the end: every byte an instruction.
pub fn plain_image(len: usize) -> Image {
    let mut code = vec![1; len];
    code[len - 1] = 0;
    Image { packed_bitmask: vec![0xFF; len.div_ceil(8)], code, ..Image::default() }
}

/// A valid image that uses every field.
pub fn full_image() -> Image {
    let mut image = plain_image(21);
    image.jump_table = vec![0, 3, 0xFFFF_FFFF];
    let mut initial_regs = [0; 13];
    (initial_regs[0], initial_regs[12]) = (0xFFFF_0000, u64::MAX);
    image.endpoints.insert(7, EndpointDef { entry_pc: 4, initial_regs, arg_cnode_size: 3 });
    image.endpoints.insert(0, EndpointDef::default());
    let nested = SlotPath::root(9).step(65_535).unwrap();
    image.memory_mappings = vec![
        MemoryMapping { start: 0x2_0000, size: 5000, source: MappingSource::Slot(SlotPath::root(255)) },
        MemoryMapping { start: 0x1_0000, size: 4096, source: MappingSource::Ephemeral },
        MemoryMapping { start: 0xFFFF_F000, size: 1, source: MappingSource::Slot(nested) },
    ];
    image.gas_slots = vec![SlotIdx(4), SlotIdx(2)];
    image.quota_slots = vec![SlotIdx(5)];
    image.pinned_slots.insert(SlotIdx(255), [0x11; 32]);
    image.initial_slots.insert(SlotIdx(254), [0x22; 32]);
    image.initial_slots.insert(SlotIdx(3), [0x33; 32]);
    image.yield_marker_slot = Some(SlotIdx(6));
    image
}

pub fn random_data(random: &mut Random) -> DataCap {
    let mut data = DataCap::new(&random.bytes(9000));
    if random.below(3) == 0 {
        let page = random.bytes(4096);
        data = data.with_pages([(random.below(300), &page[..])]);
    }
    data
}

pub fn random_cnode(random: &mut Random) -> CNodeCap {
    let size_log = random.below(17) as u8;
    let mut cnode = CNodeCap::new(size_log).unwrap();
    for _ in 0..random.below(40) {
        let slot = SlotIdx(random.below(1 << size_log) as u32);
        cnode.set(slot, Some(random.hash().into())).unwrap();
    }
    cnode
}

pub fn random_suspension(random: &mut Random) -> Suspension {
    let mut stopped = Suspension::new([0; 13], random.next(), random.below(2) == 1);
    stopped.regs[random.below(13) as usize] = random.next();
    stopped.target = SlotPath::root(random.next() as u8).step(random.next() as u16).unwrap();
    stopped.marker = (random.below(2) == 1).then(|| random.hash().into());
    for _ in 0..random.below(4) {
        let page = random.bytes(4096);
        stopped.ephemeral.set_page(random.below(1 << 20), &page);
    }
    stopped
}

pub fn random_instance(random: &mut Random) -> InstanceCap {
    let mut instance = InstanceCap::new(random.hash(), random.hash(), random.hash().into());
    match random.below(4) {
        0 => {}
        1 => instance.set_status(Status::Idle { regs: [random.next(); 13], pc: random.below(1000) }),
        2 => instance.set_status(Status::Waiting(random_suspension(random))),
        _ => instance.set_status(Status::Paused(random_suspension(random))),
    }
    if random.below(2) == 0 {
        let mut memory = Memory::new(random.below(1 << 20) as u32);
        for _ in 0..3 {
            let bytes = random.bytes(6000);
            memory.overlay(random.below(1 << 20) as u32, &bytes);
        }
        instance.set_memory(memory);
    }
    instance
}

/// A value of any kind.
pub fn random_cap(random: &mut Random) -> Cap {
    match random.below(5) {
        0 => random_data(random).into(),
        1 => random_cnode(random).into(),
        2 => random_instance(random).into(),
        3 => Cap::Type(javm_cap::TypeCap::new(random.hash())),
        _ => {
            let mut image = full_image();
            image.gas_slots.truncate(random.below(3) as usize);
            image.jump_table = (0..random.below(9)).map(|_| random.next() as u32).collect();
            image.initial_slots.insert(SlotIdx(100), random.hash());
            Cap::image_with_slots(&image, &[], &[]).unwrap()
        }
    }
}
