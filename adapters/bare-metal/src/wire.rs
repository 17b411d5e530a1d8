//! The report as bytes for a serial line: one frame per item, and a decoder for the host.
//!
//! A frame consists of the [`VERSION`], a [`Frame`] as encoded by `postcard`, and a checksum. All
//! of this is COBS-encoded, which removes zero bytes, so a zero byte ends the frame. A decoder that
//! starts late or misses bytes is synchronised again at the next frame.
//!
//! ```text
//! COBS( version, 1 byte │ postcard(Frame) │ CRC-32/ISO-HDLC of all before, 4 bytes, little-endian ) 0
//! ```
//!
//! # Limits
//!
//! - A frame has at most [`MAX_FRAME`] bytes. Names are cut to [`MAX_NAME`] bytes.
//! - The line is one-way, so nothing is sent again on request. The host counts a frame with lost
//!   bytes as damaged; the next report contains the same items with current numbers.
//!
//! Neither side allocates, panics or blocks.
//!
//! ```
//! use tailwatch_bare_metal::{Health, ReportItem, wire};
//!
//! // On the microcontroller, for each item of a report and each change of a limit:
//! let mut health = Health::default(); // from the report of a drain
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

/// The version of the frame layout, which changes whenever a frame changes.
pub const VERSION: u8 = 1;

/// The maximum length of a frame in bytes, including the zero byte that ends it.
pub const MAX_FRAME: usize = 256;

/// The maximum length of a name in bytes.
pub const MAX_NAME: usize = 32;

/// The checksum of a frame, computed without a table, which would take a kilobyte of flash.
const CHECKSUM: crc::Crc<u32, crc::NoTable> =
    crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests;
