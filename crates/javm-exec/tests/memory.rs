//! Guest memory against the simplest thing that could be right: a map from page to bytes.
//!
//! Random mappings, host accesses and single loads and stores by the guest, around the places where
//! something is special: the low 64 KiB, the end of the address space, borders between pages.

use std::{collections::BTreeMap, sync::Arc};

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, Fault, GasCounter, Instance, MapError, Mem,
    Memory, Module, PAGE_SIZE, PageSource, Reg,
    memory::{LOW_ZONE, PAGE_COUNT},
};
use javm_isa::Op;
use javm_testkit::{
    Rng,
    builder::{Builder, instr},
};

struct ModelPage {
    access: Access,
    written: bool,
    bytes: Vec<u8>,
}

/// What memory is, without a thought for speed.
#[derive(Default)]
struct Model(BTreeMap<u32, ModelPage>);

impl Model {
    fn map(
        &mut self,
        first: u32,
        count: u32,
        access: Access,
        source: Option<(&Source, u32)>,
    ) -> Result<(), MapError> {
        if u64::from(first) + u64::from(count) > PAGE_COUNT.into() {
            return Err(MapError::OutOfRange { first, count });
        }
        if let Some(page) = (first..first + count).find(|p| self.0.contains_key(p)) {
            return Err(MapError::Overlap { page });
        }
        for n in 0..count {
            let mut bytes = vec![0; PAGE_SIZE];
            if let Some((source, from)) = source
                && let Some(page) = source.page(from + n)
            {
                bytes[..page.len()].copy_from_slice(page);
            }
            self.0.insert(first + n, ModelPage { access, written: false, bytes });
        }
        Ok(())
    }

    fn unmap(&mut self, first: u32, count: u32) {
        self.0.retain(|page, _| {
            !(u64::from(first)..u64::from(first) + u64::from(count)).contains(&(*page).into())
        });
    }

    fn protect(&mut self, first: u32, count: u32, access: Access) -> Result<(), MapError> {
        if u64::from(first) + u64::from(count) > PAGE_COUNT.into() {
            return Err(MapError::OutOfRange { first, count });
        }
        if let Some(page) = (first..first + count).find(|p| !self.0.contains_key(p)) {
            return Err(MapError::NotMapped { page });
        }
        for page in first..first + count {
            self.0.get_mut(&page).unwrap().access = access;
        }
        Ok(())
    }

    fn fault(&self, page: u32) -> Fault {
        let address = page * PAGE_SIZE as u32;
        let open = self.0.keys().any(|p| p * (PAGE_SIZE as u32) < LOW_ZONE);
        if address < LOW_ZONE && !open { Fault::Panic } else { Fault::Page(address) }
    }

    /// Byte addresses of an access, modulo 2^32.
    fn addresses(address: u32, len: usize) -> impl Iterator<Item = (u32, usize)> {
        (0..len).map(move |n| {
            let at = address.wrapping_add(n as u32);
            (at / PAGE_SIZE as u32, at as usize % PAGE_SIZE)
        })
    }

    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        for (page, _) in Self::addresses(address, len) {
            if self.0.get(&page).is_none_or(|p| p.access < access) {
                return Err(self.fault(page));
            }
        }
        Ok(())
    }

    fn read(&self, address: u32, buf: &mut [u8]) -> Result<(), Fault> {
        self.check(address, buf.len(), Access::ReadOnly)?;
        for (byte, (page, offset)) in buf.iter_mut().zip(Self::addresses(address, usize::MAX)) {
            *byte = self.0[&page].bytes[offset];
        }
        Ok(())
    }

    fn put(&mut self, address: u32, bytes: &[u8]) {
        for (byte, (page, offset)) in bytes.iter().zip(Self::addresses(address, bytes.len())) {
            let page = self.0.get_mut(&page).unwrap();
            page.bytes[offset] = *byte;
            page.written = true;
        }
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check(address, bytes.len(), Access::ReadWrite)?;
        self.put(address, bytes);
        Ok(())
    }

    fn poke(&mut self, address: u32, bytes: &[u8]) -> Result<(), MapError> {
        let missing = Self::addresses(address, bytes.len()).find(|(page, _)| !self.0.contains_key(page));
        if let Some((page, _)) = missing {
            return Err(MapError::NotMapped { page });
        }
        self.put(address, bytes);
        Ok(())
    }
}

