//! Memory of the recompiler against memory of the interpreter: the same operations of host and guest, the
//! same results. Regions are small and large, with and without a source; windows are used again and again.

use std::sync::Arc;

use javm_exec::{
    Access, Backend, Config, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Mem, Memory, Module,
    PAGE_SIZE, PageSource, Reg, memory::PAGE_COUNT,
};
use javm_isa::Op;
use javm_testkit::{
    Rng,
    builder::{Builder, instr},
};

/// Pages of different lengths, some of them zero.
struct Source(u32);

static BYTES: [u8; 2 * PAGE_SIZE] = {
    let mut bytes = [0; 2 * PAGE_SIZE];
    let mut n = 0;
    while n < bytes.len() {
        bytes[n] = (n * 7 + 1) as u8;
        n += 1;
    }
    bytes
};

impl PageSource for Source {
    fn page(&self, index: u32) -> Option<&[u8]> {
        match (index ^ self.0) % 3 {
            0 => None,
            1 => Some(&BYTES[..index as usize % 1000 * 37 % PAGE_SIZE]),
            _ => Some(&BYTES[index as usize % 8..][..PAGE_SIZE]),
        }
    }
}

const OPS: [Op; 8] = [
    Op::LoadIndU8,
    Op::LoadIndU16,
    Op::LoadIndI32,
    Op::LoadIndU64,
    Op::StoreIndU8,
    Op::StoreIndU16,
    Op::StoreIndU32,
    Op::StoreIndU64,
];

/// A machine that executes one load or store of any width and traps.
struct Guest {
    instance: Instance,
    pcs: Vec<u32>,
}

impl Guest {
    fn new(module: &Module) -> Self {
        let mut instance = Instance::new(module);
        instance.gas = GasCounter::new(u64::MAX);
        let pcs = module.code().instructions(0).map(|(pc, _)| pc).step_by(2).collect();
        Self { instance, pcs }
    }

    fn execute(&mut self, n: usize, address: u32, value: u64) -> (ExitReason, u64, u64) {
        self.instance.regs.pc = self.pcs[n].into();
        self.instance.regs.set(Reg::A0, value);
        // Only the low half of a base counts.
        self.instance.regs.set(Reg::A1, u64::from(address) | value << 32);
        self.instance.gas = GasCounter::new(1000);
        let exit = self.instance.run(&mut ExitOnEcall);
        (exit, self.instance.regs.pc, self.instance.regs.get(Reg::A0))
    }
}

fn module(backend: Backend) -> Option<Module> {
    let engine = Engine::new(Config::new().backend(backend)).ok()?;
    let mut builder = Builder::new();
    for op in OPS {
        builder.push(&instr(op, &[7, 8, 0]));
        builder.push(&instr(Op::Trap, &[]));
    }
    Some(Module::new(&engine, builder.code().unwrap()))
}

fn modules() -> Option<(Module, Module)> {
    Some((module(Backend::Interpreter)?, module(Backend::Recompiler)?))
}

/// A page near one of the special places.
fn page(rng: &mut Rng) -> u32 {
    let place = *rng.one_of(&[0, 13, 0x20, 0x24, 0x60, 0x1000, PAGE_COUNT - 4]);
    place + rng.below(6) as u32
}

fn address(rng: &mut Rng) -> u32 {
    // Mostly near a border between pages.
    let offset = if rng.one_in(3) { rng.below(4096) as u32 } else { rng.below(20) as u32 };
    page(rng).wrapping_mul(PAGE_SIZE as u32).wrapping_add(offset).wrapping_sub(10)
}

fn padded(page: Option<&[u8]>) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    let page = page.unwrap_or_default();
    bytes[..page.len()].copy_from_slice(page);
    bytes
}

fn compare(window: &Memory, copying: &Memory) {
    let pages = |memory: &Memory| -> Vec<_> {
        memory
            .mapped()
            .flat_map(|(first, count, access)| (first..first + count).map(move |page| (page, access)))
            .collect()
    };
    let expected = pages(copying);
    assert_eq!(pages(window), expected);
    for (page, access) in expected {
        assert_eq!(window.access(page), Some(access));
        assert!(padded(window.page(page)) == padded(copying.page(page)), "page {page:#x}");
    }
    for (first, count) in [(0, PAGE_COUNT), (3, u32::MAX), (0x21, 3)] {
        let (found, expected) = (window.written(first, count), copying.written(first, count));
        assert!(found.is_sorted() && expected.iter().all(|page| found.contains(page)), "{first} {count}");
        assert!(found.iter().all(|page| *page >= first && window.access(*page).is_some()));
    }
}

