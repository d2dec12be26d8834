//! The public names of the capability machine (section 11), used from outside, with the paths, fields and
//! parameter orders that programs are written against. That this compiles is most of the test.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

/// A function of this type exists under this name.
fn is<T>(_: T) {}

mod values {
    use super::{Arc, BTreeMap, is};
    use javm_cap::{
        CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, CapRef, DataCap, InstanceCap,
        NUM_REGS, OpError, SlotIdx, SlotPath,
        image::{EndpointDef, Image, MappingSource, MemoryMapping},
    };

    #[test]
    fn signatures() {
        is::<fn(&[u8]) -> Cap>(Cap::data_inline);
        is::<fn(u8) -> Result<Cap, _>>(Cap::empty_cnode);
        is::<fn(&Image, &[(SlotIdx, CapHash)], &[(SlotIdx, CapHash)]) -> Result<Cap, _>>(
            Cap::image_with_slots,
        );
        is::<fn(CapHash, CapHash, CapHash, &[(u32, &[u8])], u32, [u64; NUM_REGS], u64, u64) -> Cap>(
            Cap::instance_with_overlays,
        );
        is::<fn(&DataCap) -> u64>(DataCap::content_len);
        is::<fn(&DataCap) -> Vec<u8>>(DataCap::to_vec);
        is::<fn(&DataCap, u64, &mut [u8]) -> usize>(DataCap::read);
        is::<fn(u8) -> Result<CNodeCap, _>>(CNodeCap::new);
        is::<fn(&CNodeCap, SlotIdx) -> Option<CapHashOrRef>>(CNodeCap::get);
        is::<fn(&mut CNodeCap, SlotIdx) -> Result<Option<CapHashOrRef>, _>>(CNodeCap::take);
        is::<fn() -> CacheDirectory>(CacheDirectory::new);
        is::<fn(&mut CacheDirectory, &Cap) -> Result<CapHash, CapError>>(CacheDirectory::put_cap);
        is::<fn(&CacheDirectory, CapHashOrRef) -> Option<Arc<Cap>>>(CacheDirectory::get);
        is::<fn(&CacheDirectory, CapHashOrRef) -> bool>(CacheDirectory::contains);
        is::<fn(&mut CacheDirectory, CapHashOrRef) -> Result<CapHash, CapError>>(CacheDirectory::settle);
        is::<fn(&CacheDirectory) -> usize>(CacheDirectory::len);
        assert_eq!(NUM_REGS, 13);
    }

    /// Literals with exactly the public fields, and every kind of value.
    #[test]
    fn values_are_made_stored_and_read() {
        let mut cache = CacheDirectory::new();
        let data: CapHash = cache.put_cap(&Cap::data_inline(b"Hello\0\0")).unwrap();
        let def = EndpointDef { entry_pc: 0, initial_regs: [0; NUM_REGS], arg_cnode_size: 0 };
        let mapping =
            MemoryMapping { start: 0x4_0000, size: 4096, source: MappingSource::Slot(SlotPath::root(9)) };
        let stack = MemoryMapping { start: 0x8_0000, size: 1, source: MappingSource::Ephemeral };
        let image = Image {
            code: vec![0],
            packed_bitmask: vec![1],
            jump_table: vec![0],
            endpoints: BTreeMap::from([(0u8, def)]),
            memory_mappings: vec![mapping, stack],
            gas_slots: vec![SlotIdx(1)],
            quota_slots: vec![SlotIdx(2)],
            pinned_slots: BTreeMap::from([(SlotIdx(9), data)]),
            initial_slots: BTreeMap::from([(SlotIdx(10), data)]),
            yield_marker_slot: Some(SlotIdx(3)),
        };
        let Image {
            code: _,
            packed_bitmask: _,
            jump_table: _,
            endpoints: _,
            memory_mappings: _,
            gas_slots: _,
            quota_slots: _,
            pinned_slots: _,
            initial_slots: _,
            yield_marker_slot: _,
        } = image.clone();
        assert!(Cap::image_with_slots(&image, &[(SlotIdx(11), data)], &[(SlotIdx(11), data)]).is_err());
        let image = Cap::image_with_slots(&image, &[(SlotIdx(11), data)], &[(SlotIdx(12), data)]).unwrap();
        let image = cache.put_cap(&image).unwrap();
        let mut root = CNodeCap::new(8).unwrap();
        assert!(root.set(SlotIdx(1), Some(CapHashOrRef::Hash(data))).is_ok());
        assert!(root.set(SlotIdx(256), None).is_err());
        let root = cache.put_cap(&Cap::CNode(root)).unwrap();
        let instance =
            Cap::instance_with_overlays(image, image, root, &[(5, b"overlay")], 64, [0; 13], 0, 77);
        let instance = cache.put_cap(&instance).unwrap();
        match &*cache.get(CapHashOrRef::Hash(instance)).unwrap() {
            Cap::Instance(InstanceCap { root_cnode, image_hash, image_hash_chain, .. }) => {
                let (_, _, _): (CapHashOrRef, CapHash, CapHash) =
                    (*root_cnode, *image_hash, *image_hash_chain);
                assert_eq!((*root_cnode, *image_hash, *image_hash_chain), (root.into(), image, image));
            }
            Cap::Image(_) | Cap::Data(_) | Cap::CNode(_) | Cap::Type(_) => panic!("an instance was put"),
        }
        let Cap::Data(hello) = &*cache.get(data.into()).unwrap() else { panic!("a Data was put") };
        let mut buf = [1; 8];
        assert_eq!((hello.content_len(), hello.to_vec(), hello.read(1, &mut buf)), (5, b"Hello".to_vec(), 4));
        assert_eq!(buf, *b"ello\0\0\0\0");
        let mut cnode = CNodeCap::new(1).unwrap();
        cnode.set(SlotIdx(0), Some(data.into())).unwrap();
        assert_eq!((cnode.take(SlotIdx(0)).unwrap(), cnode.get(SlotIdx(0))), (Some(data.into()), None));
        assert!(cache.contains(data.into()) && cache.len() == 4 && Cap::empty_cnode(17).is_err());
        assert_eq!(cache.settle(data.into()), Ok(data));
        let slot: u32 = SlotIdx(7).0;
        assert_eq!(slot, 7);
        // These bind as names.
        let _: (Option<CapRef>, Option<OpError>, Option<CapError>) = (None, None, None);
    }
}

