//! The drain: one call from the idle loop.

use core::fmt;

use heapless::deque::DequeView;
use tailwatch_core::{
    Aggregator, Clock, ConfigError, Consumer, EventId, EventInfo, Gate, Record, Shape,
    StatusChange, Storage, WindowSpec,
};

use crate::Health;

/// What a drain is made of, besides its storage: all of it lies in `static`s, or in the frame of `main`.
pub struct DrainConfig<'r, C, const IDS: usize, const RINGS: usize> {
    /// How much is kept.
    pub shape: Shape,
    /// The windows that statistics are told of.
    pub windows: &'r [WindowSpec],
    /// What is measured.
    pub events: &'static [EventInfo],
    /// The clock that all recorders read.
    pub clock: C,
    /// The gate that all recorders ask.
    pub gate: &'r Gate<IDS>,
    /// The rings, each with the number by which the slowest samples name it.
    pub rings: [Consumer<'r>; RINGS],
    /// Where changes of limits wait for [`next_change`](Drain::next_change), a `heapless::Deque` of any length; `None` if
    /// nobody asks.
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

/// Empties rings into an aggregator, a bounded number of records at a time, and tells what came of it.
///
/// No allocation, no floating point, no lock: it reads what recorders publish, and they wait for nobody. One context drains, as a rule
/// the idle loop; whatever interrupts it may record.
///
/// Its limits: a ring that is not drained in time overwrites its oldest records, which is counted and makes summaries
/// incomplete. A storm of records takes as many passes as it needs; between them every ring has its turn.
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
/// # struct Timer(Cell<u64>); // 1 µs a look
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { self.0.replace(self.0.get() + 1_000) }
/// #     fn end(&self) -> u64 { self.start() }
/// #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// # }
/// # let clock = &Timer(Cell::new(0)); // on a Cortex-M: a `static CLOCK: SysTick`
///
/// let recorder = MAIN.take_recorder(&GATE, clock)?;
/// let mut storage = <storage!(SHAPE, u16)>::new(); // in firmware a `static`, or local to `main`
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
/// let mut report = String::new(); // in firmware a serial port
/// drain.report(|item| report += &format!("{item}\n"));
/// assert!(report.contains("event=order_fill window_ms=1000 count=1 min=1000 p50=1000"), "{report}");
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
    /// The ring that the next pass begins with.
    first: usize,
    /// What the clock read in the last pass.
    now: u64,
    still_passes: u64,
}

/// One ring, as the drain sees it.
#[derive(Debug)]
struct Source<'r> {
    consumer: Consumer<'r>,
    /// When it was looked how far the ring is: until that is drained, nobody looks anew, or a fast producer would be chased for ever.
    looked: RingProgress,
    /// What was recorded by then is delivered.
    drained: RingProgress,
}

/// A pass, and a tick before it looked at the rings.
#[derive(Clone, Copy, Debug)]
struct RingProgress {
    pass: u64,
    as_of: u64,
}

/// Where changes of limits go.
struct ChangeQueue<'r> {
    queue: Option<&'r mut DequeView<StatusChange>>,
    lost: u64,
}

