//! Making an event when the program runs.

use tailwatch_core::{EventId, Unit};

use super::{
    error::EventError,
    labels,
    numbers::{self, NamedEvent},
};
use crate::collector::{Collector, builder::Builder};

/// An event that is being made; created by [`Builder::event`](crate::Builder::event) and
/// [`Collector::event`](crate::Collector::event).
///
/// An event is identified by its name and its labels. Making it again returns the same event, in
/// all collectors of the process.
#[derive(Debug)]
#[must_use = "an event is not made until `add`"]
pub struct NewEvent<'t> {
    target: Target<'t>,
    name: String,
    labels: Vec<(String, String)>,
    unit: Unit,
}

/// What gets the event.
#[derive(Debug)]
pub(crate) enum Target<'t> {
    Builder(&'t mut Builder),
    Collector(&'t Collector),
}

impl<'t> NewEvent<'t> {
    pub(crate) fn new(target: Target<'t>, name: &str) -> Self {
        Self { target, name: name.to_owned(), labels: Vec::new(), unit: Unit::Time }
    }

    /// Adds a label. Labels distinguish events of the same name. Their order does not matter.
    ///
    /// A key consists of ASCII letters, digits and underscores and does not begin with a digit. It
    /// cannot be `event`, `kind`, `le`, `quantile`, `window`, `outcome`, `job` or `instance`, or
    /// begin with `__`. A key and a value have 1 to 128 bytes, without control characters. An event
    /// may have 8 labels.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets what the event measures: by default durations.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Makes the event, and returns what [`measure`](crate::measure()) takes.
    ///
    /// Blocks while the drain makes a pass, if the collector runs.
    ///
    /// # Errors
    /// Returns an error if the name or a label is not valid, if a label is repeated, if the event
    /// exists with another unit, or if there are too many events. If the collector runs, also if it
    /// has stopped, or in a process that was forked from that of the collector.
    pub fn add(mut self) -> Result<EventId, EventError> {
        labels::check_name(&self.name)?;
        labels::check(&mut self.labels)?;
        match self.target {
            Target::Builder(builder) => {
                let NamedEvent { info, .. } = numbers::make(&self.name, &self.labels, self.unit)?;
                builder.add_made(info);
                Ok(info.id)
            }
            Target::Collector(collector) => {
                collector.more_events().make(&self.name, &self.labels, self.unit)
            }
        }
    }
}
