//! A frame becomes bytes.

use core::{error, fmt};

use postcard::ser_flavors::{Cobs, Flavor, Slice};

use super::{CHECKSUM, Frame, MAX_FRAME, VERSION};

/// Writes the bytes of a frame into `room`, its zero included, and returns them: linear in their number, at most [`MAX_FRAME`].
///
/// # Errors
/// If there is too little room; [`MAX_FRAME`] bytes are always enough.
pub fn encode<'b>(frame: &Frame, room: &'b mut [u8]) -> Result<&'b mut [u8], BufferTooSmall> {
    let too_small = BufferTooSmall { room: room.len() };
    let digest = CHECKSUM.digest();
    Cobs::try_new(Slice::new(room))
        .and_then(|cobs| {
            postcard::serialize_with_flavor(&(VERSION, frame), Checked { cobs, digest })
        })
        .map_err(|_| too_small)
}

/// Puts the checksum of what went through it behind it.
struct Checked<'b> {
    cobs: Cobs<Slice<'b>>,
    digest: crc::Digest<'static, u32, crc::NoTable>,
}

impl<'b> Flavor for Checked<'b> {
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

/// Too little room for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferTooSmall {
    /// The bytes that there were.
    pub room: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes are too little room for the frame; {MAX_FRAME} are always enough",
            self.room
        )
    }
}

impl error::Error for BufferTooSmall {}
