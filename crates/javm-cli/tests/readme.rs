//! What the front page shows is what there is.

mod support;

use std::fs;

use support::{golden_text, line, root};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn the_library_example_is_the_one_that_compiles() {
    let source = fs::read_to_string(root().join("crates/javm-cli/examples/readme.rs")).unwrap();
    let code = source.split_once("\n\n").expect("a comment, a blank line, the code").1;
    assert!(readme().contains(code), "README.md does not show examples/readme.rs as it is");
}

#[test]
fn the_scenario_prints_what_the_front_page_shows() {
    // The golden file is of the backend that runs everywhere, the page of the one that is the default.
    let played = golden_text("play.txt").replace("on the interpreter", "on the recompiler");
    let readme = readme();
    let shown = readme.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let mut lines = played.lines();
    for line in shown.lines().filter(|l| !l.trim().is_empty() && l.trim() != "…") {
        assert!(lines.any(|l| l == line), "README.md shows a line that `javm play` does not print: {line}");
    }
}

/// The pages that people read, relative to the root.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut docs: Vec<_> = docs.map(|name| format!("docs/{}", name.to_str().unwrap())).collect();
    docs.retain(|page| page.ends_with(".md"));
    docs.sort();
    assert!(docs.len() > 5, "docs/ has pages");
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "guests/README.md"];
    others.map(str::to_owned).into_iter().chain(docs).collect()
}

/// A page without its blocks of code, where brackets mean other things.
fn prose(text: &str) -> String {
    let mut code = false;
    let mut keep = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !fence && !code
    };
    text.lines().filter(|line| keep(line)).map(|line| format!("{line}\n")).collect()
}

/// The name by which a link leads to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let path = root().join(&page);
        let text = prose(&fs::read_to_string(&path).unwrap());
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(t, _)| t) {
            if target.contains("://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{page}: {target} leads nowhere");
            if !fragment.is_empty() && file.extension().is_some_and(|extension| extension == "md") {
                let text = prose(&fs::read_to_string(&file).unwrap());
                let found = text.lines().any(|line| line.starts_with('#') && anchor(line) == fragment);
                assert!(found, "{page}: {target} leads to no heading");
            }
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages().iter().filter_map(|page| page.strip_prefix("docs/")) {
        assert!(page == "README.md" || index.contains(page), "{page} is not in the index");
    }
}

/// Blocks that start with `$ javm …` show what the command prints, but for the backend's name where there is no
/// recompiler; `…` stands for lines that are left out.
#[test]
fn the_gas_page_shows_what_the_command_prints() {
    let page = fs::read_to_string(root().join("docs/gas.md")).unwrap();
    let mut blocks = 0;
    for (words, shown) in page.split("```text\n$ javm ").skip(1).filter_map(|rest| rest.split_once('\n')) {
        let guests = root().join("guests/blobs/");
        let ran = line(&words.replace("guests/blobs/", guests.to_str().unwrap()));
        let printed = ran.with_code(0).replace("interpreter)", "recompiler)");
        let mut printed = printed.lines();
        for line in shown.split_once("```").unwrap().0.lines().filter(|l| !l.trim().is_empty() && *l != "…")
        {
            let found = printed.any(|printed| printed == line);
            assert!(found, "docs/gas.md shows a line that `javm {words}` does not print: {line}");
        }
        blocks += 1;
    }
    assert!(blocks > 3, "the page shows runs of the command");
}
