//! Values, images, slot paths and assembly text against damaged bytes: a million of them.
//!
//! The readers of program files have their own campaign in `javm-program`. Here: nothing panics, whatever is
//! accepted is canonical (its encoding is the input), and enough of the input gets past the first check for
//! that to mean something.

use javm_cap::{
    CNodeCap, Cap, DataCap, ImageCap, InstanceCap, SlotIdx, Status, Suspension, TypeCap, decode, encode,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
};
use javm_isa::asm::assemble;
use javm_testkit::{Rng, mutate};

/// Damaged inputs of each campaign.
const INPUTS: usize = 250_000;

fn image() -> ImageCap {
    let code = assemble(
        "start: load_imm a0, 7\nload_ind_u64 a1, a0, 8\nbranch_ne a0, a1, @start\necalli 26\nload_imm t0, &end\n\
         jump_ind t0, 0\nend: trap",
    );
    let code = code.expect("valid assembly");
    let mut image = Image {
        code: code.code,
        packed_bitmask: code.packed_bitmask,
        jump_table: code.jump_table,
        gas_slots: vec![SlotIdx(6)],
        quota_slots: vec![SlotIdx(7), SlotIdx(8)],
        yield_marker_slot: Some(SlotIdx(5)),
        ..Image::default()
    };
    image.endpoints.insert(0, EndpointDef { entry_pc: 0, initial_regs: [3; 13], arg_cnode_size: 2 });
    image.endpoints.insert(9, EndpointDef { entry_pc: 0, initial_regs: [0; 13], arg_cnode_size: 0 });
    let slot = |n| MappingSource::Slot(javm_cap::SlotPath::root(n));
    for (start, size, source) in [
        (0x1_0000, 100, slot(255)),
        (0x3_0000, 8192, slot(254)),
        (0xF000_0000, 4096, MappingSource::Ephemeral),
    ] {
        image.memory_mappings.push(MemoryMapping { start, size, source });
    }
    image.pinned_slots.insert(SlotIdx(255), [9; 32]);
    image.initial_slots.insert(SlotIdx(254), [8; 32]);
    ImageCap::new(image).expect("a valid image")
}

/// One value of each kind and shape.
fn values() -> Vec<Cap> {
    let mut cnode = CNodeCap::new(12).expect("a size");
    for slot in [0, 1, 77, 4095] {
        cnode.set(SlotIdx(slot), Some([slot as u8 | 1; 32].into())).expect("in range");
    }
    let mut sparse = vec![0u8; 9 * 4096];
    sparse[5] = 1;
    sparse[8 * 4096 + 17] = 2;
    let mut paused = InstanceCap::new([1; 32], [2; 32], [3u8; 32].into());
    let mut stopped = Suspension::new([0, 1, 0, 0, 5, 0, 0, 8, 0, 0, 0, 0, 1 << 60], 99, true);
    stopped.marker = Some([4; 32].into());
    stopped.ephemeral.set_page(17, b"stack");
    paused.set_status(Status::Paused(stopped));
    vec![
        Cap::data_inline(b"bytes"),
        Cap::data_inline(&sparse),
        Cap::from(DataCap::default()),
        Cap::from(cnode),
        Cap::from(paused),
        Cap::instance_with_overlays([1; 32], [2; 32], [3; 32], &[(4, b"memory")], 9000, [7; 13], 12, 0),
        Cap::from(TypeCap::new([6; 32])),
        Cap::from(image()),
    ]
}

/// Damages seeds and gives each to `read`, which says how far it got: 0 refused at once, 1 past the first
/// check, 2 accepted.
fn campaign(name: &str, seed: u64, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8]) -> u8) {
    let mut rng = Rng::new(seed);
    let (mut past, mut accepted) = (0, 0);
    for _ in 0..INPUTS {
        let n = rng.bits() as usize;
        let mut bytes = seeds[n % seeds.len()].clone();
        let other = &seeds[(n >> 32) % seeds.len()];
        // Mostly one byte, taken from elsewhere, so that much of the input is nearly right.
        if rng.below(4) > 0 {
            let at = rng.index(bytes.len());
            bytes[at] = *rng.one_of(other);
        } else {
            mutate(&mut rng, &mut bytes, other);
        }
        let level = read(&bytes);
        past += usize::from(level >= 1);
        accepted += usize::from(level == 2);
    }
    println!("{name}: {INPUTS} inputs, {past} past the first check, {accepted} accepted");
    assert!(past * 3 >= INPUTS, "{name}: {past} of {INPUTS} get past the first check");
    assert!(accepted * 10 >= INPUTS, "{name}: {accepted} of {INPUTS} are accepted");
}

#[test]
fn encoded_values() {
    let seeds: Vec<Vec<u8>> = values().iter().map(|cap| encode(cap).expect("settled")).collect();
    campaign("values", 1, &seeds, |bytes| match decode(bytes) {
        Ok(cap) => {
            assert_eq!(
                encode(&cap).expect("decoded values are settled"),
                bytes,
                "one encoding for each value"
            );
            2
        }
        Err(error) => u8::from(!error.to_string().contains("no kind of value")),
    });
}

#[test]
fn encoded_images() {
    let seeds = [image().to_bytes()];
    campaign("images", 2, &seeds, |bytes| match ImageCap::from_bytes(bytes) {
        Ok(image) => {
            // A pinned hash that is changed is another pinned hash; a bit past the code is cleared.
            assert_eq!(ImageCap::from_bytes(&image.to_bytes()).expect("valid"), image);
            2
        }
        Err(error) => u8::from(!error.to_string().is_empty()),
    });
}

#[test]
fn inputs_of_make_image() {
    let bytes = image().to_bytes();
    // Pinned and initial entries are indices there; the campaign only needs something close to valid.
    let mut input = (bytes.len() as u32).to_le_bytes().to_vec();
    input.extend(&bytes);
    let mut plain = image().image().clone();
    plain.pinned_slots.clear();
    plain.initial_slots.clear();
    let plain = ImageCap::new(plain).expect("still valid").to_bytes();
    let mut good = (plain.len() as u32).to_le_bytes().to_vec();
    good.extend(&plain);
    campaign("MAKE_IMAGE", 3, &[good.clone(), good, input], |bytes| {
        match ImageCap::make(&DataCap::new(bytes), |slot| (slot.0 < 9).then_some([slot.0 as u8 + 1; 32])) {
            Ok(image) => {
                assert_eq!(ImageCap::from_bytes(&image.to_bytes()).expect("valid"), image);
                2
            }
            Err(error) => u8::from(!error.to_string().contains("follow the end")),
        }
    });
}

#[test]
fn assembly_text() {
    let text = "loop: add_imm_64 a0, a0, -1 ; a comment\nbranch_ne_imm a0, 0, @loop\nload_imm t0, &done\n\
                jump_ind t0, 0\ndone: .bytes 33 07 00 00 03\n.jump_table @loop, 7\n.export main @loop\ntrap\n";
    campaign("assembly", 4, &[text.as_bytes().to_vec()], |bytes| match std::str::from_utf8(bytes) {
        Err(_) => 0,
        Ok(text) => match assemble(text) {
            Ok(assembled) => {
                let _ = assembled.code();
                2
            }
            Err(error) => u8::from(!error.to_string().is_empty()),
        },
    });
}
