//! One world for all cases: an instance whose table holds one of everything.

use crate::support::{Rig, asm, at, ephemeral, load_args, persistent};
use javm::{KernelImage, kernel_image_hash};
use javm_abi::GuestOp;
use javm_cap::{
    Cap, CapHash, ImageCap, InstanceCap, SlotIdx, SlotPath, TypeCap,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
    lineage,
};

pub(crate) use crate::support::MEM;

/// Read-only memory: the Data in the pinned slot.
pub(crate) const READ_ONLY: u64 = MEM + 0x1_0000;
/// A page that is gone at HALT.
pub(crate) const EPHEMERAL: u64 = MEM + 0x2_0000;
/// Two slot paths in memory: [`OTHER_IMAGE`], [`IMAGE`].
pub(crate) const LIST: u64 = MEM + 64;
/// Two slot paths in memory: [`IMAGE`], [`HELLO`].
pub(crate) const BAD_LIST: u64 = MEM + 80;
/// No slot path, in memory.
pub(crate) const WORSE_LIST: u64 = MEM + 96;

pub(crate) const HELLO: u64 = 1;
/// A cnode of 4: 0 holds Data, 1 a cnode of 2, whose 0 holds a cnode of 8, whose 7 holds Data.
pub(crate) const CNODE: u64 = 2;
pub(crate) const INSTANCE: u64 = 3;
pub(crate) const IMAGE: u64 = 4;
/// The type of [`INSTANCE`].
pub(crate) const TYPE: u64 = 5;
pub(crate) const EMPTY: u64 = 6;
/// A cnode of 256.
pub(crate) const TABLE: u64 = 7;
/// [`TYPE`] extended by [`OTHER_IMAGE`] and [`IMAGE`].
pub(crate) const SUBTYPE: u64 = 8;
pub(crate) const PINNED: u64 = 9;
/// A handle of quota 5.
pub(crate) const QUOTA: u64 = 10;
pub(crate) const OPEN: u64 = 11;
pub(crate) const SAVE: u64 = 12;
/// A handle of file 7.
pub(crate) const FILE: u64 = 13;
pub(crate) const PAUSED: u64 = 14;
/// What `MAKE_IMAGE` takes, with entries 0 and 3 of the cnode in [`CAPS`].
pub(crate) const ENCODED: u64 = 15;
/// 0: Data, 1: an instance, 3: Data.
pub(crate) const CAPS: u64 = 16;
pub(crate) const OTHER_IMAGE: u64 = 17;
/// The embedder catches it.
pub(crate) const MARKER: u64 = 18;
/// Nobody catches it.
pub(crate) const STRANGER: u64 = 19;
/// As [`ENCODED`], with a pinned entry that is an instance.
pub(crate) const PINS_INSTANCE: u64 = 20;
/// The subject's own image, but for an initial slot.
pub(crate) const TWIN: u64 = 21;
pub(crate) const MEMORY: u64 = 22;
/// Cnodes in which the slots 1 to 22 are repeated: one, two and three steps away.
pub(crate) const NESTED: [&[u16]; 3] = [&[23], &[24, 0], &[25, 1, 0]];
/// An image that pins [`HELLO`]'s slot.
pub(crate) const COLLIDES: u64 = 26;
/// An image that maps [`INSTANCE`]'s slot.
pub(crate) const CANNOT_MAP: u64 = 27;
/// What `MAKE_IMAGE` does not take.
pub(crate) const GARBAGE: u64 = 28;
/// An endpoint of this image takes a cnode of 8 slots.
pub(crate) const PICKY: u64 = 29;
pub(crate) const OOG_MARKER: u64 = 30;
pub(crate) const SUBJECT_TYPE: u64 = 31;

pub(crate) const FILE_ID: u64 = 7;
pub(crate) const QUOTA_ID: u64 = 5;
pub(crate) const QUOTA_LEFT: u64 = 1000;

/// `echo`: φ7 + φ8. `trap`: traps.
const CHILD: &str = "add_64 a0, a0, a1
    ecalli 0
    trap
    other: trap
    .export echo @0
    .export trap @other";

pub(crate) struct World {
    pub(crate) rig: Rig,
    pub(crate) subject: CapHash,
    pub(crate) image: CapHash,
    pub(crate) pad: CapHash,
    pub(crate) op_pc: u64,
    pub(crate) next_pc: u64,
    /// The text of the instruction, as `last_fault` prints it.
    pub(crate) instruction: String,
}

/// How a guest asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Ecalli,
    Ecall,
}

