//! A recorder that several contexts share, protected by a critical section.

use core::{cell::OnceCell, fmt};

use critical_section::Mutex;
use tailwatch_core::{
    Clock, Event, Gate, Outcome, Recorder, Token,
    sync::{AtomicUsize, Ordering::Relaxed},
};

use crate::StaticRing;

/// A recorder that any context may use, including interrupts.
///
/// It takes a short critical section at each START and END. Use it if many contexts record seldom:
/// one ring serves all of them. Otherwise give each context a ring of its own ([`StaticRing`]),
/// which needs no critical section. The program supplies the implementation of critical sections,
/// for example by a feature of the crate `cortex-m` or `riscv`.
///
/// # Limits
///
/// - Interrupts wait while a record is written, for about 40 instructions.
/// - All contexts share one ring, so a burst in one may overwrite records of the others.
/// - If the producer of the ring was taken elsewhere, nothing is recorded.
///   [`refused`](Self::refused) counts these records.
///
/// ```
/// use tailwatch_bare_metal::{SharedRecorder, StaticRing};
/// use tailwatch_core::{Gate, Trading};
/// # use tailwatch_core::{Clock, TickRate};
/// # struct Timer; // on a Cortex-M: SysTick
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { 7 }
/// #     fn end(&self) -> u64 { 8 }
/// #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// # }
/// # static CLOCK: Timer = Timer;
///
/// static GATE: Gate<9> = Gate::new();
/// static RING: StaticRing<64> = StaticRing::new();
/// static SHARED: SharedRecorder<'static, &Timer, 9, 64> =
///     SharedRecorder::new(&RING, &GATE, &CLOCK);
///
/// let span = SHARED.measure(Trading::OrderFill); // in main
/// SHARED.value(Trading::QueueBacklog, 3); // in an interrupt during the span
/// drop(span);
/// assert_eq!((RING.pending(), SHARED.refused()), (3, 0));
/// ```
pub struct SharedRecorder<'r, C, const IDS: usize, const N: usize> {
    ring: &'r StaticRing<N>,
    gate: &'r Gate<IDS>,
    clock: C,
    /// Empty until the first record. Contains `None` if the producer of the ring was taken
    /// elsewhere.
    recorder: Mutex<OnceCell<Option<Recorder<'r, C, IDS>>>>,
    refused: AtomicUsize,
}

impl<'r, C: Clock + Copy, const IDS: usize, const N: usize> SharedRecorder<'r, C, IDS, N> {
    /// Creates a recorder that writes the events which `gate` admits into `ring`, with ticks of
    /// `clock`.
    ///
    /// It takes the producer of the ring at its first record.
    pub const fn new(ring: &'r StaticRing<N>, gate: &'r Gate<IDS>, clock: C) -> Self {
        Self {
            ring,
            gate,
            clock,
            recorder: Mutex::new(OnceCell::new()),
            refused: AtomicUsize::new(0),
        }
    }

    /// Calls `record` with the recorder inside a critical section.
    ///
    /// Returns `None`, and counts a refused record, if the producer of the ring was taken
    /// elsewhere.
    fn with<T>(&self, record: impl FnOnce(&Recorder<'r, C, IDS>) -> T) -> Option<T> {
        critical_section::with(|section| {
            let take = || self.ring.take_recorder(self.gate, self.clock).ok();
            let recorder = self.recorder.borrow(section).get_or_init(take).as_ref();
            if recorder.is_none() {
                self.refused.store(self.refused.load(Relaxed).saturating_add(1), Relaxed);
            }
            recorder.map(record)
        })
    }

    /// Starts a span that ends when the returned guard is dropped, in any context.
    pub fn measure(&self, event: impl Event) -> SharedSpanGuard<'_, 'r, C, IDS, N> {
        self.measure_tagged(event, 0)
    }

    /// Like [`measure`](Self::measure), with a tag such as an order number. The low 46 bits are
    /// kept.
    pub fn measure_tagged(
        &self,
        event: impl Event,
        tag: u64,
    ) -> SharedSpanGuard<'_, 'r, C, IDS, N> {
        SharedSpanGuard { recorder: self, token: self.start(event, tag) }
    }

    /// Starts a span with a tag, of which the low 46 bits are kept.
    ///
    /// Close it with [`end`](Self::end) or [`discard`](Self::discard).
    pub fn start(&self, event: impl Event, tag: u64) -> Token {
        self.with(|recorder| recorder.start(event, tag)).unwrap_or(Token::unrecorded())
    }

    /// Ends a span with this outcome.
    pub fn end(&self, token: Token, outcome: Outcome) {
        if token.is_recorded() {
            // Read before the critical section, so that waiting for it is not measured.
            let end = self.clock.end();
            self.with(|recorder| {
                if !recorder.try_end_at(&token, outcome, end) {
                    recorder.end_at(token, outcome, end);
                }
            });
        }
    }

    /// Closes a span without a latency, so that it enters no statistics.
    pub fn discard(&self, token: Token) {
        if token.is_recorded() {
            self.with(|recorder| recorder.discard(token));
        }
    }

    /// Records a number, and returns whether it was recorded. See [`Recorder::value`].
    pub fn value(&self, event: impl Event, value: u64) -> bool {
        self.with(|recorder| recorder.value(event, value)).unwrap_or(false)
    }

    /// Records a duration in ticks that was measured elsewhere and ended just now, and returns
    /// whether it was recorded. See [`Recorder::duration`].
    pub fn duration(&self, event: impl Event, ticks: u64) -> bool {
        self.with(|recorder| recorder.duration(event, ticks)).unwrap_or(false)
    }

    /// Returns the number of records that were not written because the producer of the ring was
    /// taken elsewhere.
    pub fn refused(&self) -> usize {
        self.refused.load(Relaxed)
    }
}

impl<C, const IDS: usize, const N: usize> fmt::Debug for SharedRecorder<'_, C, IDS, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRecorder")
            .field("ring", self.ring)
            .field("gate", self.gate)
            .finish_non_exhaustive()
    }
}

/// A span of a [`SharedRecorder`] that ends when the guard is dropped, with [`Outcome::Ok`].
///
/// [`end`](Self::end) ends it with another outcome, [`discard`](Self::discard) without a latency.
#[derive(Debug)]
#[must_use = "the span ends when the guard is dropped; bind it to a variable"]
pub struct SharedSpanGuard<'s, 'r, C: Clock + Copy, const IDS: usize, const N: usize> {
    recorder: &'s SharedRecorder<'r, C, IDS, N>,
    token: Token,
}

impl<C: Clock + Copy, const IDS: usize, const N: usize> SharedSpanGuard<'_, '_, C, IDS, N> {
    fn take(&mut self) -> Token {
        core::mem::replace(&mut self.token, Token::unrecorded())
    }

    /// Ends the span now with this outcome.
    pub fn end(mut self, outcome: Outcome) {
        self.recorder.end(self.take(), outcome);
    }

    /// Closes the span without a latency, so that it enters no statistics.
    pub fn discard(mut self) {
        self.recorder.discard(self.take());
    }
}

impl<C: Clock + Copy, const IDS: usize, const N: usize> Drop
    for SharedSpanGuard<'_, '_, C, IDS, N>
{
    fn drop(&mut self) {
        let token = self.take();
        self.recorder.end(token, Outcome::Ok);
    }
}
