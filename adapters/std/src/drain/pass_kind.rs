//! The kinds of passes: which rings a pass drains, and how far.

/// Which rings a pass drains, and how far. A pass with a maximum number of records is *bounded*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassKind {
    /// Drains the rings that are due: they hold enough records, or their poll interval is over.
    Due,
    /// Drains the rings that are due, but at most this many records, where 0 counts as 1. The next
    /// bounded pass continues where this one stopped.
    DueUpTo(usize),
    /// Drains all rings and publishes a report.
    All,
    /// Drains all rings, but at most this many records, where 0 counts as 1. Publishes a report if
    /// no records are left.
    AllUpTo(usize),
    /// Drains all rings and publishes a report, as the last pass of the collector. ENDs that still
    /// wait for their START become orphans.
    Last,
}

impl PassKind {
    /// Returns whether the pass skips rings that are not due.
    pub(super) const fn skips_rings(self) -> bool {
        matches!(self, Self::Due | Self::DueUpTo(_))
    }

    /// Returns the maximum number of records that the pass drains, or `None` if it is not bounded.
    pub(super) const fn max_records(self) -> Option<usize> {
        match self {
            Self::DueUpTo(records) | Self::AllUpTo(records) => Some(records),
            Self::Due | Self::All | Self::Last => None,
        }
    }
}
