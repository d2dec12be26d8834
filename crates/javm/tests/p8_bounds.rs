//! Property 8: no guest makes the host use memory, stack or time that it did not pay for.
//!
//! Each test is a guest that tries. It runs on a stack of 256 KiB, on each backend; what the host allocates is
//! measured, and so is the processor time that it spends. Memory must stay below what the test says. Time must grow
//! with gas: four times as many rounds take about four times as long, and no gas costs the host [`DEAREST`]
//! nanoseconds, which is some two hundred times what running code costs.

mod support;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use javm::{CallResult, ExitReason, KernelImage, Vm};
use javm_cap::{CacheDirectory, Cap, CapHash, SlotIdx};
use javm_exec::{Backend, Config, Engine};
use peak_alloc::PeakAlloc;
use support::{Assist, MEM, Rig, at, ephemeral, load_args, persistent};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One at a time: the measure is of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

const GAS: u64 = 1 << 50;
const MIB: usize = 1 << 20;
/// The most that the host may spend on one gas, in nanoseconds of processor time.
const DEAREST: f64 = 150.0;

fn ask(number: u32, args: &[u64]) -> String {
    format!("{}ecalli {number}\n", load_args(args))
}

/// `body`, as often as φ7 says at the start.
fn repeat(body: &str) -> String {
    format!(
        "move_reg s0, a0\nfallthrough\nloop: {body}\nadd_imm_64 s0, s0, -1\nbranch_ne_imm s0, 0, @loop\n\
         load_imm a0, 0\necalli 0\ntrap"
    )
}

/// What a run cost the host.
#[derive(Clone, Copy, Debug)]
struct Cost {
    gas: u64,
    /// The most that was allocated at a time, beyond what was there before.
    peak: usize,
    /// What stayed.
    kept: usize,
    nanoseconds: u64,
}

/// Processor time of this thread where the system tells it.
fn clock(since: Instant) -> u64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    spent
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| since.elapsed().as_nanos() as u64)
}

fn measure(run: impl FnOnce() -> u64) -> Cost {
    let (start, before) = (Instant::now(), ALLOCATOR.current_usage());
    ALLOCATOR.reset_peak_usage();
    let begun = clock(start);
    let gas = run();
    let nanoseconds = clock(start) - begun;
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    Cost { gas, peak, kept, nanoseconds }
}

fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap()
}

/// Runs an instance with `n` and with `4 n` in φ7, on the interpreter, and with an eighth of that on the recompiler,
/// which differs only in how code runs.
fn attack(name: &'static str, build: fn(&mut Rig) -> CapHash, n: u64, check: fn(u64, Cost)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for backend in [Backend::Interpreter, Backend::Recompiler] {
        let Ok(engine) = Engine::new(Config::new().backend(backend)) else { continue };
        let n = if backend == Backend::Interpreter { n } else { n.div_ceil(8) };
        let costs = [n, 4 * n].map(|n| {
            let engine = engine.clone();
            on_a_small_stack(move || {
                let mut rig =
                    Rig { vm: Vm::with_engine(Assist::default(), engine), cache: CacheDirectory::new() };
                let instance = build(&mut rig);
                let cost = measure(|| {
                    let result = rig.call(instance, 0, &[n], GAS);
                    assert!(matches!(result, CallResult::Halt { .. }), "{result:?}: {}", rig.words());
                    result.gas_used()
                });
                println!(
                    "{name} {backend} {n}: {} gas, peak {} KiB, kept {} KiB, {} ms, {:.2} ns/gas",
                    cost.gas,
                    cost.peak >> 10,
                    cost.kept >> 10,
                    cost.nanoseconds / 1_000_000,
                    cost.nanoseconds as f64 / cost.gas as f64
                );
                check(n, cost);
                cost
            })
        });
        let [once, four] = costs;
        let dear = |cost: &Cost| cost.nanoseconds as f64 / cost.gas as f64;
        // What takes no time says nothing.
        let counts = |cost: &Cost| cost.nanoseconds > 20_000_000;
        assert!(!counts(&four) || dear(&four) < DEAREST, "{name}: {four:?}");
        assert!(!counts(&once) || dear(&four) < 3.0 * dear(&once), "{name} is not linear: {once:?} {four:?}");
    }
}

