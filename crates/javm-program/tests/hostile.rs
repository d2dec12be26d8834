//! Hostile input: two million files that were made to hurt a reader.
//!
//! Each reader gets seeds of its own kind with a few bytes changed, a third of which still look right at
//! first, a tenth of which are programs. None may panic, be slow, or make a reader allocate more than a
//! small multiple of the input. One test, so that nothing else allocates meanwhile.
#![forbid(unsafe_code)]

mod support;

use std::time::{Duration, Instant};

use javm_isa::Numbering;
use javm_program::{LoadAs, Program, ProgramError, bare, service::Metadata};
use peak_alloc::PeakAlloc;
use polkavm_common::program::{ISA_Latest64, InstructionSet, InstructionSetKind, Opcode, ProgramBlob};
use support::{ManifestEntry, Rng, Tally};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Inputs per reader.
const INPUTS: usize = 300_000;

/// A reader may have this many bytes at once per byte of input, and a constant.
const FACTOR: usize = 24;
const CONSTANT: usize = 16 << 10;

fn past_header(error: &ProgramError) -> bool {
    !matches!(
        error,
        ProgramError::UnknownFormat
            | ProgramError::WrongMagic { .. }
            | ProgramError::PolkaVmVersion { .. }
            | ProgramError::Isa32 { .. }
            | ProgramError::BlobLength { .. }
            | ProgramError::Truncated { .. }
            | ProgramError::TrailingBytes { .. }
            | ProgramError::UnexpectedSection { .. }
    )
}

/// What everybody does with a program; all of it must work.
fn use_it(program: &Program, rng: &mut Rng) {
    let code = program.code();
    let blob = bare::to_blob(code);
    let again = Program::load_as(LoadAs::BareBlob(Numbering::Canonical), &blob).unwrap();
    assert_eq!(again.code(), code, "a blob reads back as the code it was written from");
    for pc in [0, code.len() - 1, rng.next() as u32 % code.len(), u32::MAX] {
        let frames = program.source_frames(pc);
        assert!(frames.len() <= 16);
        assert!(pc < code.len() || frames.is_empty());
        let _ = (program.source_location(pc), program.function_at(pc), program.endpoints());
    }
    let mut end = 0;
    for region in program.regions() {
        assert!(region.size > 0 && region.size % 4096 == 0 && region.start % 4096 == 0);
        assert!(u64::from(region.start) >= end && region.contents.len() <= region.size as usize);
        end = region.end();
    }
    assert!(end <= 1 << 32);
    for export in program.exports() {
        assert!(code.is_instruction_start(u64::from(export.pc)));
    }
}

/// Renumbering everything keeps the instructions.
fn renumber_it(mut program: Program) {
    let numbers = program.ecalli_numbers();
    let map = numbers.iter().enumerate().map(|(n, number)| (*number, n as u32 * 300)).collect();
    let before: Vec<_> = program.code().instructions(0).map(|(_, i)| i.op).collect();
    program.renumber_imports(&map).unwrap();
    let after: Vec<_> = program.code().instructions(0).map(|(_, i)| i.op).collect();
    assert_eq!(before, after);
    let expected: Vec<u32> = (0..numbers.len() as u32).map(|n| n * 300).collect();
    assert_eq!(program.ecalli_numbers(), expected);
}

struct Campaign<'a> {
    name: &'a str,
    seeds: Vec<Vec<u8>>,
    /// Repairs what a careful attacker would.
    repair: fn(&mut [u8]),
    read: &'a dyn Fn(&[u8]) -> Result<Program, ProgramError>,
}

