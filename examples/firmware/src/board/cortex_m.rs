//! The boards with a Cortex-M: the `SysTick` timer is the clock and also causes the interrupts.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cortex_m::peripheral::syst::SystClkSource;
pub use cortex_m_rt::entry;
use tailwatch_bare_metal::clock::SysTick;

use crate::work::PERIOD_MICROS;

/// The rate of `SysTick` in hertz, which is the rate of the emulated processor.
const HZ: u32 = if cfg!(board = "microbit") { 16_000_000 } else { 200_000_000 };

/// The number of ticks from one interrupt to the next.
#[expect(clippy::cast_possible_truncation, reason = "24 bits are enough")]
const PERIOD: u32 = (HZ as u64 * PERIOD_MICROS / 1_000_000) as u32;

static CLOCK: SysTick = SysTick::new(HZ, PERIOD);

/// The number of interrupts so far.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// The type of the board's clock.
pub type Clock = &'static SysTick;

/// Returns the board's clock. It stands still until [`start_timer`] is called.
pub fn clock() -> Clock {
    &CLOCK
}

/// Returns how often the timer has interrupted.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// Counts an interrupt. The handler must call it before anything else.
pub fn on_interrupt() {
    CLOCK.on_wrap();
    // A load and a store are sufficient, because only the handler writes this variable.
    INTERRUPTS.store(INTERRUPTS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Starts the timer. Returns `false` if it was started before.
pub fn start_timer() -> bool {
    let Some(mut peripherals) = cortex_m::Peripherals::take() else { return false };
    #[cfg(board = "lm3s6965evb")]
    set_full_clock_rate();
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(PERIOD - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    true
}

/// Makes the processor, and with it `SysTick`, run at its full rate.
///
/// At the slow rate after a reset, one tick of `SysTick` lasts as long as several instructions.
#[cfg(board = "lm3s6965evb")]
pub fn set_full_clock_rate() {
    /// The run-mode clock configuration register.
    const RCC: *mut u32 = 0x400F_E060 as *mut u32;
    /// The bits of the register that divide the rate of the processor.
    const SYSDIV: u32 = 0xF << 23;
    // SAFETY: the board has this register, and no other code here writes it.
    unsafe { RCC.write_volatile(RCC.read_volatile() & !SYSDIV) };
}

/// Sleeps until an interrupt occurs.
pub fn wait_for_interrupt() {
    cortex_m::asm::wfi();
}
