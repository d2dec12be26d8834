//! Slot paths: against a model of nested maps, and each refusal in words.

mod common;

use common::*;
use javm_cap::path::{check_apart, decode_path, move_path, read_path, read_source, swap_paths, write_path};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHashOrRef, OpError, OpFailure, Owner, SlotIdx, SlotPath,
};

fn path(root: u8, steps: &[u16]) -> SlotPath {
    steps.iter().fold(SlotPath::root(root), |path, step| path.step(*step).unwrap())
}

/// What a table holds, for comparing: nested cnodes opened, everything else by its hash.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    Leaf(CapHashOrRef),
    Table(u8, Vec<Option<Model>>),
}

impl Model {
    fn of(dir: &CacheDirectory, name: CapHashOrRef) -> Self {
        match &*dir.get(name).unwrap() {
            Cap::CNode(cnode) => Self::table(dir, cnode),
            _ => Self::Leaf(name),
        }
    }

    fn table(dir: &CacheDirectory, cnode: &CNodeCap) -> Self {
        let slots = (0..cnode.slots()).map(|slot| cnode.get(SlotIdx(slot)).map(|name| Self::of(dir, name)));
        Self::Table(cnode.size_log(), slots.collect())
    }

    fn at(&mut self, path: SlotPath) -> Option<&mut Option<Self>> {
        let indices = std::iter::once(usize::from(path.root_slot()));
        let indices: Vec<_> = indices.chain(path.steps().iter().map(|step| usize::from(*step))).collect();
        let (last, way) = indices.split_last()?;
        let mut here = self;
        for index in way {
            let Self::Table(_, slots) = here else { return None };
            here = slots.get_mut(*index)?.as_mut()?;
        }
        let Self::Table(_, slots) = here else { return None };
        slots.get_mut(*last)
    }
}

fn random_path(random: &mut Random) -> SlotPath {
    let steps: Vec<u16> = (0..random.below(4)).map(|_| random.below(5) as u16).collect();
    path(random.below(4) as u8, &steps)
}

/// Random operations, on the tables and on the model; whoever holds an old table keeps what it saw.
#[test]
fn operations_agree_with_nested_maps() {
    for seed in 1..200 {
        let mut random = Random(seed * 104_729);
        let mut dir = CacheDirectory::new();
        let mut root = CNodeCap::new(2).unwrap();
        let mut model = Model::table(&dir, &root);
        let mut owner = dir.new_owner();
        let mut snapshot = (root.clone(), model.clone());
        for _ in 0..120 {
            let (a, b) = (random_path(&mut random), random_path(&mut random));
            let before = (root.clone(), model.clone());
            let result = match random.below(5) {
                0 => {
                    let cap = if random.below(3) == 0 {
                        random_data(&mut random).into()
                    } else {
                        Cap::empty_cnode(2).unwrap()
                    };
                    let name = dir.insert_owned(cap, owner).into();
                    let content = Some(Model::of(&dir, name));
                    write_path(&mut dir, &mut root, a, Some(name), owner).map(|_| {
                        *model.at(a).unwrap() = content;
                    })
                }
                1 => write_path(&mut dir, &mut root, a, None, owner).map(|old| {
                    let expected = model.at(a).unwrap().take();
                    assert_eq!(old.map(|name| Model::of(&dir, name)), expected);
                }),
                2 => move_path(&mut dir, &mut root, a, b, owner).map(|()| {
                    let moved = model.at(a).unwrap().take();
                    *model.at(b).unwrap() = moved;
                }),
                3 => swap_paths(&mut dir, &mut root, a, b, owner).map(|()| {
                    let first = model.at(a).unwrap().take();
                    let second = std::mem::replace(model.at(b).unwrap(), first);
                    *model.at(a).unwrap() = second;
                }),
                _ => read_path(&dir, &root, a).map(|name| {
                    let held = name.map(|name| Model::of(&dir, name));
                    assert_eq!(Some(&mut held.clone()), model.at(a));
                }),
            };
            match result {
                Ok(()) => assert_eq!(Model::table(&dir, &root), model),
                Err(OpFailure::Refused(_)) => assert_eq!((root.clone(), model.clone()), before),
                Err(error) => panic!("{error}"),
            }
            if random.below(20) == 0 {
                // From here on a copy of the table exists that must not change: a new owner.
                assert_eq!(Model::table(&dir, &snapshot.0), snapshot.1);
                snapshot = (root.clone(), model.clone());
                owner = dir.new_owner();
            }
        }
        assert_eq!(Model::table(&dir, &snapshot.0), snapshot.1);
    }
}

