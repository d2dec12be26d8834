//! What the front page shows is what there is.

mod support;

use std::fs;

use support::{golden_text, root};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn the_library_example_is_the_one_that_compiles() {
    let source = fs::read_to_string(root().join("crates/javm-cli/examples/embed.rs")).unwrap();
    let code = source.split_once("\n\n").expect("a comment, a blank line, the code").1;
    assert!(readme().contains(code), "README.md does not show examples/embed.rs as it is");
}

#[test]
fn the_scenario_prints_what_the_front_page_shows() {
    let (readme, played) = (readme(), golden_text("play.txt"));
    let shown = readme.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let mut lines = played.lines();
    for line in shown.lines().filter(|l| !l.trim().is_empty() && l.trim() != "…") {
        assert!(lines.any(|l| l == line), "README.md shows a line that `javm play` does not print: {line}");
    }
}

#[test]
fn links_lead_somewhere() {
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/cli.md"] {
        let path = root().join(page);
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(t, _)| t) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(path.parent().unwrap().join(file).exists(), "{page}: {target} leads nowhere");
        }
    }
}
