//! Property 6: a run that was paused equals one that was not.
//!
//! Scenarios over the example guests and over programs of this file. Of each, every point is found at which it
//! stops: every yield that reaches the embedder and every charge of gas, by topping up one unit at a time. Then it
//! is run through in four ways, pausing at *every* point: staying on the stack, taken off the machine and put
//! back, and moved as bytes to a fresh machine with the other backend, beginning on either. From every point,
//! moreover, the suspended value is resumed twice, once on each backend, straight to the end. Whatever
//! anybody can see must be the same: results, post hashes, slot 0, events, payloads of yields, gas over all
//! segments, what probes saw, and the kernel's tables.

mod support;

use std::{collections::BTreeMap, sync::Mutex};

use javm::{CallResult, Emit, KernelAssist, KernelImage, Vm, kernel_image_hash, marker, publish};
use javm_cap::{CacheDirectory, Cap, CapHash, CapStore, SlotIdx, StoreError, decode};
use javm_exec::{Backend, Config, Engine, ExitReason};
use javm_program::Program;
use support::{Assist, GAS, MEM, Rig, at, ephemeral, load_args, persistent};

/// What the embedder gives a storage quota that ran out.
const MORE_STORAGE: u64 = 1 << 20;

/// Results of the example guests with this bit are errors.
const ERROR: u64 = 1 << 63;

/// Where a scenario starts.
struct Start {
    instance: CapHash,
    endpoint: u8,
    args: Vec<u64>,
    slot0: Option<CapHash>,
}

impl Start {
    fn new(instance: CapHash, endpoint: u8, args: &[u64]) -> Self {
        Self { instance, endpoint, args: args.to_vec(), slot0: None }
    }

    fn with(self, slot0: CapHash) -> Self {
        Self { slot0: Some(slot0), ..self }
    }
}

type Build = fn(&mut Rig) -> Start;

/// What becomes of a pause before it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It stays on the stack.
    Stay,
    /// It is taken off the machine and put back.
    Suspend,
    /// It goes as bytes to a fresh machine with the other backend.
    Hop,
}

/// Why a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Gas(u64),
    Storage(u64),
    Yield(Option<CapHash>),
}

/// All that anybody can see of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    result: CallResult,
    gas: u64,
    emits: Vec<Emit>,
    yields: Vec<Option<CapHash>>,
    seen: Vec<(u64, [u64; 13])>,
    /// The kernel's tables, without what the embedder added for the pauses.
    kernel: Assist,
}

/// A run under way.
struct Run {
    rig: Rig,
    backend: usize,
    result: CallResult,
    gas: u64,
    yields: Vec<Option<CapHash>>,
    /// What meters got besides the budget.
    given: BTreeMap<u64, u64>,
}

/// The backends of this machine.
fn engines() -> Vec<Engine> {
    [Backend::Interpreter, Backend::Recompiler]
        .into_iter()
        .filter_map(|backend| Engine::new(Config::new().backend(backend)).ok())
        .collect()
}

fn rig(engines: &[Engine], backend: usize, assist: Assist, cache: CacheDirectory) -> Rig {
    Rig { vm: Vm::with_engine(assist, engines[backend % engines.len()].clone()), cache }
}

/// Collects encodings, children first.
#[derive(Default)]
struct Parcel(Mutex<Vec<(CapHash, Vec<u8>)>>);

impl CapStore for Parcel {
    fn get(&self, _: &CapHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap().push((*hash, bytes.to_vec()));
        Ok(())
    }
}

/// A fresh directory with what a value reaches and nothing else, by way of bytes.
fn carry(from: &mut CacheDirectory, value: CapHash) -> CacheDirectory {
    let parcel = Parcel::default();
    from.persist(value, &parcel).unwrap();
    let mut to = CacheDirectory::new();
    for (hash, bytes) in parcel.0.into_inner().unwrap() {
        assert_eq!(to.put_cap(&decode(&bytes).unwrap()), Ok(hash));
    }
    to
}

