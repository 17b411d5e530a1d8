//! The drain, which reads all rings and keeps the statistics. The idle loop calls it.
//!
//! One call of [`Drain::run`] is a *pass*. The drain *refreshes* a ring, which means that it looks
//! how many records the ring's producer has written, and then reads these records in one or more
//! passes.

use core::fmt;

use heapless::deque::DequeView;
use tailwatch_core::{
    Aggregator, Clock, ConfigError, Consumer, EventId, EventInfo, Gate, PassStart, Record,
    RingPass, RingProgress, StatusChange, Storage, WindowSpec,
};

use crate::Health;

/// The configuration of a [`Drain`]: everything that [`Drain::new`] needs except the storage.
///
/// `C` is the type of the clock, `IDS` the length of the gate (at least the largest event id plus
/// 1), and `RINGS` the number of rings.
pub struct DrainConfig<'r, C, const IDS: usize, const RINGS: usize> {
    /// The sliding windows over which samples are summarized.
    pub windows: &'r [WindowSpec],
    /// The events that are measured.
    pub events: &'static [EventInfo],
    /// The clock. It must be the clock that all recorders read.
    pub clock: C,
    /// The gate, which switches events on and off. It must be the gate that all recorders use.
    pub gate: &'r Gate<IDS>,
    /// The consumers of the rings that are drained. The index of a ring in this array is the
    /// [`source`](tailwatch_core::Exemplar::source) of the samples that come from it.
    pub rings: [Consumer<'r>; RINGS],
    /// The queue of violations that were raised or cleared, which
    /// [`next_change`](Drain::next_change) returns: a `heapless::Deque` of any capacity. `None` if
    /// the program does not need these changes.
    pub changes: Option<&'r mut DequeView<StatusChange>>,
}

impl<C, const IDS: usize, const RINGS: usize> fmt::Debug for DrainConfig<'_, C, IDS, RINGS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainConfig")
            .field("windows", &self.windows)
            .field("rings", &self.rings)
            .finish_non_exhaustive()
    }
}

/// Reads the records of all rings, a bounded number at a time, keeps the statistics, and produces
/// the report.
///
/// The drain uses no allocator, no floating point and no lock, and recorders never wait for it. One
/// context calls it, usually the idle loop. Contexts that interrupt the idle loop may record at any
/// moment, even in the middle of a pass.
///
/// A ring that is not drained in time overwrites its oldest records. The drain counts these
/// records, and marks the summaries in which they are missing as incomplete. The rings take turns,
/// so an interrupt storm that fills one ring does not keep the others from being drained.
///
/// The numbers of a storage whose shape is based on [`Shape::small`](tailwatch_core::Shape::small)
/// are [compact](tailwatch_core::Compact): a span must be shorter than 4.5 hours, and
/// counts of outcomes and of a slice's spans
/// saturate at 2^32 − 1.
///
/// ```
/// use core::cell::Cell;
/// use tailwatch_bare_metal::{Drain, DrainConfig, ReportItem, StaticRing};
/// use tailwatch_core::{Clock, Gate, Shape, TickRate, Trading, WindowSpec, storage};
///
/// const WINDOWS: [WindowSpec; 1] = [WindowSpec::SECOND];
/// const SHAPE: Shape = Shape::small(Trading::ALL, &WINDOWS);
/// storage!(Memory: SHAPE, u16); // histograms count in 16 bits
/// static GATE: Gate<9> = Gate::new();
/// static MAIN: StaticRing<64> = StaticRing::new();
/// # struct Timer(Cell<u64>); // advances by 1 µs at each reading
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { self.0.replace(self.0.get() + 1_000) }
/// #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// # }
/// # let clock = &Timer(Cell::new(0)); // on a Cortex-M: a `static CLOCK: SysTick`
///
/// let recorder = MAIN.take_recorder(&GATE, clock)?;
/// let mut storage = Memory::new(); // in firmware, a `static` or a local of `main`
/// let mut drain = Drain::new(
///     DrainConfig {
///         windows: &WINDOWS,
///         events: Trading::ALL,
///         clock,
///         gate: &GATE,
///         rings: [MAIN.take_consumer()?],
///         changes: None,
///     },
///     &mut storage,
/// )?;
///
/// drop(recorder.measure(Trading::OrderFill));
/// while drain.run(16).has_more {} // in the idle loop, 16 records at a time
///
/// let mut report = String::new(); // in firmware, a serial port
/// drain.report(|item| report += &format!("{item}\n"));
/// assert!(report.contains("event=order_fill window_ms=1000 count=1 min=1000"), "{report}");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Drain<'r, S, C, const IDS: usize, const RINGS: usize> {
    aggregator: Aggregator<S>,
    clock: C,
    gate: &'r Gate<IDS>,
    windows: &'r [WindowSpec],
    events: &'static [EventInfo],
    rings: [(Consumer<'r>, RingProgress); RINGS],
    changes: ChangeQueue<'r>,
    /// The index of the ring with which the next pass begins.
    first_ring: usize,
    /// The tick of the last pass, read after the pass had refreshed the rings.
    now: u64,
    /// See [`Health::still_passes`].
    still_passes: u64,
}

/// The queue of violations that were raised or cleared.
struct ChangeQueue<'r> {
    /// `None` if the program does not need the changes.
    queue: Option<&'r mut DequeView<StatusChange>>,
    /// The number of changes that were lost because the queue was full.
    lost: u64,
}

