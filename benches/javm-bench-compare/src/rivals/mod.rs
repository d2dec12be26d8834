//! The engines. A new one is a file and a line in [`all`]; a new backend of ours is a line in
//! [`ours::BACKENDS`].

pub(crate) mod javm04;
pub(crate) mod native;
pub(crate) mod ours;
pub(crate) mod polkavm;
#[cfg(feature = "wasmtime")]
mod wasmtime;

use crate::rival::{Rival, RivalError};

/// Engines that this build or this machine does not have, and why.
pub(crate) type Missing = Vec<(String, RivalError)>;

/// Every engine that there is.
pub(crate) fn all() -> (Vec<Box<dyn Rival>>, Missing) {
    let mut missing = Missing::new();
    let mut rivals: Vec<Box<dyn Rival>> = vec![Box::new(native::Native)];
    rivals.extend(ours::all(&mut missing));
    rivals.extend(polkavm::all(&mut missing));
    rivals.push(Box::new(javm04::Javm04));
    #[cfg(feature = "wasmtime")]
    rivals.extend(wasmtime::all(&mut missing));
    #[cfg(not(feature = "wasmtime"))]
    missing.push(("wasmtime".to_owned(), RivalError::NotBuilt("wasmtime")));
    (rivals, missing)
}
