//! Puts a case into a directory, and runs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use javm::{
    CallResult, Emit, FaultDetail, KernelAssist, KernelImage, Vm, VmError, first_instance,
    kernel_assist::{kernel_catcher, kernel_handle, kernel_instance, marker_hash},
};
use javm_abi::GuestOp;
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, ImageCap, SlotIdx, TypeCap, lineage,
};
use javm_exec::Engine;

use super::{
    Case, FILES, QUOTA, ROOT_MARKER,
    record::{Ask, Recorder, When},
    script::AMPLE,
    value::{Marker, Pad, Program, Val},
};

/// Makes the values of a case.
#[derive(Debug, Default)]
pub struct Builder {
    trap: Option<(u32, u32)>,
    images: HashMap<u32, CapHash>,
    instances: HashMap<u32, CapHash>,
    /// Every image that there is, with those that `SET_IMAGE` goes to.
    pub all_images: Vec<CapHash>,
}

/// What a case puts into a directory is valid, so this says where the generator is wrong.
fn made<T, E: core::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("the generator made something invalid: {error}"))
}

impl Builder {
    /// Has a trap in place of the instruction at an offset of a program.
    #[must_use]
    pub fn with_trap(program: u32, pc: u32) -> Self {
        Self { trap: Some((program, pc)), ..Self::default() }
    }

    /// The image of a program, with more initial slots.
    fn image_with(
        &self,
        cache: &mut CacheDirectory,
        program: &Program,
        initial: &[(SlotIdx, CapHash)],
    ) -> CapHash {
        let mut image = program.image.clone();
        if let Some((_, pc)) = self.trap.filter(|(id, _)| *id == program.id) {
            image.code[pc as usize] = 0;
        }
        let pinned: Vec<_> = program
            .pinned
            .iter()
            .map(|(slot, bytes)| (SlotIdx(u32::from(*slot)), made(cache.put_cap(&Cap::data_inline(bytes)))))
            .collect();
        let image = made(Cap::image_with_slots(&image, &pinned, initial));
        made(cache.put_cap(&image))
    }

    /// The image of a program.
    pub fn image(&mut self, cache: &mut CacheDirectory, program: &Program) -> CapHash {
        if let Some(hash) = self.images.get(&program.id) {
            return *hash;
        }
        let hash = self.image_with(cache, program, &[]);
        self.images.insert(program.id, hash);
        self.all_images.push(hash);
        hash
    }

    /// A first instance of a program.
    pub fn instance(&mut self, cache: &mut CacheDirectory, program: &Arc<Program>) -> CapHash {
        if let Some(hash) = self.instances.get(&program.id) {
            return *hash;
        }
        let image = self.image(cache, program);
        let slots = self.slots(cache, program);
        let hash = made(first_instance(cache, image, &slots));
        self.instances.insert(program.id, hash);
        hash
    }

    fn slots(&mut self, cache: &mut CacheDirectory, program: &Arc<Program>) -> Vec<(SlotIdx, CapHash)> {
        let table = &program.table.0;
        table.iter().map(|(slot, val)| (SlotIdx(u32::from(*slot)), self.value(cache, program, val))).collect()
    }

    fn cnode(cache: &mut CacheDirectory, k: u8, slots: &[(SlotIdx, CapHash)]) -> CapHash {
        let mut cnode = made(CNodeCap::new(k));
        for (slot, hash) in slots {
            made(cnode.set(*slot, Some((*hash).into())));
        }
        made(cache.put_cap(&Cap::CNode(cnode)))
    }

    fn marker(&mut self, cache: &mut CacheDirectory, marker: Marker) -> CapHash {
        match marker {
            Marker::Named(id) => made(javm::marker(cache, format!("marker {id}").as_bytes())),
            Marker::Kernel(image) => made(kernel_instance(cache, image)),
        }
    }

