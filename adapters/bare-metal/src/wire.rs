//! The report as bytes, for a serial line: a frame for each item, which a host decodes.
//!
//! A frame is what `postcard` makes of a [`Frame`], between the [`VERSION`] and a checksum, and made free of zeros (COBS), so that
//! a zero ends it: whoever comes in late, or misses bytes, is right again at the next frame.
//!
//! ```text
//! COBS( version, 1 byte │ postcard(Frame) │ CRC-32/ISO-HDLC of all before, 4 bytes, little-endian ) 0
//! ```
//!
//! Its limits: a frame has at most [`MAX_FRAME`] bytes, of which names take up to [`MAX_NAME`]; longer ones are cut. The line is
//! one way: what is lost on it is noticed by the host as a damaged frame, and comes again with the next report. Neither side allocates, panics
//! or blocks.
//!
//! ```
//! use tailwatch_bare_metal::{Health, ReportItem, wire};
//!
//! // On the microcontroller, for each item of a report and each change of a limit:
//! let item = ReportItem::Health(Health { produced: 3, delivered: 3, ..Health::default() });
//! let mut room = [0; wire::MAX_FRAME];
//! let bytes = wire::encode(&wire::Frame::from(&item), &mut room)?;
//!
//! // On the host, from bytes as they come:
//! let mut decoder = wire::Decoder::new();
//! let mut frames = Vec::new();
//! for chunk in bytes.chunks(5) {
//!     decoder.feed(chunk, |frame| frames.push(frame));
//! }
//! assert!(matches!(&frames[..], [wire::Frame::Health(health)] if health.delivered == 3));
//! assert_eq!(decoder.rejected().total(), 0);
//! # Ok::<(), wire::BufferTooSmall>(())
//! ```

mod decoder;
mod encode;
mod frame;

pub use self::{
    decoder::{Decoder, Rejected},
    encode::{BufferTooSmall, encode},
    frame::{
        CountsFrame, Frame, HealthFrame, LimitFrame, LimitKind, LimitState, Name, SummaryFrame,
        UnitOf,
    },
};

/// The layout that is written and read; it changes with every change of a frame.
pub const VERSION: u8 = 1;

/// The most bytes that a frame has, its zero included.
pub const MAX_FRAME: usize = 256;

/// The most bytes of a name.
pub const MAX_NAME: usize = 32;

/// Guards a frame; without a table, which would be a kilobyte of flash.
const CHECKSUM: crc::Crc<u32, crc::NoTable> =
    crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests;
