//! The example guests, end to end: their blobs as instances, on every backend that this machine has.
//!
//! Each scenario runs once per backend and returns what it saw, hashes and gas included; that must be the same
//! everywhere.

use std::sync::Arc;

use javm::{
    CallResult, ExitReason, FaultDetail, InProcessKernelAssist, KernelAssist, KernelImage, Vm,
    first_instance,
    kernel_assist::{kernel_catcher, kernel_handle, kernel_instance},
    marker, publish,
};
use javm_cap::{CacheDirectory, Cap, CapHash, CapHashOrRef, DataCap, SlotIdx, lineage};
use javm_exec::{Backend, Config, Engine};
use javm_program::Program;

const GAS: u64 = 100_000_000;

/// What a guest returns when the call below it faulted with a code: see each program.
const BANK_ERROR: u64 = 1 << 63;
const OVERDRAFT: u64 = 1 << 63 | 2;
const NO_ACCOUNT: u64 = 1 << 63 | 1;
const VISITOR_FAULTED: u64 = 1 << 63 | 0x100;
const NO_WALLET: u64 = 1 << 63 | 0x200;
const UNHANDLED_MARKER: u64 = 5;
const TRAP: u64 = 1;

struct World {
    vm: Vm<InProcessKernelAssist>,
    cache: CacheDirectory,
    /// What was seen so far: results, hashes, gas.
    seen: Vec<(u64, CapHash, u64)>,
}

/// A call that ended well.
struct Halted {
    value: u64,
    /// The instance as it is now.
    now: CapHash,
    slot0: Option<CapHash>,
}

fn settled(name: Option<CapHashOrRef>) -> Option<CapHash> {
    name.map(|name| *name.as_hash().expect("the outcome of a call is settled"))
}

impl World {
    fn new(backend: Backend) -> Option<Self> {
        let engine = Engine::new(Config::new().backend(backend)).ok()?;
        let vm = Vm::with_engine(InProcessKernelAssist::new(), engine);
        Some(Self { vm, cache: CacheDirectory::new(), seen: Vec::new() })
    }

    fn image(&mut self, name: &str) -> CapHash {
        let path = format!("{}/../../guests/blobs/{name}.polkavm", env!("CARGO_MANIFEST_DIR"));
        let program = Program::load(&std::fs::read(path).unwrap()).unwrap();
        let image = publish(&mut self.cache, &program).unwrap();
        self.vm.image_cache.attach(image, Arc::new(program));
        image
    }

    fn instance(&mut self, name: &str, slots: &[(u32, CapHash)]) -> CapHash {
        let image = self.image(name);
        let slots: Vec<_> = slots.iter().map(|(slot, cap)| (SlotIdx(*slot), *cap)).collect();
        first_instance(&mut self.cache, image, &slots).unwrap()
    }

    fn data(&mut self, bytes: &[u8]) -> CapHash {
        self.cache.put_cap(&Cap::data_inline(bytes)).unwrap()
    }

    fn bytes(&self, data: CapHash) -> Vec<u8> {
        match &*self.cache.get(data.into()).unwrap() {
            Cap::Data(data) => DataCap::to_vec(data),
            other => panic!("{:?}", other.kind()),
        }
    }

    fn lineage(&self, instance: CapHash) -> CapHash {
        match &*self.cache.get(instance.into()).unwrap() {
            Cap::Instance(instance) => instance.image_hash_chain,
            other => panic!("{:?}", other.kind()),
        }
    }

    fn call_with(
        &mut self,
        instance: CapHash,
        endpoint: u8,
        args: &[u64],
        slot0: Option<CapHash>,
        gas: u64,
    ) -> CallResult {
        let mut four = [0; 4];
        four[..args.len()].copy_from_slice(args);
        let slot0 = slot0.map(CapHashOrRef::Hash);
        let result = self.vm.invoke_with(&mut self.cache, instance, endpoint, four, slot0, gas).unwrap();
        self.see(&result);
        result
    }

