//! Address spaces that share pages: both backends against each other and against a plain model, under mappings that
//! change all the time.

use javm_exec::{
    Access, Backend, Code, Config, Engine, ExitReason, Fault, GasCounter, Mem, Module, PAGE_SIZE, Regs,
    interp::Machine,
    memory::{Extent, PAGE_COUNT, SharedMemory, SharedRun, SharedSpace, SharedStore},
};
use javm_isa::asm::assemble;
use javm_testkit::rng::Rng;

fn engines() -> Vec<Engine> {
    [Backend::Interpreter, Backend::Recompiler]
        .into_iter()
        .filter_map(|backend| Engine::new(Config::new().backend(backend)).ok())
        .collect()
}

/// Adds words from a0 on, with stride s0, and stores the sums from a1 on, with stride s1, a5 times.
fn code() -> Code {
    let text = "loop: load_ind_u64 a2, a0, 0\n add_64 a3, a3, a2\n store_ind_u64 a3, a1, 0\n
        add_64 a0, a0, s0\n add_64 a1, a1, s1\n add_imm_64 a5, a5, -1\n branch_ne_imm a5, 0, @loop\n ecalli 1";
    assemble(text).unwrap().code().unwrap()
}

/// One backend: a store and some spaces.
struct Side {
    module: Module,
    store: SharedStore,
    spaces: Vec<SharedSpace>,
}

impl Side {
    fn new(engine: &Engine, pages: u32, spaces: usize) -> Self {
        Self {
            module: Module::new(engine, code()),
            store: SharedStore::new(engine, pages),
            spaces: (0..spaces).map(|_| SharedSpace::new()).collect(),
        }
    }

    fn memory(&mut self, space: usize) -> SharedMemory<'_> {
        SharedMemory { space: &mut self.spaces[space], store: &mut self.store }
    }

    fn run(&mut self, space: usize, gpr: [u64; 13], gas: u64) -> (ExitReason, Regs, u64, bool) {
        let (mut regs, mut gas, mut gas_charged) = (Regs { pc: 0, gpr }, GasCounter::new(gas), false);
        let machine = Machine { regs: &mut regs, gas: &mut gas, gas_charged: &mut gas_charged };
        let mut memory = SharedMemory { space: &mut self.spaces[space], store: &mut self.store };
        let reason = self.module.run_shared(machine, &mut memory, &SharedRun::new());
        (reason, regs, gas.remaining(), gas_charged)
    }

    fn dirty(&mut self, space: usize, extent: Extent) -> Vec<u8> {
        let written = self.store.written(extent);
        self.spaces[space].written_again(extent, &written);
        self.store.clear_written(extent);
        written
    }
}

/// What memory should be, as simply as it can be said.
struct Model {
    bytes: Vec<u8>,
    written: Vec<bool>,
    /// By space: mapped pages, with the page of the store.
    mapped: Vec<std::collections::BTreeMap<u32, (u32, Access)>>,
}

impl Model {
    fn fault(&self, space: usize, address: u32, len: u32, access: Access) -> Option<ExitReason> {
        (0..len).map(|k| address.wrapping_add(k) / PAGE_SIZE as u32).find_map(|page| {
            let mapped = &self.mapped[space];
            if mapped.get(&page).is_some_and(|(_, a)| *a >= access) {
                return None;
            }
            let open = mapped.range(..16).next().is_some();
            Some(if page < 16 && !open { ExitReason::Panic } else { ExitReason::PageFault(page << 12) })
        })
    }

    fn at(&self, space: usize, address: u32) -> (usize, usize) {
        let (page, _) = self.mapped[space][&(address / PAGE_SIZE as u32)];
        (page as usize, page as usize * PAGE_SIZE + address as usize % PAGE_SIZE)
    }