impl Run {
    fn start(engines: &[Engine], backend: usize, build: Build, gas: u64) -> Self {
        let mut rig = rig(engines, backend, Assist::default(), CacheDirectory::new());
        let Start { instance, endpoint, args, slot0 } = build(&mut rig);
        rig.seen();
        for marker in [KernelImage::OogMarker, KernelImage::StorageExhaustedMarker] {
            rig.catch_kernel(marker);
        }
        let result = rig.call_with(instance, endpoint, &args, slot0, gas);
        let gas = result.gas_used();
        Self { rig, backend, result, gas, yields: Vec::new(), given: BTreeMap::new() }
    }

    /// Why it stands; `None`: it has ended.
    fn stop(&self) -> Option<Stop> {
        let CallResult::Paused { .. } = &self.result else { return None };
        let payload = Rig::slot0(&self.result);
        if let Some(Cap::Instance(instance)) = payload.map(|payload| self.rig.get(payload)) {
            let mut id = [0; 8];
            instance.memory().pages().read(0, &mut id);
            if instance.image_hash == kernel_image_hash(KernelImage::Gas) {
                return Some(Stop::Gas(u64::from_le_bytes(id)));
            }
            if instance.image_hash == kernel_image_hash(KernelImage::Quota) {
                return Some(Stop::Storage(u64::from_le_bytes(id)));
            }
        }
        Some(Stop::Yield(payload))
    }

    /// Goes on from a stop, with so much more where that is what it lacks.
    fn resume(&mut self, stop: Stop, gas: u64) {
        let mut answer = None;
        match stop {
            Stop::Gas(meter) => {
                *self.given.entry(meter).or_default() += gas;
                if meter == 0 {
                    self.rig.vm.add_gas(gas);
                } else {
                    let assist = &mut self.rig.vm.kernel_assist;
                    let balance = assist.gas_meter(meter);
                    assist.set_gas_meter(meter, balance + gas);
                }
            }
            Stop::Storage(quota) => {
                let assist = &mut self.rig.vm.kernel_assist;
                let balance = assist.quota(quota);
                assist.set_quota(quota, balance + MORE_STORAGE);
            }
            Stop::Yield(payload) => {
                self.yields.push(payload);
                // Every other one is answered.
                let n = self.yields.len() as u8;
                answer = n.is_multiple_of(2).then(|| self.rig.data(&[1, n]));
            }
        }
        self.result = self.rig.resume(answer);
        self.gas += self.result.gas_used();
    }

    fn go(&mut self, engines: &[Engine], way: Way) {
        if way == Way::Stay {
            return;
        }
        let (value, left) = self.rig.vm.suspend(&mut self.rig.cache).unwrap();
        assert!(self.rig.vm.stack.is_empty());
        if way == Way::Hop {
            self.backend += 1;
            let cache = carry(&mut self.rig.cache, value);
            self.rig = rig(engines, self.backend, self.rig.vm.kernel_assist.clone(), cache);
        }
        self.rig.vm.restore(&mut self.rig.cache, value).unwrap();
        self.rig.vm.add_gas(left);
    }

    /// The same pause on another machine, from bytes alone; this run stands as it did.
    fn fork(&mut self, engines: &[Engine], backend: usize) -> Self {
        let (value, left) = self.rig.vm.suspend(&mut self.rig.cache).unwrap();
        let cache = carry(&mut self.rig.cache, value);
        let mut rig = rig(engines, backend, self.rig.vm.kernel_assist.clone(), cache);
        rig.vm.restore(&mut rig.cache, value).unwrap();
        rig.vm.add_gas(left);
        self.rig.vm.restore(&mut self.rig.cache, value).unwrap();
        self.rig.vm.add_gas(left);
        let Self { result, gas, yields, given, .. } = self;
        let (result, yields, given) = (result.clone(), yields.clone(), given.clone());
        Self { rig, backend, result, gas: *gas, yields, given }
    }

