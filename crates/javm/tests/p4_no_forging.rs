//! Property 4: no sequence of guest operations yields an instance whose lineage was not derived by rule, or a
//! name that the guest was not given.
//!
//! After every call, pause and fault, everything that the outcome reaches is looked at. The lineage of an
//! instance must be one that was given, or end in a step over its own image from one that is legal. And beside
//! what the guests were given the directory holds secrets: guests have their hashes as bytes, in memory, in
//! Data, in the input of `MAKE_IMAGE`, but no outcome ever reaches one.

mod capgen;

use std::collections::{BTreeMap, BTreeSet};

use capgen::{GAS, engine, for_cases, names};
use javm::{
    CallResult, InProcessKernelAssist, KernelAssist, KernelImage, Vm, VmError, first_instance,
    kernel_assist::{kernel_catcher, kernel_handle, kernel_instance},
};
use javm_abi::{GuestOp, SlotPath};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, DataCap, ImageCap, SlotIdx, TypeCap,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
    lineage,
};
use javm_exec::Backend;
use javm_isa::asm::assemble;
use javm_testkit::{
    Rng,
    capgen::{
        Options,
        host::{self, Embedder},
        record::Recorder,
    },
};

/// What is legal: grows by what is found and derived.
#[derive(Default)]
struct Law {
    lineages: BTreeSet<CapHash>,
    images: BTreeSet<CapHash>,
    secrets: BTreeSet<CapHash>,
    seen: BTreeSet<CapHash>,
    instances: u64,
}

impl Law {
    /// Takes in what guests are given.
    fn give(&mut self, cache: &CacheDirectory, given: &[CapHash]) {
        for hash in host::closure(cache, given).unwrap() {
            self.seen.insert(hash);
            match cache.get(hash.into()).as_deref() {
                Some(Cap::Instance(instance)) => {
                    self.lineages.insert(instance.image_hash_chain);
                    self.images.insert(instance.image_hash);
                }
                Some(Cap::Image(_)) => {
                    self.images.insert(hash);
                }
                _ => {}
            }
        }
        assert!(self.seen.is_disjoint(&self.secrets), "a secret was given away");
    }

    /// Looks at everything that an outcome reaches.
    fn look(&mut self, cache: &CacheDirectory, outcome: &[CapHash]) -> Result<(), String> {
        let mut found = Vec::new();
        let mut work = outcome.to_vec();
        while let Some(hash) = work.pop() {
            if self.secrets.contains(&hash) {
                return Err(format!("the secret {hash:x?} is reached"));
            }
            if !self.seen.insert(hash) || javm_cap::hash::kernel_image(&hash).is_some() {
                continue;
            }
            let cap = cache.fetch(hash.into()).map_err(|error| error.to_string())?;
            match &*cap {
                Cap::Instance(instance) => found.push((instance.image_hash_chain, instance.image_hash)),
                Cap::Image(_) => {
                    self.images.insert(hash);
                }
                _ => {}
            }
            cap.for_each_child(|child| work.extend(child.as_hash().copied()));
        }
        self.instances += found.len() as u64;
        // What was found first may have been derived from what was found later.
        loop {
            let before = found.len();
            found.retain(|(lineage, image)| !self.derived(lineage, image));
            if found.is_empty() {
                return Ok(());
            }
            if found.len() == before {
                return Err(format!("lineages from nowhere: {found:x?}"));
            }
        }
    }

    /// Whether a lineage is legal: given, genesis of nothing, or a step over the instance's own image from one
    /// that is, with at most two steps in between of which no instance is left.
    fn derived(&mut self, lineage: &CapHash, image: &CapHash) -> bool {
        if self.lineages.contains(lineage) {
            return true;
        }
        // A kernel image has instances that the kernel makes; they have no history.
        let made_by_kernel =
            javm_cap::hash::kernel_image(image).is_some() && *lineage == lineage::genesis(*image);
        let mut from: Vec<CapHash> = self.lineages.iter().copied().collect();
        for _ in 0..3 {
            if made_by_kernel || from.iter().any(|l| lineage::step(l, image) == *lineage) {
                self.lineages.insert(*lineage);
                return true;
            }
            from = from.iter().flat_map(|l| self.images.iter().map(|i| lineage::step(l, i))).collect();
        }
        false
    }
}