fn nothing(rig: &mut Rig) -> CapHash {
    rig.program("ecalli 0\ntrap", &[])
}

#[test]
fn a_million_calls() {
    attack(
        "calls",
        |rig| {
            let callee = nothing(rig);
            let image = rig.image(&repeat(&ask(26, &[2, 0])), |_| ());
            rig.instance(image, &[(2, callee)])
        },
        250_000,
        |_, cost| assert!(cost.peak < 24 * MIB, "{cost:?}"),
    );
}

#[test]
fn nested_cnodes() {
    attack(
        "nested cnodes",
        |rig| {
            let body = [ask(5, &[2, 0]), ask(4, &[1, at(2, &[0])]), ask(4, &[1, 2])].concat();
            rig.program(&repeat(&body), &[])
        },
        250_000,
        |n, cost| assert!(cost.peak < 1500 * n as usize, "{cost:?}"),
    );
}

#[test]
fn dropped_pauses() {
    attack(
        "dropped pauses",
        |rig| {
            let marker = rig.marker("m");
            let yielder = rig.program(&format!("{}ecalli 0\ntrap", ask(16, &[1])), &[(1, marker)]);
            let catcher = rig.catcher(&[marker]);
            let image = rig.image(&repeat(&[ask(26, &[2, 0]), ask(28, &[2])].concat()), |image| {
                image.yield_marker_slot = Some(SlotIdx(1));
            });
            rig.instance(image, &[(1, catcher), (2, yielder)])
        },
        250_000,
        |_, cost| assert!(cost.peak < 24 * MIB, "{cost:?}"),
    );
}

/// A handler that halts over its call, is called again, resumes the value, which yields again.
fn frozen(rig: &mut Rig, pages: u64) -> CapHash {
    let marker = rig.marker("m");
    let touch = format!(
        "load_imm_64 t0, {}\nload_imm_64 t1, {MEM:#x}\nfallthrough\ntouch: store_ind_u8 t0, t1, 0\n\
         add_imm_64 t1, t1, 4096\nadd_imm_64 t0, t0, -1\nbranch_ne_imm t0, 0, @touch\n",
        pages
    );
    let text = format!("{touch}fallthrough\nagain: {}jump @again", ask(16, &[1]));
    let yielder = rig.image(&text, |image| image.memory_mappings = vec![ephemeral(MEM, pages)]);
    let yielder = rig.instance(yielder, &[(1, marker)]);
    let catcher = rig.catcher(&[marker]);
    let text = format!(
        "{}ecalli 0\ntrap\nresume: {}ecalli 0\ntrap\n.export call @0\n.export resume @resume",
        ask(26, &[2, 0]),
        ask(27, &[2])
    );
    let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
    let handler = rig.instance(image, &[(1, catcher), (2, yielder)]);
    let text = format!("move_reg s1, a0\n{}move_reg a0, s1\n{}", ask(26, &[2, 0]), repeat(&ask(26, &[2, 1])));
    rig.program(&text, &[(2, handler)])
}

#[test]
fn pauses_as_values() {
    attack(
        "pauses as values",
        |rig| frozen(rig, 1),
        20_000,
        |_, cost| {
            assert!(cost.peak < 64 * MIB, "{cost:?}");
        },
    );
}

#[test]
fn pauses_as_values_with_memory() {
    attack(
        "pauses with 2000 pages",
        |rig| frozen(rig, 2000),
        20,
        |_, cost| {
            assert!(cost.peak < 128 * MIB, "{cost:?}");
        },
    );
}