mod engine {
    use javm_exec::{
        Access, CopyingMemory, EcallHandler, EcallKind, EcallResult, ExitReason, GasCounter, Interpreter,
        Mem, Memory, PAGE_SIZE, Regs, unpack_bitmask,
    };

    struct Handler;

    impl EcallHandler for Handler {
        fn ecall(
            &mut self,
            kind: EcallKind,
            regs: &mut Regs,
            _: &mut dyn Mem,
            gas: &mut GasCounter,
        ) -> EcallResult {
            regs.gpr[7] = gas.remaining();
            match kind {
                EcallKind::Ecall => EcallResult::Continue,
                EcallKind::Ecalli(n) => EcallResult::Exit(ExitReason::HostCall(n)),
            }
        }
    }

    #[test]
    fn names() {
        let mut regs = Regs { pc: 0, gpr: [0; 13] };
        let mut gas = GasCounter::new(5);
        let mut memory = CopyingMemory::default();
        let kind = EcallKind::Ecalli(9);
        let result = Handler.ecall(kind, &mut regs, &mut memory, &mut gas);
        assert_eq!((result, regs.gpr[7]), (EcallResult::Exit(ExitReason::HostCall(9)), 5));
        assert_eq!(Handler.ecall(EcallKind::Ecall, &mut regs, &mut memory, &mut gas), EcallResult::Continue);
        assert_eq!((unpack_bitmask(&[0b101], 3), PAGE_SIZE), (vec![1, 0, 1], 4096));
        assert_ne!(Access::ReadOnly, Access::ReadWrite);
        let _: (Option<Interpreter>, Option<Memory>) = (None, None);
        for reason in [
            ExitReason::Halt,
            ExitReason::Trap,
            ExitReason::Panic,
            ExitReason::OutOfGas,
            ExitReason::PageFault(4096),
            ExitReason::HostCall(1),
            ExitReason::Ecall,
        ] {
            assert!(!reason.to_string().is_empty());
        }
    }
}

mod machine {
    use super::{Infallible, is};
    use javm::{
        callstack::{CallStack, DEFAULT_MAX_DEPTH, Entry, InstanceEntry, ReferenceEntry},
        ecall::{host_op, mgmt_op},
        error::VmError,
        image_cache::ImageCache,
        kernel_assist::{InProcessKernelAssist, KernelAssist, KernelImage, kernel_image_hash},
        vm::{CallResult, Vm},
    };
    use javm_cap::{CacheDirectory, Cap, CapHash, CapHashOrRef, SlotPath};

    type Machine = Vm<InProcessKernelAssist>;
    type Outcome = Result<CallResult, VmError>;