    /// To the end, with plenty of everything, where it stands at `stop`.
    fn finish(mut self, mut stop: Option<Stop>) -> End {
        let mut stops = 0;
        while let Some(at) = stop {
            self.resume(at, GAS);
            stop = self.stop();
            stops += 1;
            assert!(stops < 1000);
        }
        self.end()
    }

    fn end(mut self) -> End {
        let words = self.rig.words();
        let result = match self.result {
            CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. } => {
                // All of it is here, on whatever machine the run ended.
                self.rig
                    .cache
                    .persist(post_instance_hash, &Parcel::default())
                    .expect("the outcome is complete");
                CallResult::Halt { return_value, post_instance_hash, reflected_slot0, gas_used: 0 }
            }
            CallResult::Faulted { reason, reflected_slot0, .. } => {
                assert_ne!(reason, ExitReason::OutOfGas, "{words}");
                CallResult::Faulted { reason, reflected_slot0, gas_used: 0 }
            }
            other => panic!("{other:?}"),
        };
        let seen = self.rig.seen().iter().map(|seen| (seen.pc, seen.gpr)).collect();
        for (meter, given) in self.given.into_iter().filter(|(meter, _)| *meter > 0) {
            let balance = self.rig.vm.kernel_assist.gas_meter(meter);
            self.rig.vm.kernel_assist.set_gas_meter(meter, balance.wrapping_sub(given));
        }
        let emits = self.rig.vm.take_emits();
        let kernel = self.rig.vm.kernel_assist;
        End { result, gas: self.gas, emits, yields: self.yields, seen, kernel }
    }
}

/// What is lacking at each stop for gas, in order: one unit at a time, until it gets past.
fn prices(engines: &[Engine], backend: usize, build: Build) -> Vec<u64> {
    let mut run = Run::start(engines, backend, build, 0);
    let (mut prices, mut used) = (Vec::new(), None);
    while let Some(stop) = run.stop() {
        let is_gas = matches!(stop, Stop::Gas(_));
        if is_gas && used == Some((run.gas, stop)) {
            *prices.last_mut().unwrap() += 1;
        } else if is_gas {
            prices.push(1);
        }
        used = is_gas.then_some((run.gas, stop));
        run.resume(stop, 1);
    }
    prices
}

/// The whole property for one scenario, which must have at least so many points and halt with this value.
fn holds(build: Build, least: usize, value: u64) {
    let engines = engines();
    let straight = Run::start(&engines, 0, build, GAS);
    let stop = straight.stop();
    let straight = straight.finish(stop);
    assert!(
        matches!(straight.result, CallResult::Halt { return_value, .. } if return_value == value),
        "{:?}",
        straight.result
    );
    let prices = prices(&engines, 0, build);
    let points = prices.len() + straight.yields.len();
    assert!(points >= least, "{points} points");
    for way in [Way::Stay, Way::Suspend, Way::Hop] {
        for backend in 0..2 {
            let mut run = Run::start(&engines, backend, build, 0);
            let mut given = prices.iter().copied();
            let mut stops = 0;
            while let Some(stop) = run.stop() {
                let words = format!("{way:?}, begun on {backend}, at point {stops}: {stop:?}");
                if way == Way::Suspend {
                    // Resumed twice, at once and straight to the end, from one value.
                    let end = run.fork(&engines, backend + stops).finish(Some(stop));
                    same(&end, &straight, &words);
                }
                run.go(&engines, way);
                let price = if matches!(stop, Stop::Gas(_)) { given.next().expect(&words) } else { 0 };
                run.resume(stop, price);
                stops += 1;
            }
            assert_eq!(given.next(), None, "every point was met again");
            assert!(stops >= points);
            same(&run.end(), &straight, &format!("{way:?} at every point, begun on {backend}"));
        }
    }
}

