//! Rules about crates: whom they may know (`ARCHITECTURE.md`, "Who may depend on whom").

use serde_json::Value;

use crate::process::{Failure, cargo, json};

/// Which of our crates a crate may depend on; dev-dependencies are free. A crate that is not here must be
/// put here first.
const ALLOWED: &[(&str, &[&str])] = &[
    ("javm-abi", &[]),
    ("javm-isa", &[]),
    ("javm-sys", &[]),
    ("javm-gas", &["javm-isa"]),
    ("javm-program", &["javm-abi", "javm-isa"]),
    ("javm-exec", &["javm-isa", "javm-gas", "javm-sys"]),
    ("javm-cap", &["javm-abi", "javm-isa"]),
    ("javm-store", &["javm-cap"]),
    ("javm", &["javm-abi", "javm-isa", "javm-cap", "javm-exec", "javm-program"]),
    ("javm-invocation", &["javm-abi", "javm-isa", "javm-exec", "javm-program"]),
    ("javm-virt", &["javm-exec", "javm-program"]),
    ("jar-kernel", &["javm-abi", "javm-cap", "javm", "javm-store"]),
];

/// These may know anybody, and nobody knows them.
const OUTSIDE: &[&str] = &["javm-cli", "javm-testkit", "javm-bench", "javm-bench-compare", "xtask"];

/// Databases: only [`DATABASE_ROOM`] and what lies above it may know one.
const DATABASES: &[&str] = &["redb", "object_store", "rocksdb", "sled", "heed", "rusqlite", "fjall"];
const DATABASE_ROOM: &str = "javm-store";

/// A crate of the workspace: what the rules look at.
struct Crate {
    name: String,
    description: String,
    /// Names of everything it depends on outside of tests.
    dependencies: Vec<String>,
}

pub(super) fn check() -> Result<Vec<String>, Failure> {
    let metadata = json(cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]))?;
    let crates: Vec<Crate> = array(&metadata["packages"]).iter().map(read).collect();
    Ok(broken(&crates))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read(package: &Value) -> Crate {
    let used = array(&package["dependencies"]).iter().filter(|d| d["kind"] != "dev");
    Crate {
        name: text(&package["name"]),
        description: text(&package["description"]),
        dependencies: used.map(|d| text(&d["name"])).collect(),
    }
}

fn broken(crates: &[Crate]) -> Vec<String> {
    let mut broken = Vec::new();
    let ours = |name: &str| crates.iter().any(|c| c.name == name);
    for Crate { name, description, dependencies } in crates {
        if description.is_empty() {
            broken.push(format!("{name}: no description"));
        }
        if OUTSIDE.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(n, _)| n == name) else {
            broken.push(format!("{name}: whom it may depend on is not said in xtask/src/tidy/fences.rs"));
            continue;
        };
        for dependency in dependencies {
            let known = dependency.as_str();
            if ours(known) && !allowed.contains(&known) {
                broken.push(format!("{name}: must not depend on {known}"));
            }
            if DATABASES.contains(&known) && name != DATABASE_ROOM {
                broken.push(format!("{name}: must not know the database {known}"));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(name: &str, dependencies: &[&str]) -> Crate {
        let dependencies = dependencies.iter().map(|d| (*d).to_owned()).collect();
        Crate { name: name.to_owned(), description: "It is.".to_owned(), dependencies }
    }

    #[test]
    fn fences_hold() {
        let engine = krate("javm-exec", &["javm-isa", "thiserror"]);
        let cap = krate("javm-cap", &["javm-exec", "redb"]);
        let stranger = krate("javm-new", &[]);
        let mute = Crate { description: String::new(), ..krate("javm-abi", &[]) };
        assert_eq!(
            broken(&[engine, cap, stranger, mute]),
            [
                "javm-cap: must not depend on javm-exec",
                "javm-cap: must not know the database redb",
                "javm-new: whom it may depend on is not said in xtask/src/tidy/fences.rs",
                "javm-abi: no description",
            ]
        );
    }

    /// The three fences of the architecture, read off the table: no path leads across one.
    #[test]
    fn the_table_itself_keeps_the_fences() {
        let reach = |from: &'static str| {
            let mut seen = vec![from];
            let mut next = 0;
            while next < seen.len() {
                let below = ALLOWED.iter().find(|(n, _)| *n == seen[next]).map_or(&[][..], |(_, a)| a);
                next += 1;
                below.iter().for_each(|b| {
                    if !seen.contains(b) {
                        seen.push(b)
                    }
                });
            }
            seen
        };
        assert!(!reach("javm-cap").contains(&"javm-exec"));
        assert!(!reach("javm-exec").contains(&"javm-cap"));
        assert_eq!(reach("javm-sys"), ["javm-sys"]);
        for (name, _) in ALLOWED.iter().filter(|(n, _)| !["jar-kernel", DATABASE_ROOM].contains(n)) {
            assert!(!reach(name).contains(&DATABASE_ROOM));
        }
    }
}