impl ChangeQueue<'_> {
    fn tell(&mut self, change: &StatusChange) {
        if let Some(queue) = &mut self.queue
            && queue.push_back(*change).is_err()
        {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

impl fmt::Debug for ChangeQueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transitions").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// What a pass brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pass {
    /// Records that were delivered.
    pub delivered: u64,
    /// Records that were found overwritten.
    pub overwritten: u64,
    /// Whether it left some of what it saw, because it had taken as many as it may.
    pub has_more: bool,
}

impl<'r, S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Drain<'r, S, C, IDS, RINGS> {
    /// A drain of these rings. `storage` is empty and has the shape that is told.
    ///
    /// # Errors
    /// If windows, events, shape and storage do not fit each other; the error names the value.
    pub fn new(config: DrainConfig<'r, C, IDS, RINGS>, storage: S) -> Result<Self, ConfigError> {
        const {
            assert!(
                RINGS > 0 && RINGS <= 1 << 16,
                "a drain has a ring at least, and as many as 16 bits number"
            )
        };
        let DrainConfig { shape, windows, events, clock, gate, rings, transitions } = config;
        let now = clock.end();
        let aggregator = Aggregator::new(shape, windows, events, clock.rate(), now, storage)?;
        let looked = RingProgress { pass: 0, as_of: now };
        Ok(Self {
            aggregator,
            clock,
            gate,
            windows,
            events,
            rings: rings.map(|consumer| Source { consumer, looked, drained: looked }),
            transitions: ChangeQueue { queue: transitions, lost: 0 },
            first: 0,
            now,
            still_passes: 0,
        })
    }

    /// A pass: takes no more than `most_records` records (one, if that is 0), and judges the limits. Rings take turns, so that a storm in
    /// one does not keep others from being drained.
    ///
    /// Linear in the records, and in the shape: windows, slices that are over, limits.
    pub fn run(&mut self, most_records: usize) -> Pass {
        self.observe(most_records, |_, _| ())
    }

    /// As [`run`](Self::run), and shows each record to `observe`, with the number of its ring.
    pub fn observe(&mut self, most_records: usize, mut observe: impl FnMut(usize, Record)) -> Pass {
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
        let looked = RingProgress { pass: aggregator.pass() + 1, as_of: clock.end() };
        for ring in rings.iter_mut().filter(|ring| ring.consumer.pending() == 0) {
            ring.consumer.refresh();
            ring.looked = looked;
        }
        // Behind the looks, so that no record is newer.
        let before = core::mem::replace(now, clock.end());
        aggregator.begin_pass(*now);
        for info in *events {
            // What was turned away is no silence, and what was sampled away makes summaries incomplete.
            let is_sampled = gate.sampling(info.id) > 0;
            if is_sampled {
                aggregator.sampled_away(info.id);
            }
            if is_sampled || !gate.admits(info.id) {
                aggregator.reset_silence(info.id);
            }
        }

        let mut pass = Pass::default();
        // None at all would never come to an end.
        let mut left = most_records.max(1);
        for at in (0..RINGS).cycle().skip(*first).take(RINGS) {
            let Source { consumer, looked, drained } = &mut rings[at];
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
                *drained = *looked;
            } else {
                pass.has_more = true;
            }
        }
        *still_passes += u64::from(pass.delivered > 0 && *now == before);

        // There is one ring at least.
        let settled = rings.iter().map(|ring| ring.drained.pass).min().unwrap_or(0);
        let as_of = rings.iter().map(|ring| ring.drained.as_of).min().unwrap_or(*now);
        aggregator.expire_orphans(settled);
        aggregator.watch(as_of, |change| transitions.tell(change));
        pass
    }

    /// What became of all records.
    pub fn health(&mut self) -> Health {
        let mut health = Health {
            counters: self.aggregator.counters(),
            passes: self.aggregator.pass(),
            still_passes: self.still_passes,
            transitions_lost: self.transitions.lost,
            ..Health::default()
        };
        for Source { consumer, .. } in &self.rings {
            // Wrapping, as the totals of a consumer are.
            health.produced = health.produced.wrapping_add(consumer.produced());
            health.delivered = health.delivered.wrapping_add(consumer.total().delivered);
            health.overwritten = health.overwritten.wrapping_add(consumer.total().overwritten);
            health.pending = health.pending.wrapping_add(consumer.pending() as u64);
        }
        health
    }

    /// What is known of each event, in the order that they were given in.
    pub const fn events(&self) -> &'static [EventInfo] {
        self.events
    }

    /// The windows, in the order that they were given in.
    pub const fn windows(&self) -> &'r [WindowSpec] {
        self.windows
    }

    /// The oldest change of a limit that was not asked for yet. One that found the queue full is counted, in
    /// [`transitions_lost`](Health::transitions_lost).
    pub fn next_change(&mut self) -> Option<StatusChange> {
        self.transitions.queue.as_mut()?.pop_front()
    }

    /// Whether one of the limits of `event` is violated, as of the last pass.
    pub fn is_breached(&mut self, event: EventId) -> bool {
        self.aggregator.is_breached(event)
    }

    /// The aggregator, for what is asked of it directly: any quantile, the slowest samples, other limits.
    ///
    /// Its passes are this drain's to make: begin none.
    pub const fn aggregator(&mut self) -> &mut Aggregator<S> {
        &mut self.aggregator
    }
}