fn same(a: &End, b: &End, words: &str) {
    assert_eq!(a.result, b.result, "{words}");
    assert_eq!(a.gas, b.gas, "{words}");
    assert_eq!(a.emits, b.emits, "{words}");
    assert_eq!(a.yields, b.yields, "{words}");
    assert_eq!(a.seen, b.seen, "{words}");
    assert_eq!(a.kernel, b.kernel, "{words}");
}

fn guest_image(rig: &mut Rig, name: &str) -> CapHash {
    let path = format!("{}/../../guests/blobs/{name}.polkavm", env!("CARGO_MANIFEST_DIR"));
    let program = Program::load(&std::fs::read(path).unwrap()).unwrap();
    publish(&mut rig.cache, &program).unwrap()
}

fn guest(rig: &mut Rig, name: &str, slots: &[(u32, CapHash)]) -> CapHash {
    let image = guest_image(rig, name);
    rig.instance(image, slots)
}

/// Calls an endpoint, which must halt.
fn give(
    rig: &mut Rig,
    who: CapHash,
    endpoint: u8,
    args: &[u64],
    slot0: Option<CapHash>,
) -> (CapHash, Option<CapHash>) {
    let result = rig.call_with(who, endpoint, args, slot0, GAS);
    (rig.halted(&result).1, Rig::slot0(&result))
}

mod bank {
    use super::*;

    /// Two accounts with 100 and 20.
    fn bank(rig: &mut Rig) -> CapHash {
        let ledger = guest(rig, "ledger", &[]);
        let mut bank = guest(rig, "bank", &[(1, ledger)]);
        for (account, amount) in [(0, 100), (1, 20)] {
            bank = give(rig, bank, 0, &[], None).0;
            bank = give(rig, bank, 1, &[account, amount], None).0;
        }
        bank
    }

    #[test]
    fn a_transfer() {
        holds(|rig| Start::new(bank(rig), 2, &[0, 1, 30]), 12, 70);
    }

    #[test]
    fn an_overdraft_that_the_ledger_faults_on() {
        holds(|rig| Start::new(bank(rig), 2, &[0, 1, 130]), 13, ERROR | 1);
    }
}

mod wallets {
    use super::*;

    const VISIT: u8 = 1;
    const BUY: u64 = 1;
    const BUY_AND_FAULT: u64 = 2;

    /// A vault with accounts 0 (100) and 1 (10), and the customer of account 0.
    fn shop(rig: &mut Rig) -> (CapHash, CapHash) {
        let (wallet, catcher) = (guest_image(rig, "wallet"), rig.catcher(&[]));
        let vault = guest(rig, "vault", &[(1, wallet), (5, catcher)]);
        let customer = guest(rig, "customer", &[]);
        let (vault, wallet) = give(rig, vault, 0, &[100], None);
        let (vault, _) = give(rig, vault, 0, &[10], None);
        let (customer, _) = give(rig, customer, 0, &[], wallet);
        (vault, customer)
    }

    fn visit(rig: &mut Rig, what: u64, amount: u64) -> Start {
        let (vault, customer) = shop(rig);
        Start::new(vault, VISIT, &[what, 1, amount]).with(customer)
    }

    #[test]
    fn a_purchase() {
        holds(|rig| visit(rig, BUY, 30), 108, 70);
    }

    #[test]
    fn a_purchase_that_is_refused() {
        holds(|rig| visit(rig, BUY, 300), 106, ERROR | 2);
    }

    #[test]
    fn a_purchase_of_a_visitor_that_faults() {
        holds(|rig| visit(rig, BUY_AND_FAULT, 30), 182, ERROR | 0x101);
    }

    #[test]
    fn a_revoked_wallet() {
        holds(
            |rig| {
                let (vault, customer) = shop(rig);
                let (vault, _) = give(rig, vault, 3, &[0], None);
                Start::new(vault, VISIT, &[BUY, 1, 3]).with(customer)
            },
            89,
            ERROR | 0x205,
        );
    }
}