/// A call that cannot pay for its halt is resumed, and halts, again and again: its pages are not looked at each time.
#[test]
fn halts_that_are_never_paid() {
    attack(
        "unpaid halts",
        |rig| {
            let marker = rig.kernel(KernelImage::StorageExhaustedMarker);
            let touch = format!(
                "load_imm_64 t0, 8000\nload_imm_64 t1, {MEM:#x}\nfallthrough\ntouch: store_ind_u8 t0, t1, 8\n\
                 add_imm_64 t1, t1, 4096\nadd_imm_64 t0, t0, -1\nbranch_ne_imm t0, 0, @touch\necalli 0\ntrap"
            );
            let writer = rig.image(&touch, |image| {
                image.memory_mappings = vec![persistent(MEM, 8000, 7)];
                image.quota_slots = vec![SlotIdx(6)];
            });
            let quota = rig.handle(KernelImage::Quota, 5);
            let writer = rig.instance(writer, &[(6, quota)]);
            let catcher = rig.catcher(&[marker]);
            let text =
                format!("move_reg s1, a0\n{}move_reg a0, s1\n{}", ask(26, &[2, 0]), repeat(&ask(27, &[2])));
            let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
            rig.instance(image, &[(1, catcher), (2, writer)])
        },
        2_000,
        |_, cost| assert!(cost.peak < 160 * MIB, "{cost:?}"),
    );
}

#[test]
fn huge_mappings() {
    attack(
        "huge mappings",
        |rig| {
            let image = rig.image("ecalli 0\ntrap", |image| {
                image.memory_mappings = vec![ephemeral(MEM, 0xF_0000), persistent(0xF800_0000, 0x7000, 7)];
            });
            let callee = rig.instance(image, &[]);
            let image = rig.image(&repeat(&ask(26, &[2, 0])), |_| ());
            rig.instance(image, &[(2, callee)])
        },
        20_000,
        |_, cost| assert!(cost.peak < 24 * MIB, "{cost:?}"),
    );
}

#[test]
fn reads_over_huge_lengths() {
    attack(
        "reads",
        |rig| {
            let data = rig.data(b"x");
            let image = rig.image(&repeat(&ask(22, &[1, MEM, 0x100_0000, 0])), |image| {
                image.memory_mappings = vec![ephemeral(MEM, 0x1000)];
            });
            rig.instance(image, &[(1, data)])
        },
        4,
        |_, cost| assert!(cost.peak < 64 * MIB, "{cost:?}"),
    );
}

#[test]
fn mints_over_huge_lengths() {
    attack(
        "mints",
        |rig| {
            let image = rig.image(&repeat(&ask(23, &[MEM, 0x100_0000, u64::MAX, 2])), |image| {
                image.memory_mappings = vec![ephemeral(MEM, 0x1000)];
            });
            rig.instance(image, &[])
        },
        4,
        |_, cost| assert!(cost.peak < 64 * MIB, "{cost:?}"),
    );
}

/// A chain of instances, each of which does `text` with slot 2 the next; the last is `last`.
fn chain(rig: &mut Rig, depth: usize, image: CapHash, last: CapHash, slots: &[(u32, CapHash)]) -> CapHash {
    let mut next = last;
    for _ in 0..depth {
        next = rig.instance(image, &[slots, &[(2, next)]].concat());
    }
    next
}

#[test]
fn events_handed_up_a_deep_chain() {
    attack(
        "events",
        |rig| {
            let data = rig.data(b"event");
            let last = rig.program(&repeat(&ask(33, &[1, u64::MAX])), &[(1, data)]);
            // Each has one of its own, so that none takes the callee's list as it is.
            let text = format!(
                "move_reg a2, a0\nload_imm a0, 1\nload_imm_64 a1, {}\necalli 33\n\
                 load_imm a0, 2\nload_imm a1, 0\necalli 26\necalli 0\ntrap",
                u64::MAX
            );
            let image = rig.image(&text, |_| ());
            chain(rig, 900, image, last, &[(1, data)])
        },
        20_000,
        // Events, and what a call of each depth takes.
        |n, cost| assert!(cost.peak < 1000 * n as usize + 160 * MIB, "{cost:?}"),
    );
}