#[test]
fn owned_tables_change_in_place_and_others_do_not() {
    let mut dir = CacheDirectory::new();
    let owner = dir.new_owner();
    let mut root = CNodeCap::new_root();
    let inner = dir.insert_owned(Cap::empty_cnode(16).unwrap(), owner);
    write_path(&mut dir, &mut root, path(1, &[]), Some(inner.into()), owner).unwrap();
    let count = dir.len();
    for slot in 0..1000 {
        write_path(&mut dir, &mut root, path(1, &[slot]), Some([1; 32].into()), owner).unwrap();
    }
    assert_eq!((dir.len(), root.get(SlotIdx(1))), (count, Some(inner.into())));
    let other = dir.new_owner();
    let old = root.clone();
    write_path(&mut dir, &mut root, path(1, &[5]), None, other).unwrap();
    assert_ne!(root.get(SlotIdx(1)), Some(inner.into()));
    assert_eq!(read_path(&dir, &old, path(1, &[5])), Ok(Some([1; 32].into())));
    assert_eq!(read_path(&dir, &root, path(1, &[5])), Ok(None));
    // A settled table is nobody's.
    let name = root.get(SlotIdx(1)).unwrap();
    dir.settle(name).unwrap();
    write_path(&mut dir, &mut root, path(1, &[6]), None, other).unwrap();
    assert_ne!(root.get(SlotIdx(1)), Some(name));
}

#[test]
fn each_refusal_has_its_words() {
    let mut dir = CacheDirectory::new();
    let mut root = CNodeCap::new_root();
    let data = dir.put_cap(&Cap::data_inline(b"x")).unwrap();
    let table = dir.put_cap(&Cap::empty_cnode(2).unwrap()).unwrap();
    root.set(SlotIdx(1), Some(data.into())).unwrap();
    root.set(SlotIdx(2), Some(table.into())).unwrap();
    let before = root.clone();
    let none = Owner::NONE;
    let cases: [(OpFailure, &str); 8] = [
        (
            read_path(&dir, &root, path(1, &[0])).unwrap_err(),
            "slot 1/0: step 1 goes through something that is no cnode",
        ),
        (
            read_path(&dir, &root, path(2, &[3, 0])).unwrap_err(),
            "slot 2/3/0: step 2 goes through something that is no cnode",
        ),
        (
            write_path(&mut dir, &mut root, path(2, &[4]), None, none).unwrap_err(),
            "slot 2/4: index 4 is outside a cnode of 4 slots",
        ),
        (read_source(&dir, &root, path(2, &[3])).unwrap_err(), "slot 2/3 is empty"),
        (
            move_path(&mut dir, &mut root, path(2, &[]), path(2, &[1]), none).unwrap_err(),
            "slots 2 and 2/1: one lies inside the other",
        ),
        (
            swap_paths(&mut dir, &mut root, path(2, &[1]), path(2, &[]), none).unwrap_err(),
            "slots 2/1 and 2: one lies inside the other",
        ),
        (
            check_apart(path(9, &[]), path(9, &[])).unwrap_err().into(),
            "slots 9 and 9: one lies inside the other",
        ),
        (
            decode_path(1 << 62).unwrap_err().into(),
            "0x4000000000000000 is no slot path: bits 62..64 of a slot path must be zero",
        ),
    ];
    for (error, words) in cases {
        assert!(matches!(error, OpFailure::Refused(_)));
        assert_eq!(error.to_string(), words);
    }
    assert_eq!(root, before);
    // A move whose destination is refused leaves the source alone.
    let refused = move_path(&mut dir, &mut root, path(1, &[]), path(2, &[9]), none).unwrap_err();
    assert!(matches!(refused, OpFailure::Refused(OpError::SlotRange { .. })));
    assert_eq!(root, before);
    // A missing cnode is the host's matter.
    root.set(SlotIdx(3), Some([7; 32].into())).unwrap();
    assert_eq!(
        read_path(&dir, &root, path(3, &[0])),
        Err(OpFailure::Host(CapError::Missing { hash: [7; 32] }))
    );
    assert_eq!(
        write_path(&mut dir, &mut root, path(2, &[0]), Some([0; 32].into()), none),
        Err(OpFailure::Host(CapError::ZeroHash))
    );
    // Root slots past the end of a smaller root.
    let small = CNodeCap::new(2).unwrap();
    assert!(matches!(
        read_path(&dir, &small, path(4, &[])),
        Err(OpFailure::Refused(OpError::SlotRange { .. }))
    ));
}