/// Values that nobody is given: nothing about them can be guessed.
fn secrets(cache: &mut CacheDirectory, seed: u64) -> (Vec<CapHash>, CapHash) {
    let mut rng = Rng::new(seed ^ 0x5EC2_E700);
    let bytes: Vec<u8> = (0..100).map(|_| rng.bits() as u8 | 1).collect();
    let data = cache.put_cap(&Cap::data_inline(&bytes)).unwrap();
    let mut cnode = CNodeCap::new(3).unwrap();
    cnode.set(SlotIdx(2), Some(data.into())).unwrap();
    let cnode = cache.put_cap(&Cap::CNode(cnode)).unwrap();
    let image = Image { code: vec![0], packed_bitmask: vec![1], ..Image::default() };
    let pinned = [(SlotIdx(7), data)];
    let image =
        cache.put_cap(&Cap::image_with_slots(&image, &pinned, &[(SlotIdx(8), cnode)]).unwrap()).unwrap();
    let instance = first_instance(cache, image, &[(SlotIdx(1), data)]).unwrap();
    let root = match &*cache.fetch(instance.into()).unwrap() {
        Cap::Instance(instance) => *instance.root_cnode.as_hash().unwrap(),
        _ => unreachable!("an instance was put"),
    };
    (vec![data, cnode, image, instance, root], lineage::genesis(image))
}

/// Looks at everything, at each pause and end.
struct Watch<'a> {
    law: &'a mut Law,
    case: &'a javm_testkit::capgen::Case,
}

impl Embedder for Watch<'_> {
    fn after_run(&mut self, vm: &mut Vm<Recorder>, cache: &mut CacheDirectory, result: &CallResult) {
        let mut outcome = names(result);
        if !matches!(result, CallResult::Paused { .. }) {
            let emits = vm.take_emits();
            outcome.extend(emits.iter().flat_map(|e| [Some(e.payload), e.on_failure]).flatten());
        }
        if let Err(what) = self.law.look(cache, &outcome) {
            panic!("{what}\n{}", self.case.listing());
        }
    }

    fn at_pause(
        &mut self,
        vm: &mut Vm<Recorder>,
        cache: &mut CacheDirectory,
        payload: Option<CapHashOrRef>,
    ) -> Result<(), VmError> {
        // All that is on the stack, as one value.
        let payload = host::hold(cache, payload)?;
        let (paused, left) = vm.suspend(cache)?;
        if let Err(what) = self.law.look(cache, &[paused]) {
            panic!("{what}\n{}", self.case.listing());
        }
        host::put_back(cache, &payload)?;
        vm.restore(cache, paused)?;
        vm.add_gas(left);
        Ok(())
    }
}

#[test]
fn guests_that_know_what_they_do_forge_nothing() {
    let Some(engine) = engine(Backend::Interpreter) else { unreachable!("it runs everywhere") };
    let mut instances = 0;
    for_cases(160, Options { visible: true, ..Options::default() }, |case| {
        let mut cache = CacheDirectory::new();
        let placed = host::place(case, &mut cache);
        let mut law =
            Law { secrets: secrets(&mut cache, case.seed).0.into_iter().collect(), ..Law::default() };
        law.give(&cache, &placed.given());
        let mut vm = host::machine(case, &placed, engine.clone());
        let outcome =
            host::run(case, &placed, &mut vm, &mut cache, &|_| GAS, &mut Watch { law: &mut law, case })
                .unwrap_or_else(|error| panic!("{error}\n{}", case.listing()));
        assert!(outcome.results.len() >= case.root.acts.len());
        instances += law.instances;
        vm.kernel_assist.stats
    });
    assert!(instances > 5_000, "{instances} instances were made");
}

// ---- guests that do anything ----

const MEM: u64 = 0x4_0000;
const MEM_SLOT: u32 = 60;

/// The kernel of the default, and every operation from 64 on, which writes nothing.
#[derive(Default)]
struct Plain(InProcessKernelAssist);