    #[test]
    fn signatures() {
        is::<fn(InProcessKernelAssist) -> Machine>(Vm::new);
        is::<fn(InProcessKernelAssist, usize) -> Machine>(Vm::with_max_depth);
        is::<fn(&mut Machine, &mut CacheDirectory, CapHash, u8, [u64; 4], u64) -> Outcome>(Vm::invoke_cached);
        is::<
            fn(
                &mut Machine,
                &mut CacheDirectory,
                CapHash,
                u8,
                [u64; 4],
                Option<CapHashOrRef>,
                u64,
            ) -> Outcome,
        >(Vm::invoke_with);
        is::<fn(&mut Machine, &mut CacheDirectory, Option<CapHashOrRef>) -> Outcome>(Vm::call_resume);
        is::<fn(&mut Machine, SlotPath) -> Result<(), VmError>>(Vm::drop_paused);
        is::<fn(&mut Machine, u64)>(Vm::add_gas);
        is::<fn(&mut Machine, &mut CacheDirectory) -> Result<(CapHash, u64), VmError>>(Vm::suspend);
        is::<fn(&mut Machine, &mut CacheDirectory, CapHash) -> Result<(), VmError>>(Vm::restore);
        is::<fn(&mut Machine) -> Vec<javm::Emit>>(Vm::take_emits);
        is::<fn(&Machine) -> Option<&javm::FaultInfo>>(Vm::last_fault);
        is::<fn() -> InProcessKernelAssist>(InProcessKernelAssist::new);
        is::<fn(&CallStack) -> bool>(CallStack::is_empty);
        is::<fn(&ImageCache) -> bool>(ImageCache::is_empty);
        is::<fn(&ImageCache) -> usize>(ImageCache::len);
        const { assert!(DEFAULT_MAX_DEPTH >= 1024) };
        assert_eq!((mgmt_op::MGMT_COPY, host_op::HOST_CALL), (1, 26));
        assert_ne!(kernel_image_hash(KernelImage::Gas), kernel_image_hash(KernelImage::Quota));
    }

    /// All of them are at the root, too.
    #[test]
    #[expect(unused_qualifications, reason = "the paths are what is tested")]
    fn the_root_has_them() {
        fn same<T>(_: Option<T>, _: Option<T>) {}
        same::<Machine>(None, None::<javm::Vm<javm::InProcessKernelAssist>>);
        same::<CallResult>(None, None::<javm::CallResult>);
        same::<CallStack>(None, None::<javm::CallStack>);
        same::<Entry>(None, None::<javm::Entry>);
        same::<InstanceEntry>(None, None::<javm::InstanceEntry>);
        same::<ReferenceEntry>(None, None::<javm::ReferenceEntry>);
        same::<VmError>(None, None::<javm::VmError>);
        same::<ImageCache>(None, None::<javm::ImageCache>);
        same::<KernelImage>(None, None::<javm::KernelImage>);
        assert_eq!(javm::DEFAULT_MAX_DEPTH, DEFAULT_MAX_DEPTH);
        assert_eq!(javm::mgmt_op::REPLY, mgmt_op::REPLY);
        assert_eq!(javm::host_op::HOST_YIELD, host_op::HOST_YIELD);
        assert_eq!(javm::kernel_image_hash(KernelImage::Pager), kernel_image_hash(KernelImage::Pager));
    }

    /// An embedder is one type.
    fn embed(assist: impl KernelAssist) -> Result<u64, Infallible> {
        let mut vm = Vm::new(assist);
        let mut cache = CacheDirectory::new();
        let image = javm_cap::image::Image {
            code: vec![10, 0, 0],
            packed_bitmask: vec![0b101],
            ..Default::default()
        };
        let image = cache.put_cap(&Cap::image_with_slots(&image, &[], &[]).unwrap()).unwrap();
        let root = cache.put_cap(&Cap::empty_cnode(8).unwrap()).unwrap();
        let instance = Cap::instance_with_overlays(image, image, root, &[], 0, [0; 13], 0, 0);
        let instance = cache.put_cap(&instance).unwrap();
        assert!(vm.stack.is_empty() && vm.stack.entries().is_empty() && vm.image_cache.is_empty());
        let result = vm.invoke_cached(&mut cache, instance, 0, [7, 0, 0, 0], 10_000).unwrap();
        assert_eq!((vm.image_cache.len(), vm.image_cache.is_empty()), (1, false));
        match result {
            CallResult::Halt { return_value, post_instance_hash, reflected_slot0, gas_used } => {
                let (_, _): (CapHash, Option<CapHashOrRef>) = (post_instance_hash, reflected_slot0);
                assert!(gas_used > 0 && post_instance_hash == instance);
                Ok(return_value)
            }
            CallResult::Faulted { reason, reflected_slot0, gas_used } => {
                panic!("{reason} {reflected_slot0:?} {gas_used}")
            }
            CallResult::Paused { marker_payload, gas_used } => panic!("{marker_payload:?} {gas_used}"),
        }
    }

    #[test]
    fn a_call() {
        assert_eq!(embed(InProcessKernelAssist::new()), Ok(7));
    }
}