fn operation(rng: &mut Rng, window: &mut Guest, copying: &mut Guest, sources: &[Arc<Source>]) {
    let (ours, theirs) = (&mut window.instance.memory, &mut copying.instance.memory);
    let first = page(rng);
    let count = if rng.one_in(4) { rng.below(90) as u32 } else { rng.below(5) as u32 };
    let access = if rng.one_in(2) { Access::ReadOnly } else { Access::ReadWrite };
    let at = address(rng);
    let mut bytes: Vec<u8> = (0..rng.below(40)).map(|_| rng.bits() as u8).collect();
    if rng.one_in(30) {
        bytes.resize(3 * PAGE_SIZE, 0xA5);
    }
    match rng.below(20) {
        0..4 => {
            let from = rng.below(7) as u32;
            let source =
                rng.one_in(2).then(|| (Arc::clone(rng.one_of(sources)) as Arc<dyn PageSource>, from));
            assert_eq!(
                ours.map(first, count, access, source.clone()),
                theirs.map(first, count, access, source)
            );
        }
        4 | 5 => {
            let count = if rng.one_in(20) { u32::MAX } else { count };
            ours.unmap(first, count);
            theirs.unmap(first, count);
        }
        6..8 => assert_eq!(ours.protect(first, count, access), theirs.protect(first, count, access)),
        8..10 => assert_eq!(ours.poke(at, &bytes), theirs.poke(at, &bytes)),
        10 => assert_eq!(ours.write(at, &bytes), theirs.write(at, &bytes)),
        11 => {
            let mut other = bytes.clone();
            let result = ours.read(at, &mut bytes);
            assert_eq!(result, theirs.read(at, &mut other));
            assert!(result.is_err() || bytes == other);
        }
        12 => {
            let len = bytes.len();
            assert_eq!(ours.check(at, len, access), theirs.check(at, len, access));
        }
        _ => {
            let (n, value) = (rng.index(8), rng.bits());
            assert_eq!(window.execute(n, at, value), copying.execute(n, at, value));
        }
    }
}

#[test]
fn windows_behave_as_the_heap_does() {
    let Some((interpreted, compiled)) = modules() else { return };
    let sources: Vec<_> = (0..3).map(|n| Arc::new(Source(n))).collect();
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let (mut window, mut copying) = (Guest::new(&compiled), Guest::new(&interpreted));
        let operations = rng.below(300);
        for n in 0..operations {
            operation(&mut rng, &mut window, &mut copying, &sources);
            if n % 32 == 0 {
                compare(&window.instance.memory, &copying.instance.memory);
            }
        }
        compare(&window.instance.memory, &copying.instance.memory);
        compiled.engine().recycle(window.instance.memory);
        interpreted.engine().recycle(copying.instance.memory);
    }
}

/// The same layouts again and again, so that windows are taken from the pool with what was left in them.
#[test]
fn a_used_window_is_as_good_as_a_new_one() {
    let Some((interpreted, compiled)) = modules() else { return };
    let sources: Vec<_> = (0..3).map(|n| Arc::new(Source(n))).collect();
    let mut rng = Rng::new(7);
    for _ in 0..1500 {
        let (mut window, mut copying) = (Guest::new(&compiled), Guest::new(&interpreted));
        let layout = rng.below(4) as u32;
        for (first, count, access) in [
            (0x10, 1 + layout % 2 * 40, Access::ReadOnly),
            (0x60, 2, Access::ReadWrite),
            (0x80, 1 + layout * 30, Access::ReadWrite),
            (0x1000, 17, Access::ReadOnly),
        ] {
            let source = (first != 0x80 || layout % 2 == 1)
                .then(|| (Arc::clone(rng.one_of(&sources)) as Arc<dyn PageSource>, 0));
            for guest in [&mut window, &mut copying] {
                guest.instance.memory.map(first, count, access, source.clone()).unwrap();
            }
        }
        for _ in 0..rng.below(12) {
            let page = *rng.one_of(&[0x10, 0x20, 0x30, 0x60, 0x61, 0x80, 0x85, 0xA0, 0x1000, 0x1010]);
            let at = (page << 12) + rng.below(4096) as u32;
            let (n, value) = (rng.index(8), rng.bits());
            assert_eq!(window.execute(n, at, value), copying.execute(n, at, value), "{at:#x} {layout}");
        }
        for guest in [&mut window, &mut copying] {
            if rng.one_in(20) {
                guest.instance.memory.poke(0x1_0004, &[1, 2, 3]).unwrap();
                guest.instance.memory.unmap(0x10, 1);
            }
            if rng.one_in(20) {
                guest.instance.memory.protect(0x60, 1, Access::ReadOnly).unwrap();
            }
        }
        if window.instance.memory.access(0x10) == copying.instance.memory.access(0x10)
            && window.instance.memory.access(0x60) == copying.instance.memory.access(0x60)
        {
            compare(&window.instance.memory, &copying.instance.memory);
        }
        compiled.engine().recycle(window.instance.memory);
        interpreted.engine().recycle(copying.instance.memory);
    }
}