    fn see(&mut self, result: &CallResult) {
        let (value, hash) = match result {
            CallResult::Halt { return_value, post_instance_hash, .. } => (*return_value, *post_instance_hash),
            CallResult::Faulted { reflected_slot0: slot0, .. }
            | CallResult::Paused { marker_payload: slot0, .. } => (0, settled(*slot0).unwrap_or_default()),
        };
        self.seen.push((value, hash, result.gas_used()));
    }

    fn halted(&self, result: CallResult) -> Halted {
        match result {
            CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. } => {
                Halted { value: return_value, now: post_instance_hash, slot0: settled(reflected_slot0) }
            }
            other => panic!("{other:?}: {}", self.vm.last_fault().unwrap()),
        }
    }

    fn give(&mut self, instance: CapHash, endpoint: u8, args: &[u64], slot0: Option<CapHash>) -> Halted {
        let result = self.call_with(instance, endpoint, args, slot0, GAS);
        self.halted(result)
    }

    fn call(&mut self, instance: CapHash, endpoint: u8, args: &[u64]) -> Halted {
        self.give(instance, endpoint, args, None)
    }

    /// What an endpoint returns that changes nothing.
    fn ask(&mut self, instance: CapHash, endpoint: u8, args: &[u64]) -> u64 {
        let halted = self.call(instance, endpoint, args);
        assert_eq!(halted.now, instance, "asking changes nothing");
        halted.value
    }
}

/// Runs a scenario on every backend; all must see the same.
fn everywhere(scenario: impl Fn(&mut World)) {
    let mut first: Option<Vec<_>> = None;
    for backend in [Backend::Interpreter, Backend::Recompiler] {
        let Some(mut world) = World::new(backend) else {
            assert_eq!(backend, Backend::Recompiler, "the interpreter runs everywhere");
            continue;
        };
        scenario(&mut world);
        let seen = std::mem::take(&mut world.seen);
        match &first {
            None => first = Some(seen),
            Some(first) => assert_eq!(first, &seen, "{backend} differs"),
        }
        assert!(world.vm.stack.is_empty());
        assert_eq!(world.cache.working_len(), 0, "no working value outlives a call");
    }
}

mod bank {
    use super::*;

    const OPEN: u8 = 0;
    const DEPOSIT: u8 = 1;
    const TRANSFER: u8 = 2;
    const BALANCE: u8 = 3;
    const TOTAL: u8 = 4;

    /// Three accounts with 100, 20 and 3.
    fn bank(w: &mut World) -> CapHash {
        let ledger = w.instance("ledger", &[]);
        let mut bank = w.instance("bank", &[(1, ledger)]);
        for (account, amount) in [(0, 100), (1, 20), (2, 3)] {
            bank = w.call(bank, OPEN, &[]).now;
            bank = w.call(bank, DEPOSIT, &[account, amount]).now;
        }
        bank
    }

    fn balances(w: &mut World, bank: CapHash) -> Vec<u64> {
        let asked = [(BALANCE, 0), (BALANCE, 1), (BALANCE, 2), (TOTAL, 0)];
        asked.map(|(endpoint, account)| w.ask(bank, endpoint, &[account])).to_vec()
    }

    #[test]
    fn transfers_move_money() {
        everywhere(|w| {
            let bank = bank(w);
            let after = w.call(bank, TRANSFER, &[0, 1, 30]);
            assert_eq!(after.value, 70);
            assert_eq!(balances(w, after.now), [70, 50, 3, 123]);
            assert_eq!(w.ask(after.now, BALANCE, &[3]), BANK_ERROR | 0x100, "account 3 is not open");
        });
    }