impl ChangeQueue<'_> {
    fn push(&mut self, change: &StatusChange) {
        if let Some(queue) = &mut self.queue
            && queue.push_back(*change).is_err()
        {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

impl fmt::Debug for ChangeQueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeQueue").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// The result of one pass of the drain: one call of [`Drain::run`] or [`Drain::observe`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Pass {
    /// The number of records that the pass read and processed.
    pub delivered: u64,
    /// The number of records that the pass found overwritten, or possibly being overwritten, before
    /// they were read.
    pub overwritten: u64,
    /// Whether the pass stopped at `max_records` and left records in a ring, so that another pass
    /// should follow at once. Records that were written after the drain last looked at the ring do
    /// not count.
    pub has_more: bool,
}

impl<'r, S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Drain<'r, S, C, IDS, RINGS> {
    /// Creates a drain that keeps its statistics in `storage`.
    ///
    /// `storage` must not have been used before, and its shape must fit the windows and events. The
    /// number of rings must be between 1 and 65,536, which is checked at compile time.
    ///
    /// # Errors
    ///
    /// Returns an error if windows, events and storage do not fit together, or if `storage` was
    /// used before. The error names the value that is wrong.
    pub fn new(config: DrainConfig<'r, C, IDS, RINGS>, storage: S) -> Result<Self, ConfigError> {
        const { assert!(RINGS > 0 && RINGS <= 1 << 16, "a drain must have 1 to 65,536 rings") };
        let DrainConfig { windows, events, clock, gate, rings, changes } = config;
        let now = clock.end();
        let aggregator = Aggregator::new(windows, events, clock.rate(), now, storage)?;
        let start = PassStart { pass: 0, tick: now };
        Ok(Self {
            aggregator,
            clock,
            gate,
            windows,
            events,
            rings: rings.map(|consumer| (consumer, RingProgress::new(start))),
            changes: ChangeQueue { queue: changes, lost: 0 },
            first_ring: 0,
            now,
            still_passes: 0,
        })
    }

    /// Makes a pass: drains at most `max_records` records (0 counts as 1), and evaluates the
    /// limits. Records that turn out to be overwritten do not count.
    ///
    /// Each pass begins with the first ring that the previous pass left with records, and the other
    /// rings follow in turn. An interrupt storm that fills one ring therefore does not keep the
    /// others from being drained.
    ///
    /// The time of a pass is linear in the number of records that it reads (at most `max_records`
    /// of each ring), and in the numbers of rings, events, windows and limits. While spans are
    /// open, and after a loss of records, it is also linear in the size of the table of open spans.
    /// When a slice of a window ends (windows slide forward in slices), it is also linear in the
    /// numbers of histogram buckets and buffered samples, and the same holds when a limit changes.
    /// A single record also takes time linear in the number of buckets if its sample lies in other
    /// slices than the event's previous one, or is corrected for coordinated omission.
    pub fn run(&mut self, max_records: usize) -> Pass {
        self.observe(max_records, |_, _| ())
    }

    /// Like [`run`](Self::run), and also calls `observe` with each record that is drained. Its
    /// first argument is the index of the record's ring in [`DrainConfig::rings`].
    pub fn observe(&mut self, max_records: usize, mut observe: impl FnMut(usize, Record)) -> Pass {
        let Self {
            aggregator,
            clock,
            gate,
            events,
            rings,
            changes,
            first_ring,
            now,
            still_passes,
            ..
        } = self;
        let start = PassStart { pass: aggregator.pass() + 1, tick: clock.end() };
        let mut ring_pass = RingPass::new(start, Some(max_records), *first_ring);
        for (consumer, progress) in &mut *rings {
            if ring_pass.refreshes(progress) {
                consumer.refresh();
            }
        }
        // The time of the pass is read after the rings were refreshed, so no record that the pass
        // drains is newer.
        let previous_now = core::mem::replace(now, clock.end());
        aggregator.begin_pass(*now);
        for info in *events {
            // Sampling leaves out records, so summaries are incomplete while it is on. While an
            // event is sampled or switched off, missing records do not mean that it was silent.
            let is_sampled = gate.sampling(info.id) > 0;
            if is_sampled {
                aggregator.mark_sampled(info.id);
            }
            if is_sampled || !gate.admits(info.id) {
                aggregator.reset_silence(info.id);
            }
        }

        let mut pass = Pass::default();
        for index in ring_pass.order(RINGS) {
            let (consumer, progress) = &mut rings[index];
            ring_pass.drain(index, progress, consumer, |consumer, max_records| {
                let source = u16::try_from(index).unwrap_or(u16::MAX);
                let taken = aggregator
                    .drain_up_to(source, consumer, max_records, |record, _| observe(index, record));
                pass.delivered += taken.delivered;
                pass.overwritten += taken.overwritten;
                taken
            });
        }
        pass.has_more = ring_pass.has_more();
        *first_ring = ring_pass.next_first_ring();
        *still_passes += u64::from(pass.delivered > 0 && *now == previous_now);

        let drained = ring_pass.drained();
        aggregator.expire_orphans(drained.pass);
        aggregator.evaluate_limits(drained.tick, |change| changes.push(change));
        pass
    }

    /// Returns the numbers of records that were delivered, overwritten and so on. [`Health`]
    /// describes since when each of them counts.
    pub fn health(&mut self) -> Health {
        let mut health = Health {
            counters: self.aggregator.counters(),
            passes: self.aggregator.pass(),
            still_passes: self.still_passes,
            transitions_lost: self.changes.lost,
            ..Health::default()
        };
        for (consumer, _) in &self.rings {
            // The additions wrap, because the totals of a consumer wrap as well. So their
            // invariant, produced = delivered + overwritten + pending, also holds for the sums.
            health.produced = health.produced.wrapping_add(consumer.produced());
            health.delivered = health.delivered.wrapping_add(consumer.total().delivered);
            health.overwritten = health.overwritten.wrapping_add(consumer.total().overwritten);
            health.pending = health.pending.wrapping_add(consumer.pending() as u64);
        }
        health
    }

    /// Returns the events that the drain was created with: [`DrainConfig::events`], in the same
    /// order.
    pub const fn events(&self) -> &'static [EventInfo] {
        self.events
    }

    /// Returns the windows that the drain was created with: [`DrainConfig::windows`], in the same
    /// order. The index of a window in this slice is that of
    /// [`Scope::Window`](tailwatch_core::Scope::Window) in queries to the
    /// [aggregator](Self::aggregator).
    pub const fn windows(&self) -> &'r [WindowSpec] {
        self.windows
    }

    /// Removes the oldest entry from the queue of violations that were raised or cleared, and
    /// returns it. Returns `None` if the queue is empty or [`DrainConfig::changes`] was `None`.
    ///
    /// A change that finds the queue full is lost and counted in
    /// [`transitions_lost`](Health::transitions_lost).
    pub fn next_change(&mut self) -> Option<StatusChange> {
        self.changes.queue.as_mut()?.pop_front()
    }

    /// Returns whether any of the present limits of `event` was violated at the last pass. Returns
    /// `false` for an unknown event.
    pub fn is_breached(&mut self, event: EventId) -> bool {
        self.aggregator.is_breached(event)
    }

    /// Returns the aggregator, which keeps the statistics. Use it for further queries, such as
    /// other quantiles or the slowest samples, and to set other limits.
    ///
    /// Do not call the aggregator's methods that begin a pass or drain a ring. The drain does both.
    pub const fn aggregator(&mut self) -> &mut Aggregator<S> {
        &mut self.aggregator
    }
}