impl KernelAssist for Plain {
    fn gas_meter(&self, id: u64) -> u64 {
        self.0.gas_meter(id)
    }
    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64 {
        self.0.set_gas_meter(id, value)
    }
    fn quota(&self, id: u64) -> u64 {
        self.0.quota(id)
    }
    fn set_quota(&mut self, id: u64, value: u64) -> u64 {
        self.0.set_quota(id, value)
    }
    fn open_file(&mut self, id: u64) -> Option<CapHash> {
        self.0.open_file(id)
    }
    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> javm::SaveResult {
        self.0.save_file(content, size, quota)
    }
    fn catches_at_root(&self, _: &CapHash) -> bool {
        true
    }
}

/// An endpoint for each operation: does it with its arguments, and halts.
fn anything() -> (String, Vec<u32>) {
    let numbers: Vec<u32> = GuestOp::ALL.iter().map(|op| op.number()).collect();
    let mut text = String::new();
    for n in &numbers {
        // Whoever calls a paused one sees it again: it yields on, and halts when it is resumed.
        text += &format!("e{n}: ecalli {n}\nload_imm a0, 1\necalli 0\ntrap\n");
    }
    (text, numbers)
}

/// A guest with one of everything, and the hashes of secrets in all the places that bytes can be in.
fn intruder(cache: &mut CacheDirectory, secrets: &[CapHash], stranger: CapHash) -> (CapHash, usize) {
    let (text, numbers) = anything();
    let code = assemble(&text).unwrap();
    let endpoints: BTreeMap<u8, EndpointDef> = (0u8..)
        .zip(&numbers)
        .map(|(e, n)| {
            let entry_pc = u64::from(code.labels[&format!("e{n}")]);
            (e, EndpointDef { entry_pc, ..EndpointDef::default() })
        })
        .collect();
    let image = Image {
        code: code.code,
        packed_bitmask: code.packed_bitmask,
        endpoints,
        memory_mappings: vec![MemoryMapping {
            start: MEM,
            size: 8192,
            source: MappingSource::Slot(SlotPath::root(MEM_SLOT as u8)),
        }],
        yield_marker_slot: Some(SlotIdx(12)),
        ..Image::default()
    };
    let mut put = |cap: Cap| cache.put_cap(&cap).unwrap();
    let own = put(Cap::image_with_slots(&image, &[], &[]).unwrap());
    let bytes = put(Cap::data_inline(&secrets.concat()));
    let twin = put(Cap::image_with_slots(&image, &[], &[(SlotIdx(90), bytes)]).unwrap());
    // What `MAKE_IMAGE` must not take for names: an image that pins a secret, as it is encoded for the host.
    let mut pinning = Image { code: vec![0], packed_bitmask: vec![1], ..Image::default() };
    pinning.pinned_slots.insert(SlotIdx(1), secrets[0]);
    pinning.initial_slots.insert(SlotIdx(2), secrets[3]);
    let encoded = ImageCap::new(pinning).unwrap().to_bytes();
    let mut input = (encoded.len() as u32).to_le_bytes().to_vec();
    input.extend(&encoded);
    let plain = ImageCap::new(image).unwrap().to_bytes();
    let mut good = (plain.len() as u32).to_le_bytes().to_vec();
    good.extend(&plain);
    let mut memory: Vec<u8> = secrets.concat();
    memory.extend(stranger);
    memory.extend([4u64, 5, 16, 4].iter().flat_map(|path| path.to_le_bytes()));
    let mut cnode = CNodeCap::new(2).unwrap();
    cnode.set(SlotIdx(0), Some(bytes.into())).unwrap();
    let caps = put(Cap::CNode(cnode));
    let kit = put(Cap::empty_cnode(8).unwrap());
    let (input, good) = (put(Cap::Data(DataCap::new(&input))), put(Cap::Data(DataCap::new(&good))));
    let memory = put(Cap::Data(DataCap::new(&memory)));
    let ty = put(Cap::Type(TypeCap::new(lineage::genesis(own))));
    let marker = javm::marker(cache, b"a marker").unwrap();
    let child = first_instance(
        cache,
        own,
        &[(SlotIdx(1), bytes), (SlotIdx(3), kit), (SlotIdx(4), twin), (SlotIdx(9), marker)],
    )
    .unwrap();
    let catcher = kernel_catcher(cache, &[marker]).unwrap();
    let kernel = |cache: &mut CacheDirectory, image| kernel_instance(cache, image).unwrap();
    let slots = [
        bytes,
        caps,
        kit,
        own,
        twin,
        child,
        ty,
        input,
        marker,
        good,
        kernel(cache, KernelImage::HostOpen),
        catcher,
        kernel(cache, KernelImage::HostSave),
        kernel(cache, KernelImage::CreateYieldCatcher),
        kernel_handle(cache, KernelImage::Quota, 5).unwrap(),
        child,
        kit,
        kernel(cache, KernelImage::MintGas),
    ];
    let slots: Vec<_> = (1..).map(SlotIdx).zip(slots).chain([(SlotIdx(MEM_SLOT), memory)]).collect();
    (first_instance(cache, own, &slots).unwrap(), numbers.len())
}

