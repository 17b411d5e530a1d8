//! Numbers of records and samples by what became of them: those that could not be processed
//! normally, and those of each outcome.

/// What could not be processed normally, by cause: numbers of records and samples unless a field
/// says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Counters {
    /// Samples that were drained too late for at least one window, of the aggregator or of a limit:
    /// the window had already moved past them. A late sample is missing in that window, but is part
    /// of the total.
    pub late: u64,
    /// Clock readings that cannot be right:
    ///
    /// - spans that ended before they began; they produce no sample
    /// - samples from the future, more than 10 ms ahead of the time of the pass; they count in the
    ///   total only
    /// - STARTs from the future, or from more than 10 ms before the aggregator was created (or, if
    ///   the clock has stepped back below that tick, before the lowest tick after such a step);
    ///   they are ignored
    /// - passes whose time is before that of the previous pass
    pub clock_anomalies: u64,
    /// Durations and values that are too large. They produce no sample and count in no limit
    /// on a quantile.
    ///
    /// - Spans must be shorter than 2^46 ticks.
    /// - Durations measured elsewhere must be below 2^46 − 1 ticks, and plain numbers below
    ///   2^46 − 1.
    /// - Every duration must be below 2^60 internal units of time ([`TimeUnit`](crate::TimeUnit)).
    /// - In [compact](crate::Compact) storage, durations in internal units and plain numbers must
    ///   be below 2^44. For durations, this is 4.5 hours in the coarse unit and 16 s in the fine
    ///   unit.
    pub saturated: u64,
    /// Records of event 0; and records of a known event that have a kind that does not match the
    /// event's unit, or are FORGETs with an unknown reason.
    pub invalid: u64,
    /// Records of an event that was not passed to [`Aggregator::new`](crate::Aggregator::new).
    pub unknown_events: u64,
    /// The weight that histogram counters did not take up because they were saturated. Count, mean
    /// and limits still include it, and the accuracy of quantiles allows for it.
    ///
    /// In [compact](crate::Compact) storage, this also counts the weight that a slice of a window
    /// did not take up: the count and the weight of a slice saturate at 2^32 − 1. For summaries
    /// that include the slice, the count is then too low, the estimated total is reported as the
    /// largest number, and the mean and the deviation as not known.
    pub full_counters: u64,
    /// Intervals that would have ended before they began, because their start came from a clock
    /// that is ahead or from another clock. They produce no sample.
    pub negative_differences: u64,
    /// TAGs whose record is gone. A TAG is directly behind its DURATION, or has the event and the
    /// start tick of an open span. It is an orphan if neither is the case:
    ///
    /// - its DURATION was overwritten, or was read by another consumer of the ring
    /// - the START of its span was lost, had no room in the table of open spans or has not been
    ///   drained yet, or the storage has no such table
    /// - its span has ended, or was given up
    ///
    /// [Compact](crate::Compact) storage without exemplars has no use for tags: it ignores them,
    /// and this stays 0.
    pub orphan_tags: u64,
}

/// The numbers of an event's drained ENDs, by outcome, each counted as 1 whatever its weight. In
/// [compact](crate::Compact) storage, each number saturates at 2^32 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outcomes {
    /// ENDs with [`Outcome::Ok`](crate::Outcome::Ok): the work succeeded.
    pub ok: u64,
    /// ENDs with [`Outcome::Error`](crate::Outcome::Error): the work failed.
    pub error: u64,
    /// ENDs with [`Outcome::Cancelled`](crate::Outcome::Cancelled): a future was dropped, or a
    /// panic unwound.
    pub cancelled: u64,
}