    #[test]
    fn a_refused_overdraft_leaves_every_balance_and_every_hash() {
        everywhere(|w| {
            let bank = bank(w);
            let (before, values) = (balances(w, bank), w.cache.len());
            for args in [[0, 1, 101], [2, 0, 4], [1, 1, u64::MAX]] {
                let refused = w.call(bank, TRANSFER, &args);
                assert_eq!(refused.value, BANK_ERROR | TRAP);
                assert_eq!(
                    refused.now, bank,
                    "the bank, and with it the ledger in its slot, is the same value"
                );
                let words = w.vm.last_fault().unwrap().to_string();
                assert!(words.contains("ledger") && words.contains("depth 1"), "{words}");
            }
            assert_eq!(balances(w, bank), before);
            assert_eq!(w.cache.len(), values, "nothing is left behind");
        });
    }

    #[test]
    fn a_snapshot_is_a_name_and_reverting_is_using_it() {
        everywhere(|w| {
            let snapshot = bank(w);
            let mut bank = snapshot;
            for _ in 0..5 {
                bank = w.call(bank, TRANSFER, &[0, 1, 10]).now;
            }
            assert_eq!(balances(w, bank), [50, 70, 3, 123]);
            assert_eq!(balances(w, snapshot), [100, 20, 3, 123]);
            // The same steps from the same value lead to the same value.
            let mut again = snapshot;
            for _ in 0..5 {
                again = w.call(again, TRANSFER, &[0, 1, 10]).now;
            }
            assert_eq!(again, bank);
            // And money that went back is the value from before.
            assert_eq!(w.call(bank, TRANSFER, &[1, 0, 50]).now, snapshot);
        });
    }
}

mod wallets {
    use super::*;

    // Of the vault.
    const OPEN: u8 = 0;
    const VISIT: u8 = 1;
    const BALANCE: u8 = 2;
    const REVOKE: u8 = 3;
    // Of the customer.
    const TAKE: u8 = 0;
    const BUY: u8 = 1;
    const BUY_AND_FAULT: u8 = 2;
    const PRETEND: u8 = 3;
    const BOUGHT: u8 = 4;

    /// A vault with accounts 0 (100) and 1 (10), and a customer for each.
    fn shop(w: &mut World) -> (CapHash, [CapHash; 2]) {
        let wallet = w.image("wallet");
        let catcher = kernel_catcher(&mut w.cache, &[]).unwrap();
        let mut vault = w.instance("vault", &[(1, wallet), (5, catcher)]);
        let customer = w.instance("customer", &[]);
        let customers = [100, 10].map(|money| {
            let opened = w.call(vault, OPEN, &[money]);
            vault = opened.now;
            w.give(customer, TAKE, &[], opened.slot0).now
        });
        (vault, customers)
    }

    /// A visit of an instance: what it returned, the vault and the visitor as they are now.
    fn visit(
        w: &mut World,
        vault: CapHash,
        who: CapHash,
        what: u8,
        args: [u64; 2],
    ) -> (u64, CapHash, CapHash) {
        let visit = w.give(vault, VISIT, &[what.into(), args[0], args[1]], Some(who));
        (visit.value, visit.now, visit.slot0.expect("the visitor comes back"))
    }

    fn balances(w: &mut World, vault: CapHash) -> [u64; 2] {
        [0, 1].map(|account| w.ask(vault, BALANCE, &[account]))
    }

    #[test]
    fn a_wallet_pays_from_its_account() {
        everywhere(|w| {
            let (vault, [alice, bob]) = shop(w);
            let (left, vault, alice) = visit(w, vault, alice, BUY, [1, 30]);
            assert_eq!((left, balances(w, vault)), (70, [70, 40]));
            assert_eq!(w.ask(alice, BOUGHT, &[]), 1);
            let (left, vault, _) = visit(w, vault, bob, BUY, [0, 40]);
            assert_eq!((left, balances(w, vault)), (0, [110, 0]));
            // What the vault refuses, the wallet returns.
            let (answer, same, _) = visit(w, vault, alice, BUY, [1, 111]);
            assert_eq!((answer, same), (OVERDRAFT, vault));
            let (answer, same, _) = visit(w, vault, alice, BUY, [2, 1]);
            assert_eq!((answer, same), (NO_ACCOUNT, vault));
        });
    }