#[test]
fn yields_past_many_catchers() {
    attack(
        "yields",
        |rig| {
            let marker = rig.marker("m");
            let others: Vec<CapHash> = (0..255).map(|n| rig.marker(&n.to_string())).collect();
            let full = rig.catcher(&others);
            let last = rig.program(&repeat(&ask(16, &[1])), &[(1, marker)]);
            let text = "move_reg a2, a0\nload_imm a0, 2\nload_imm a1, 0\necalli 26\necalli 0\ntrap";
            let image = rig.image(text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
            let deep = chain(rig, 900, image, last, &[(1, full)]);
            let catcher = rig.catcher(&[marker]);
            let text = "move_reg a2, a0\nload_imm a0, 2\nload_imm a1, 0\necalli 26\nfallthrough\n\
                 again: branch_ne_imm a1, 1, @done\nload_imm a0, 2\necalli 27\njump @again\ndone: ecalli 0\ntrap";
            let image = rig.image(text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
            rig.instance(image, &[(1, catcher), (2, deep)])
        },
        500,
        |_, cost| assert!(cost.peak < 160 * MIB, "{cost:?}"),
    );
}

#[test]
fn images_without_end() {
    attack(
        "images",
        |rig| {
            // A jump table entry makes each another image; what is made is spawned and called.
            let image = rig.image("ecalli 0\ntrap", |image| image.jump_table = vec![0]);
            let Cap::Image(image) = rig.get(image) else { unreachable!() };
            let bytes = image.to_bytes();
            // The one entry of the jump table stands before six lists and an option that are empty.
            let entry = bytes.len() - 4 - 7;
            let mut input = (bytes.len() as u32).to_le_bytes().to_vec();
            input.extend(&bytes);
            let data = rig.data(&input);
            let table = rig.cnode(8, &[]);
            let at_entry = MEM + 4 + entry as u64;
            let body = [
                format!("store_u32 s0, {at_entry:#x}\n"),
                ask(23, &[MEM, input.len() as u64, u64::MAX, 3]),
                ask(19, &[3, 4, u64::MAX]),
                ask(1, &[5, 6]),
                ask(18, &[4, 6, 2]),
                ask(26, &[2, 0]),
                "branch_ne_imm a1, 0, @failed\n".to_owned(),
            ]
            .concat();
            let text = format!("{}\nfailed: trap", repeat(&body));
            let image = rig.image(&text, |image| image.memory_mappings = vec![persistent(MEM, 1, 7)]);
            rig.instance(image, &[(5, table), (7, data)])
        },
        5_000,
        |n, cost| assert!(cost.peak < 4000 * n as usize + 8 * MIB, "{cost:?}"),
    );
}

/// Nested cnodes are copied, which names them, and dropped, again and again: what is gone takes no memory.
#[test]
fn nests_are_named_and_dropped() {
    attack(
        "nests",
        |rig| {
            let inner = format!(
                "load_imm_64 s1, 20000\nfallthrough\nnest: {}{}{}add_imm_64 s1, s1, -1\nbranch_ne_imm s1, 0, @nest\n",
                ask(5, &[2, 0]),
                ask(4, &[1, at(2, &[0])]),
                ask(4, &[1, 2])
            );
            let body = [&inner[..], &ask(1, &[1, 3]), &ask(3, &[1]), &ask(3, &[3])].concat();
            rig.program(&repeat(&body), &[])
        },
        6,
        |_, cost| assert!(cost.peak < 96 * MIB && cost.kept < 16 * MIB, "{cost:?}"),
    );
}

/// What came out of a call is encoded, kept, walked and let go without the host's stack.
#[test]
fn a_deep_outcome_is_encoded_and_let_go() {
    use javm_cap::{CapStore, StoreError};
    struct Count(Mutex<usize>);
    impl CapStore for Count {
        fn get(&self, _: &CapHash) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }

        fn put(&self, _: &CapHash, _: &[u8]) -> Result<(), StoreError> {
            *self.0.lock().unwrap() += 1;
            Ok(())
        }
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_a_small_stack(|| {
        let mut rig = Rig::new();
        let body = [ask(5, &[2, 0]), ask(4, &[1, at(2, &[0])]), ask(4, &[1, 2])].concat();
        let instance = rig.program(&repeat(&body), &[]);
        let result = rig.call(instance, 0, &[100_000], GAS);
        let (_, after) = rig.halted(&result);
        let store = Count(Mutex::new(0));
        rig.cache.persist(after, &store).unwrap();
        assert!(*store.0.lock().unwrap() > 100_000);
        drop(rig);
    });
}

#[test]
fn pages_of_many_mappings() {
    attack(
        "mappings",
        |rig| {
            let touch = format!(
                "load_imm_64 t0, 3000\nload_imm_64 t1, {MEM:#x}\nfallthrough\ntouch: store_ind_u8 t0, t1, 0\n\
                 add_imm_64 t1, t1, 8192\nadd_imm_64 t0, t0, -1\nbranch_ne_imm t0, 0, @touch\necalli 0\ntrap"
            );
            let image = rig.image(&touch, |image| {
                image.memory_mappings = (0..3000).map(|n| ephemeral(MEM + n * 8192, 1)).collect();
            });
            let callee = rig.instance(image, &[]);
            let image = rig.image(&repeat(&ask(26, &[2, 0])), |_| ());
            rig.instance(image, &[(2, callee)])
        },
        20,
        |_, cost| assert!(cost.peak < 64 * MIB, "{cost:?}"),
    );
}

/// Whatever bytes MAKE_IMAGE is given: it takes memory for the bytes that there are, not for what they claim.
#[test]
fn images_of_hostile_bytes() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_a_small_stack(|| {
        let mut rig = Rig::new();
        let image = rig.image("load_imm a0, 1\njump @over\nover: ecalli 0\ntrap", |image| {
            image.jump_table = vec![0, 5];
            image.memory_mappings = vec![persistent(MEM, 1, 7), ephemeral(MEM + 0x1_0000, 2)];
            image.gas_slots = vec![SlotIdx(3)];
            image.yield_marker_slot = Some(SlotIdx(4));
        });
        let Cap::Image(image) = rig.get(image) else { unreachable!() };
        let good = image.to_bytes();
        let mut state = 1u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let (mut made, mut refused) = (0, 0);
        for n in 0..3000u32 {
            let mut bytes = good.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len() as u64) as usize;
                match random(4) {
                    // A length of 2^30 - 1, or of more than 2^32.
                    0 => drop(bytes.splice(at..at, [0xFE, 0xFF, 0xFF, 0xFF])),
                    1 => drop(bytes.splice(at..at, [0x13, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes[at] = random(256) as u8,
                }
            }
            // The length at the head lies, too.
            let claimed = if random(4) == 0 { u32::MAX - n } else { bytes.len() as u32 };
            let input = [&claimed.to_le_bytes()[..], &bytes].concat();
            let data = rig.data(&input);
            let maker = rig.program(&format!("{}ecalli 0\ntrap", ask(19, &[1, 2, u64::MAX])), &[(1, data)]);
            let mut halted = false;
            let cost = measure(|| {
                let result = rig.call(maker, 0, &[], 1_000_000_000_000);
                halted = match result {
                    CallResult::Halt { .. } => true,
                    CallResult::Faulted { reason: ExitReason::Trap, .. } => false,
                    other => panic!("{other:?}"),
                };
                result.gas_used()
            });
            *(if halted { &mut made } else { &mut refused }) += 1;
            assert!(cost.peak < MIB / 2, "{input:?}: {cost:?}");
        }
        assert!(made > 40 && refused > 1000, "{made} made, {refused} refused");
    });
}
