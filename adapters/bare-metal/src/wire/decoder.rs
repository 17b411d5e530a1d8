//! The decoder of frames.

use super::{CHECKSUM, Frame, MAX_FRAME, VERSION};

/// Decodes the frames in a stream of bytes, on the host or on another microcontroller.
///
/// The stream may contain any bytes. A sequence of bytes that is not a valid frame is counted in
/// [`Rejected`], and decoding continues after the next zero byte. The decoder has a buffer of
/// [`MAX_FRAME`] bytes and does not allocate.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The bytes that have arrived since the last zero byte, in the first `len` elements.
    bytes: [u8; MAX_FRAME],
    len: usize,
    /// Whether more than [`MAX_FRAME`] bytes have arrived since the last zero byte, so that some
    /// found no room in `bytes`.
    overflowed: bool,
    rejected: Rejected,
}

/// How many byte sequences the [`Decoder`] has rejected, by cause. A byte sequence consists of all
/// bytes from one zero byte, or from the start of the stream, to the next zero byte. It is rejected
/// if it is not empty and not a valid frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Rejected {
    /// Sequences that are longer than [`MAX_FRAME`] bytes.
    pub too_long: u64,
    /// Sequences with a wrong checksum or a wrong COBS encoding: bytes were lost or changed, or the
    /// sequence was never a frame.
    pub damaged: u64,
    /// Frames with a right checksum, but another [`VERSION`] than this decoder's.
    pub other_version: u64,
    /// Frames with a right checksum and this decoder's version, but whose content is not a
    /// [`Frame`].
    pub unknown: u64,
}

impl Rejected {
    /// Returns the number of rejected byte sequences, whatever the cause.
    pub const fn total(&self) -> u64 {
        self.too_long + self.damaged + self.other_version + self.unknown
    }
}

/// Why [`decode_frame`] rejects a byte sequence. The variants correspond to fields of [`Rejected`].
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

    /// Processes the next `bytes` of the stream, and calls `emit` with each frame that they
    /// complete.
    ///
    /// The stream may be passed in chunks of any length: a frame may begin in one call and end in
    /// another. Takes time linear in the number of bytes.
    pub fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Frame)) {
        for byte in bytes {
            if *byte != 0 {
                match self.bytes.get_mut(self.len) {
                    Some(free) => {
                        *free = *byte;
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

    /// Returns how many byte sequences were rejected so far, by cause.
    pub const fn rejected(&self) -> Rejected {
        self.rejected
    }

    /// Returns the number of bytes in the buffer. They belong to a frame that is not complete yet.
    pub const fn waiting(&self) -> usize {
        self.len
    }
}

/// Decodes a frame from `bytes`, which do not include the zero byte that ends it.
fn decode_frame(bytes: &mut [u8]) -> Result<Frame, Reason> {
    let len = cobs::decode_in_place(bytes).map_err(|_| Reason::Damaged)?;
    let (checked, checksum) =
        bytes.get(..len).and_then(<[u8]>::split_last_chunk).ok_or(Reason::Damaged)?;
    if CHECKSUM.checksum(checked) != u32::from_le_bytes(*checksum) {
        return Err(Reason::Damaged);
    }
    let (version, frame) = checked.split_first().ok_or(Reason::Damaged)?;
    if *version != VERSION {
        return Err(Reason::OtherVersion);
    }
    match postcard::take_from_bytes(frame) {
        Ok((frame, [])) => Ok(frame),
        _ => Err(Reason::Unknown),
    }
}
