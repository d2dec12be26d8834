//! The PVM instruction table.
#![no_std]