impl World {
    pub(crate) fn new(op: GuestOp, by: By, prelude: &str, args: &[u64], tweak: fn(&mut Image)) -> Self {
        Self::of_number(op.number(), by, prelude, args, tweak)
    }

    pub(crate) fn of_number(number: u32, by: By, prelude: &str, args: &[u64], tweak: fn(&mut Image)) -> Self {
        let mut rig = Rig::new();
        let (setup, ask) = match by {
            By::Ecalli => (String::new(), format!("ecalli {number}")),
            By::Ecall => (format!("load_imm a4, {number}\n"), "ecall".to_owned()),
        };
        let text = format!(
            "{prelude}
            {}{setup}ecalli 100
            op: {ask}
            next: ecalli 100
            load_imm a0, 77
            ecalli 0
            trap
            other: ecalli 100
            load_imm a0, 88
            ecalli 0
            trap
            .export main @0
            .export other @other",
            load_args(args)
        );
        let labels = asm(&text).labels;
        let slots = Self::slots(&mut rig, &text, tweak);
        let image = slots.iter().find(|(slot, _)| u64::from(*slot) == TWIN).map(|(_, hash)| *hash).unwrap();
        let Cap::Image(twin) = rig.get(image) else { unreachable!() };
        let mut own = twin.image().clone();
        own.initial_slots.clear();
        let image = rig.put(ImageCap::new(own).unwrap());
        let lineage = lineage::genesis(image);
        let ty = rig.put(TypeCap::new(lineage));
        let slots: Vec<_> = slots.into_iter().chain([(SUBJECT_TYPE as u32, ty)]).collect();
        let subject = rig.instance(image, &slots);
        let pad = rig.data(b"pad");
        let marker =
            slots.iter().find(|(slot, _)| u64::from(*slot) == MARKER).map(|(_, hash)| *hash).unwrap();
        rig.vm.kernel_assist.inner.catch_at_root(marker);
        rig.seen();
        let (op_pc, next_pc) = (u64::from(labels["op"]), u64::from(labels["next"]));
        Self { rig, subject, image, pad, op_pc, next_pc, instruction: ask }
    }

    fn slots(rig: &mut Rig, text: &str, tweak: fn(&mut Image)) -> Vec<(u32, CapHash)> {
        let hello = rig.data(b"hello");
        let (inside, deep) = (rig.data(b"in"), rig.data(b"deep"));
        let c3 = rig.cnode(3, &[(7, deep)]);
        let c1 = rig.cnode(1, &[(0, c3)]);
        let cnode = rig.cnode(2, &[(0, inside), (1, c1)]);
        let (pin, init, more) = (rig.data(b"pin"), rig.data(b"init"), rig.data(b"more"));
        let child = rig.image(CHILD, |image| {
            image.pinned_slots.insert(SlotIdx(30), pin);
            image.initial_slots.extend([(SlotIdx(31), init), (SlotIdx(32), more)]);
        });
        let instance = rig.instance(child, &[]);
        let other = rig.image("load_imm a0, 1\necalli 0\ntrap", |_| ());
        let genesis = lineage::genesis(child);
        let ty = rig.put(TypeCap::new(genesis));
        let subtype = rig.put(TypeCap::new(lineage::step(&lineage::step(&genesis, &other), &child)));
        let (spawned, own) = (rig.data(b"spawned"), rig.data(b"own"));
        let table = rig.cnode(8, &[(1, spawned), (31, own)]);
        let pinned = rig.data(b"pinned");
        let paused = Self::paused(rig);
        let caps = rig.cnode(2, &[(0, pin), (1, instance), (3, init)]);
        let encoded = Self::encoded(rig, other, 0);
        let pins_instance = Self::encoded(rig, other, 1);
        let (marker, stranger) = (rig.marker("caught"), rig.marker("not caught"));
        let picky = rig.image(&format!("trap\n{text}"), |image| {
            for def in image.endpoints.values_mut() {
                *def = EndpointDef { arg_cnode_size: 3, ..def.clone() };
            }
        });
        let twin = rig.image(text, |image| {
            image.memory_mappings = vec![
                persistent(MEM, 2, MEMORY as u8),
                MemoryMapping {
                    start: READ_ONLY,
                    size: 1,
                    source: MappingSource::Slot(SlotPath::root(PINNED as u8)),
                },
                ephemeral(EPHEMERAL, 1),
            ];
            image.pinned_slots.insert(SlotIdx(PINNED as u32), pinned);
            tweak(image);
            // Only a first instance would have it.
            image.initial_slots.insert(SlotIdx(200), pin);
        });
        let collides = rig.image(text, |image| {
            image.pinned_slots.insert(SlotIdx(HELLO as u32), hello);
        });
        let cannot_map = rig.image(text, |image| {
            image.memory_mappings = vec![persistent(MEM, 1, INSTANCE as u8)];
        });
        let garbage = rig.data(&[3, 0, 0, 0, 1, 2, 3]);
        let mut memory = b"memory\0\0\0!".to_vec();
        memory.resize(64, 0);
        for path in [OTHER_IMAGE, IMAGE, IMAGE, HELLO, 1 << 62] {
            memory.extend(path.to_le_bytes());
        }
        let memory = rig.data(&memory);
        let seven = rig.data(b"file seven");
        // The in-memory kernel numbers files from 0.
        for id in 0..=FILE_ID {
            let content = if id == FILE_ID { seven } else { pin };
            javm::KernelAssist::save_file(&mut rig.vm.kernel_assist, content, 0, None);
        }
        javm::KernelAssist::set_quota(&mut rig.vm.kernel_assist, QUOTA_ID, QUOTA_LEFT);
        let repeated: Vec<(u32, CapHash)> = [
            (HELLO, hello),
            (CNODE, cnode),
            (INSTANCE, instance),
            (IMAGE, child),
            (TYPE, ty),
            (TABLE, table),
            (SUBTYPE, subtype),
            (PINNED, pinned),
            (QUOTA, rig.handle(KernelImage::Quota, QUOTA_ID)),
            (OPEN, rig.kernel(KernelImage::HostOpen)),
            (SAVE, rig.kernel(KernelImage::HostSave)),
            (FILE, rig.handle(KernelImage::File, FILE_ID)),
            (PAUSED, paused),
            (ENCODED, encoded),
            (CAPS, caps),
            (OTHER_IMAGE, other),
            (MARKER, marker),
            (STRANGER, stranger),
            (PINS_INSTANCE, pins_instance),
            (TWIN, twin),
            (MEMORY, memory),
        ]
        .map(|(slot, hash)| (slot as u32, hash))
        .into();
        let one = rig.cnode(5, &repeated);
        let two = rig.cnode(1, &[(0, one)]);
        let three = rig.cnode(1, &[(1, two)]);
        let oog = rig.kernel(KernelImage::OogMarker);
        let rest = [(23, one), (24, two), (25, three)].into_iter().chain(
            [
                (COLLIDES, collides),
                (CANNOT_MAP, cannot_map),
                (GARBAGE, garbage),
                (PICKY, picky),
                (OOG_MARKER, oog),
            ]
            .map(|(slot, hash)| (slot as u32, hash)),
        );
        repeated.iter().copied().filter(|(slot, _)| u64::from(*slot) != PINNED).chain(rest).collect()
    }

