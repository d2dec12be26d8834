//! Capability manifests: written and read back, a golden file, cut and changed.
#![forbid(unsafe_code)]

mod support;

use std::{env, fmt::Write as _, fs, path::Path};

use javm_isa::{Code, Op, asm::assemble};
use javm_program::{
    Access, Manifest, ManifestCap, ManifestKind, ManifestWriteError, ProgramError, manifest::to_code_blob,
};
use support::Rng;

/// One of each kind of instruction that manifests number differently, `ecall`, and a jump table.
fn code() -> Code {
    let text = "
        .jump_table @start, @end
        start: count_set_bits_64 a0, a1
               reverse_bytes a2, a3
               unlikely
               ecall
               ecalli 7
               fallthrough
        end:   trap
    ";
    assemble(text).unwrap().code().unwrap()
}

/// Random code; targets and table may be anything.
fn random_code(rng: &mut Rng) -> Code {
    let count = 2 + rng.below(30);
    let (mut bytes, mut bits) = (Vec::new(), Vec::new());
    for i in support::instructions(rng, count, &[]) {
        let encoded = i.encode(bytes.len() as u32);
        bits.push(true);
        bits.resize(bytes.len() + encoded.as_slice().len(), false);
        bytes.extend(encoded.as_slice());
    }
    let mut bitmask = vec![0; bytes.len().div_ceil(8)];
    bits.iter().enumerate().for_each(|(n, bit)| bitmask[n / 8] |= u8::from(*bit) << (n % 8));
    let edges = [0, 1, 0xFF, 0x100, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000, u32::MAX];
    let widest = 1 + rng.below(edges.len());
    let table: Vec<u32> = (0..rng.below(5)).map(|_| *rng.pick(&edges[..widest])).collect();
    Code::new(&bytes, &bitmask, &table).unwrap()
}

/// What an entry says, without where it lay.
fn entry<'a>(cap: &ManifestCap<'a>) -> (u8, ManifestKind, u32, u32, Access, &'a [u8]) {
    (cap.slot, cap.kind, cap.base_page, cap.page_count, cap.access, cap.contents)
}

fn same(a: &Manifest<'_>, b: &Manifest<'_>) {
    assert_eq!((a.memory_pages, a.invoke_slot), (b.memory_pages, b.invoke_slot));
    assert!(a.caps.iter().map(entry).eq(b.caps.iter().map(entry)));
}

fn example(blob: &[u8]) -> Manifest<'_> {
    let caps = vec![
        ManifestCap::new_code(64, blob),
        ManifestCap::new_data(65, 0xFFFDE, 16, Access::ReadWrite, b""),
        ManifestCap::new_data(66, 16, 1, Access::ReadOnly, b"constants"),
        ManifestCap::new_data(67, 32, 2, Access::ReadWrite, b"variables"),
        ManifestCap::new_data(68, 34, 1, Access::ReadWrite, b"constants"),
        ManifestCap::new_code(70, blob),
    ];
    Manifest { memory_pages: 40, invoke_slot: 64, caps }
}