    #[test]
    fn copies_of_a_wallet_are_one_right() {
        everywhere(|w| {
            let (vault, [alice, _]) = shop(w);
            // The old value of alice is a copy of her, wallet included.
            let (left, vault, _) = visit(w, vault, alice, BUY, [1, 60]);
            assert_eq!(left, 40);
            let (answer, vault, _) = visit(w, vault, alice, BUY, [1, 60]);
            assert_eq!((answer, balances(w, vault)), (OVERDRAFT, [40, 70]));
        });
    }

    #[test]
    fn payments_of_a_visitor_that_faults_are_undone() {
        everywhere(|w| {
            let (vault, [alice, _]) = shop(w);
            let (answer, after, same) = visit(w, vault, alice, BUY_AND_FAULT, [1, 30]);
            assert_eq!((answer, same), (VISITOR_FAULTED | TRAP, alice));
            assert_eq!(balances(w, after), [100, 10]);
        });
    }

    #[test]
    fn only_a_wallet_of_this_vault_has_a_voice() {
        everywhere(|w| {
            let (vault, [alice, _]) = shop(w);
            // Away from the vault nobody listens.
            assert_eq!(w.call(alice, BUY, &[1, 30]).value, NO_WALLET | UNHANDLED_MARKER);
            // To yield the wallet itself is nothing to the vault.
            let (answer, _, _) = visit(w, vault, alice, PRETEND, [0, 0]);
            assert_eq!(answer, VISITOR_FAULTED | UNHANDLED_MARKER);
            // A wallet of somebody's own making has somebody's own marker.
            let forged = marker(&mut w.cache, b"account 0").unwrap();
            let forged = w.instance("wallet", &[(1, forged)]);
            let mallory = w.instance("customer", &[(1, forged)]);
            let (answer, after, _) = visit(w, vault, mallory, BUY, [1, 30]);
            assert_eq!((answer, balances(w, after)), (NO_WALLET | UNHANDLED_MARKER, [100, 10]));
        });
    }

