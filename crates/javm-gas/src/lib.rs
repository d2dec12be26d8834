//! What running a basic block costs.
//!
//! * [`GasModel`]: how costs are counted;
//! * [`block_cost`]: one block, when it is first needed;
//! * [`BlockCosts`]: every block of a program, in one pass;
//! * [`Pricer`]: the same for a compiler that decodes anyway and does not want to decode twice;
//! * [`table`]: the numbers of the pipeline model.
//!
//! A cost is a pure function of code, bitmask and block start, the same for every backend; it is at least 1.
//! When a block is charged, and what operations of a host cost, is not decided here. Source: Gray Paper 0.8,
//! appendix A, and PolkaVM's full cost model, which give the same numbers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod costs;
mod memo;
mod model;
mod pipeline;
mod pricer;
mod schedule;
mod step;
pub mod table;

pub use costs::BlockCosts;
pub use model::{GasModel, UnknownGasModel};
pub use pricer::{Pricer, block_cost};