#[test]
fn the_golden_manifest() {
    let blob = to_code_blob(&code());
    let bytes = example(&blob).to_bytes().unwrap();
    same(&Manifest::read(&bytes).unwrap(), &example(&blob));

    let mut text =
        "# A capability manifest: header, entries, data. JAVM_BLESS=1 writes this file.\n".to_owned();
    let (head, data) = bytes.split_at(10 + 6 * 19);
    let (header, entries) = head.split_at(10);
    for line in std::iter::once(header).chain(entries.chunks(19)).chain(data.chunks(16)) {
        let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(text, "{}", hex.join(" ")).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats/manifest.txt");
    if env::var_os("JAVM_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "JAVM_BLESS=1 rewrites the file");
}

#[test]
fn code_keeps_its_meaning_and_gets_other_numbers() {
    let code = code();
    let blob = to_code_blob(&code);
    // entries, size, length, two entries of a byte, then the numbers that only manifests use.
    assert_eq!(&blob[..9], [2, 0, 0, 0, 1, code.len() as u8, 0, 0, 0]);
    assert_eq!(&blob[9..11], [0, 9]);
    assert_eq!(&blob[11..11 + 10], [102, 0x87, 111, 0xA9, 2, 3, 10, 7, 1, 0]);
    assert_eq!(ManifestCap::new_code(1, &blob).code().unwrap(), code);

    let mut padded = blob.clone();
    *padded.last_mut().unwrap() |= 0x80;
    padded.extend([9; 5]);
    let again = ManifestCap::new_code(1, &padded).code().unwrap();
    assert_eq!(again, code, "padding bits and what follows mean nothing");
    assert!(again.instructions(0).any(|(_, i)| i.op == Op::Ecall));
}

#[test]
fn random_manifests_read_back() {
    let rng = &mut Rng(11);
    for _ in 0..2_000 {
        let codes: Vec<Code> = (0..1 + rng.below(3)).map(|_| random_code(rng)).collect();
        let blobs: Vec<Vec<u8>> = codes.iter().map(to_code_blob).collect();
        let contents: Vec<Vec<u8>> = (0..4)
            .map(|_| {
                let len = rng.below(20);
                rng.bytes(len)
            })
            .collect();
        let count = rng.below(12);
        let caps: Vec<ManifestCap<'_>> = (0..count)
            .map(|_| {
                let slot = rng.next() as u8;
                if rng.chance(3) {
                    return ManifestCap::new_code(slot, rng.pick::<Vec<u8>>(&blobs));
                }
                let access = *rng.pick(&[Access::ReadOnly, Access::ReadWrite]);
                let (base, pages) = (rng.next() as u32, rng.next() as u32);
                ManifestCap::new_data(slot, base, pages, access, rng.pick::<Vec<u8>>(&contents))
            })
            .collect();
        let manifest = Manifest { memory_pages: rng.next() as u32, invoke_slot: rng.next() as u8, caps };
        let bytes = manifest.to_bytes().unwrap();
        same(&Manifest::read(&bytes).unwrap(), &manifest);
        for (code, blob) in codes.iter().zip(&blobs) {
            assert_eq!(ManifestCap::new_code(0, blob).code().as_ref(), Ok(code));
        }
    }
}

#[test]
fn equal_contents_are_written_once() {
    let page = [5; 4096];
    let caps = vec![ManifestCap::new_data(1, 0, 1, Access::ReadOnly, &page); 255];
    let mut manifest = Manifest { memory_pages: 1, invoke_slot: 0, caps };
    assert_eq!(manifest.to_bytes().unwrap().len(), 10 + 255 * 19 + 4096);
    manifest.caps.push(manifest.caps[0]);
    let refused = manifest.to_bytes().unwrap_err();
    assert_eq!(refused, ManifestWriteError::TooManyCaps { count: 256 });
    assert_eq!(refused.to_string(), "256 capabilities, more than 255");
}

/// Every shorter file is refused, with an offset within it, unless all that is missing belongs to nobody.
#[test]
fn cut_at_every_byte() {
    let blob = to_code_blob(&code());
    let bytes = example(&blob).to_bytes().unwrap();
    for len in 0..bytes.len() {
        match Manifest::read(&bytes[..len]) {
            Err(ProgramError::WrongMagic { .. }) => assert!(len < 4),
            Err(ProgramError::Truncated { offset, needed, found }) => {
                assert!(len >= 4 && offset <= len && needed > found && found <= (len - offset) as u64);
            }
            other => panic!("{len}: {other:?}"),
        }
    }
    // A code blob, too.
    for len in 0..blob.len() {
        let mut cap = ManifestCap::new_code(64, &blob[..len]);
        cap.offset = 1000;
        match cap.code() {
            Err(ProgramError::Truncated { offset, .. }) => assert!((1000..=1000 + len).contains(&offset)),
            other => panic!("{len}: {other:?}"),
        }
    }
    let mut longer = bytes.clone();
    longer.extend([0; 7]);
    same(&Manifest::read(&longer).unwrap(), &example(&blob));
}

/// Changed files are refused or read as another manifest, which is written and read back in turn.
#[test]
fn changed_files() {
    let blob = to_code_blob(&code());
    let seed = example(&blob).to_bytes().unwrap();
    let rng = &mut Rng(12);
    let (mut accepted, mut refused, mut codes) = (0, 0, 0);
    for _ in 0..60_000 {
        let mut bytes = seed.clone();
        support::mutate(rng, &mut bytes, &seed);
        match Manifest::read(&bytes) {
            Ok(manifest) => {
                accepted += 1;
                let again = manifest.to_bytes().unwrap();
                same(&Manifest::read(&again).unwrap(), &manifest);
                if let Ok(code) = manifest.invoked_code() {
                    codes += 1;
                    assert_eq!(ManifestCap::new_code(0, &to_code_blob(&code)).code(), Ok(code));
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(accepted > 5_000 && refused > 5_000 && codes > 5_000, "{accepted} {refused} {codes}");
}
