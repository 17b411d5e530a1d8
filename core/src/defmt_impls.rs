//! `defmt::Format` for the types that cannot derive it, because they contain atomics, cells or a
//! clock, have too many fields to log, or consist of raw bits. A type logs its name and, of
//! some, part of what describes it; [`FixedPoint`] logs only its number.

use defmt::{Format, Formatter, write};

use crate::{
    aggregator::Aggregator,
    clock::Clock,
    record::Record,
    recording::{
        copies::{CopiedBytes, Copies, ThreadCopies},
        gate::Gate,
        recorder::{Recorder, SpanGuard},
    },
    repr::Repr,
    ring::{Ring, producer::Producer, reader::Reader, slot::Slot},
    statistics::fixed_point::{FRACTION_BITS, FixedPoint},
    storage::{Storage, StorageParts},
};

impl Format for Ring {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Ring {{ capacity: {=usize}, pending: {=usize} }}",
            self.capacity(),
            self.pending()
        );
    }
}

impl<const N: usize> Format for Ring<[Slot; N]> {
    fn format(&self, f: Formatter<'_>) {
        let ring: &Ring = self;
        ring.format(f);
    }
}

impl Format for Slot {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Slot");
    }
}

impl Format for Producer<'_> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Producer {{ head: {=usize} }}", self.head());
    }
}

impl<P: Format> Format for Reader<'_, P> {
    fn format(&self, f: Formatter<'_>) {
        let total = self.total();
        write!(
            f,
            "Reader {{ position: {}, produced: {=u64}, delivered: {=u64}, overwritten: {=u64}, \
             pending: {=usize} }}",
            self.position,
            self.produced(),
            total.delivered,
            total.overwritten,
            self.pending()
        );
    }
}

impl Format for Record {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Record {{ ticks: {=u64}, event: {}, kind: {}, sampling: {=u8}, payload: {=u64} }}",
            self.ticks(),
            self.event(),
            self.kind(),
            self.sampling(),
            self.payload()
        );
    }
}

impl<const IDS: usize> Format for Gate<IDS> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Gate {{ enabled: {=bool}, ids: {=usize} }}", self.is_enabled(), IDS);
    }
}

impl<L> Format for ThreadCopies<L> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "ThreadCopies");
    }
}

impl Format for CopiedBytes {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "CopiedBytes");
    }
}

impl<C: Clock, const IDS: usize, K: Copies> Format for Recorder<'_, C, IDS, K> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Recorder {{ clock_rate: {} }}", self.clock().rate());
    }
}

impl<C: Clock, const IDS: usize, K: Copies> Format for SpanGuard<'_, '_, C, IDS, K> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "SpanGuard");
    }
}

impl<S: Storage> Format for Aggregator<S> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Aggregator {{ shape: {}, pass: {=u64} }}", self.shape(), self.pass());
    }
}

impl<R: Repr, C> Format for StorageParts<'_, R, C> {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "StorageParts {{ rows: {=usize}, windows: {=usize} }}",
            self.rows.len(),
            self.windows.len()
        );
    }
}

impl Format for FixedPoint {
    /// Logs the number rounded to one decimal, like `Display` without a precision.
    fn format(&self, f: Formatter<'_>) {
        let (whole, fraction) =
            (self.to_bits() >> FRACTION_BITS, self.to_bits() & ((1 << FRACTION_BITS) - 1));
        let tenths = (fraction * 10 + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        write!(f, "{=u64}.{=u64}", whole + tenths / 10, tenths % 10);
    }
}
