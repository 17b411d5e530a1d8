//! The report as bytes for a serial line: an encoder that turns each item into a frame, and a
//! decoder for the host.
//!
//! A frame consists of the [`VERSION`], a [`Frame`] as encoded by `postcard`, and a checksum. All
//! of this is encoded by COBS (consistent overhead byte stuffing), which removes all zero bytes. A
//! zero byte therefore marks the end of the frame. A decoder that starts late or misses bytes finds
//! the start of the next frame after the next zero byte.
//!
//! ```text
//! COBS( version, 1 byte │ postcard(Frame) │ checksum, 4 bytes ) 0
//! ```
//!
//! The checksum is the CRC-32/ISO-HDLC of the version and the encoded frame, in little-endian
//! order.
//!
//! # Limits
//!
//! - A frame has at most [`MAX_FRAME`] bytes. Names are cut to [`MAX_NAME`] bytes.
//! - Lost frames are not sent again, because the line is used in one direction only. The decoder
//!   counts a frame with missing or wrong bytes in [`Rejected`]. The next report contains the same
//!   items with current numbers.
//!
//! Encoder and decoder neither allocate, panic nor block.
//!
//! ```
//! use tailwatch_bare_metal::{Health, ReportItem, wire};
//!
//! // On the microcontroller, for each item of a report, and for each violation that is raised or
//! // cleared (see `Frame::change`):
//! let mut health = Health::default(); // usually from `Drain::report`
//! (health.produced, health.delivered) = (3, 3);
//! let item = ReportItem::Health(health);
//! let mut buffer = [0; wire::MAX_FRAME];
//! let bytes = wire::encode(&wire::Frame::from(&item), &mut buffer)?;
//!
//! // On the host, for bytes as they arrive:
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
        UnitKind,
    },
};

/// The version of the encoding. It changes whenever the layout of an existing frame changes. A new
/// kind of frame does not change it: a decoder that does not know the kind counts such frames as
/// [unknown](Rejected::unknown).
pub const VERSION: u8 = 1;

/// The maximum length of an encoded frame in bytes, including the zero byte that ends it.
pub const MAX_FRAME: usize = 256;

/// The maximum length of an event's name in a frame, in bytes. Longer names are cut.
pub const MAX_NAME: usize = 32;

/// The algorithm of the checksum. It works without a table, which would take a kilobyte of flash.
const CHECKSUM: crc::Crc<u32, crc::NoTable> =
    crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests;