/// A source in which every third page is zero and the others are of different lengths.
struct Source;

static SOURCE: [u8; PAGE_SIZE] = {
    let mut bytes = [0; PAGE_SIZE];
    let mut n = 0;
    while n < PAGE_SIZE {
        bytes[n] = (n * 7 + 1) as u8;
        n += 1;
    }
    bytes
};

impl PageSource for Source {
    fn page(&self, index: u32) -> Option<&[u8]> {
        match index % 3 {
            0 => None,
            1 => Some(&SOURCE[..index as usize * 37 % PAGE_SIZE]),
            _ => Some(&SOURCE),
        }
    }
}

const LOADS: [Op; 4] = [Op::LoadIndU8, Op::LoadIndU16, Op::LoadIndU32, Op::LoadIndU64];
const STORES: [Op; 4] = [Op::StoreIndU8, Op::StoreIndU16, Op::StoreIndU32, Op::StoreIndU64];

/// A machine with one load and one store of each width to execute.
struct Guest {
    instance: Instance,
    pcs: Vec<u32>,
}

impl Guest {
    fn new(engine: &Engine) -> Self {
        let mut builder = Builder::new();
        for op in LOADS.into_iter().chain(STORES) {
            builder.push(&instr(op, &[7, 8, 0]));
        }
        builder.push(&instr(Op::Trap, &[]));
        let pcs = builder.instruction_starts().to_vec();
        let mut instance = Instance::new(&Module::new(engine, builder.code().unwrap()));
        instance.gas = GasCounter::new(u64::MAX);
        Self { instance, pcs }
    }

    fn execute(&mut self, n: usize, address: u32, value: u64) -> Result<u64, Fault> {
        self.instance.regs.pc = self.pcs[n].into();
        self.instance.gas_charged = true;
        self.instance.regs.set(Reg::A0, value);
        // Only the low half of a base counts.
        self.instance.regs.set(Reg::A1, u64::from(address) | value << 32);
        match self.instance.step(&mut ExitOnEcall) {
            None => Ok(self.instance.regs.get(Reg::A0)),
            Some(ExitReason::Panic) => Err(Fault::Panic),
            Some(ExitReason::PageFault(address)) => Err(Fault::Page(address)),
            Some(other) => panic!("{other}"),
        }
    }
}

/// A page near one of the special places.
fn page(rng: &mut Rng) -> u32 {
    let place = *rng.one_of(&[0, 13, 0x20, 0x24, PAGE_COUNT - 4]);
    place + rng.below(6) as u32
}

fn address(rng: &mut Rng) -> u32 {
    // Mostly near a border between pages.
    let offset = if rng.one_in(3) { rng.below(4096) as u32 } else { rng.below(20) as u32 };
    page(rng).wrapping_mul(PAGE_SIZE as u32).wrapping_add(offset).wrapping_sub(10)
}

fn compare(memory: &Memory, model: &Model) {
    let mapped: Vec<_> = memory
        .mapped()
        .flat_map(|(first, count, access)| (first..first + count).map(move |page| (page, access)))
        .collect();
    let expected: Vec<_> = model.0.iter().map(|(page, p)| (*page, p.access)).collect();
    assert_eq!(mapped, expected);
    for (page, expected) in &model.0 {
        assert_eq!(memory.access(*page), Some(expected.access));
        let found = memory.page(*page).unwrap_or_default();
        let (head, tail) = expected.bytes.split_at(found.len());
        assert!(found == head && tail.iter().all(|b| *b == 0), "page {page:#x}");
    }
    let written = |pages: core::ops::Range<u32>| -> Vec<u32> {
        model.0.range(pages).filter(|(_, p)| p.written).map(|(page, _)| *page).collect()
    };
    for (first, count) in [(0, PAGE_COUNT), (3, u32::MAX), (0x21, 3)] {
        let end = u32::saturating_add(first, count).min(PAGE_COUNT);
        let (found, expected) = (memory.written(first, count), written(first..end));
        if let Memory::Copying(_) = memory {
            assert_eq!(found, expected);
        }
        // Some memories know only that others were not written.
        assert!(found.is_sorted() && found.iter().all(|page| (first..end).contains(page)));
        assert!(expected.iter().all(|page| found.binary_search(page).is_ok()));
    }
}