    /// A value that stands in the first table of `owner`.
    fn value(&mut self, cache: &mut CacheDirectory, owner: &Arc<Program>, val: &Val) -> CapHash {
        match val {
            Val::Data(bytes) => made(cache.put_cap(&Cap::data_inline(bytes))),
            Val::CNode(k, slots) => {
                let slots: Vec<_> = slots
                    .iter()
                    .map(|(slot, val)| (SlotIdx(u32::from(*slot)), self.value(cache, owner, val)))
                    .collect();
                Self::cnode(cache, *k, &slots)
            }
            Val::Kit(program) => {
                self.image(cache, program);
                let slots = self.slots(cache, program);
                Self::cnode(cache, 8, &slots)
            }
            Val::TypeOf(program) => {
                let image = self.image(cache, program);
                made(cache.put_cap(&Cap::Type(TypeCap::new(lineage::genesis(image)))))
            }
            Val::Image(program) => self.image(cache, program),
            Val::Twin(_, n) => {
                let data = made(cache.put_cap(&Cap::data_inline(&[*n + 1])));
                let hash = self.image_with(cache, owner, &[(SlotIdx(245), data)]);
                self.all_images.push(hash);
                hash
            }
            Val::Instance(program, 0) => self.instance(cache, program),
            Val::Marker(id) => self.marker(cache, Marker::Named(*id)),
            Val::Kernel(image, None) => made(kernel_instance(cache, *image)),
            Val::Kernel(image, Some(id)) => made(kernel_handle(cache, *image, *id)),
            Val::Catcher(markers) => {
                let hashes: Vec<_> = markers.iter().map(|marker| self.marker(cache, *marker)).collect();
                made(kernel_catcher(cache, &hashes))
            }
            Val::Encoded(program, caps) => {
                let input = encoded(&program.image, *caps);
                made(cache.put_cap(&Cap::data_inline(&input)))
            }
            Val::Blob | Val::Type | Val::Instance(..) | Val::Paused(..) => {
                panic!("{:?} is not there at first", val.kind())
            }
        }
    }
}

/// The input of `MAKE_IMAGE` for an image; with `caps`, slot 30 is pinned to entry 0 and slot 31 begins with
/// entry 3.
fn encoded(image: &javm_cap::image::Image, caps: bool) -> Vec<u8> {
    let mut image = image.clone();
    image.pinned_slots.clear();
    // What maps a pinned slot here maps whatever lies in the slot there.
    let mut bytes = made(ImageCap::new(image)).to_bytes();
    assert_eq!(bytes[bytes.len() - 3..], [0, 0, 0], "empty maps, and no marker slot");
    if caps {
        bytes.truncate(bytes.len() - 3);
        for (slot, entry) in [(30u32, 0u32), (31, 3)] {
            bytes.push(1 << 2);
            bytes.extend(slot.to_le_bytes());
            bytes.extend(entry.to_le_bytes());
        }
        bytes.push(0);
    }
    let mut input = (bytes.len() as u32).to_le_bytes().to_vec();
    input.extend(bytes);
    input
}

/// A case in a directory, ready to run.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The outermost instance.
    pub root: CapHash,
    /// A Data for endpoints that want one in slot 0.
    pub data: CapHash,
    /// Cnodes of 2^0 to 2^3 slots for those that want one.
    pub cnodes: Vec<CapHash>,
    /// The contents of files.
    pub files: Vec<CapHash>,
    /// The marker that the embedder catches.
    pub root_marker: CapHash,
    /// Every image that is given.
    pub images: Vec<CapHash>,
}

impl Placed {
    /// All values that a run is given.
    #[must_use]
    pub fn given(&self) -> Vec<CapHash> {
        [&[self.root, self.data][..], &self.cnodes, &self.files].concat()
    }
}

/// Puts a case into a directory.
pub fn place(case: &Case, cache: &mut CacheDirectory) -> Placed {
    place_with(case, cache, Builder::default())
}

/// Puts a case into a directory, in which one instruction is a trap.
pub fn place_with(case: &Case, cache: &mut CacheDirectory, mut builder: Builder) -> Placed {
    let root = builder.instance(cache, &case.root);
    let mut put = |cap: Cap| made(cache.put_cap(&cap));
    let data = put(Cap::data_inline(b"from the embedder"));
    let cnodes = (0..4).map(|k| put(made(Cap::empty_cnode(k)))).collect();
    let files = (0..FILES).map(|n| put(Cap::data_inline(format!("file {n}").as_bytes()))).collect();
    let root_marker = builder.marker(cache, Marker::Named(ROOT_MARKER));
    Placed { root, data, cnodes, files, root_marker, images: builder.all_images }
}

