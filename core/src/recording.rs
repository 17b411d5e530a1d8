//! The hot path: the [gate](gate::Gate), which switches events off or samples them, and the
//! [recorder](recorder::Recorder), which writes the records.

pub(crate) mod copies;
pub(crate) mod gate;
pub(crate) mod recorder;
pub(crate) mod token;