impl Campaign<'_> {
    fn run(&self) {
        let mut rng = Rng(0x5EED);
        let rng = &mut rng;
        let mut tally = Tally::default();
        let mut worst = (0, Duration::ZERO);
        for seed in &self.seeds {
            if let Err(error) = (self.read)(seed) {
                panic!("{}: a seed is refused: {error}", self.name);
            }
        }
        while tally.inputs < INPUTS {
            let mut input = rng.pick(&self.seeds).clone();
            let other = rng.pick(&self.seeds);
            support::mutate(rng, &mut input, other);
            if !rng.chance(20) {
                (self.repair)(&mut input);
            }
            tally.inputs += 1;

            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let start = Instant::now();
            let result = (self.read)(&input);
            let time = start.elapsed();
            let allocated = ALLOCATOR.peak_usage().saturating_sub(before);
            assert!(
                allocated <= FACTOR * input.len() + CONSTANT,
                "{}: {allocated} bytes for {} of input {input:?}",
                self.name,
                input.len()
            );
            worst = (worst.0.max(allocated / input.len().max(1)), worst.1.max(time));
            match result {
                Ok(program) => {
                    tally.past_header += 1;
                    tally.accepted += 1;
                    if tally.accepted % 16 == 0 {
                        use_it(&program, rng);
                        renumber_it(program);
                    }
                }
                Err(error) => {
                    tally.past_header += usize::from(past_header(&error));
                    if tally.inputs % 64 == 0 {
                        let text: String =
                            error.to_string().chars().filter(|c| !c.is_ascii_digit()).collect();
                        tally.errors.insert(text);
                    }
                }
            }
        }
        println!(
            "{}: {} inputs, {} past the header, {} accepted, {} kinds of errors, at most {} × input, {:?}",
            self.name,
            tally.inputs,
            tally.past_header,
            tally.accepted,
            tally.errors.len(),
            worst.0,
            worst.1
        );
        assert!(tally.past_header * 3 >= tally.inputs, "{}: too few get past the header", self.name);
        assert!(tally.accepted * 10 >= tally.inputs, "{}: too few are accepted", self.name);
        assert!(tally.errors.len() >= 5, "{}: the mutations are too uniform: {:?}", self.name, tally.errors);
        // A factor of thousands above what an input of a few hundred bytes takes; the machine may be busy.
        assert!(worst.1 < Duration::from_secs(2), "{}: an input took {:?}", self.name, worst.1);
    }
}

fn containers(isa: InstructionSetKind) -> Vec<Vec<u8>> {
    (0..40).map(|seed| support::random_container(isa, seed)).collect()
}

fn blobs(isa: InstructionSetKind) -> Vec<Vec<u8>> {
    let program = |bytes: Vec<u8>| Program::load(&bytes).unwrap();
    containers(isa).into_iter().map(|bytes| bare::to_blob(program(bytes).code())).collect()
}

/// Bare blobs of 0.7 numbers: the code of `ReviveV1` containers before it is rewritten.
fn blobs_07() -> Vec<Vec<u8>> {
    let seeds = containers(InstructionSetKind::ReviveV1).into_iter().map(|bytes| {
        let code = ProgramBlob::parse(bytes.into()).unwrap();
        let mut blob = vec![0, 0];
        blob.extend(support::natural(code.code().len() as u32));
        blob.extend(code.code());
        blob.extend(code.bitmask());
        blob
    });
    seeds.collect()
}

fn services() -> Vec<Vec<u8>> {
    let mut rng = Rng(3);
    let seeds = blobs(InstructionSetKind::JamV1).into_iter().map(|blob| {
        let (ro, rw) = (rng.below(30), rng.below(30));
        let (ro, rw) = (rng.bytes(ro), rng.bytes(rw));
        let meta = rng.bytes(12);
        let meta = rng.chance(2).then_some(&meta[..]);
        support::service(meta, &ro, &rw, rng.below(5) as u16, rng.below(9000) as u32, &blob)
    });
    seeds.collect()
}

fn manifests() -> Vec<Vec<u8>> {
    let seeds = containers(InstructionSetKind::ReviveV1).into_iter().enumerate().map(|(n, bytes)| {
        let program = ProgramBlob::parse(bytes.into()).unwrap();
        let mut data = support::manifest_code(program.code(), program.bitmask());
        let code = data.len() as u32;
        data.extend([7; 40]);
        let entry = |slot, is_data, start, len| ManifestEntry {
            slot,
            data: is_data,
            base_page: 3,
            page_count: 1,
            writable: n % 2 == 0,
            start,
            len,
        };
        let entries = [entry(64, false, 0, code), entry(65, true, code, 40), entry(0, true, 0, 0)];
        support::manifest(20, 64, &entries[..1 + n % 3], &data)
    });
    seeds.collect()
}