    fn run(&mut self, space: usize, gpr: &mut [u64; 13]) -> ExitReason {
        loop {
            let (from, to) = (gpr[7] as u32, gpr[8] as u32);
            if let Some(fault) = self.fault(space, from, 8, Access::ReadOnly) {
                return fault;
            }
            let bytes: [u8; 8] =
                core::array::from_fn(|k| self.bytes[self.at(space, from.wrapping_add(k as u32)).1]);
            gpr[9] = u64::from_le_bytes(bytes);
            gpr[10] = gpr[10].wrapping_add(gpr[9]);
            if let Some(fault) = self.fault(space, to, 8, Access::ReadWrite) {
                return fault;
            }
            for (k, byte) in gpr[10].to_le_bytes().into_iter().enumerate() {
                let (page, at) = self.at(space, to.wrapping_add(k as u32));
                self.bytes[at] = byte;
                self.written[page] = true;
            }
            gpr[7] = gpr[7].wrapping_add(gpr[5]);
            gpr[8] = gpr[8].wrapping_add(gpr[6]);
            gpr[12] = gpr[12].wrapping_sub(1);
            if gpr[12] == 0 {
                return ExitReason::HostCall(1);
            }
        }
    }
}

const EXTENTS: [Extent; 5] = [
    Extent { first: 0, count: 1 },
    Extent { first: 1, count: 3 },
    Extent { first: 4, count: 60 },
    Extent { first: 64, count: 130 },
    Extent { first: 194, count: 62 },
];
const PAGES: u32 = 256;
const SPACES: usize = 3;

#[test]
fn backends_agree_with_a_plain_model_under_changing_mappings() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut sides: Vec<_> = engines().iter().map(|engine| Side::new(engine, PAGES, SPACES)).collect();
        let mut model = Model {
            bytes: vec![0; PAGES as usize * PAGE_SIZE],
            written: vec![false; PAGES as usize],
            mapped: vec![Default::default(); SPACES],
        };
        // Where each extent is: space, base, access.
        let mut places = [None; EXTENTS.len()];
        for _ in 0..400 {
            step(&mut rng, &mut sides, &mut model, &mut places);
        }
        for extent in EXTENTS {
            for side in &sides {
                let mut bytes = vec![0; extent.len() as usize];
                assert!(side.store.read(extent, 0, &mut bytes));
                let from = extent.first as usize * PAGE_SIZE;
                assert_eq!(bytes, model.bytes[from..from + bytes.len()], "seed {seed}");
            }
        }
    }
}