/// Operands with which an operation may well succeed, if nothing has changed the slots yet.
fn typical(rng: &mut Rng, op: GuestOp, endpoints: usize) -> Vec<u64> {
    const NONE: u64 = u64::MAX;
    let any = 1 + rng.below(18);
    let free = 20 + rng.below(10);
    let list = MEM + 192;
    match op {
        GuestOp::MgmtCopy | GuestOp::MgmtMove | GuestOp::MgmtCnodeSwap => vec![any, free],
        GuestOp::MgmtCnodeMint => vec![free, *rng.one_of(&[1, 2, 8])],
        GuestOp::HostYield => vec![9],
        GuestOp::SetImage => vec![*rng.one_of(&[4, 5]), 1 + rng.below(endpoints as u64), any, free, 0],
        GuestOp::DeriveSpawn => vec![*rng.one_of(&[4, 5]), *rng.one_of(&[3, 17]), free],
        GuestOp::MakeImage => vec![*rng.one_of(&[10, 10, 8]), free, *rng.one_of(&[NONE, 2])],
        GuestOp::HostSameType => vec![6, 7],
        GuestOp::HostTypeOf => vec![*rng.one_of(&[6, 16]), free],
        GuestOp::HostReadDataCap => vec![*rng.one_of(&[1, 10]), MEM + 0x400, 32, 0],
        GuestOp::HostMintDataCap => vec![MEM, 160, *rng.one_of(&[NONE, 15]), free],
        GuestOp::HostOpen => vec![0, free, 11],
        GuestOp::HostSave => vec![1, *rng.one_of(&[NONE, 15]), 13],
        GuestOp::HostCall => vec![*rng.one_of(&[6, 16, 14, 18]), rng.below(endpoints as u64), any, free],
        GuestOp::CallResume | GuestOp::DropPaused => vec![*rng.one_of(&[6, 16])],
        GuestOp::HostSubtype => vec![7, list, 2, free],
        GuestOp::HostTypeEq => vec![7, 7],
        GuestOp::HostSameTypeAs => vec![6, 16, list, 2],
        GuestOp::HostDataSize => vec![*rng.one_of(&[1, 8, 10])],
        GuestOp::Emit => vec![any, *rng.one_of(&[NONE, 1])],
        _ => vec![any],
    }
}

/// An operand: mostly a slot that holds something.
fn operand(rng: &mut Rng) -> u64 {
    let path = |rng: &mut Rng, steps: u64| {
        (0..steps).fold(SlotPath::root(1 + rng.below(24) as u8), |path, _| {
            path.step(rng.below(4) as u16).unwrap_or(path)
        })
    };
    match rng.below(20) {
        0..10 => 1 + rng.below(18),
        10..13 => 1 + rng.below(30),
        13..15 => path(rng, 1).encode(),
        15 => path(rng, 2).encode(),
        16 => MEM + 8 * rng.below(24),
        17 => u64::MAX,
        18 => rng.below(27),
        _ => rng.interesting(),
    }
}