    /// A call that yielded to a handler which halted over it.
    fn paused(rig: &mut Rig) -> CapHash {
        let marker = rig.marker("of the paused");
        let yielder = rig.program(
            &format!("{}ecalli 16\nadd_imm_64 a0, a1, 9\necalli 0\ntrap", load_args(&[1])),
            &[(1, marker)],
        );
        let catcher = rig.catcher(&[marker]);
        let image = rig.image("load_imm a0, 2\nload_imm a1, 0\necalli 26\necalli 0\ntrap", |image| {
            image.yield_marker_slot = Some(SlotIdx(1));
        });
        let handler = rig.instance(image, &[(1, catcher), (2, yielder)]);
        let (value, handler) = rig.halt(handler);
        assert_eq!(value, 1, "1 + the marker's position");
        rig.slot(handler, at(2, &[])).unwrap()
    }

    /// The input of `MAKE_IMAGE` for the code of an image, with pinned slot 30 = entry `pinned` and initial
    /// slot 31 = entry 3.
    fn encoded(rig: &mut Rig, image: CapHash, pinned: u32) -> CapHash {
        let Cap::Image(image) = rig.get(image) else { unreachable!() };
        let mut bytes = image.to_bytes();
        // Empty maps of pinned and initial slots, and no yield marker slot.
        assert_eq!(bytes[bytes.len() - 3..], [0, 0, 0]);
        bytes.truncate(bytes.len() - 3);
        for (slot, entry) in [(30u32, pinned), (31, 3)] {
            bytes.push(1 << 2);
            bytes.extend(slot.to_le_bytes());
            bytes.extend(entry.to_le_bytes());
        }
        bytes.push(0);
        let mut input = (bytes.len() as u32).to_le_bytes().to_vec();
        input.extend(bytes);
        rig.data(&input)
    }
}

/// The image of a kernel instance, for checks.
pub(crate) fn is_kernel(instance: &InstanceCap, image: KernelImage) -> bool {
    instance.image_hash == kernel_image_hash(image)
}
