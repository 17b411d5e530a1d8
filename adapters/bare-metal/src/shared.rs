//! A recorder that several contexts share. Critical sections keep them from interrupting each other
//! while they record.

use core::{cell::OnceCell, fmt};

use critical_section::Mutex;
use tailwatch_core::{
    Clock, Event, Gate, Outcome, Recorder, Token,
    sync::{AtomicUsize, Ordering::Relaxed},
};

use crate::StaticRing;

/// A recorder that all contexts of a core may use, including interrupt handlers.
///
/// Each call that records ([`start`](Self::start), [`end`](Self::end), [`value`](Self::value) and
/// so on) enters a short critical section, even if the [`Gate`] has switched the event off and
/// nothing is recorded. Only ending a span whose START was not recorded enters none. Use the
/// recorder if many contexts record seldom: one ring serves all of them. Otherwise give each
/// context a ring of its own ([`StaticRing`]), which needs no critical section. The program must
/// link an implementation of the crate `critical-section`: usually a feature of `cortex-m`, `riscv`
/// or the chip's HAL provides it.
///
/// `C` is the type of the clock, `IDS` the length of the gate (the largest event id plus 1), and
/// `N` the capacity of the ring in records.
///
/// # Limits
///
/// - Interrupts are held off while a record is written, for about 40 instructions. Except at the
///   end of a span, they are also held off while the clock is read.
/// - All contexts share one ring, so a burst of records in one context may overwrite records of the
///   others.
/// - If other code has taken the producer of the ring before the first record, this recorder cannot
///   write. [`refused`](Self::refused) counts the calls that write nothing.
///
/// ```
/// use tailwatch_bare_metal::{SharedRecorder, StaticRing};
/// use tailwatch_core::{Gate, Trading};
/// # use tailwatch_core::{Clock, TickRate};
/// # struct Timer; // on a Cortex-M: SysTick
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { 7 }
/// #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// # }
/// # static CLOCK: Timer = Timer;
///
/// static GATE: Gate<9> = Gate::new(); // the largest event id, 8, plus 1
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
    /// Empty until the first call that records. Then the recorder, or `None` if other code had
    /// taken the producer of the ring.
    recorder: Mutex<OnceCell<Option<Recorder<'r, C, IDS>>>>,
    /// Changed only inside the critical section.
    refused: AtomicUsize,
}

impl<'r, C: Clock + Copy, const IDS: usize, const N: usize> SharedRecorder<'r, C, IDS, N> {
    /// Creates a recorder that records the events that `gate` admits into `ring`, and reads `clock`
    /// for the ticks of their records.
    ///
    /// The recorder takes the producer of the ring at the first call that records, even if the gate
    /// leaves the record out.
    pub const fn new(ring: &'r StaticRing<N>, gate: &'r Gate<IDS>, clock: C) -> Self {
        Self {
            ring,
            gate,
            clock,
            recorder: Mutex::new(OnceCell::new()),
            refused: AtomicUsize::new(0),
        }
    }

