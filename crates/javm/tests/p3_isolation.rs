//! Property 3: an instance reaches exactly the closure of its own slots.
//!
//! Each case runs over a store that has the closure of what it is given and nothing else, and over one that
//! has many values more: it comes to the same, and what is asked of either store lies in the closure. The
//! same for each program of the case alone, as the outermost one, over the closure of its own first instance.

mod capgen;

use std::{collections::BTreeSet, sync::Arc};

use capgen::{GAS, engine, for_cases, run};
use javm_cap::{CacheDirectory, Cap, CapHash, CapHashOrRef};
use javm_exec::{Backend, Engine};
use javm_testkit::capgen::{
    Case, Options, generate,
    host::{self, GoOn, Outcome, Placed},
    record::Stats,
    store::MemoryStore,
};

/// A store with these values and what they reach.
fn store_of(cache: &CacheDirectory, roots: &[CapHash]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    for root in roots {
        cache.persist(*root, &*store).unwrap();
    }
    store
}

/// Runs a case over nothing but a store; what came of it, what was asked of the store, what was counted.
fn over(
    case: &Case,
    placed: &Placed,
    store: &Arc<MemoryStore>,
    engine: &Engine,
) -> (Outcome, BTreeSet<CapHash>, Stats) {
    let mut cache = CacheDirectory::with_store(Arc::clone(store) as _);
    store.take_asked();
    let mut vm = host::machine(case, placed, engine.clone());
    let outcome = host::run(case, placed, &mut vm, &mut cache, &|_| GAS, &mut GoOn)
        .unwrap_or_else(|error| panic!("{error}\n{}", case.listing()));
    (outcome, store.take_asked(), vm.kernel_assist.stats)
}

/// Fails if something was asked for that does not lie in the closure.
fn inside(case: &Case, asked: &BTreeSet<CapHash>, closure: &BTreeSet<CapHash>) {
    let outside: Vec<_> = asked.difference(closure).collect();
    assert!(outside.is_empty(), "read from outside: {outside:x?}\n{}", case.listing());
}

#[test]
fn nothing_outside_the_closure_is_read() {
    let Some(engine) = engine(Backend::Interpreter) else { unreachable!("it runs everywhere") };
    let stranger = generate(1_000_000, Options::default());
    let mut asked_of_all = 0;
    for_cases(140, Options::default(), |case| {
        let plain = run(case, engine.clone(), &mut GoOn);
        let mut cache = CacheDirectory::new();
        let placed = host::place(case, &mut cache);
        let given = placed.given();
        let closure = host::closure(&cache, &given).unwrap();
        let alone = store_of(&cache, &given);

        // Another case's values, and some that no guest could name.
        let other = host::place(&stranger, &mut cache);
        let more: Vec<CapHash> = (0..200u64)
            .map(|n| cache.put_cap(&Cap::data_inline(&(n * 0x9E37_79B9 + case.seed).to_le_bytes())).unwrap())
            .collect();
        let crowd = store_of(&cache, &[&given[..], &other.given(), &more].concat());

        let (a, asked, stats) = over(case, &placed, &alone, &engine);
        inside(case, &asked, &closure);
        assert_eq!(a, plain.outcome, "over a store\n{}", case.listing());
        let (b, asked, _) = over(case, &placed, &crowd, &engine);
        inside(case, &asked, &closure);
        assert_eq!(b, plain.outcome, "over a store with more in it\n{}", case.listing());
        asked_of_all += asked.len();
        stats
    });
    assert!(asked_of_all > 10_000, "the stores were used: {asked_of_all}");
}

#[test]
fn no_callee_needs_what_its_caller_holds() {
    let Some(engine) = engine(Backend::Interpreter) else { unreachable!("it runs everywhere") };
    let mut calls = 0;
    for seed in 0..25 {
        let case = generate(seed, Options::default());
        let mut cache = CacheDirectory::new();
        let mut builder = host::Builder::default();
        let root = builder.instance(&mut cache, &case.root);
        for program in case.programs.iter().filter(|p| p.id != case.root.id) {
            // Whoever is above it is not there now: what it then sees is not what the generator foresaw.
            let alone = Case { root: Arc::clone(program), ..case.clone() };
            let placed = host::place(&alone, &mut cache);
            let given = placed.given();
            let closure = host::closure(&cache, &given).unwrap();
            let (a, asked, _) = over(&alone, &placed, &store_of(&cache, &given), &engine);
            inside(&alone, &asked, &closure);
            let (b, asked, _) =
                over(&alone, &placed, &store_of(&cache, &[&given[..], &[root]].concat()), &engine);
            inside(&alone, &asked, &closure);
            assert_eq!(a, b, "{}", alone.listing());
            calls += a.results.len();
        }
    }
    assert!(calls > 500, "{calls}");
}

/// The test above would notice: a guest that opens a file reads the file, which is no part of its closure.
#[test]
fn a_read_from_outside_would_be_noticed() {
    let mut cache = CacheDirectory::new();
    let case = generate(0, Options::default());
    let placed = host::place(&case, &mut cache);
    let store = store_of(&cache, &placed.given());
    let closure = host::closure(&cache, &[placed.root]).unwrap();
    let directory = CacheDirectory::with_store(Arc::clone(&store) as _);
    store.take_asked();
    assert!(directory.get(CapHashOrRef::Hash(placed.files[0])).is_some());
    assert!(!store.take_asked().is_subset(&closure));
}
