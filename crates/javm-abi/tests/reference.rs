//! `docs/operations.md` is what the table says: `JAVM_BLESS=1` rewrites it.

use std::fmt::Write as _;

use javm_abi::{
    GuestOp, OperandKind, Price, Unit,
    ops::{FIRST_USER_OP, USER_OP_PRICE},
    reg::NAMES,
};

const PREFACE: &str = "\
# Guest operations

*Made from the table in `crates/javm-abi` by its tests; `JAVM_BLESS=1 cargo test -p javm-abi` rewrites this file.*

What an instance asks of the kernel. [The capability machine](capability-machine.md) explains what they are good for;
this is the reference.

* `ecalli N` asks for operation N; `ecall` asks for the operation in φ11. In Rust, `javm_guest::raw` has one function
  for each, under its name, and `Slot` and its friends have the checked ones.
* Operands are in φ7 (a0) and the registers after it. A slot is given as a *path*: a number below 256 is a slot of the
  root table; bits 8..26, 26..44 and 44..62 are steps into nested cnodes, each the index + 1, 0 = the path ends. Bits
  62..64 are zero.
* A **refused** operation faults the instance that asked, with `Trap`; nothing has changed, the fixed price is spent.
* A **price** that cannot be paid is \"out of gas\" at that instruction: nothing is done, nothing is paid, and who
  resumes the instance has the operation asked for again.
";

fn price(price: Price) -> String {
    match price.unit {
        Unit::None => price.fixed.to_string(),
        unit => format!("{} + {} per {}", price.fixed, price.per_unit, unit.describe()),
    }
}

fn operands(op: GuestOp) -> String {
    let all: Vec<_> = op.operands().iter().map(|o| format!("φ{} {}", o.register, o.name)).collect();
    if all.is_empty() { "–".to_owned() } else { all.join(", ") }
}

fn reference() -> Result<String, std::fmt::Error> {
    let mut out = PREFACE.to_owned();
    out += "\n## Overview\n\n| op | name | operands | gas |\n| --: | --- | --- | --- |\n";
    for &op in GuestOp::ALL {
        let (number, name) = (op.number(), op.name());
        writeln!(
            out,
            "| {number} | [`{name}`](#{}) | {} | {} |",
            name.to_lowercase(),
            operands(op),
            price(op.price())
        )?;
    }
    writeln!(
        out,
        "| {FIRST_USER_OP}… | the chain's own | φ7 to φ12 | {} + what the chain asks |",
        price(USER_OP_PRICE)
    )?;

    out += "\n## Kinds of operands\n\n| kind | refused when |\n| --- | --- |\n";
    for kind in OperandKind::ALL {
        let refusal = if kind.refusal().is_empty() { "see the operation" } else { kind.refusal() };
        writeln!(out, "| {} | {refusal} |", kind.describe())?;
    }

    out += "\n## Operations\n";
    for &op in GuestOp::ALL {
        writeln!(out, "\n### {}\n\n* operation {}: {}", op.name(), op.number(), op.effect())?;
        for operand in op.operands() {
            let register = operand.register;
            let name = NAMES[usize::from(register)];
            writeln!(out, "* φ{register} ({name}) `{}`: {}", operand.name, operand.kind.describe())?;
        }
        writeln!(out, "* gas: {}", price(op.price()))?;
        if !op.refusals().is_empty() {
            out += "* refused:\n";
            op.refusals().iter().try_for_each(|why| writeln!(out, "  * {why}"))?;
        }
    }
    writeln!(
        out,
        "\n### The chain's own\n\nOperations from {FIRST_USER_OP} on mean what the embedder says \
         (`KernelAssist::user_call`). One that it does not know is refused, as is every other number that is not \
         here."
    )?;
    Ok(out)
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let now = reference().expect("writing to a string");
    if std::env::var_os("JAVM_BLESS").is_some() {
        std::fs::write(path, now).expect("the folder of documents is there");
        return;
    }
    let file = std::fs::read_to_string(path).expect("the reference is checked in");
    assert!(
        file == now,
        "docs/operations.md is out of date: JAVM_BLESS=1 cargo test -p javm-abi rewrites it"
    );
}

#[test]
fn every_operation_says_what_it_refuses() {
    for &op in GuestOp::ALL {
        // Something can go wrong with each that has an operand which is no plain number.
        let checked = op.operands().iter().any(|o| !o.kind.refusal().is_empty());
        assert!(
            checked || !op.refusals().is_empty() || matches!(op, GuestOp::Reply | GuestOp::GasLeft),
            "{}",
            op.name()
        );
        assert!(op.refusals().iter().all(|why| !why.is_empty() && !why.ends_with('.')), "{}", op.name());
    }
}
