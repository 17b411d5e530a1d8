//! What is computed from samples: windows, moments, quantiles with their confidence
//! intervals, and summaries.

pub(crate) mod confidence;
pub(crate) mod fixed_point;
pub mod histogram;
pub(crate) mod moments;
pub(crate) mod quantile;
pub(crate) mod sample_buffer;
pub mod select;
pub(crate) mod squares;
pub(crate) mod summary;
pub(crate) mod window;