/// Files that are nothing but the smallest thing that takes memory.
fn dense_files() {
    const N: u32 = 1 << 20;
    let section = |number: u8, contents: &[u8]| {
        let mut out = vec![number, 0xF0];
        out.extend((contents.len() as u32).to_le_bytes());
        if contents.len() < 1 << 21 {
            out.truncate(1);
            out.extend(support::natural(contents.len() as u32));
        }
        out.extend(contents);
        out
    };
    let container = |version: u8, sections: &[Vec<u8>]| {
        let mut out = b"PVM\0".to_vec();
        out.push(version);
        out.extend([0; 8]);
        out.extend(sections.concat());
        out.push(0);
        support::fix_container(&mut out);
        out
    };
    let code = |bytes: &[u8]| section(6, &[&[0, 0], bytes].concat());
    let exports: Vec<u8> = support::natural(N / 2).into_iter().chain([0, 0].repeat(N as usize / 2)).collect();
    // The shortest jump there is, to the next.
    let jump = ISA_Latest64.opcode_to_raw(Opcode::jump, 1).unwrap().0 as u8;
    let mut table = support::natural(N);
    table.extend([1, 1]);
    table.extend([0; N as usize + 2]);
    *table.last_mut().unwrap() = 1;
    let mut no_bytes = support::natural(N);
    no_bytes.push(0);
    no_bytes.extend(support::natural(N));
    no_bytes.extend([0].repeat(N as usize));
    no_bytes.extend([255].repeat(N as usize / 8));
    let files = [
        ("traps", container(2, &[code(&[0].repeat(N as usize))])),
        ("jumps", container(2, &[code(&[jump, 2].repeat(N as usize / 2))])),
        ("exports", container(2, &[section(5, &exports), code(&[0])])),
        ("jump table", table),
        ("jump table of no bytes", no_bytes),
    ];
    for (name, file) in files {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let program = Program::load(&file).unwrap();
        let allocated = ALLOCATOR.peak_usage() - before;
        println!("{name}: {} × input", allocated as f64 / file.len() as f64);
        assert!(allocated <= FACTOR * file.len() + CONSTANT, "{name}: {allocated} for {}", file.len());
        drop(program);
    }
}

#[test]
fn readers_survive_hostile_input() {
    let start = Instant::now();
    let load_as = |format| move |bytes: &[u8]| Program::load_as(format, bytes);
    let none = |_: &mut [u8]| {};
    for (name, isa) in [
        ("JamV1", InstructionSetKind::JamV1),
        ("ReviveV1", InstructionSetKind::ReviveV1),
        ("Latest64", InstructionSetKind::Latest64),
    ] {
        Campaign {
            name,
            seeds: containers(isa),
            repair: support::fix_container,
            // What is read here, PolkaVM must be able to read.
            read: &|bytes| {
                let program = Program::load_as(LoadAs::PolkaVm, bytes);
                if program.is_ok() {
                    assert!(ProgramBlob::parse(bytes.into()).is_ok());
                }
                program
            },
        }
        .run();
    }
    let jam = InstructionSetKind::JamV1;
    let read = load_as(LoadAs::BareBlob(Numbering::Canonical));
    Campaign { name: "bare blob", seeds: blobs(jam), repair: none, read: &read }.run();
    let read = load_as(LoadAs::BareBlob(Numbering::V07));
    Campaign { name: "bare blob 0.7", seeds: blobs_07(), repair: none, read: &read }.run();
    let read = load_as(LoadAs::JamService(Numbering::V08, Metadata::Detect));
    Campaign { name: "service", seeds: services(), repair: none, read: &read }.run();
    let read = load_as(LoadAs::Manifest);
    Campaign { name: "manifest", seeds: manifests(), repair: none, read: &read }.run();
    let mut seeds = containers(jam);
    seeds.extend(containers(InstructionSetKind::Latest64));
    seeds.extend(blobs(jam));
    seeds.extend(services());
    seeds.extend(manifests());
    let repair = |bytes: &mut [u8]| {
        if bytes.starts_with(b"PVM\0") {
            support::fix_container(bytes);
        }
    };
    Campaign { name: "any format", seeds, repair, read: &|bytes| Program::load(bytes) }.run();
    dense_files();
    println!("in {:?}", start.elapsed());
}
