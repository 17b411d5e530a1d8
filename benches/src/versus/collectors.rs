//! The collectors that spans are recorded into: which of them decides what becomes of the records.

use core::{cell::Cell, error::Error, time::Duration};

use tailwatch::{Builder, ClockMode, Collector, Sampling};

use super::{LONG_TURN, TURN, Work, forms};
use crate::{processor, rounds::Contestant};

/// Records in a ring that is meant to overflow.
pub(super) const SMALL_RING: usize = 1_024;

/// What becomes of the records of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// They wait in the ring until the turn is over.
    Kept,
    /// The same, of one in 16 spans.
    Sampled,
    /// The drain's thread takes them at its own pace.
    Drained,
    /// Nobody takes them: the turn is as long as one that is drained.
    Undrained,
    /// They overwrite each other in a small ring.
    Overwritten,
    /// There are none: recording is off.
    Unrecorded,
}

/// A collector, and what is known of it by who records.
struct Place {
    collector: Collector,
    /// Whether everything is drained between turns.
    emptied: bool,
    /// Those who record into it.
    contestants: Cell<u64>,
    /// Processor time of the thread that records, of long turns alone: to ask for it is a system call.
    own: Cell<Duration>,
}

impl Place {
    fn new(builder: Builder, emptied: bool) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            collector: builder.start()?,
            emptied,
            contestants: Cell::default(),
            own: Cell::default(),
        })
    }

    /// Times `work` in a turn of its own.
    fn own(&self, work: impl FnOnce()) {
        let before = processor::time();
        work();
        self.own.set(self.own.get() + processor::time().saturating_sub(before));
    }
}

/// The collectors of one clock mode.
pub(super) struct Collectors {
    spans: Place,
    values: Place,
    sampled: Place,
    drained: Place,
    undrained: Place,
    overflowing: Place,
    off: Place,
}

impl Collectors {
    pub(super) fn start(mode: ClockMode) -> Result<Self, Box<dyn Error>> {
        // Two rings, as a turn elsewhere leaves one behind that is given back a little later.
        let builder = || Collector::builder().ignore_environment().clock_mode(mode).rings(2);
        let manual = || builder().manual_drain();
        Ok(Self {
            spans: Place::new(manual(), true)?,
            values: Place::new(manual(), true)?,
            sampled: Place::new(manual().sampling(forms::SPAN, Sampling::Rate(1.0 / 16.0)), true)?,
            drained: Place::new(builder(), false)?,
            undrained: Place::new(manual(), true)?,
            overflowing: Place::new(manual().ring_capacity(SMALL_RING), true)?,
            off: Place::new(manual().enabled(false), true)?,
        })
    }

    /// The contestant that has this become of its records.
    pub(super) fn contestant(&self, name: &'static str, work: Work, fate: Fate) -> Contestant<'_> {
        let place = match fate {
            Fate::Kept if name.starts_with("span/value/") => &self.values,
            Fate::Kept => &self.spans,
            Fate::Sampled => &self.sampled,
            Fate::Drained => &self.drained,
            Fate::Undrained => &self.undrained,
            Fate::Overwritten => &self.overflowing,
            Fate::Unrecorded => &self.off,
        };
        let prepare = move || {
            if place.emptied {
                place.collector.flush();
            }
            place.collector.register_thread("bench").expect("a ring for the only thread");
        };
        place.contestants.set(place.contestants.get() + 1);
        let work: Box<dyn FnMut(u32)> = match fate {
            Fate::Drained | Fate::Undrained => Box::new(move |times| place.own(|| work(times))),
            _ => Box::new(work),
        };
        Contestant { name, prepare: Box::new(prepare), work }
    }

    /// Stops them, and says what came of long turns, once it is certain that all records had the fate that they were meant to have.
    ///
    /// Each contestant had so many turns; besides, so many single spans were kept.
    pub(super) fn check(&self, turns: u64, singles: u64) -> Result<LongTurns, Box<dyn Error>> {
        let spans = |place: &Place, turn: u32| place.contestants.get() * turns * u64::from(turn);
        let health = |place: &Place| {
            place.collector.stop();
            place.collector.health()
        };
        let [kept, values, sampled] = [&self.spans, &self.values, &self.sampled].map(health);
        let [drained, undrained, overflowing, off] =
            [&self.drained, &self.undrained, &self.overflowing, &self.off].map(health);
        let right = [
            ("kept", &kept, 2 * (spans(&self.spans, TURN) + singles), kept.overwritten == 0),
            ("values", &values, spans(&self.values, TURN), values.overwritten == 0),
            (
                "sampled",
                &sampled,
                sampled.produced,
                sampled.produced > 0 && sampled.overwritten == 0,
            ),
            ("drained", &drained, 2 * spans(&self.drained, LONG_TURN), drained.delivered > 0),
            (
                "undrained",
                &undrained,
                2 * spans(&self.undrained, LONG_TURN),
                undrained.overwritten > 0,
            ),
            (
                "overflowing",
                &overflowing,
                2 * spans(&self.overflowing, TURN),
                overflowing.overwritten > 0,
            ),
            ("off", &off, 0, true),
        ];
        for (name, health, produced, as_meant) in right {
            if health.produced != produced || health.unregistered > 0 || !as_meant {
                return Err(format!(
                    "{name}: {produced} records should have been produced: {health:?}"
                )
                .into());
            }
        }
        let own =
            |place: &Place| place.own.get().as_secs_f64() * 1e9 / float(spans(place, LONG_TURN));
        Ok(LongTurns {
            taken: float(drained.delivered) / float(drained.produced),
            drained_ns: own(&self.drained),
            undrained_ns: own(&self.undrained),
        })
    }
}

/// What came of long turns.
pub(super) struct LongTurns {
    /// The share of its records that the drain took.
    pub(super) taken: f64,
    /// Nanoseconds of the recording thread's own processor time a span, beside the drain.
    pub(super) drained_ns: f64,
    /// The same, without a drain.
    pub(super) undrained_ns: f64,
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn float(count: u64) -> f64 {
    count as f64
}