fn operation(rng: &mut Rng, guest: &mut Guest, model: &mut Model) {
    let memory = &mut guest.instance.memory;
    let (first, count) = (page(rng), rng.below(5) as u32);
    let access = if rng.one_in(2) { Access::ReadOnly } else { Access::ReadWrite };
    let at = address(rng);
    let mut bytes: Vec<u8> = (0..rng.below(40)).map(|_| rng.bits() as u8).collect();
    if rng.one_in(30) {
        bytes.resize(3 * PAGE_SIZE, 0xA5);
    }
    match rng.below(20) {
        0..4 => {
            let from = rng.below(7) as u32;
            let lazy = rng.one_in(2);
            let source: Option<(Arc<dyn PageSource>, u32)> =
                lazy.then(|| (Arc::new(Source) as Arc<dyn PageSource>, from));
            let expected = model.map(first, count, access, lazy.then_some((&Source, from)));
            assert_eq!(memory.map(first, count, access, source), expected);
        }
        4 | 5 => {
            let count = if rng.one_in(20) { u32::MAX } else { count };
            memory.unmap(first, count);
            model.unmap(first, count);
        }
        6..8 => assert_eq!(memory.protect(first, count, access), model.protect(first, count, access)),
        8..10 => assert_eq!(memory.poke(at, &bytes), model.poke(at, &bytes)),
        10 => assert_eq!(memory.write(at, &bytes), model.write(at, &bytes)),
        11 => {
            let mut expected = bytes.clone();
            let result = model.read(at, &mut expected);
            assert_eq!(memory.read(at, &mut bytes), result);
            if result.is_ok() {
                assert_eq!(bytes, expected);
            }
        }
        12 => {
            let len = bytes.len();
            assert_eq!(memory.check(at, len, access), model.check(at, len, access));
        }
        13..16 => {
            let n = rng.index(4);
            let value = rng.bits();
            let mut loaded = [0; 8];
            let expected = model.read(at, &mut loaded[..1 << n]).map(|()| u64::from_le_bytes(loaded));
            assert_eq!(guest.execute(n, at, value), expected);
            if expected.is_err() {
                assert_eq!(guest.instance.regs.get(Reg::A0), value);
            }
        }
        _ => {
            let n = rng.index(4);
            let value = rng.bits();
            let expected = model.write(at, &value.to_le_bytes()[..1 << n]).map(|()| value);
            assert_eq!(guest.execute(4 + n, at, value), expected);
        }
    }
}

/// An engine of each backend that there is here.
fn engines() -> impl Iterator<Item = Engine> {
    [Backend::Interpreter, Backend::Recompiler]
        .into_iter()
        .filter_map(|backend| Engine::new(Config::new().backend(backend)).ok())
}

#[test]
fn memory_is_what_the_model_says() {
    engines().for_each(|engine| memory_of(&engine));
}

fn memory_of(engine: &Engine) {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut model = Model::default();
        // A memory that was used before must be as good as a new one.
        let mut guest = Guest::new(engine);
        compare(&guest.instance.memory, &model);
        for n in 0..400 {
            operation(&mut rng, &mut guest, &mut model);
            if n % 20 == 0 {
                compare(&guest.instance.memory, &model);
            }
        }
        compare(&guest.instance.memory, &model);
        engine.recycle(guest.instance.memory);
    }
}

