//! First light: the names of section 11 bind, and a value goes round.
use javm_cap::*;
#[test]
fn round() {
    let mut dir = CacheDirectory::new();
    let data = dir.put_cap(&Cap::data_inline(b"Hello\0\0")).unwrap();
    assert_eq!(data, dir.put_cap(&Cap::data_inline(b"Hello")).unwrap());
    let mut c = CNodeCap::new(8).unwrap();
    let r = dir.insert_working(Cap::data_inline(b"x"));
    c.set(SlotIdx(3), Some(r.into())).unwrap();
    let h = dir.put_cap(&Cap::CNode(c)).unwrap();
    let cap = dir.get(h.into()).unwrap();
    assert_eq!(decode(&encode(&cap).unwrap()).unwrap(), *cap);
}
