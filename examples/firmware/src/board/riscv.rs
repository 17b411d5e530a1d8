//! The RISC-V board: the cycle counter is the clock, and the timer of the core-local interruptor
//! interrupts.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use riscv::register::{mcycle, mie};
pub use riscv_rt::entry;
use tailwatch_core::TickRate;

use crate::work::PERIOD_MICROS;

const MTIME: *mut u32 = 0x0200_BFF8 as *mut u32;
const MTIMECMP: *mut u32 = 0x0200_4000 as *mut u32;
const MTIME_HZ: u64 = 10_000_000;

#[expect(clippy::cast_possible_truncation, reason = "32 bits are enough")]
const PERIOD: usize = (MTIME_HZ * PERIOD_MICROS / 1_000_000) as usize;

/// The number of interrupts so far.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// When the next interrupt is due: the low 32 bits of the timer's ticks.
static DUE: AtomicUsize = AtomicUsize::new(0);

/// The 64-bit cycle counter of the processor.
#[derive(Clone, Copy, Debug)]
pub struct Cycles;

/// The type of the board's clock.
pub type Clock = Cycles;

/// Returns the board's clock.
pub fn clock() -> Clock {
    Cycles
}

impl tailwatch_core::Clock for Cycles {
    #[inline(always)]
    fn start(&self) -> u64 {
        mcycle::read64()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        mcycle::read64()
    }

    fn rate(&self) -> TickRate {
        // The emulator's `mcycle` counts nanoseconds.
        TickRate::NANOSECONDS
    }
}

/// Returns how often the timer has interrupted.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// Counts an interrupt and schedules the next one. The handler must call it before anything else.
pub fn on_interrupt() {
    // Loads and stores are sufficient, because only the handler writes these variables once the
    // timer runs.
    INTERRUPTS.store(INTERRUPTS.load(Relaxed).wrapping_add(1), Relaxed);
    schedule(DUE.load(Relaxed).wrapping_add(PERIOD));
}

fn schedule(due: usize) {
    DUE.store(due, Relaxed);
    // SAFETY: this is the compare register of the timer, which no other code writes. The high half
    // is always 0, because the programs end long before the time exceeds 32 bits, after 7 minutes.
    unsafe {
        MTIMECMP.add(1).write_volatile(0);
        MTIMECMP.write_volatile(due as u32);
    }
}

/// Starts the timer. Returns `false` if it was started before.
pub fn start_timer() -> bool {
    if DUE.load(Relaxed) != 0 {
        return false;
    }
    // SAFETY: this is the count of the timer. Reading it has no side effect.
    let now = unsafe { MTIME.read_volatile() };
    schedule(now as usize + PERIOD);
    // SAFETY: the interrupt has a handler, and no code relies on interrupts being disabled.
    unsafe {
        mie::set_mtimer();
        riscv::interrupt::enable();
    }
    true
}

/// Sleeps until an interrupt occurs.
pub fn wait_for_interrupt() {
    riscv::asm::wfi();
}