#[test]
fn guests_that_do_anything_forge_nothing() {
    let (mut halts, mut faults, mut pauses, mut instances, mut by_op) = (0u64, 0u64, 0u64, 0, [0u64; 40]);
    for seed in 0..250 {
        let mut rng = Rng::new(seed ^ 0x0A11_0000);
        let mut cache = CacheDirectory::new();
        let (secret, stranger) = secrets(&mut cache, seed);
        let (mut guest, endpoints) = intruder(&mut cache, &secret, stranger);
        let mut law = Law { secrets: secret.into_iter().collect(), ..Law::default() };
        let file = cache.put_cap(&Cap::data_inline(b"a file")).unwrap();
        law.give(&cache, &[guest, file]);
        let mut vm = Vm::new(Plain::default());
        vm.kernel_assist.set_quota(5, 1 << 20);
        vm.kernel_assist.save_file(file, 0, None);
        let mut history = Vec::new();
        for _ in 0..40 {
            let endpoint = rng.index(endpoints);
            let mut args = [operand(&mut rng), operand(&mut rng), operand(&mut rng), operand(&mut rng)];
            let op = GuestOp::ALL[endpoint];
            for (arg, typical) in args.iter_mut().zip(typical(&mut rng, op, endpoints)) {
                if !rng.one_in(8) {
                    *arg = typical;
                }
            }
            if op == GuestOp::HostCall && rng.one_in(3) {
                // It leaves something paused, so that there is something to resume.
                let yields = GuestOp::ALL.iter().position(|op| *op == GuestOp::HostYield).unwrap();
                args = [6, yields as u64, 9, 0];
            }
            history.push((endpoint, args));
            let mut result = vm.invoke_cached(&mut cache, guest, endpoint as u8, args, 10_000_000).unwrap();
            for _ in 0..3 {
                let CallResult::Paused { marker_payload, .. } = result else { break };
                pauses += 1;
                law.look(&cache, &names(&result))
                    .unwrap_or_else(|what| panic!("seed {seed}: {what}\n{history:x?}"));
                vm.add_gas(1_000_000);
                result = vm.call_resume(&mut cache, marker_payload).unwrap();
            }
            let mut outcome = names(&result);
            outcome.extend(vm.take_emits().iter().flat_map(|e| [Some(e.payload), e.on_failure]).flatten());
            law.look(&cache, &outcome).unwrap_or_else(|what| panic!("seed {seed}: {what}\n{history:x?}"));
            match result {
                CallResult::Halt { post_instance_hash, .. } => {
                    guest = post_instance_hash;
                    halts += 1;
                    by_op[endpoint] += 1;
                }
                CallResult::Faulted { .. } => faults += 1,
                CallResult::Paused { .. } => vm.drop_paused(SlotPath::root(0)).unwrap(),
            }
        }
        instances += law.instances;
    }
    println!(
        "{halts} halts, {faults} faults, {pauses} pauses, {instances} instances, by operation {by_op:?}"
    );
    assert!(halts > 1_500 && faults > 1_500 && pauses > 50 && instances > 1_000);
    let endpoints = GuestOp::ALL.len();
    assert!(by_op[..endpoints].iter().all(|n| *n > 0), "an operation never succeeded: {by_op:?}");
}

/// The tests above would notice.
#[test]
fn forgeries_would_be_noticed() {
    let mut cache = CacheDirectory::new();
    let (secret, stranger) = secrets(&mut cache, 1);
    let (guest, _) = intruder(&mut cache, &secret, stranger);
    let mut law = Law { secrets: secret.iter().copied().collect(), ..Law::default() };
    law.give(&cache, &[guest]);
    assert!(law.look(&cache, &[secret[3]]).unwrap_err().contains("is reached"));
    let Cap::Instance(mut forged) = (*cache.get(guest.into()).unwrap()).clone() else { unreachable!() };
    forged.image_hash_chain = stranger;
    let forged = cache.put_cap(&Cap::Instance(forged)).unwrap();
    assert!(law.look(&cache, &[forged]).unwrap_err().contains("from nowhere"));
}
