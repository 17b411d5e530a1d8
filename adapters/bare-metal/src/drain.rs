//! The drain, which the idle loop calls.

use core::fmt;

use heapless::deque::DequeView;
use tailwatch_core::{
    Aggregator, Clock, ConfigError, Consumer, EventId, EventInfo, Gate, Record, Shape,
    StatusChange, Storage, WindowSpec,
};

use crate::Health;

/// Everything that [`Drain::new`] needs besides its storage.
pub struct DrainConfig<'r, C, const IDS: usize, const RINGS: usize> {
    /// How much is stored: see [`Shape`].
    pub shape: Shape,
    /// The sliding windows that are summarized.
    pub windows: &'r [WindowSpec],
    /// The events that are measured.
    pub events: &'static [EventInfo],
    /// The clock, which must be the one that all recorders read.
    pub clock: C,
    /// The gate, which must be the one that all recorders use.
    pub gate: &'r Gate<IDS>,
    /// The rings. The index of a ring is the source in the slowest samples.
    pub rings: [Consumer<'r>; RINGS],
    /// The queue of limits that are raised or cleared, for [`next_change`](Drain::next_change): a
    /// `heapless::Deque` of any capacity. `None` if the program does not need the changes.
    pub transitions: Option<&'r mut DequeView<StatusChange>>,
}

impl<C, const IDS: usize, const RINGS: usize> fmt::Debug for DrainConfig<'_, C, IDS, RINGS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainConfig")
            .field("shape", &self.shape)
            .field("rings", &self.rings)
            .finish_non_exhaustive()
    }
}

/// Drains rings into an aggregator, a bounded number of records at a time, and produces the report.
///
/// It uses no allocator, no floating point and no lock, and recorders never wait for it. One
/// context drains, usually the idle loop. Any context that interrupts it may record.
///
/// A ring that is not drained in time overwrites its oldest records. These are counted, and the
/// summaries that miss them are marked as incomplete. The rings take turns, so an interrupt storm
/// in one does not keep the others from being drained.
///
/// ```
/// use core::cell::Cell;
/// use tailwatch_bare_metal::{Drain, DrainConfig, ReportItem, StaticRing};
/// use tailwatch_core::{Clock, Gate, Shape, TickRate, Trading, WindowSpec, storage};
///
/// const WINDOWS: [WindowSpec; 1] = [WindowSpec::SECOND];
/// const SHAPE: Shape = Shape::small(Trading::ALL, &WINDOWS);
/// static GATE: Gate<9> = Gate::new();
/// static MAIN: StaticRing<64> = StaticRing::new();
/// # struct Timer(Cell<u64>); // advances by 1 µs at each reading
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { self.0.replace(self.0.get() + 1_000) }
/// #     fn end(&self) -> u64 { self.start() }
/// #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// # }
/// # let clock = &Timer(Cell::new(0)); // on a Cortex-M: a `static CLOCK: SysTick`
///
/// let recorder = MAIN.take_recorder(&GATE, clock)?;
/// let mut storage = <storage!(SHAPE, u16)>::new(); // in firmware, a `static` or a local of `main`
/// let mut drain = Drain::new(
///     DrainConfig {
///         shape: SHAPE,
///         windows: &WINDOWS,
///         events: Trading::ALL,
///         clock,
///         gate: &GATE,
///         rings: [MAIN.take_consumer()?],
///         transitions: None,
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
    rings: [Source<'r>; RINGS],
    transitions: ChangeQueue<'r>,
    /// The index of the ring with which the next pass begins.
    first: usize,
    /// The tick at which the last pass began.
    now: u64,
    still_passes: u64,
}

/// A ring, and how far it has been drained.
#[derive(Debug)]
struct Source<'r> {
    consumer: Consumer<'r>,
    /// When the consumer was refreshed last. It is refreshed again only after everything seen then
    /// has been drained; otherwise the drain might never catch up with a fast producer.
    refreshed: RingProgress,
    /// Everything that was recorded by then has been delivered.
    drained: RingProgress,
}

/// The number of a pass, and a tick that was read before the pass refreshed the consumers.
#[derive(Clone, Copy, Debug)]
struct RingProgress {
    pass: u64,
    as_of: u64,
}

/// The queue of changes, and the number of changes for which it had no room.
struct ChangeQueue<'r> {
    queue: Option<&'r mut DequeView<StatusChange>>,
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

/// The result of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Pass {
    /// Records that were delivered.
    pub delivered: u64,
    /// Records that were overwritten before they could be delivered.
    pub overwritten: u64,
    /// Whether records that the pass has seen are left, because it reached its limit.
    pub has_more: bool,
}

impl<'r, S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Drain<'r, S, C, IDS, RINGS> {
    /// Creates a drain.
    ///
    /// `storage` must be unused and must have the shape `config.shape`.
    ///
    /// # Errors
    ///
    /// Returns an error if shape, windows, events and storage do not match. The error names the
    /// value.
    pub fn new(config: DrainConfig<'r, C, IDS, RINGS>, storage: S) -> Result<Self, ConfigError> {
        const { assert!(RINGS > 0 && RINGS <= 1 << 16, "a drain must have 1 to 65,536 rings") };
        let DrainConfig { shape, windows, events, clock, gate, rings, transitions } = config;
        let now = clock.end();
        let aggregator = Aggregator::new(shape, windows, events, clock.rate(), now, storage)?;
        let start = RingProgress { pass: 0, as_of: now };
        Ok(Self {
            aggregator,
            clock,
            gate,
            windows,
            events,
            rings: rings.map(|consumer| Source { consumer, refreshed: start, drained: start }),
            transitions: ChangeQueue { queue: transitions, lost: 0 },
            first: 0,
            now,
            still_passes: 0,
        })
    }

