//! `tidy`: the rules that neither the compiler nor clippy knows. Also a test of this crate.
//!
//! * every Rust file opens by saying what it is for, keeps to the line length, and leaves no marker of
//!   unfinished work;
//! * unsafe code stays in its rooms;
//! * crates know only whom `ARCHITECTURE.md` lets them know, and say what they are for;
//! * no file names a path of somebody's machine.

mod fences;
mod files;

use crate::process::Failure;

/// Prints what is broken.
pub(crate) fn run() -> Result<(), Failure> {
    let broken = check()?;
    for line in &broken {
        eprintln!("{line}");
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::Tidy { count: broken.len() }) }
}

/// Every broken rule, a line each: `path:line: rule`.
fn check() -> Result<Vec<String>, Failure> {
    let mut broken = files::check()?;
    broken.extend(fences::check()?);
    Ok(broken)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let broken = super::check().unwrap();
        assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    }
}