mod paging {
    use super::*;

    fn pager(rig: &mut Rig) -> CapHash {
        let pager = rig.kernel(KernelImage::Pager);
        let catcher = rig.catcher(&[pager]);
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 251) as u8 + 1).collect();
        let (file, child) = (rig.data(&bytes), guest(rig, "reader", &[]));
        guest(rig, "pager", &[(1, child), (2, file), (5, catcher)])
    }

    #[test]
    fn across_two_pages() {
        holds(|rig| Start::new(pager(rig), 0, &[0, 4090, 4102]), 579, 666);
    }

    #[test]
    fn written_and_read_again() {
        holds(|rig| Start::new(pager(rig), 0, &[1, 5, 200]), 543, 9416);
    }

    #[test]
    fn behind_the_file() {
        holds(|rig| Start::new(pager(rig), 0, &[0, 12_280, 20_000]), 566, ERROR);
    }
}

mod others {
    use super::*;

    #[test]
    fn an_upgrade() {
        holds(
            |rig| {
                let (tally, v2) = (guest(rig, "tally_v1", &[]), guest_image(rig, "tally_v2"));
                let (tally, _) = give(rig, tally, 1, &[41], None);
                Start::new(tally, 2, &[]).with(v2)
            },
            6,
            41,
        );
    }

    fn factory(rig: &mut Rig) -> CapHash {
        let (v1, v2) = (guest_image(rig, "tally_v1"), guest_image(rig, "tally_v2"));
        guest(rig, "factory", &[(1, v1), (2, v2)])
    }

    #[test]
    fn a_factory_makes() {
        holds(|rig| Start::new(factory(rig), 0, &[]), 5, 1);
    }

    #[test]
    fn a_factory_recognises() {
        holds(
            |rig| {
                let factory = factory(rig);
                let (factory, child) = give(rig, factory, 0, &[], None);
                let v2 = guest_image(rig, "tally_v2");
                let (child, _) = give(rig, child.unwrap(), 2, &[], Some(v2));
                Start::new(factory, 1, &[]).with(child)
            },
            46,
            2,
        );
    }

    #[test]
    fn a_job_with_checkpoints() {
        holds(
            |rig| {
                let checkpoint = marker(&mut rig.cache, b"checkpoint").unwrap();
                rig.vm.kernel_assist.inner.catch_at_root(checkpoint);
                Start::new(guest(rig, "job", &[(1, checkpoint)]), 0, &[1, 9])
            },
            1011,
            11_149_297_274_568_592_345,
        );
    }

    fn prepaid(rig: &mut Rig, quota: u64) -> CapHash {
        let handles = [(6, KernelImage::Gas, 1), (7, KernelImage::Gas, 2), (8, KernelImage::Quota, 3)];
        let slots = handles.map(|(slot, image, id)| (slot, rig.handle(image, id)));
        rig.vm.kernel_assist.set_quota(3, quota);
        guest(rig, "prepaid", &slots)
    }

    #[test]
    fn work_that_its_own_meter_pays() {
        holds(|rig| Start::new(prepaid(rig, 0), 0, &[30, 1]), 34, 2_106_084_853_834_918_868);
    }

    #[test]
    fn storage_that_runs_out() {
        holds(|rig| Start::new(prepaid(rig, 5000), 1, &[3, 7]), 6, 0);
    }
}

/// Programs of this file: what the guests do not do.
mod programs {
    use super::*;

    const NONE: u64 = u64::MAX;

    fn ask(number: u32, args: &[u64]) -> String {
        format!("{}ecalli {number}\necalli 100\n", load_args(args))
    }

