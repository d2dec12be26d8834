//! A small harness: images from assembly text, instances with given slots, runs, and what can be seen of them
//! afterwards. Nothing here decides whether a test passes.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes the part that it needs")]

use javm::{
    CallResult, ExitReason, InProcessKernelAssist, KernelAssist, KernelImage, SaveResult, Vm, first_instance,
    kernel_assist::{UserCall, UserCallResult, kernel_catcher, kernel_handle, kernel_instance, marker_hash},
};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, ImageCap, InstanceCap, Kind, SlotIdx, SlotPath,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
    path,
};
use javm_exec::{Mem, Regs};
use javm_isa::asm::{Assembled, assemble};

/// Enough for everything that is not about gas.
pub const GAS: u64 = 100_000_000;
/// Records the registers and the gas left; costs nothing beyond the fixed price of such an operation.
pub const PROBE: u32 = 100;
/// φ7 = φ7 + φ8, and writes it to memory at φ9 unless that is 0; costs φ12 more.
pub const ADD: u32 = 101;
/// Where images of [`Rig::image`] may put a mapping: an address above the low zone.
pub const MEM: u64 = 0x4_0000;

/// What a [`PROBE`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub pc: u64,
    pub gpr: [u64; 13],
    pub gas: u64,
}

impl Seen {
    pub const fn a(&self, n: usize) -> u64 {
        self.gpr[7 + n]
    }
}

/// The default kernel with two operations of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assist {
    pub inner: InProcessKernelAssist,
    pub seen: Vec<Seen>,
}

impl KernelAssist for Assist {
    fn gas_meter(&self, id: u64) -> u64 {
        self.inner.gas_meter(id)
    }

    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64 {
        self.inner.set_gas_meter(id, value)
    }

    fn quota(&self, id: u64) -> u64 {
        self.inner.quota(id)
    }

    fn set_quota(&mut self, id: u64, value: u64) -> u64 {
        self.inner.set_quota(id, value)
    }

    fn open_file(&mut self, id: u64) -> Option<CapHash> {
        self.inner.open_file(id)
    }

    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> SaveResult {
        self.inner.save_file(content, size, quota)
    }

    fn catches_at_root(&self, marker: &CapHash) -> bool {
        self.inner.catches_at_root(marker)
    }

    fn user_call(&mut self, call: UserCall<'_>, memory: &mut dyn Mem) -> UserCallResult {
        let Regs { pc, gpr } = call.regs;
        match call.number {
            PROBE => {
                self.seen.push(Seen { pc: *pc, gpr: *gpr, gas: call.gas.remaining() });
                UserCallResult::Done
            }
            ADD => {
                let price = gpr[12];
                if !call.gas.charge(price) {
                    return UserCallResult::OutOfGas { price };
                }
                let sum = gpr[7].wrapping_add(gpr[8]);
                if gpr[9] != 0 && memory.write(gpr[9] as u32, &sum.to_le_bytes()).is_err() {
                    return UserCallResult::Refused;
                }
                gpr[7] = sum;
                UserCallResult::Done
            }
            _ => UserCallResult::Refused,
        }
    }
}