#[test]
fn mapping_everything_costs_nothing_until_it_is_touched() {
    for engine in engines() {
        let mut memory = engine.memory();
        memory.map(0, PAGE_COUNT, Access::ReadWrite, None).unwrap();
        assert_eq!(memory.check(0, 1 << 32, Access::ReadWrite), Ok(()));
        memory.write(u32::MAX, &[1, 2]).unwrap();
        let written = memory.written(0, PAGE_COUNT);
        assert!(written.contains(&0) && written.contains(&(PAGE_COUNT - 1)) && written.len() < 64);
        assert!(memory.page(7).is_none_or(|page| page.iter().all(|byte| *byte == 0)));
        assert_eq!(memory.page(7000), None);
        let mut bytes = [0; 3];
        memory.read(u32::MAX, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 0]);
        memory.clear();
        assert_eq!(memory.mapped().count(), 0);
        assert_eq!(memory.read(u32::MAX, &mut bytes), Err(Fault::Page(0xFFFF_F000)));
    }
}

#[test]
fn mappings_outside_the_address_space_are_refused() {
    engines().for_each(|engine| outside(&mut engine.memory()));
}

fn outside(memory: &mut Memory) {
    for (first, count) in
        [(PAGE_COUNT, 1), (0, PAGE_COUNT + 1), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)]
    {
        let refused = Err(MapError::OutOfRange { first, count });
        assert_eq!(memory.map(first, count, Access::ReadOnly, None), refused);
        assert_eq!(memory.protect(first, count, Access::ReadOnly), refused);
        memory.unmap(first, count);
        assert_eq!(memory.access(first), None);
        assert_eq!(memory.page(first), None);
        assert!(memory.written(first, count).is_empty());
    }
    assert_eq!(memory.mapped().count(), 0);
    // The pages of a source may have any numbers: they go on from the last to the first.
    memory.map(0x20, 3, Access::ReadOnly, Some((Arc::new(Source), u32::MAX - 1))).unwrap();
    memory.protect(0x21, 1, Access::ReadWrite).unwrap();
    assert_eq!(memory.access(0x22), Some(Access::ReadOnly));
    memory.read(0x2_2000, &mut [0]).unwrap();
}

#[test]
fn the_low_zone_opens_and_closes_with_its_mappings() {
    engines().for_each(|engine| low_zone(&mut engine.memory()));
}

fn low_zone(memory: &mut Memory) {
    let read = |memory: &mut Memory| memory.read(0x3000, &mut [0]);
    assert_eq!(read(memory), Err(Fault::Panic));
    memory.map(16, 1, Access::ReadWrite, None).unwrap();
    assert_eq!(read(memory), Err(Fault::Panic));
    memory.map(15, 1, Access::ReadOnly, None).unwrap();
    assert_eq!(read(memory), Err(Fault::Page(0x3000)));
    // A store to its read-only page is a page fault of that page.
    assert_eq!(memory.write(0xFFFF, &[1, 2]), Err(Fault::Page(0xF000)));
    memory.unmap(15, 1);
    assert_eq!(read(memory), Err(Fault::Panic));
    // From the last page over the end of memory: the zone's rule decides about the second byte.
    memory.map(PAGE_COUNT - 1, 1, Access::ReadWrite, None).unwrap();
    assert_eq!(memory.write(u32::MAX, &[1, 2]), Err(Fault::Panic));
    memory.map(3, 1, Access::ReadOnly, None).unwrap();
    assert_eq!(memory.write(u32::MAX, &[1, 2]), Err(Fault::Page(0)));
    let mut zero = [1; 16];
    memory.read(u32::MAX - 15, &mut zero).unwrap();
    assert_eq!(zero, [0; 16], "nothing was written");
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(Fault::Panic.to_string(), "access to the low 64 KiB");
    assert_eq!(Fault::Page(0x1000).to_string(), "page fault at 0x1000");
    let errors = [
        (MapError::OutOfRange { first: 1, count: 2 }, "pages 1..1+2 leave the address space"),
        (MapError::Overlap { page: 3 }, "page 3 is mapped already"),
        (MapError::NotMapped { page: 4 }, "page 4 is not mapped"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
}