    /// Makes a pass: drains at most `max_records` records (0 counts as 1), and evaluates the
    /// limits.
    ///
    /// The rings take turns, so an interrupt storm in one does not keep the others from being
    /// drained.
    ///
    /// Takes time linear in the records, the windows, the slices that have ended, and the limits.
    pub fn run(&mut self, max_records: usize) -> Pass {
        self.observe(max_records, |_, _| ())
    }

    /// Like [`run`](Self::run), and calls `observe` with each record and the index of its ring.
    pub fn observe(&mut self, max_records: usize, mut observe: impl FnMut(usize, Record)) -> Pass {
        let Self {
            aggregator,
            clock,
            gate,
            events,
            rings,
            transitions,
            first,
            now,
            still_passes,
            ..
        } = self;
        let refreshed = RingProgress { pass: aggregator.pass() + 1, as_of: clock.end() };
        for ring in rings.iter_mut().filter(|ring| ring.consumer.pending() == 0) {
            ring.consumer.refresh();
            ring.refreshed = refreshed;
        }
        // Read after the consumers were refreshed, so that no record of the pass is newer.
        let before = core::mem::replace(now, clock.end());
        aggregator.begin_pass(*now);
        for info in *events {
            // If records are left out by sampling, summaries are incomplete. If records are left
            // out for any reason, their absence is no silence.
            let is_sampled = gate.sampling(info.id) > 0;
            if is_sampled {
                aggregator.mark_sampled(info.id);
            }
            if is_sampled || !gate.admits(info.id) {
                aggregator.reset_silence(info.id);
            }
        }

        let mut pass = Pass::default();
        // With 0, `has_more` would stay set for ever.
        let mut left = max_records.max(1);
        for at in (0..RINGS).cycle().skip(*first).take(RINGS) {
            let Source { consumer, refreshed, drained } = &mut rings[at];
            let pending = consumer.pending().min(consumer.capacity());
            if left > 0 && pending > 0 {
                let number = u16::try_from(at).unwrap_or(u16::MAX);
                let taken =
                    aggregator.drain_up_to(number, consumer, left, |record, _| observe(at, record));
                pass.delivered += taken.delivered;
                pass.overwritten += taken.overwritten;
                left = left.saturating_sub(pending - consumer.pending());
                *first = if at + 1 < RINGS { at + 1 } else { 0 };
            }
            if consumer.pending() == 0 {
                *drained = *refreshed;
            } else {
                pass.has_more = true;
            }
        }
        *still_passes += u64::from(pass.delivered > 0 && *now == before);

        // There is at least one ring, so the defaults are never used.
        let drained_pass = rings.iter().map(|ring| ring.drained.pass).min().unwrap_or(0);
        let as_of = rings.iter().map(|ring| ring.drained.as_of).min().unwrap_or(*now);
        aggregator.expire_orphans(drained_pass);
        aggregator.evaluate_limits(as_of, |change| transitions.push(change));
        pass
    }

    /// Returns the counts of all records, by what happened to them.
    pub fn health(&mut self) -> Health {
        let mut health = Health {
            counters: self.aggregator.counters(),
            passes: self.aggregator.pass(),
            still_passes: self.still_passes,
            transitions_lost: self.transitions.lost,
            ..Health::default()
        };
        for Source { consumer, .. } in &self.rings {
            // Wrapping, because the totals of a consumer wrap as well.
            health.produced = health.produced.wrapping_add(consumer.produced());
            health.delivered = health.delivered.wrapping_add(consumer.total().delivered);
            health.overwritten = health.overwritten.wrapping_add(consumer.total().overwritten);
            health.pending = health.pending.wrapping_add(consumer.pending() as u64);
        }
        health
    }

    /// Returns the events, in the order of [`DrainConfig::events`].
    pub const fn events(&self) -> &'static [EventInfo] {
        self.events
    }

    /// Returns the windows, in the order of [`DrainConfig::windows`].
    pub const fn windows(&self) -> &'r [WindowSpec] {
        self.windows
    }

    /// Removes and returns the oldest change from the queue of limits that were raised or cleared.
    ///
    /// A change for which the queue has no room is lost and counted in
    /// [`transitions_lost`](Health::transitions_lost).
    pub fn next_change(&mut self) -> Option<StatusChange> {
        self.transitions.queue.as_mut()?.pop_front()
    }

    /// Returns whether a limit of `event` was violated at the last pass.
    pub fn is_breached(&mut self, event: EventId) -> bool {
        self.aggregator.is_breached(event)
    }

    /// Returns the aggregator, for further queries: any quantile, the slowest samples, other
    /// limits.
    ///
    /// Do not begin passes or drain rings with it; the drain does both.
    pub const fn aggregator(&mut self) -> &mut Aggregator<S> {
        &mut self.aggregator
    }
}