fn step(
    rng: &mut Rng,
    sides: &mut [Side],
    model: &mut Model,
    places: &mut [Option<(usize, u32, Access)>; EXTENTS.len()],
) {
    let n = rng.below(EXTENTS.len() as u64) as usize;
    let extent = EXTENTS[n];
    let (first, count) = (rng.below(u64::from(extent.count)) as u32, rng.below(70) as u32);
    match rng.below(10) {
        0..=2 => {
            let bases = [0, 3, 15, 16, 64, 100, 1000, PAGE_COUNT - 40];
            let access = if rng.below(3) == 0 { Access::ReadOnly } else { Access::ReadWrite };
            let fresh = (rng.below(SPACES as u64) as usize, bases[rng.below(8) as usize], access);
            let place = places[n].unwrap_or(fresh);
            let (space, base, access) = place;
            let fits = first + count <= extent.count
                && base + first + count <= PAGE_COUNT
                && (first..first + count)
                    .all(|p| model.mapped[space].get(&(base + p)).is_none_or(|m| m.0 == extent.first + p));
            for side in &mut *sides {
                assert_eq!(side.spaces[space].map(extent, base, access, first, count).is_ok(), fits);
            }
            if fits {
                let pages = (first..first + count).map(|p| (base + p, (extent.first + p, access)));
                model.mapped[space].extend(pages);
                places[n] = Some(place);
            }
        }
        3 => {
            let Some((space, base, _)) = places[n] else { return };
            let whole = rng.below(3) == 0;
            for side in &mut *sides {
                match whole {
                    true => side.spaces[space].remove(extent),
                    false => side.spaces[space].unmap(extent, first, count),
                }
            }
            let (first, count) = if whole { (0, extent.count) } else { (first, count) };
            let gone = (first..(first + count).min(extent.count)).map(|p| (base + p, extent.first + p));
            for (page, backing) in gone {
                if model.mapped[space].get(&page).is_some_and(|m| m.0 == backing) {
                    model.mapped[space].remove(&page);
                }
            }
            if whole {
                places[n] = None;
            }
        }
        4 => {
            let space = places[n].map_or(0, |p| p.0);
            let pages = &mut model.written[extent.first as usize..][..extent.count as usize];
            for side in &mut *sides {
                let written = side.dirty(space, extent);
                let bits: Vec<bool> = (0..pages.len()).map(|p| written[p / 8] >> (p % 8) & 1 != 0).collect();
                assert_eq!(bits, pages);
            }
            pages.fill(false);
        }
        5 => {
            let (from, to) = (rng.below(extent.len()), rng.below(extent.len()));
            let len = rng.below(20_000);
            let fits = from.max(to) + len <= extent.len();
            for side in &mut *sides {
                assert_eq!(side.store.copy((extent, from), (extent, to), len), fits);
            }
            if fits && len != 0 {
                let start = extent.first as usize * PAGE_SIZE;
                let (from, to) = (start + from as usize, start + to as usize);
                model.bytes.copy_within(from..from + len as usize, to);
                model.written[to / PAGE_SIZE..(to + len as usize).div_ceil(PAGE_SIZE)].fill(true);
            }
        }
        _ => {
            let space = places[n].map_or(rng.below(SPACES as u64) as usize, |p| p.0);
            let mut gpr = [0; 13];
            for r in [7, 8] {
                let place = places[rng.below(EXTENTS.len() as u64) as usize].filter(|p| p.0 == space);
                let page = place.map_or(rng.below(20) as u32, |p| p.1) + rng.below(40) as u32;
                gpr[r] = u64::from(page % PAGE_COUNT) << 12 | (rng.below(4) * 1365);
            }
            for r in [5, 6] {
                gpr[r] = [8, 64, 4096, 4093, (-4096i64) as u64, 8192][rng.below(6) as usize];
            }
            gpr[12] = 1 + rng.below(60);
            gpr[10] = rng.below(1 << 40);
            let results: Vec<_> = sides.iter_mut().map(|side| side.run(space, gpr, 1_000_000)).collect();
            let reason = model.run(space, &mut gpr);
            for result in &results {
                assert_eq!((result.0, result.1.gpr), (reason, gpr));
                assert_eq!(result, &results[0]);
            }
        }
    }
}