/// Pages of alternating rights over 1 GiB in two instances: more mappings than a process may have.
#[test]
fn a_guest_that_alternates_rights_runs_all_the_same() {
    let Some((_, compiled)) = modules() else { return };
    let mut guests: Vec<_> = (0..2).map(|_| Guest::new(&compiled)).collect();
    for guest in &mut guests {
        guest.instance.memory.map(0x1000, 1 << 18, Access::ReadWrite, None).unwrap();
    }
    // Every 64th page would do; the pattern is what counts, and a list of regions is slow to cut.
    for page in (0x1000..0x1000 + (1 << 18)).step_by(64) {
        for guest in &mut guests {
            assert_eq!(guest.execute(7, page << 12, u64::from(page)).0, ExitReason::Trap);
            guest.instance.memory.protect(page, 1, Access::ReadOnly).unwrap();
        }
    }
    for page in (0x1000..0x1000 + (1 << 18)).step_by(64 * 7) {
        for guest in &mut guests {
            assert_eq!(guest.execute(7, page << 12, 1).0, ExitReason::PageFault(page << 12));
            let (exit, _, value) = guest.execute(3, page << 12, 1);
            assert_eq!((exit, value), (ExitReason::Trap, u64::from(page)));
            assert_eq!(guest.execute(7, (page + 1) << 12, 1).0, ExitReason::Trap);
        }
    }
}

/// Two guests touch pages all over 1 GiB, alternately, and a pager gives each page when it is missing: more pages
/// that do not touch each other than there are mappings. Both backends show the same at every exit.
#[test]
fn pages_that_guests_choose_take_no_mapping_each() {
    const PAGES: u32 = 1 << 18;
    let Some((interpreted, compiled)) = modules() else { return };
    let mut guests = [&compiled, &compiled, &interpreted, &interpreted].map(Guest::new);
    let source: Arc<dyn PageSource> = Arc::new(Source(1));
    // An odd distance: no two pages touch. Now and then one that is there already.
    for n in 0..5_000u32 {
        let page = 0x1000 + n * 51 % PAGES;
        let (op, at) = (4 + n as usize % 4, (page << 12) + n % 0xFF8);
        let value = u64::from(n) << 32 | u64::from(page);
        let exits = guests.each_mut().map(|guest| {
            let missing = guest.execute(op, at, value).0;
            if missing == ExitReason::PageFault(page << 12) {
                let source = n.is_multiple_of(3).then(|| (Arc::clone(&source), n));
                guest.instance.memory.map(page, 1, Access::ReadWrite, source).unwrap();
            }
            (missing, guest.execute(op, at, value), guest.execute(n as usize % 4, at, !value))
        });
        assert!(exits.iter().all(|exit| *exit == exits[0]), "{page:#x}: {exits:?}");
    }
    for n in (0..5_000).step_by(7) {
        let page = 0x1000 + n * 51 % PAGES;
        let pages = guests.each_ref().map(|guest| padded(guest.instance.memory.page(page)));
        assert!(pages.iter().all(|bytes| *bytes == pages[0]), "{page:#x}");
    }
    assert!(
        format!("{:?}", guests[0].instance.memory).contains("native: false"),
        "it was meant to run short"
    );
}

#[test]
fn mapping_everything_costs_nothing_until_it_is_touched() {
    let Some((_, compiled)) = modules() else { return };
    let mut memory = compiled.engine().memory();
    memory.map(0, PAGE_COUNT, Access::ReadWrite, None).unwrap();
    assert_eq!(memory.check(0, 1 << 32, Access::ReadWrite), Ok(()));
    memory.write(u32::MAX, &[1, 2]).unwrap();
    let written = memory.written(0, PAGE_COUNT);
    assert!(written.starts_with(&[0]) && written.ends_with(&[PAGE_COUNT - 1]) && written.len() < 100);
    let mut bytes = [0; 3];
    memory.read(u32::MAX, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 0]);
    memory.clear();
    assert_eq!(memory.mapped().count(), 0);
    assert!(memory.read(u32::MAX, &mut bytes).is_err());
}

/// An access that begins in the last page and goes on in the first.
#[test]
fn accesses_wrap_around_the_end() {
    let Some((interpreted, compiled)) = modules() else { return };
    for (top, bottom) in [(true, false), (false, true), (true, true)] {
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let (mut window, mut copying) = (Guest::new(&compiled), Guest::new(&interpreted));
            for guest in [&mut window, &mut copying] {
                if top {
                    guest.instance.memory.map(PAGE_COUNT - 1, 1, Access::ReadWrite, None).unwrap();
                }
                if bottom {
                    guest.instance.memory.map(0, 1, access, None).unwrap();
                    guest.instance.memory.poke(0, &[1, 2, 3, 4, 5, 6, 7]).unwrap();
                }
            }
            for back in 0..9 {
                for n in (0..8).rev() {
                    let at = 0u32.wrapping_sub(back);
                    let value = 0x1122_3344_5566_7788 + u64::from(back);
                    assert_eq!(window.execute(n, at, value), copying.execute(n, at, value), "{n} {at:#x}");
                }
            }
            compare(&window.instance.memory, &copying.instance.memory);
        }
    }
}
