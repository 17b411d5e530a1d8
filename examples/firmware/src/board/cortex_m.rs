//! `SysTick` as the clock and as the timer that interrupts.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cortex_m::peripheral::syst::SystClkSource;
pub use cortex_m_rt::entry;
use tailwatch_bare_metal::clock::SysTick;

use crate::work::PERIOD_MICROS;

/// How fast `SysTick` counts: the emulator's processor runs at this many hertz.
const HZ: u32 = if cfg!(board = "microbit") { 16_000_000 } else { 200_000_000 };

/// Ticks from one interrupt to the next.
#[expect(clippy::cast_possible_truncation, reason = "24 bits are enough")]
const PERIOD: u32 = (HZ as u64 * PERIOD_MICROS / 1_000_000) as u32;

static CLOCK: SysTick = SysTick::new(HZ, PERIOD);
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// The board's clock.
pub type Clock = &'static SysTick;

/// The board's clock, which counts once the timer is started.
pub fn clock() -> Clock {
    &CLOCK
}

/// How often the timer has interrupted.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// Counts an interrupt: the first thing that its handler does.
pub fn interrupted() {
    CLOCK.on_wrap();
    // Nobody else writes it.
    INTERRUPTS.store(INTERRUPTS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Starts the timer; whether this is the first time.
pub fn start() -> bool {
    let Some(mut peripherals) = cortex_m::Peripherals::take() else { return false };
    #[cfg(board = "lm3s6965evb")]
    fast();
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(PERIOD - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    true
}

/// Has the clock go at the processor's full rate: at the slow one of the beginning, a tick lasts as long as several
/// instructions.
#[cfg(board = "lm3s6965evb")]
pub fn fast() {
    const RCC: *mut u32 = 0x400F_E060 as *mut u32;
    const SYSDIV: u32 = 0xF << 23;
    // SAFETY: the board's run-mode clock configuration, which nobody else here writes.
    unsafe { RCC.write_volatile(RCC.read_volatile() & !SYSDIV) };
}

/// Waits for an interrupt.
pub fn wait() {
    cortex_m::asm::wfi();
}
