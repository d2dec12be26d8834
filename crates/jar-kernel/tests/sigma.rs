//! A chain instance over σ: files with quotas, meters per block, roots.

use jar_kernel::{Genesis, GenesisError, SigmaKernelAssist};
use javm::{CallResult, ExitReason, Vm};
use javm_cap::{CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, SlotIdx, image::Image};
use javm_isa::asm::assemble;

const GAS: u64 = 1_000_000;

fn image(cache: &mut CacheDirectory, text: &str, yield_marker_slot: Option<SlotIdx>) -> CapHash {
    let code = assemble(text).expect("valid assembly");
    let (code, packed_bitmask, jump_table) = (code.code, code.packed_bitmask, code.jump_table);
    let quota_slots = vec![SlotIdx(241)];
    let image =
        Image { code, packed_bitmask, jump_table, quota_slots, yield_marker_slot, ..Image::default() };
    cache.put_cap(&Cap::image_with_slots(&image, &[], &[]).expect("valid")).expect("nothing is missing")
}

/// Saves slot 9 as a file, paid by the active quota, and opens the file again into slot 10.
const SAVE_AND_OPEN: &str = "load_imm a0, 9\nload_imm a1, -1\nload_imm a2, 248\necalli 25\nmove_reg s0, a0\n\
                             load_imm a1, 10\nload_imm a2, 247\necalli 24\nmove_reg a0, s0\necalli 0";

struct Chain {
    vm: Vm<SigmaKernelAssist>,
    cache: CacheDirectory,
}

impl Chain {
    fn new(content: &[u8], quota: u64) -> Self {
        let mut cache = CacheDirectory::new();
        let data = cache.put_cap(&Cap::data_inline(content)).expect("data");
        let image = image(&mut cache, SAVE_AND_OPEN, None);
        let genesis = Genesis { extra: vec![(SlotIdx(9), data)], ..Genesis::default() };
        let state = genesis.build(&mut cache, image).expect("a chain");
        let mut assist = SigmaKernelAssist::new(state);
        assist.reset_block_state();
        assist.seed_root_gas(GAS);
        assist.seed_root_quota(quota);
        Self { vm: Vm::new(assist), cache }
    }

    fn call(&mut self) -> CallResult {
        let assist = &self.vm.kernel_assist;
        let (chain, gas) = (assist.state().chain, assist.root_gas());
        let result =
            self.vm.invoke_cached(&mut self.cache, chain, 0, [0; 4], gas).expect("nothing is missing");
        assert!(self.vm.kernel_assist.spend_root_gas(result.gas_used()));
        result
    }

    fn table(&self, instance: CapHash) -> CNodeCap {
        let Some(Cap::Instance(instance)) = self.cache.get(instance.into()).as_deref().cloned() else {
            panic!("no instance")
        };
        let Some(Cap::CNode(table)) = self.cache.get(instance.root_cnode).as_deref().cloned() else {
            panic!("no table")
        };
        table
    }
}

#[test]
fn a_file_is_saved_paid_and_opened() {
    let mut chain = Chain::new(b"content\0\0", 100);
    let before = chain.vm.kernel_assist.state().root();
    let CallResult::Halt { return_value: 0, post_instance_hash, .. } = chain.call() else {
        panic!("{}", chain.vm.last_fault().expect("a fault"))
    };
    let table = chain.table(post_instance_hash);
    assert_eq!(table.get(SlotIdx(10)), table.get(SlotIdx(9)), "what is opened is what was saved");
    let assist = &mut chain.vm.kernel_assist;
    assist.set_chain(post_instance_hash);
    let file = assist.state().files[&0];
    assert_eq!((file.size, file.references, file.quota), (7, 1, Some(0)), "the stripped size counts");
    assert_eq!(javm::KernelAssist::quota(assist, 0), 93);
    assert_ne!(assist.state().root(), before);
    assert!(matches!(chain.call(), CallResult::Halt { return_value: 0, .. }));
    let assist = &mut chain.vm.kernel_assist;
    assert_eq!((assist.state().files.len(), assist.state().files[&0].references), (1, 2));
    assert!(assist.root_gas() < GAS);
    assert!(assist.release_file(0) && assist.release_file(0) && !assist.release_file(0));
    assert_eq!(javm::KernelAssist::quota(assist, 0), 100, "released storage is credited");
    assert!(assist.state().files.is_empty());
}

#[test]
fn a_save_that_the_quota_cannot_pay_changes_nothing() {
    let mut chain = Chain::new(b"content", 6);
    let before = chain.vm.kernel_assist.clone();
    let result = chain.call();
    assert!(matches!(result, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{result:?}");
    let words = chain.vm.last_fault().expect("a fault").to_string();
    assert!(words.starts_with("storage exhausted: quota 0 cannot pay"), "{words}");
    let after = &chain.vm.kernel_assist;
    assert_eq!(after.state(), before.state());
    assert_eq!(javm::KernelAssist::quota(after, 0), 6);
}

#[test]
fn a_block_begins_with_what_it_is_given() {
    let mut chain = Chain::new(b"content", 100);
    javm::KernelAssist::set_gas_meter(&mut chain.vm.kernel_assist, 5, 77);
    chain.vm.kernel_assist.reset_block_state();
    let assist = &chain.vm.kernel_assist;
    assert_eq!((assist.root_gas(), javm::KernelAssist::gas_meter(assist, 5)), (0, 0));
    assert_eq!(javm::KernelAssist::quota(assist, 0), 0);
}

#[test]
fn genesis_issues_resources_where_the_image_wants_them() {
    let mut cache = CacheDirectory::new();
    let with = image(&mut cache, "ecalli 0", Some(SlotIdx(3)));
    let state = Genesis::default().build(&mut cache, with).expect("a chain");
    assert_eq!(state.root(), Genesis::default().build(&mut cache, with).expect("a chain").root());
    let Some(Cap::Instance(instance)) = cache.get(state.chain.into()).as_deref().cloned() else { panic!() };
    let Some(Cap::CNode(table)) = cache.get(instance.root_cnode).as_deref().cloned() else { panic!() };
    let filled: Vec<u32> = table.iter().map(|(slot, _)| slot.0).collect();
    assert_eq!(filled, [3, 240, 241, 242, 243, 244, 245, 246, 247, 248]);
    let data = cache.put_cap(&Cap::data_inline(b"x")).expect("data");
    let missing = Genesis::default().build(&mut cache, [9; 32]);
    assert!(matches!(missing, Err(GenesisError::Cap(_))), "{missing:?}");
    let not_an_image = Genesis::default().build(&mut cache, data);
    assert!(matches!(not_an_image, Err(GenesisError::Publish(_))), "{not_an_image:?}");
    assert!(cache.get(CapHashOrRef::Hash(data)).is_some());
}
