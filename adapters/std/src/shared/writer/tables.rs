//! The tables of a shared file that the drain writes: events, labels, limits and windows.

use core::time::Duration;
use std::sync::Arc;

use tailwatch_core::{CoveredOutcomes, EventId, Limit, MinSamples, Ring, Unit, WindowSpec};

use super::{
    ShareSizes,
    table::{Table, TableSpec, begin, complete},
};
use crate::{
    clock::nanos,
    events::{labels::MAX_LABELS, numbers::NamedEvent},
    shared::{
        layout::{HEADER_WORDS, MAX_RINGS, event, header, label, limit, ring, thread, window},
        words::Words,
    },
};

/// The least number of rows in the log of threads.
const MIN_THREADS: usize = 4_096;

/// The number of tables.
const TABLES: usize = 6;

/// The tables that the drain writes.
#[derive(Debug)]
pub(super) struct Tables {
    events: Table,
    labels: Table,
    limits: Table,
    windows: Table,
    /// The numbers of rows of `events` and `labels`.
    event_rows: usize,
    label_rows: usize,
    /// The event of each limit, or `None` for one that is retired.
    limits_of: Vec<Option<EventId>>,
}

impl Tables {
    /// Returns what the tables of a file of this size consist of, in their order.
    pub(super) fn specs(sizes: &ShareSizes, bytes: usize) -> [TableSpec; TABLES] {
        let ring_bytes = Ring::layout(sizes.rings.capacity).map_or(1, |layout| layout.size());
        let spec = |kind, words, capacity| TableSpec { kind, words, capacity };
        [
            spec(event::TYPE, event::WORDS, sizes.events),
            spec(label::TYPE, label::WORDS, sizes.events * MAX_LABELS),
            spec(limit::TYPE, limit::WORDS, sizes.limits),
            spec(window::TYPE, window::WORDS, sizes.windows),
            spec(ring::TYPE, ring::WORDS, (bytes / ring_bytes).clamp(1, MAX_RINGS)),
            spec(thread::TYPE, thread::WORDS, MIN_THREADS.max(2 * sizes.rings.lanes)),
        ]
    }

    /// Describes the tables in the header of a file. Also returns the tables of rings and threads.
    pub(super) fn describe(file: Words<'static>, specs: [TableSpec; TABLES]) -> (Self, [Table; 2]) {
        let mut first = HEADER_WORDS;
        let mut index = 0;
        let [events, labels, limits, windows, rings, threads] = specs.map(|spec| {
            let table = Table::describe(file, index, first, spec);
            (first, index) = (first + spec.all_words(), index + 1);
            table
        });
        file.store(header::TABLE_COUNT, TABLES as u64);
        let (event_rows, label_rows, limits_of) = (0, 0, Vec::new());
        let tables = Self { events, labels, limits, windows, event_rows, label_rows, limits_of };
        (tables, [rings, threads])
    }

    /// Writes the windows, the shortest first. Called once.
    pub(super) fn set_windows(&self, windows: &[WindowSpec]) {
        for (index, spec) in windows.iter().enumerate() {
            let row = self.windows.row(index);
            row.store(window::LENGTH_NS, nanos(spec.length));
            row.store(window::SLICES, spec.slices.into());
        }
        self.windows.publish(windows.len());
    }

    /// Adds an event with its labels, of which there are at most as many as there is room for.
    pub(super) fn add_event(&mut self, added: &NamedEvent) {
        if self.event_rows == self.events.capacity() {
            return;
        }
        for (key, value) in added.labels.iter() {
            if self.label_rows == self.labels.capacity() {
                break;
            }
            let row = self.labels.row(self.label_rows);
            row.store(label::EVENT, added.info.id.get().into());
            row.store_text(label::KEY, key);
            row.store_text(label::VALUE, value);
            self.label_rows += 1;
        }
        self.labels.publish(self.label_rows);
        let row = self.events.row(self.event_rows);
        row.store(event::ID, added.info.id.get().into());
        row.store(event::UNIT, if added.info.unit == Unit::One { event::ONE } else { event::TIME });
        row.store(
            event::OUTCOMES,
            match added.info.outcomes {
                CoveredOutcomes::Ok => event::COVERS_OK,
                CoveredOutcomes::Any => event::COVERS_ANY,
            },
        );
        row.store(event::EXPECTED_INTERVAL_NS, added.info.expected_interval.map_or(0, nanos));
        row.store_text(event::NAME, added.base);
        self.event_rows += 1;
        self.events.publish(self.event_rows);
    }

    /// Retires the limits of an event, and adds these, each with where it was set.
    pub(super) fn set_limits(&mut self, event: EventId, limits: &[(Limit, Arc<str>)]) {
        for (index, of) in self.limits_of.iter_mut().enumerate() {
            if *of == Some(event) {
                *of = None;
                self.limits.row(index).store(limit::RETIRED, 1);
            }
        }
        for (set, origin) in limits {
            let retired = self.limits_of.iter().position(Option::is_none);
            let index = retired.unwrap_or(self.limits_of.len());
            if index == self.limits.capacity() {
                return;
            }
            let row = self.limits.row(index);
            begin(row.at(limit::GENERATION));
            write_limit(row, event, set, origin);
            complete(row.at(limit::GENERATION));
            if retired.is_none() {
                self.limits_of.push(None);
            }
            self.limits_of[index] = Some(event);
        }
        self.limits.publish(self.limits_of.len());
    }
}

fn write_limit(row: Words<'_>, event: EventId, set: &Limit, origin: &str) {
    row.store(limit::RETIRED, 0);
    row.store(limit::EVENT, event.get().into());
    row.store_text(limit::ORIGIN, origin);
    let (kind, quantile, max, threshold) = match set {
        Limit::Quantile(threshold) => {
            (limit::QUANTILE, threshold.quantile.ppm(), threshold.max, Some(threshold))
        }
        Limit::Errors(threshold) => {
            (limit::ERRORS, 0, threshold.max_error_ppm().into(), Some(threshold))
        }
        Limit::Silence(max) => (limit::SILENCE, 0, nanos(*max), None),
    };
    row.store(limit::KIND, kind);
    row.store(limit::QUANTILE_PPM, quantile.into());
    row.store(limit::MAX, max);
    row.store(limit::WINDOW_NS, threshold.map_or(0, |threshold| nanos(threshold.window)));
    let min_samples = threshold.map_or(0, |threshold| match threshold.min_samples {
        MinSamples::Count(count) => count.into(),
        MinSamples::Auto => limit::AUTO,
    });
    row.store(limit::MIN_SAMPLES, min_samples);
    let delay = |delay: Option<Duration>| delay.map_or(limit::ONE_SLICE, nanos);
    let raise_after = threshold.map_or(Duration::ZERO, |threshold| threshold.raise_after);
    row.store(limit::RAISE_AFTER_NS, nanos(raise_after));
    row.store(
        limit::CLEAR_AFTER_NS,
        delay(threshold.map_or(Some(Duration::ZERO), |threshold| threshold.clear_after)),
    );
}