    #[test]
    fn revoking_removes_the_marker_for_all_copies() {
        everywhere(|w| {
            let (vault, [alice, bob]) = shop(w);
            let vault = w.call(vault, REVOKE, &[0]).now;
            let (answer, vault, _) = visit(w, vault, alice, BUY, [1, 30]);
            assert_eq!(answer, NO_WALLET | UNHANDLED_MARKER);
            // The other wallet's marker has moved up in the catcher; it still means account 1.
            let (left, vault, _) = visit(w, vault, bob, BUY, [0, 4]);
            assert_eq!((left, balances(w, vault)), (6, [104, 6]));
            let twice = w.call_with(vault, REVOKE, &[0], None, GAS);
            assert!(matches!(twice, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{twice:?}");
        });
    }
}

mod paging {
    use super::*;

    const RUN: u8 = 0;
    const SERVED: u8 = 1;
    const SUM: u64 = 0;
    const SCRIBBLE: u64 = 1;
    const WINDOW: u32 = 1 << 31;

    fn file() -> Vec<u8> {
        (0..10_000u32).map(|i| (i * 7 % 251) as u8 + 1).collect()
    }

    fn pager(w: &mut World) -> CapHash {
        let pager = kernel_instance(&mut w.cache, KernelImage::Pager).unwrap();
        let catcher = kernel_catcher(&mut w.cache, &[pager]).unwrap();
        let (file, child) = (w.data(&file()), w.instance("reader", &[]));
        w.instance("pager", &[(1, child), (2, file), (5, catcher)])
    }

    #[test]
    fn pages_come_as_they_are_touched() {
        everywhere(|w| {
            let pager = pager(w);
            let sum =
                |range: std::ops::Range<usize>| file()[range].iter().map(|b| u64::from(*b)).sum::<u64>();
            let all = w.call(pager, RUN, &[SUM, 0, 10_000]);
            assert_eq!((all.value, w.ask(all.now, SERVED, &[])), (sum(0..10_000), 3));
            let one = w.call(all.now, RUN, &[SUM, 5000, 5001]);
            assert_eq!((one.value, w.ask(one.now, SERVED, &[])), (sum(5000..5001), 4));
        });
    }

    #[test]
    fn a_page_is_the_childs_until_its_call_ends() {
        everywhere(|w| {
            let pager = pager(w);
            let expected = u64::from(file()[5]) << 8 | 200;
            let first = w.call(pager, RUN, &[SCRIBBLE, 5, 200]);
            let second = w.call(first.now, RUN, &[SCRIBBLE, 5, 200]);
            assert_eq!((first.value, second.value), (expected, expected));
            assert_eq!(w.ask(second.now, SERVED, &[]), 2);
        });
    }

    #[test]
    fn behind_the_file_the_child_is_dropped() {
        everywhere(|w| {
            let pager = pager(w);
            let gone = w.call(pager, RUN, &[SUM, 0, 20_000]);
            assert_eq!(gone.value, BANK_ERROR);
            // The child is what it was: it can be called again.
            assert_eq!(w.call(gone.now, RUN, &[SUM, 9_000, 9_000]).value, 0);
            let reader = w.instance("reader", &[]);
            let alone = w.call_with(reader, 0, &[0, 1], None, GAS);
            assert!(matches!(alone, CallResult::Faulted { reason: ExitReason::PageFault(WINDOW), .. }));
        });
    }
}

mod upgrades {
    use super::*;

    const COUNT: u8 = 0;
    const ADD: u8 = 1;
    const UPGRADE: u8 = 2;
    const LARGEST: u8 = 2;

    #[test]
    fn the_next_version_takes_over_the_memory() {
        everywhere(|w| {
            let (v1, v2) = (w.image("tally_v1"), w.image("tally_v2"));
            let tally = w.instance("tally_v1", &[]);
            let tally = w.call(tally, ADD, &[41]).now;
            let upgraded = w.give(tally, UPGRADE, &[], Some(v2));
            assert_eq!(upgraded.value, 41, "what `migrate` found");
            assert_eq!(w.lineage(upgraded.now), lineage::step(&lineage::genesis(v1), &v2));
            let tally = w.call(upgraded.now, ADD, &[9]).now;
            assert_eq!((w.ask(tally, COUNT, &[]), w.ask(tally, LARGEST, &[])), (50, 9));
        });
    }

    #[test]
    fn a_migration_that_faults_is_no_upgrade() {
        everywhere(|w| {
            // An image without the endpoint that is to be entered: the operation is refused.
            let (counter, tally) = (w.image("counter"), w.instance("tally_v1", &[]));
            let tally = w.call(tally, ADD, &[7]).now;
            let refused = w.call_with(tally, UPGRADE, &[], Some(counter), GAS);
            assert!(matches!(refused, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{refused:?}");
            let words = w.vm.last_fault().unwrap().to_string();
            assert!(words.starts_with("SET_IMAGE refused"), "{words}");
            assert_eq!(w.ask(tally, COUNT, &[]), 7);
        });
    }
}

mod factories {
    use super::*;

    const MAKE: u8 = 0;
    const RECOGNISE: u8 = 1;
    const UPGRADE: u8 = 2;

    #[test]
    fn a_factory_recognises_what_it_made() {
        everywhere(|w| {
            let (v1, v2) = (w.image("tally_v1"), w.image("tally_v2"));
            let factory = w.instance("factory", &[(1, v1), (2, v2)]);
            let stranger = w.instance("tally_v1", &[]);
            assert_eq!(w.give(factory, RECOGNISE, &[], Some(stranger)).value, 0, "nothing was made yet");
            let made = w.call(factory, MAKE, &[]);
            let (factory, child) = (made.now, made.slot0.unwrap());
            assert_eq!(w.lineage(child), lineage::step(&w.lineage(factory), &v1));

            let recognise = |w: &mut World, who| w.give(factory, RECOGNISE, &[], Some(who)).value;
            assert_eq!(recognise(w, child), 1);
            let used = w.call(child, 1, &[5]).now;
            assert_eq!(recognise(w, used), 1, "whatever became of it");
            let upgraded = w.give(used, UPGRADE, &[], Some(v2)).now;
            assert_eq!(recognise(w, upgraded), 2);
            assert_eq!(recognise(w, stranger), 0, "the same image, published by somebody else");
            let converted = w.give(stranger, UPGRADE, &[], Some(v2)).now;
            assert_eq!(recognise(w, converted), 0);
            let data = w.data(b"no instance");
            assert_eq!(recognise(w, data), 0);
        });
    }
}

mod jobs {
    use super::*;

    const STEPS: u64 = 5;

    fn job(w: &mut World) -> CapHash {
        let checkpoint = marker(&mut w.cache, b"checkpoint").unwrap();
        w.vm.kernel_assist.catch_at_root(checkpoint);
        w.instance("job", &[(1, checkpoint)])
    }

    /// Resumes until the end; the steps that were reported and the gas of all segments.
    fn finish(w: &mut World, mut result: CallResult, steps: &mut Vec<u8>) -> (Halted, u64) {
        let mut gas = result.gas_used();
        while let CallResult::Paused { marker_payload, .. } = &result {
            steps.push(w.bytes(settled(*marker_payload).unwrap())[0]);
            result = w.vm.call_resume(&mut w.cache, None).unwrap();
            gas += result.gas_used();
        }
        (w.halted(result), gas)
    }

    #[test]
    fn a_job_can_be_resumed_at_once() {
        everywhere(|w| {
            let job = job(w);
            let started = w.call_with(job, 0, &[3, 1], None, GAS);
            let mut steps = Vec::new();
            let (done, gas) = finish(w, started, &mut steps);
            // The same number as natively: see the program's own test.
            assert_eq!((done.value, done.now, steps), (1_081_175_999_032_122_552, job, vec![1, 2, 3]));
            w.seen.push((done.value, done.now, gas));
        });
    }

    #[test]
    fn a_job_can_be_put_aside_moved_and_resumed_twice() {
        let [mut one, other] = [Backend::Interpreter, Backend::Recompiler].map(World::new);
        let here = one.as_mut().unwrap();
        let job = job(here);
        let started = here.call_with(job, 0, &[STEPS, 9], None, GAS);
        let (expected, gas) = finish(here, started, &mut Vec::new());

        // After every step: off the machine as a value, onto another with the other backend, and on from there.
        let mut there = other.or_else(|| World::new(Backend::Interpreter)).unwrap();
        let checkpoint = marker(&mut there.cache, b"checkpoint").unwrap();
        there.vm.kernel_assist.catch_at_root(checkpoint);
        for steps in 1..=STEPS {
            let mut result = here.call_with(job, 0, &[STEPS, 9], None, GAS);
            let mut used = result.gas_used();
            for _ in 1..steps {
                result = here.vm.call_resume(&mut here.cache, None).unwrap();
                used += result.gas_used();
            }
            assert!(matches!(result, CallResult::Paused { .. }));
            let (paused, left) = here.vm.suspend(&mut here.cache).unwrap();
            assert_eq!(left, GAS - used, "no value carries gas");
            here.cache.persist(paused, &Courier(std::sync::Mutex::new(&mut there.cache))).unwrap();
            for _ in 0..2 {
                there.vm.restore(&mut there.cache, paused).unwrap();
                there.vm.add_gas(left);
                let result = there.vm.call_resume(&mut there.cache, None).unwrap();
                let (done, rest) = finish(&mut there, result, &mut Vec::new());
                assert_eq!((done.value, done.now, used + rest), (expected.value, expected.now, gas));
            }
        }
    }

    #[test]
    fn whoever_resumes_can_end_it() {
        everywhere(|w| {
            let job = job(w);
            w.call_with(job, 0, &[100, 1], None, GAS);
            for _ in 0..2 {
                w.vm.call_resume(&mut w.cache, None).unwrap();
            }
            let stop = w.data(b"stop");
            let result = w.vm.call_resume(&mut w.cache, Some(stop.into())).unwrap();
            assert_eq!(w.halted(result).value, 1_081_175_999_032_122_552);
        });
    }

    /// Carries values to another directory.
    struct Courier<'a>(std::sync::Mutex<&'a mut CacheDirectory>);

    impl javm_cap::CapStore for Courier<'_> {
        fn get(&self, _: &CapHash) -> Result<Option<Vec<u8>>, javm_cap::StoreError> {
            Ok(None)
        }

        fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), javm_cap::StoreError> {
            let cap = javm_cap::decode(bytes).map_err(|_| javm_cap::StoreError::Corrupt)?;
            assert_eq!(self.0.lock().unwrap().put_cap(&cap).unwrap(), *hash);
            Ok(())
        }
    }
}

mod paying {
    use super::*;

