//! What the firmware's programs share: the board they run on, and work of a known length.
//!
//! Everything here is for an emulator that executes one instruction in 128 ns (`-icount shift=7`), so that how long work takes is
//! known by counting its instructions.

#![no_std]

#[cfg(target_arch = "arm")]
#[path = "board/cortex_m.rs"]
pub mod board;
#[cfg(target_arch = "riscv32")]
#[path = "board/riscv.rs"]
pub mod board;
pub mod events;
pub mod firmware;
#[cfg(target_arch = "arm")]
pub mod painted;
pub mod plan;
pub mod work;
