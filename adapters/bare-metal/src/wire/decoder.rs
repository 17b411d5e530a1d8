//! Decodes frames.

use super::{CHECKSUM, Frame, MAX_FRAME, VERSION};

/// Decodes the frames in a stream of bytes, on the host or on another microcontroller.
///
/// The stream may contain any bytes. Bytes that are not a valid frame are counted as [`Rejected`],
/// and decoding continues after the next zero byte. The decoder has a buffer of [`MAX_FRAME`] bytes
/// and does not allocate.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: [u8; MAX_FRAME],
    len: usize,
    /// Whether more bytes than a frame can have arrived since the last zero byte.
    overflowed: bool,
    rejected: Rejected,
}

/// Counts of byte sequences between two zero bytes that were not a valid frame, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Rejected {
    /// Longer than [`MAX_FRAME`].
    pub too_long: u64,
    /// The checksum or the COBS encoding is wrong, because bytes were lost or changed.
    pub damaged: u64,
    /// The checksum is right, but the frame has another [`VERSION`].
    pub other_version: u64,
    /// Checksum and version are right, but the content is not a [`Frame`].
    pub unknown: u64,
}

impl Rejected {
    /// Returns the sum of all causes.
    pub const fn total(&self) -> u64 {
        self.too_long + self.damaged + self.other_version + self.unknown
    }
}

/// The cause for which a byte sequence was rejected.
enum Reason {
    Damaged,
    OtherVersion,
    Unknown,
}

impl Decoder {
    /// Creates a decoder with an empty buffer.
    #[expect(
        clippy::new_without_default,
        reason = "it is made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        let rejected = Rejected { too_long: 0, damaged: 0, other_version: 0, unknown: 0 };
        Self { bytes: [0; MAX_FRAME], len: 0, overflowed: false, rejected }
    }

    /// Processes bytes in chunks of any length, and calls `emit` with each frame that they
    /// complete.
    ///
    /// Takes time linear in the number of bytes.
    pub fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Frame)) {
        for byte in bytes {
            if *byte != 0 {
                match self.bytes.get_mut(self.len) {
                    Some(place) => {
                        *place = *byte;
                        self.len += 1;
                    }
                    None => self.overflowed = true,
                }
                continue;
            }
            let (len, overflowed) =
                (core::mem::take(&mut self.len), core::mem::take(&mut self.overflowed));
            if overflowed {
                self.rejected.too_long += 1;
            } else if len > 0 {
                match decode_frame(&mut self.bytes[..len]) {
                    Ok(frame) => emit(frame),
                    Err(Reason::Damaged) => self.rejected.damaged += 1,
                    Err(Reason::OtherVersion) => self.rejected.other_version += 1,
                    Err(Reason::Unknown) => self.rejected.unknown += 1,
                }
            }
        }
    }

    /// Returns the counts of rejected byte sequences so far.
    pub const fn rejected(&self) -> Rejected {
        self.rejected
    }

    /// Returns the number of buffered bytes, which belong to a frame that is not complete yet.
    pub const fn waiting(&self) -> usize {
        self.len
    }
}

/// Decodes a frame from `bytes`, which do not include the zero byte that ends it.
fn decode_frame(bytes: &mut [u8]) -> Result<Frame, Reason> {
    let len = cobs::decode_in_place(bytes).map_err(|_| Reason::Damaged)?;
    let (guarded, checksum) =
        bytes.get(..len).and_then(<[u8]>::split_last_chunk).ok_or(Reason::Damaged)?;
    if CHECKSUM.checksum(guarded) != u32::from_le_bytes(*checksum) {
        return Err(Reason::Damaged);
    }
    let (version, frame) = guarded.split_first().ok_or(Reason::Damaged)?;
    if *version != VERSION {
        return Err(Reason::OtherVersion);
    }
    match postcard::take_from_bytes(frame) {
        Ok((frame, [])) => Ok(frame),
        _ => Err(Reason::Unknown),
    }
}
