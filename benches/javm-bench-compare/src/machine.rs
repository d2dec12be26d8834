//! What the figures come from: processor, cores, versions of the rivals.

use std::fs;

/// The processor's name, or `unknown processor`.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(':').nth(1));
    name.map_or_else(|| "unknown processor".to_owned(), |name| name.trim().to_owned())
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The rivals' versions, as this build has them.
pub(crate) fn versions() -> String {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let version = |package: &str, not: &str| {
        let name = format!("name = \"{package}\"");
        let mut lines = LOCK.lines();
        loop {
            lines.find(|line| *line == name)?;
            let version = lines.next()?.strip_prefix("version = \"")?.trim_end_matches('"');
            if version != not {
                return Some(version);
            }
        }
    };
    let or_unknown = |version: Option<&'static str>| version.unwrap_or("unknown");
    format!(
        "polkavm {}, javm {}, wasmtime {}",
        or_unknown(version("polkavm", "")),
        or_unknown(version("javm", env!("CARGO_PKG_VERSION"))),
        or_unknown(version("wasmtime", ""))
    )
}