/// A machine and its values.
pub struct Rig {
    pub vm: Vm<Assist>,
    pub cache: CacheDirectory,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

/// The code of a text; a mistake in it ends the test.
pub fn asm(text: &str) -> Assembled {
    assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `load_imm_64` of each of these into φ7, φ8, …
pub fn load_args(args: &[u64]) -> String {
    (0..).zip(args).map(|(n, arg)| format!("load_imm_64 a{n}, {arg:#x}\n")).collect()
}

/// A slot path as a register.
pub fn at(root: u8, steps: &[u16]) -> u64 {
    steps.iter().fold(SlotPath::root(root), |path, step| path.step(*step).unwrap()).encode()
}

/// A persistent mapping of a root slot.
pub fn persistent(start: u64, pages: u64, slot: u8) -> MemoryMapping {
    MemoryMapping { start, size: pages * 4096, source: MappingSource::Slot(SlotPath::root(slot)) }
}

/// A mapping that is gone at HALT.
pub fn ephemeral(start: u64, pages: u64) -> MemoryMapping {
    MemoryMapping { start, size: pages * 4096, source: MappingSource::Ephemeral }
}

impl Rig {
    pub fn new() -> Self {
        Self { vm: Vm::new(Assist::default()), cache: CacheDirectory::new() }
    }

    pub fn with_max_depth(depth: usize) -> Self {
        Self { vm: Vm::with_max_depth(Assist::default(), depth), cache: CacheDirectory::new() }
    }

    pub fn put(&mut self, cap: impl Into<Cap>) -> CapHash {
        self.cache.put_cap(&cap.into()).unwrap()
    }

    pub fn data(&mut self, bytes: &[u8]) -> CapHash {
        self.put(Cap::data_inline(bytes))
    }

    pub fn cnode(&mut self, size_log: u8, slots: &[(u32, CapHash)]) -> CapHash {
        let mut cnode = CNodeCap::new(size_log).unwrap();
        for (slot, hash) in slots {
            cnode.set(SlotIdx(*slot), Some((*hash).into())).unwrap();
        }
        self.put(cnode)
    }

    /// An image of a text: each `.export` is an endpoint, in order; without any, the implicit one.
    pub fn image(&mut self, text: &str, tweak: impl FnOnce(&mut Image)) -> CapHash {
        let code = asm(text);
        let def = |pc: u32| EndpointDef { entry_pc: u64::from(pc), ..EndpointDef::default() };
        let mut image = Image {
            code: code.code,
            packed_bitmask: code.packed_bitmask,
            jump_table: code.jump_table,
            endpoints: (0..).zip(&code.exports).map(|(n, (_, pc))| (n, def(*pc))).collect(),
            ..Image::default()
        };
        tweak(&mut image);
        self.put(ImageCap::new(image).unwrap_or_else(|error| panic!("{error}")))
    }

    pub fn instance(&mut self, image: CapHash, slots: &[(u32, CapHash)]) -> CapHash {
        let slots: Vec<_> = slots.iter().map(|(slot, hash)| (SlotIdx(*slot), *hash)).collect();
        first_instance(&mut self.cache, image, &slots).unwrap()
    }

    /// An instance of a text without tweaks.
    pub fn program(&mut self, text: &str, slots: &[(u32, CapHash)]) -> CapHash {
        let image = self.image(text, |_| ());
        self.instance(image, slots)
    }

    pub fn kernel(&mut self, image: KernelImage) -> CapHash {
        kernel_instance(&mut self.cache, image).unwrap()
    }

    pub fn handle(&mut self, image: KernelImage, id: u64) -> CapHash {
        kernel_handle(&mut self.cache, image, id).unwrap()
    }

    pub fn catcher(&mut self, markers: &[CapHash]) -> CapHash {
        kernel_catcher(&mut self.cache, markers).unwrap()
    }

    /// A marker: an instance that nobody calls.
    pub fn marker(&mut self, name: &str) -> CapHash {
        let label = self.data(name.as_bytes());
        self.program("trap", &[(1, label)])
    }

    pub fn call(&mut self, instance: CapHash, endpoint: u8, args: &[u64], gas: u64) -> CallResult {
        self.call_with(instance, endpoint, args, None, gas)
    }

    pub fn call_with(
        &mut self,
        instance: CapHash,
        endpoint: u8,
        args: &[u64],
        scratchpad: Option<CapHash>,
        gas: u64,
    ) -> CallResult {
        let mut four = [0; 4];
        four[..args.len()].copy_from_slice(args);
        let scratchpad = scratchpad.map(CapHashOrRef::Hash);
        self.vm.invoke_with(&mut self.cache, instance, endpoint, four, scratchpad, gas).unwrap()
    }

    pub fn resume(&mut self, scratchpad: Option<CapHash>) -> CallResult {
        self.vm.call_resume(&mut self.cache, scratchpad.map(CapHashOrRef::Hash)).unwrap()
    }

    /// Calls endpoint 0, which must halt: value and new instance.
    pub fn halt(&mut self, instance: CapHash) -> (u64, CapHash) {
        let result = self.call(instance, 0, &[], GAS);
        self.halted(&result)
    }

    pub fn halted(&self, result: &CallResult) -> (u64, CapHash) {
        match result {
            CallResult::Halt { return_value, post_instance_hash, .. } => (*return_value, *post_instance_hash),
            other => panic!("{other:?}: {}", self.words()),
        }
    }

    /// Calls endpoint 0, which must fault.
    pub fn fault(&mut self, instance: CapHash) -> ExitReason {
        match self.call(instance, 0, &[], GAS) {
            CallResult::Faulted { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// What the last fault said.
    pub fn words(&self) -> String {
        self.vm.last_fault().map(ToString::to_string).unwrap_or_default()
    }

    /// What it said before it names the image.
    pub fn what(&self) -> String {
        self.words().split("; image").next().unwrap_or_default().to_owned()
    }

    pub fn get(&self, name: impl Into<CapHashOrRef>) -> Cap {
        let name = name.into();
        (*self.cache.fetch(name).unwrap_or_else(|error| panic!("{name:?}: {error}"))).clone()
    }

    pub fn as_instance(&self, hash: CapHash) -> InstanceCap {
        match self.get(hash) {
            Cap::Instance(instance) => instance,
            other => panic!("a {}", other.kind()),
        }
    }

    pub fn as_cnode(&self, name: impl Into<CapHashOrRef>) -> CNodeCap {
        match self.get(name) {
            Cap::CNode(cnode) => cnode,
            other => panic!("a {}", other.kind()),
        }
    }

    /// The root table of an instance.
    pub fn table(&self, instance: CapHash) -> CNodeCap {
        self.as_cnode(self.as_instance(instance).root_cnode)
    }

    /// What an instance's slot holds.
    pub fn slot(&self, instance: CapHash, path: u64) -> Option<CapHash> {
        let path = SlotPath::decode(path).unwrap();
        let name = path::read_path(&self.cache, &self.table(instance), path).unwrap();
        name.map(|name| *name.as_hash().expect("an outcome is settled"))
    }

    pub fn kind(&self, instance: CapHash, path: u64) -> Option<Kind> {
        self.slot(instance, path).map(|hash| self.get(hash).kind())
    }

    /// The bytes of a Data.
    pub fn bytes(&self, name: impl Into<CapHashOrRef>) -> Vec<u8> {
        match self.get(name) {
            Cap::Data(data) => data.to_vec(),
            other => panic!("a {}", other.kind()),
        }
    }

    /// The bytes of the Data in a slot.
    pub fn slot_bytes(&self, instance: CapHash, path: u64) -> Vec<u8> {
        self.bytes(self.slot(instance, path).expect("the slot is empty"))
    }

    /// Slot 0 of an outcome.
    pub fn slot0(result: &CallResult) -> Option<CapHash> {
        let slot = match result {
            CallResult::Halt { reflected_slot0, .. } | CallResult::Faulted { reflected_slot0, .. } => {
                *reflected_slot0
            }
            CallResult::Paused { marker_payload, .. } => *marker_payload,
        };
        slot.map(|name| *name.as_hash().expect("an outcome is settled"))
    }

    /// What probes have seen since this was last asked.
    pub fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.vm.kernel_assist.seen)
    }

    /// Has the embedder handle out of gas, storage exhaustion or page faults.
    pub fn catch_kernel(&mut self, marker: KernelImage) {
        self.vm.kernel_assist.inner.catch_at_root(marker_hash(marker));
    }
}
