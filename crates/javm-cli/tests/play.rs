//! `javm play`: every scenario on every engine, and what happens when a scenario is wrong.

mod support;

use serde_json::{Value, json};
use support::{Scratch, golden, guest, javm, line, root};

const BACKENDS: &[&str] = &["auto", "interpreter", "recompiler"];
const MODELS: &[&str] = &["pipeline", "per-instruction"];

/// What must not depend on the engine or on prices: of each step all but gas and where a machine stood.
fn results(report: &Value) -> Value {
    let step = |step: &Value| {
        let mut step = step.clone();
        if let Some(object) = step.as_object_mut() {
            object.remove("gas_used");
            for fault in ["fault", "handled_fault"] {
                if let Some(fault) = object.get_mut(fault) {
                    *fault = fault["reason"].clone();
                }
            }
        }
        step
    };
    let steps: Vec<_> = report["steps"].as_array().unwrap().iter().map(step).collect();
    json!({ "programs": report["programs"], "steps": steps })
}

#[test]
fn every_scenario_gives_the_same_results_on_every_engine() {
    let folder = root().join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let mut first: Option<Value> = None;
        for (backend, model) in BACKENDS.iter().flat_map(|b| MODELS.iter().map(move |m| (b, m))) {
            let words =
                ["play", file.to_str().unwrap(), "--json", "--backend", backend, "--gas-model", model];
            let run = javm(&words);
            if run.code == Some(2) && run.err.contains("cannot run here") {
                println!("{backend}: not on this machine");
                continue;
            }
            let report = run.json(0);
            assert!(report["failure"].is_null());
            assert_eq!(report["gas_model"], *model);
            let found = results(&report);
            assert_eq!(
                *first.get_or_insert_with(|| found.clone()),
                found,
                "{} {backend} {model}",
                file.display()
            );
        }
    }
}

#[test]
fn the_built_in_scenario_is_the_bank_and_its_ledger() {
    golden("play.txt", line("play --backend interpreter").with_code(0));
    let (built_in, file) = (line("play --json").json(0), root().join("tests/scenarios/bank-and-ledger.toml"));
    let file = javm(&["play", file.to_str().unwrap(), "--json"]).json(0);
    assert_eq!((&built_in["steps"], &built_in["gas_used"]), (&file["steps"], &file["gas_used"]));
    let colourful = line("play --color always");
    assert!(colourful.with_code(0).contains("\x1b["));
    assert!(!line("play").with_code(0).contains('\x1b'), "no colour but on a terminal");
}

fn scenario(steps: &str) -> String {
    let counter = guest("counter");
    format!(
        "title = \"t\"\n[programs]\ncounter = '{counter}'\n[[step]]\ndo = \"instance\"\nname = \"c\"\n\
         program = \"counter\"\n{steps}"
    )
}

#[test]
fn what_is_not_as_expected_exits_1_with_the_first_difference() {
    let scratch = Scratch::new();
    let call = "[[step]]\ndo = \"call\"\ninstance = \"c\"\nendpoint = \"add\"\nargs = [2]\n";
    for (n, (expect, difference)) in [
        ("expect = { value = 3 }", "c.add: value is 2 (0x2), expected 3 (0x3)"),
        ("expect = { fault = \"trap\" }", "c.add: fault is none, expected trap"),
        ("expect = { handled = \"trap\" }", "c.add: handled fault is none, expected trap"),
        ("expect = { changed = false }", "c.add: the instance has changed"),
        ("expect = { output = { text = \"x\" } }", "c.add: output differs"),
        ("expect = { same_as = \"zero\" }", "c.add: the instance is"),
        ("gas = 1", "c.add: fault is out-of-gas, expected none"),
    ]
    .into_iter()
    .enumerate()
    {
        let zero = "[[step]]\ndo = \"snapshot\"\nof = \"c\"\nname = \"zero\"\n";
        let never = "\n[[step]]\ndo = \"say\"\ntext = \"not reached\"\n";
        let text = scenario(&format!("{zero}{call}{expect}{never}"));
        let file = scratch.file(&format!("{n}.toml"), text.as_bytes());
        let run = line(&format!("play {file}"));
        let out = run.with_code(1);
        assert!(out.contains(&format!("step 3: {difference}")), "{expect}: {out}");
        assert!(!out.contains("not reached"));
        assert_eq!(line(&format!("play {file} --json")).json(1)["failure"]["step"], 3);
    }
    let same = "[[step]]\ndo = \"different\"\na = \"c\"\nb = \"c\"\n";
    let file = scratch.file("different.toml", scenario(same).as_bytes());
    assert!(line(&format!("play {file}")).with_code(1).contains("step 2: `c` and `c` are both"));
}

#[test]
fn what_is_no_scenario_exits_2() {
    let scratch = Scratch::new();
    for (n, (text, words)) in [
        ("", "title"),
        ("title = ", "TOML"),
        (&*scenario("[[step]]\ndo = \"dance\"\n"), "unknown variant `dance`"),
        (&scenario("[[step]]\ndo = \"show\"\ninstance = \"d\"\n"), "nothing is called `d`"),
        (&scenario("[[step]]\ndo = \"show\"\ninstance = \"c\"\nmore = 1\n"), "more"),
        (&scenario("[[step]]\ndo = \"show\"\ninstance = \"c/9\"\n"), "slot 9 of `c` holds no instance"),
        (&scenario("[[step]]\ndo = \"show\"\ninstance = \"c/1/2/3/4/5\"\n"), "three steps"),
        (
            &scenario("[[step]]\ndo = \"put\"\ninstance = \"c\"\nslot = \"7\"\nvalue = { hex = \"0\" }\n"),
            "hex",
        ),
        (
            &scenario("[[step]]\ndo = \"put\"\ninstance = \"c\"\nslot = \"7\"\nvalue = { cnode = 17 }\n"),
            "2^16",
        ),
        (&scenario("[[step]]\ndo = \"call\"\ninstance = \"c\"\nendpoint = \"sing\"\n"), "no endpoint `sing`"),
        ("title = \"t\"\nstep = []\n[programs]\nx = \"not-there.polkavm\"\n", "not-there.polkavm"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = scratch.file(&format!("{n}.toml"), text.as_bytes());
        let run = line(&format!("play {file}"));
        run.with_code(2);
        assert!(run.err.contains(words), "{text}: {}", run.err);
    }
    line(&format!("play {}", scratch.file("binary", &[0xFF, 0xFE]))).with_code(2);
}