    /// Two deep below a handler: kinds of memory, an event, two yields of the marker in slot 1, and `end`.
    fn worker(rig: &mut Rig, marker: CapHash, end: &str) -> CapHash {
        let far = MEM + 0x2_0000;
        let text = format!(
            "store_imm_u8 {MEM:#x}, 1\nstore_imm_u8 {far:#x}, 2\n{}{}load_u8 s0, {far:#x}\nload_u8 s1, {MEM:#x}\n\
             add_64 s0, s0, s1\nstore_u8 s0, {far:#x}\nstore_imm_u8 0x1001, 7\n{}{}load_u8 s1, {far:#x}\n\
             load_u8 t0, 0x1001\nadd_64 a0, s0, s1\nadd_64 a0, a0, t0\n{end}",
            ask(33, &[8, NONE]),
            ask(16, &[1]),
            ask(2, &[0, at(9, &[1])]),
            ask(16, &[1]),
        );
        let image = rig.image(&text, |image| {
            image.memory_mappings = vec![persistent(MEM, 2, 7), ephemeral(MEM + 0x2_0000, 1)];
        });
        let (event, old, cnode) = (rig.data(b"event"), rig.data(&[9; 5000]), rig.cnode(1, &[]));
        let table = rig.cnode(8, &[(1, marker), (7, old), (8, event), (9, cnode)]);
        let worker = rig.put(Cap::instance_with_overlays(
            javm_cap::lineage::genesis(image),
            image,
            table,
            &[(0x1000, b"anonymous")],
            0x1800,
            [0; 13],
            0,
            0,
        ));
        let between = rig.image(
            &format!(
                "store_imm_u8 {MEM:#x}, 8\n{}store_imm_u8 {:#x}, 9\necalli 0\ntrap",
                ask(26, &[2, 0]),
                MEM + 1
            ),
            |image| image.memory_mappings = vec![persistent(MEM, 1, 7)],
        );
        rig.instance(between, &[(2, worker)])
    }

    /// Calls slot 2, resumes it, drops it: endpoints 0, 1, 2; halts whatever comes.
    fn keeper(rig: &mut Rig, end: &str) -> CapHash {
        let marker = rig.marker("m");
        let (catcher, worker) = (rig.catcher(&[marker]), worker(rig, marker, end));
        let text = format!(
            "{}ecalli 0\ntrap\nresume: {}ecalli 0\ntrap\ndrop: {}ecalli 0\ntrap\n\
             .export call @0\n.export resume @resume\n.export drop @drop",
            ask(26, &[2, 0]),
            ask(27, &[2]),
            ask(28, &[2]),
        );
        let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
        rig.instance(image, &[(1, catcher), (2, worker)])
    }

    /// Has the keeper pause, copies it, and takes both to the end; shows both as an event.
    fn keep_twice(rig: &mut Rig, end: &str) -> Start {
        let keeper = keeper(rig, end);
        let text = [
            ask(26, &[2, 0]),
            ask(1, &[2, 3]),
            ask(1, &[8, 0]),
            ask(26, &[2, 1]),
            ask(26, &[2, 1]),
            "move_reg s0, a0\n".to_owned(),
            ask(1, &[8, 0]),
            ask(26, &[3, 1]),
            ask(1, &[3, 4]),
            ask(26, &[3, 1]),
            "move_reg s1, a0\n".to_owned(),
            ask(26, &[4, 2]),
            ask(33, &[2, 3]),
            "add_64 a0, s0, s1\necalli 0\ntrap".to_owned(),
        ]
        .concat();
        let answer = rig.data(b"answer");
        let root = rig.program(&text, &[(2, keeper), (8, answer)]);
        Start::new(root, 0, &[])
    }

    #[test]
    fn paused_values_are_copied_and_resumed() {
        holds(|rig| keep_twice(rig, "ecalli 0\ntrap"), 60, 26);
    }

    #[test]
    fn paused_values_fault() {
        holds(|rig| keep_twice(rig, "trap"), 60, 2);
    }