    /// Enters a critical section, calls `record` with the recorder, and returns the result of
    /// `record`.
    ///
    /// If other code had taken the producer of the ring, `record` is not called. The call then
    /// counts as a refused record and returns `None`.
    fn with<T>(&self, record: impl FnOnce(&Recorder<'r, C, IDS>) -> T) -> Option<T> {
        critical_section::with(|section| {
            let take_recorder = || self.ring.take_recorder(self.gate, self.clock).ok();
            let recorder = self.recorder.borrow(section).get_or_init(take_recorder).as_ref();
            if recorder.is_none() {
                self.refused.store(self.refused.load(Relaxed).saturating_add(1), Relaxed);
            }
            recorder.map(record)
        })
    }

    /// Starts a span of `event` that ends when the returned guard is dropped, in this or in another
    /// context.
    pub fn measure(&self, event: impl Event) -> SharedSpanGuard<'_, 'r, C, IDS, N> {
        self.measure_tagged(event, 0)
    }

    /// Like [`measure`](Self::measure), and attaches `tag` to the span: a number that the program
    /// chooses, such as a packet number. Only the low 46 bits of `tag` are kept.
    pub fn measure_tagged(
        &self,
        event: impl Event,
        tag: u64,
    ) -> SharedSpanGuard<'_, 'r, C, IDS, N> {
        SharedSpanGuard { recorder: self, token: self.start(event, tag) }
    }

    /// Starts a span of `event`, and returns a token with which to end the span: pass it to
    /// [`end`](Self::end) or [`discard`](Self::discard).
    ///
    /// `tag` is a number that the program chooses, such as a packet number; 0 is as good as no tag.
    /// Only its low 46 bits are kept.
    pub fn start(&self, event: impl Event, tag: u64) -> Token {
        self.with(|recorder| recorder.start(event, tag)).unwrap_or(Token::unrecorded())
    }

    /// Ends the span of `token` with `outcome`.
    pub fn end(&self, token: Token, outcome: Outcome) {
        if token.is_recorded() {
            // The clock is read before the critical section, so the time for entering it is not
            // measured.
            let end = self.clock.end();
            self.with(|recorder| {
                if !recorder.try_end_at(&token, outcome, end) {
                    recorder.end_at(token, outcome, end);
                }
            });
        }
    }

    /// Ends the span of `token` without a duration, so no statistics include it.
    pub fn discard(&self, token: Token) {
        if token.is_recorded() {
            self.with(|recorder| recorder.discard(token));
        }
    }

    /// Records `value`, a plain number such as the length of a queue, as a value of `event`.
    ///
    /// Returns whether it was recorded: `false` if the gate or sampling left it out, or if other
    /// code had taken the producer of the ring. See [`Recorder::value`].
    pub fn value(&self, event: impl Event, value: u64) -> bool {
        self.with(|recorder| recorder.value(event, value)).unwrap_or(false)
    }

    /// Records a duration of `ticks` that ended just now and was not measured by a span.
    ///
    /// Returns whether it was recorded: `false` if the gate or sampling left it out, or if other
    /// code had taken the producer of the ring. See [`Recorder::duration`].
    pub fn duration(&self, event: impl Event, ticks: u64) -> bool {
        self.with(|recorder| recorder.duration(event, ticks)).unwrap_or(false)
    }

    /// Returns the number of calls that recorded nothing because other code had taken the producer
    /// of the ring, whether or not the gate admitted the record. A span counts as one, because its
    /// END is not attempted.
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

/// A guard for a span of a [`SharedRecorder`]. When the guard is dropped, the span ends with
/// [`Outcome::Ok`].
///
/// To end the span with another outcome, call [`end`](Self::end). To end it without a duration,
/// call [`discard`](Self::discard).
#[derive(Debug)]
#[must_use = "the span ends when the guard is dropped; bind it to a variable"]
pub struct SharedSpanGuard<'s, 'r, C: Clock + Copy, const IDS: usize, const N: usize> {
    recorder: &'s SharedRecorder<'r, C, IDS, N>,
    token: Token,
}

impl<C: Clock + Copy, const IDS: usize, const N: usize> SharedSpanGuard<'_, '_, C, IDS, N> {
    /// Returns the token, and leaves one in its place that records nothing when the guard is
    /// dropped.
    fn take_token(&mut self) -> Token {
        core::mem::replace(&mut self.token, Token::unrecorded())
    }

    /// Ends the span now, with `outcome`.
    pub fn end(mut self, outcome: Outcome) {
        self.recorder.end(self.take_token(), outcome);
    }

    /// Ends the span now, without a duration, so no statistics include it.
    pub fn discard(mut self) {
        self.recorder.discard(self.take_token());
    }
}

impl<C: Clock + Copy, const IDS: usize, const N: usize> Drop
    for SharedSpanGuard<'_, '_, C, IDS, N>
{
    fn drop(&mut self) {
        let token = self.take_token();
        self.recorder.end(token, Outcome::Ok);
    }
}
