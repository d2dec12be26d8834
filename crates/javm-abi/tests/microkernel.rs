//! The table of operations in `docs/microkernel.md` is what the tables say: `JAVM_BLESS=1` rewrites it.

use std::fmt::Write as _;

use javm_abi::{
    microkernel::{EcallOp, KernelCall, KernelOperand},
    reg::NAMES,
};

const START: &str = "<!-- made from the tables in crates/javm-abi: JAVM_BLESS=1 cargo test -p javm-abi -->\n";
const END: &str = "<!-- end -->";

fn operands(operands: &[KernelOperand]) -> String {
    let name = |o: &KernelOperand| format!("φ{} ({}) {}", o.register, NAMES[usize::from(o.register)], o.name);
    if operands.is_empty() {
        "–".to_owned()
    } else {
        operands.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

fn price((fixed, per_page): (u64, u64)) -> String {
    if per_page == 0 { fixed.to_string() } else { format!("{fixed} + {per_page} per page") }
}

fn tables() -> Result<String, std::fmt::Error> {
    let mut out = String::from(
        "\nBy `ecall`, φ11 says which; other numbers fail.\n\n\
         | φ11 | name | subject | object | other operands | effect | gas |\n| --: | --- | --- | --- | --- | --- | --: |\n",
    );
    for op in EcallOp::ALL {
        let (name, subject, object, effect) = (op.name(), op.subject(), op.object(), op.effect());
        let number = op.number().unwrap_or_default();
        let (operands, price) = (operands(op.operands()), price(op.price()));
        writeln!(out, "| {number} | {name} | {subject} | {object} | {operands} | {effect} | {price} |")?;
    }
    out += "\nCALL, and `ecalli`, by the kind of capability; the gas is all of it.\n\n\
            | kind | name | operands | effect | gas |\n| --- | --- | --- | --- | --: |\n";
    for call in KernelCall::ALL {
        let (kind, name, effect) = (call.kind(), call.name(), call.effect());
        let (operands, price) = (operands(call.operands()), price(call.price()));
        writeln!(out, "| {kind} | {name} | {operands} | {effect} | {price} |")?;
    }
    out += "\nWhat fails, besides references that lead nowhere:\n\n";
    let ops = EcallOp::ALL.iter().map(|op| (op.name(), op.failures()));
    let calls = KernelCall::ALL.iter().map(|call| (call.name(), call.failures()));
    // CALL_VM is there twice.
    let mut last = "";
    for (name, failures) in ops.chain(calls).filter(|(_, failures)| !failures.is_empty()) {
        if name != core::mem::replace(&mut last, name) {
            writeln!(out, "* {name}: {}", failures.join("; "))?;
        }
    }
    out.push('\n');
    Ok(out)
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/microkernel.md");
    let file = std::fs::read_to_string(path).expect("the page is checked in");
    let (front, rest) = file.split_once(START).expect("the page says where the table starts");
    let (table, behind) = rest.split_once(END).expect("the page says where the table ends");
    let now = tables().expect("writing to a string");
    if std::env::var_os("JAVM_BLESS").is_some() {
        let new = format!("{front}{START}{now}{END}{behind}");
        std::fs::write(path, new).expect("the folder of documents is there");
        return;
    }
    assert!(
        table == now,
        "docs/microkernel.md is out of date: JAVM_BLESS=1 cargo test -p javm-abi rewrites it"
    );
}