    /// A handler, which is the outermost, handles: it calls a helper, yields to the embedder, emits; and at last drops
    /// (`end` = 28) or resumes (27) what it has caught.
    fn handles(rig: &mut Rig, end: u32) -> Start {
        let (inner, outer) = (rig.marker("m"), rig.marker("embedder"));
        rig.vm.kernel_assist.inner.catch_at_root(outer);
        let (catcher, worker) = (rig.catcher(&[inner]), worker(rig, inner, "ecalli 0\ntrap"));
        let helper = rig.image(
            &format!(
                "load_u8 a0, {MEM:#x}\nadd_imm_64 a0, a0, 1\nstore_u8 a0, {MEM:#x}\n{}ecalli 0\ntrap",
                ask(16, &[3])
            ),
            |image| image.memory_mappings = vec![persistent(MEM, 1, 7)],
        );
        let helper = rig.instance(helper, &[(3, outer)]);
        let handle = |last: &str| {
            [
                &*ask(4, &[0, 20]),
                &*ask(26, &[5, 0]),
                &*ask(33, &[5, NONE]),
                &*ask(16, &[6]),
                &*ask(1, &[8, 0]),
                last,
            ]
            .concat()
        };
        let text = format!(
            "{}{}{}move_reg s0, a0\n{}move_reg s1, a0\n{}add_64 a0, s0, s1\necalli 0\ntrap",
            ask(26, &[2, 0]),
            handle(&ask(27, &[2])),
            handle(&ask(end, &[2])),
            ask(6, &[2]),
            ask(33, &[2, 2]),
        );
        let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
        let root = rig.instance(image, &[(1, catcher), (2, worker), (5, helper), (6, outer), (8, outer)]);
        let pad = rig.data(b"pad");
        Start::new(root, 0, &[]).with(pad)
    }

    #[test]
    fn a_handler_that_is_the_outermost_resumes() {
        holds(|rig| handles(rig, 27), 58, 14);
    }

    #[test]
    fn a_handler_that_is_the_outermost_drops() {
        holds(|rig| handles(rig, 28), 54, 3);
    }

    /// A callee does everything that the kernel keeps in tables, and faults; its caller looks at them.
    #[test]
    fn effects_on_the_tables_of_the_kernel() {
        holds(
            |rig| {
                let slots = [
                    (1, rig.data(b"content")),
                    (2, rig.kernel(KernelImage::SetGasMeter)),
                    (3, rig.kernel(KernelImage::SetStorageQuota)),
                    (4, rig.handle(KernelImage::Quota, 5)),
                    (5, rig.kernel(KernelImage::HostSave)),
                    (6, rig.kernel(KernelImage::HostOpen)),
                ];
                let effects = [
                    ask(26, &[3, 0, 5, 10_000]),
                    ask(25, &[1, 4, 5]),
                    ask(26, &[2, 0, 9, 77]),
                    ask(23, &[MEM, 300, 4, 9]),
                    format!("store_imm_u8 {:#x}, 8\n", MEM + 4096),
                ]
                .concat();
                let image = rig.image(&format!("{effects}load_imm a0, 7\ntrap"), |image| {
                    image.memory_mappings = vec![persistent(MEM, 2, 7)];
                    image.quota_slots = vec![SlotIdx(4)];
                });
                let old = rig.data(&[3; 8000]);
                let mut own = slots.to_vec();
                own.push((7, old));
                let callee = rig.instance(image, &own);
                let text = [
                    ask(26, &[9, 0]),
                    ask(24, &[0, 10, 6]),
                    ask(26, &[2, 0, 9, 1]),
                    "move_reg s0, a0\n".to_owned(),
                    ask(26, &[3, 0, 5, 2]),
                    "add_64 a0, a0, s0\necalli 0\ntrap".to_owned(),
                ]
                .concat();
                own.push((9, callee));
                let root = rig.program(&text, &own);
                Start::new(root, 0, &[])
            },
            19,
            9770,
        );
    }
}