/// A machine around a case, with meters, quotas and files as they are at first.
#[must_use]
pub fn machine(case: &Case, placed: &Placed, engine: Engine) -> Vm<Recorder> {
    let mut recorder = Recorder::default();
    recorder.kernel.catch_at_root(placed.root_marker);
    recorder.set_quota(QUOTA, AMPLE);
    for (meter, amount) in &case.root.meters {
        recorder.set_gas_meter(*meter, *amount);
    }
    for (quota, amount) in &case.root.quotas {
        recorder.set_quota(*quota, *amount);
    }
    for file in &placed.files {
        recorder.save_file(*file, 0, None);
    }
    Vm::with_engine(recorder, engine)
}

/// What the embedder does when the outermost call pauses.
pub trait Embedder {
    /// Called at each pause, before the call goes on; `payload` is what came out of slot 0, and what goes in.
    ///
    /// # Errors
    /// Whatever the machine says.
    fn at_pause(
        &mut self,
        vm: &mut Vm<Recorder>,
        cache: &mut CacheDirectory,
        payload: Option<CapHashOrRef>,
    ) -> Result<(), VmError> {
        let _ = (vm, cache, payload);
        Ok(())
    }

    /// Called before an act of the outermost program begins: in which directory it runs is this one's choice.
    fn before_call(&mut self, vm: &mut Vm<Recorder>, cache: &mut CacheDirectory, instance: CapHash) {
        let _ = (vm, cache, instance);
    }

    /// Called when a call has ended, or paused.
    fn after_run(&mut self, vm: &mut Vm<Recorder>, cache: &mut CacheDirectory, result: &CallResult) {
        let _ = (vm, cache, result);
    }
}

/// An embedder that only goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoOn;

impl Embedder for GoOn {}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Each result, pauses included.
    pub results: Vec<CallResult>,
    /// Events that were committed.
    pub emits: Vec<Emit>,
    /// The outermost instance at the end.
    pub last: CapHash,
    /// Files at the end.
    pub files: BTreeMap<u64, CapHash>,
    /// All gas that was taken.
    pub gas: u64,
}

/// Calls the acts of the outermost program: those that fault, and the one that halts, in each state. `budget`
/// says what each endpoint gets.
///
/// # Errors
/// Where the machine has a host error, which no case is to bring about.
pub fn run(
    case: &Case,
    placed: &Placed,
    vm: &mut Vm<Recorder>,
    cache: &mut CacheDirectory,
    budget: &dyn Fn(u8) -> u64,
    embedder: &mut dyn Embedder,
) -> Result<Outcome, VmError> {
    let mut outcome =
        Outcome { results: Vec::new(), emits: Vec::new(), last: placed.root, files: BTreeMap::new(), gas: 0 };
    let mut state = 0;
    for (endpoint, act) in (0u8..).zip(&case.root.acts) {
        if act.from != state {
            continue;
        }
        let pad = match act.wants {
            Pad::Empty => None,
            Pad::Data => Some(placed.data),
            Pad::CNode(k) => Some(placed.cnodes[usize::from(k)]),
        };
        embedder.before_call(vm, cache, outcome.last);
        let args = [u64::from(endpoint), 1, 2, 3];
        let mut result = vm.invoke_with(
            cache,
            outcome.last,
            endpoint,
            args,
            pad.map(CapHashOrRef::Hash),
            budget(endpoint),
        )?;
        loop {
            outcome.gas += result.gas_used();
            outcome.results.push(result.clone());
            embedder.after_run(vm, cache, &result);
            let CallResult::Paused { marker_payload, .. } = result else { break };
            embedder.at_pause(vm, cache, marker_payload)?;
            // What the kernel yields leaves slot 0 alone.
            let guest = vm.kernel_assist.caught() == Some(placed.root_marker);
            result = vm.call_resume(cache, marker_payload.filter(|_| guest))?;
        }
        outcome.emits.extend(vm.take_emits());
        match result {
            CallResult::Halt { post_instance_hash, .. } => {
                outcome.last = post_instance_hash;
                state += 1;
                if let Some(last) = vm.kernel_assist.last().filter(|last| last.when == When::Before)
                    && last.ask == Ask::Op(GuestOp::Reply)
                {
                    vm.kernel_assist.stats.succeeded(last.ask, last.by);
                }
            }
            _ => {
                let refused = vm.last_fault().and_then(|fault| match fault.detail {
                    FaultDetail::Refused { number, .. } if fault.depth == 0 => Some(number),
                    _ => None,
                });
                if let (Some(number), Some(last)) = (refused, vm.kernel_assist.last())
                    && (last.ask == Ask::User && GuestOp::from_number(number).is_none()
                        || last.ask == GuestOp::from_number(number).map_or(Ask::User, Ask::Op))
                {
                    vm.kernel_assist.stats.refused(last.ask, last.by);
                }
            }
        }
    }
    outcome.files = vm.kernel_assist.kernel.files().clone();
    Ok(outcome)
}

