//! What the programs of this example share: access to the board, and work of a known duration.
//!
//! The programs run in the emulator QEMU, which executes each instruction in 128 ns
//! (`-icount shift=7`: 2^7 ns). The duration of work is therefore known from the number of its
//! instructions.

#![no_std]

#[cfg(target_arch = "arm")]
#[path = "board/cortex_m.rs"]
pub mod board;
#[cfg(target_arch = "riscv32")]
#[path = "board/riscv.rs"]
pub mod board;
pub mod events;
pub mod firmware;
pub mod plan;
#[cfg(target_arch = "arm")]
pub mod stack_usage;
pub mod work;