/// The copy loop of every guest, from one name of a page to another of the same.
#[test]
fn copies_between_two_names_of_a_page() {
    let text = "fallthrough\n loop: load_ind_u64 a2, a0, 0\n store_ind_u64 a2, a1, 0\n add_imm_64 a0, a0, 8\n
        add_imm_64 a1, a1, 8\n add_imm_64 a5, a5, -1\n branch_ne_imm a5, 0, @loop\n ecalli 1";
    let distances = [0, 1, 7, 8, 9, 56, 63, 64, 65, 100, 4000, 4032, 4033, 4088, 4095];
    let mut results = Vec::new();
    for engine in engines() {
        let mut side = Side::new(&engine, 3, 1);
        side.module = Module::new(&engine, assemble(text).unwrap().code().unwrap());
        let (all, two) = (Extent { first: 0, count: 3 }, Extent { first: 0, count: 2 });
        side.spaces[0].map(all, 0x20, Access::ReadWrite, 0, 3).unwrap();
        side.spaces[0].map(two, 0x40, Access::ReadWrite, 0, 2).unwrap();
        let mut bytes: Vec<u8> = (0..3 * PAGE_SIZE).map(|n| (n * n / 7) as u8).collect();
        assert!(side.store.write(all, 0, &bytes));
        let mut seen = Vec::new();
        for distance in distances {
            for (from, to) in [(0x2_0000, 0x4_0000 + distance), (0x4_0000 + distance, 0x2_0000)] {
                let mut gpr = [0; 13];
                (gpr[7], gpr[8], gpr[12]) = (from, to, 500);
                seen.push(side.run(0, gpr, 1_000_000));
                assert!(side.store.read(all, 0, &mut bytes));
                seen.push((ExitReason::Trap, Regs::default(), checksum(&bytes), true));
            }
        }
        results.push(seen);
    }
    assert!(results.iter().all(|seen| *seen == results[0]));
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// More scattered pages than the process has mappings, in two spaces.
#[test]
fn every_second_page_of_256_mib_twice() {
    const COUNT: u32 = 65_536;
    let mut results = Vec::new();
    for engine in engines() {
        let mut side = Side::new(&engine, 2 * COUNT, 2);
        let extents = [Extent { first: 0, count: COUNT }, Extent { first: COUNT, count: COUNT }];
        for (space, extent) in extents.into_iter().enumerate() {
            for page in (0..COUNT).step_by(2) {
                side.spaces[space].map(extent, 0x100, Access::ReadWrite, page, 1).unwrap();
            }
        }
        let mut seen = Vec::new();
        for round in 0..3 {
            for (space, extent) in extents.into_iter().enumerate() {
                let mut gpr = [0; 13];
                // Half of the mapped pages, and then one that is not.
                (gpr[7], gpr[8], gpr[5], gpr[6]) = (0x10_0000, 0x10_0008, 16384, 16384);
                (gpr[10], gpr[12]) = (round + 1, u64::from(COUNT) / 4);
                seen.push(side.run(space, gpr, u64::MAX));
                gpr[7] = 0x10_1000;
                seen.push(side.run(space, gpr, u64::MAX));
                let pages: u32 = side.dirty(space, extent).iter().map(|byte| byte.count_ones()).sum();
                assert_eq!(pages, COUNT / 4);
            }
        }
        assert_eq!(seen[0].0, ExitReason::HostCall(1));
        assert_eq!(seen[1].0, ExitReason::PageFault(0x10_1000));
        results.push(seen);
    }
    assert!(results.iter().all(|seen| *seen == results[0]));
}

#[test]
fn hosts_see_what_guests_see() {
    for engine in engines() {
        let mut side = Side::new(&engine, 4, 2);
        let extent = Extent { first: 1, count: 2 };
        side.spaces[0].map(extent, 0x20, Access::ReadWrite, 0, 2).unwrap();
        let mut memory = side.memory(0);
        memory.write(0x2_0FFE, &[1, 2, 3, 4]).unwrap();
        assert_eq!(memory.write(0x2_1FFE, &[9; 4]), Err(Fault::Page(0x2_2000)));
        assert_eq!(memory.check(0x2_0000, 2 * PAGE_SIZE, Access::ReadWrite), Ok(()));
        assert_eq!(memory.check(0x1_FFFF, 2, Access::ReadOnly), Err(Fault::Page(0x1_F000)));
        assert_eq!(memory.check(0xFFFF, 1, Access::ReadOnly), Err(Fault::Panic));
        assert_eq!(side.store.written(extent), [0b11]);
        // The other space has nothing of it.
        let mut bytes = [0; 4];
        assert_eq!(side.memory(1).read(0x2_0FFE, &mut bytes), Err(Fault::Page(0x2_0000)));
        assert!(side.store.read(extent, 4094, &mut bytes));
        assert_eq!(bytes, [1, 2, 3, 4]);
        assert!(!side.store.read(extent, 8190, &mut bytes));
        // Discarded pages are zero when they are used again.
        side.spaces[0].remove(extent);
        side.store.discard(extent);
        assert!(side.store.read(extent, 4094, &mut bytes));
        assert_eq!((bytes, side.store.written(extent)), ([0; 4], vec![0]));
    }
}