/// Fails unless the run went as the generator foresaw: guests saw nothing unexpected, and each act of the
/// outermost program ended as it should.
///
/// # Panics
/// With the seed and the programs.
pub fn check(case: &Case, vm: &Vm<Recorder>, outcome: &Outcome) {
    let ends: Vec<_> = outcome.results.iter().filter(|r| !matches!(r, CallResult::Paused { .. })).collect();
    let mut foreseen = case.root.acts.iter();
    let fits = ends.len() == case.root.acts.len()
        && ends.iter().all(|result| match (result, foreseen.next().map(|act| &act.end)) {
            (CallResult::Halt { return_value, .. }, Some(super::value::End::Halt { value, .. })) => {
                return_value == value
            }
            (CallResult::Faulted { .. }, Some(super::value::End::Fault(_))) => true,
            _ => false,
        });
    let surprises = &vm.kernel_assist.surprises;
    assert!(
        fits && surprises.is_empty(),
        "{}\nsurprises: {surprises:?}\nlast report: {:?}\nlast fault: {}\n{:?}",
        case.listing(),
        vm.kernel_assist.last(),
        vm.last_fault().map(ToString::to_string).unwrap_or_default(),
        ends.last(),
    );
}

/// Everything that values reach, themselves included, as far as it is at hand.
///
/// # Errors
/// [`CapError`] when the store fails.
pub fn closure(
    cache: &CacheDirectory,
    roots: &[CapHash],
) -> Result<std::collections::BTreeSet<CapHash>, CapError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut work = roots.to_vec();
    while let Some(hash) = work.pop() {
        if !seen.insert(hash) || javm_cap::hash::kernel_image(&hash).is_some() {
            continue;
        }
        cache.fetch(hash.into())?.for_each_child(|child| work.extend(child.as_hash().copied()));
    }
    Ok(seen)
}

/// The values that a payload reaches. A stack that is taken off the machine does not reach what has come out of
/// it, so an embedder that means to hand that back keeps it.
///
/// # Errors
/// [`CapError`] when the store fails.
pub fn hold(cache: &CacheDirectory, payload: Option<CapHashOrRef>) -> Result<Vec<Arc<Cap>>, CapError> {
    let payload: Vec<CapHash> = payload.iter().filter_map(|name| name.as_hash().copied()).collect();
    let reached = closure(cache, &payload)?;
    Ok(reached.into_iter().filter_map(|hash| cache.get(hash.into())).collect())
}

/// Puts back what [`hold`] has kept.
///
/// # Errors
/// [`CapError`], never for values that came from a directory.
pub fn put_back(cache: &mut CacheDirectory, held: &[Arc<Cap>]) -> Result<(), CapError> {
    held.iter().try_for_each(|cap| cache.put_cap(cap).map(drop))
}

/// The hash of a marker that the kernel yields.
#[must_use]
pub fn kernel_marker(image: KernelImage) -> CapHash {
    marker_hash(image)
}
