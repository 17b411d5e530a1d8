//! Bytes become frames.

use super::{CHECKSUM, Frame, MAX_FRAME, VERSION};

/// Finds the frames in a stream of bytes, whatever it holds: for the host, or another microcontroller.
///
/// It keeps [`MAX_FRAME`] bytes and allocates nothing. What is no frame is counted, and the next zero is where it begins anew.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: [u8; MAX_FRAME],
    len: usize,
    /// What came since the last zero is longer than a frame.
    overflowed: bool,
    rejected: Rejected,
}

/// What was between zeros, and no frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rejected {
    /// Longer than any frame.
    pub too_long: u64,
    /// Its checksum, or the code that keeps zeros out, is wrong: bytes were lost or changed.
    pub damaged: u64,
    /// Whole, but of another version.
    pub other_version: u64,
    /// Whole and of this version, but no frame of it.
    pub unknown: u64,
}

impl Rejected {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.too_long + self.damaged + self.other_version + self.unknown
    }
}

/// Why what was between two zeros is no frame.
enum Reason {
    Damaged,
    OtherVersion,
    Unknown,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        let rejected = Rejected { too_long: 0, damaged: 0, other_version: 0, unknown: 0 };
        Self { bytes: [0; MAX_FRAME], len: 0, overflowed: false, rejected }
    }

    /// Takes in bytes, as many as came, and calls `tell` with each frame that they complete: linear in their number.
    pub fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Frame)) {
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
                match frame_in(&mut self.bytes[..len]) {
                    Ok(frame) => tell(frame),
                    Err(Reason::Damaged) => self.rejected.damaged += 1,
                    Err(Reason::OtherVersion) => self.rejected.other_version += 1,
                    Err(Reason::Unknown) => self.rejected.unknown += 1,
                }
            }
        }
    }

    /// What was no frame, so far.
    pub const fn rejected(&self) -> Rejected {
        self.rejected
    }

    /// Bytes since the last zero: a frame that is not complete yet.
    pub const fn waiting(&self) -> usize {
        self.len
    }
}

/// The frame that these bytes are, without their zero.
fn frame_in(bytes: &mut [u8]) -> Result<Frame, Reason> {
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