    const WORK: u8 = 0;
    const STORE: u8 = 1;
    const LEFT: u8 = 2;

    fn prepaid(w: &mut World, meters: [u64; 2], quota: u64) -> CapHash {
        let handles = [(6, KernelImage::Gas, 1), (7, KernelImage::Gas, 2), (8, KernelImage::Quota, 3)];
        let slots = handles.map(|(slot, image, id)| (slot, kernel_handle(&mut w.cache, image, id).unwrap()));
        w.vm.kernel_assist.set_gas_meter(1, meters[0]);
        w.vm.kernel_assist.set_gas_meter(2, meters[1]);
        w.vm.kernel_assist.set_quota(3, quota);
        w.instance("prepaid", &slots)
    }

    fn meters(w: &World) -> [u64; 2] {
        [1, 2].map(|id| w.vm.kernel_assist.gas_meter(id))
    }

    #[test]
    fn a_prepaid_run_costs_its_caller_nothing() {
        everywhere(|w| {
            let prepaid = prepaid(w, [1_000_000, 500], 0);
            let result = w.call_with(prepaid, WORK, &[1000, 1], None, 0);
            let used = result.gas_used();
            assert!(used > 1000, "{used}");
            assert_eq!(w.halted(result).now, prepaid);
            assert_eq!(meters(w), [1_000_000 - used, 500]);
        });
    }

