//! The encoder of frames.

use core::{error, fmt};

use postcard::ser_flavors::{Cobs, Flavor, Slice};

use super::{CHECKSUM, Frame, MAX_FRAME, VERSION};

/// Encodes `frame` into the start of `buffer`. Returns the part of `buffer` that was written, which
/// includes the zero byte that ends the frame.
///
/// Takes time linear in the length of the frame, which is at most [`MAX_FRAME`] bytes.
///
/// # Errors
///
/// Returns an error if `buffer` is too small. [`MAX_FRAME`] bytes are always enough.
pub fn encode<'b>(frame: &Frame, buffer: &'b mut [u8]) -> Result<&'b mut [u8], BufferTooSmall> {
    // Created first, because `buffer` is borrowed below.
    let too_small = BufferTooSmall { room: buffer.len() };
    let digest = CHECKSUM.digest();
    Cobs::try_new(Slice::new(buffer))
        .and_then(|cobs| {
            postcard::serialize_with_flavor(&(VERSION, frame), WithChecksum { cobs, digest })
        })
        .map_err(|_| too_small)
}

/// The last stage of `postcard`'s output: encodes bytes with COBS, and appends their checksum.
struct WithChecksum<'b> {
    cobs: Cobs<Slice<'b>>,
    digest: crc::Digest<'static, u32, crc::NoTable>,
}

impl<'b> Flavor for WithChecksum<'b> {
    type Output = &'b mut [u8];

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.digest.update(&[byte]);
        self.cobs.try_push(byte)
    }

    fn finalize(mut self) -> postcard::Result<Self::Output> {
        self.cobs.try_extend(&self.digest.finalize().to_le_bytes())?;
        self.cobs.finalize()
    }
}

/// The error returned by [`encode`] when the buffer is too small for the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct BufferTooSmall {
    /// The length of the buffer in bytes.
    pub room: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a buffer of {} bytes is too small for this frame; {MAX_FRAME} bytes are always enough",
            self.room
        )
    }
}

impl error::Error for BufferTooSmall {}
