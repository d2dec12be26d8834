//! Tests of the instruction set: encoding, checked code, numberings, text. Random inputs come from fixed seeds.

mod code;
mod encoding;
mod numbering;
mod random;
mod text;