    #[test]
    fn what_the_first_meter_cannot_pay_the_reserve_pays() {
        everywhere(|w| {
            let prepaid = prepaid(w, [1_000, 1_000_000], 0);
            let result = w.call_with(prepaid, WORK, &[1000, 1], None, 0);
            let used = result.gas_used();
            w.halted(result);
            let [first, second] = meters(w);
            assert_eq!(first + second + used, 1_001_000, "gas is conserved");
            assert!(first < 1_000 && second < 1_000_000, "{first} {second}");
            // Both empty: out of gas, whatever the caller has.
            w.vm.kernel_assist.set_gas_meter(1, 0);
            w.vm.kernel_assist.set_gas_meter(2, 0);
            let starved = w.call_with(prepaid, LEFT, &[], None, GAS);
            assert!(matches!(starved, CallResult::Faulted { reason: ExitReason::OutOfGas, .. }));
        });
    }

    #[test]
    fn storage_is_paid_by_the_page() {
        everywhere(|w| {
            let prepaid = prepaid(w, [GAS, 0], 3 * 4096 + 100);
            let stored = w.call(prepaid, STORE, &[3, 7]);
            assert_eq!((stored.value, w.vm.kernel_assist.quota(3)), (0, 100));
            let refused = w.call_with(stored.now, STORE, &[1, 8], None, GAS);
            assert!(matches!(refused, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{refused:?}");
            let detail = &w.vm.last_fault().unwrap().detail;
            assert_eq!(detail, &FaultDetail::StorageExhausted { quota: 3 });
            assert_eq!(w.vm.kernel_assist.quota(3), 100);
            // Reading costs no storage.
            assert_eq!(w.ask(stored.now, WORK, &[0, 0]), 0);
        });
    }
}
