//! Decodes arbitrary bytes of a serial line.

use arbitrary::Arbitrary;
use tailwatch_bare_metal::{
    Health, ReportItem,
    wire::{Decoder, Frame, MAX_FRAME, Rejected, encode},
};

#[derive(Debug, Arbitrary)]
enum Piece<'a> {
    /// Any bytes.
    Noise(&'a [u8]),
    /// A whole frame.
    Health(u64),
    /// A frame cut to `len` bytes, with bits flipped in one byte if `flip` gives a place and a
    /// mask.
    Damaged { number: u64, len: u8, flip: Option<(u8, u8)> },
}

fn frame_of(number: u64) -> Frame {
    let mut health = Health::default();
    health.produced = number;
    health.passes = number / 3;
    Frame::from(&ReportItem::Health(health))
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut room = [0; MAX_FRAME];
    encode(frame, &mut room).expect("`MAX_FRAME` bytes are enough").to_vec()
}

/// Decodes `bytes` in chunks of `chunk` bytes. Returns the frames, the counts of rejected pieces,
/// and the number of bytes that wait for the end of their frame.
fn decoded(bytes: &[u8], chunk: usize) -> (Vec<Frame>, Rejected, usize) {
    let (mut decoder, mut frames) = (Decoder::new(), vec![]);
    for chunk in bytes.chunks(chunk) {
        decoder.feed(chunk, |frame| frames.push(frame));
    }
    (frames, decoder.rejected(), decoder.waiting())
}

/// Decodes the bytes that the input encodes.
///
/// # Panics
/// If the result depends on the chunks, if a decoded frame does not survive being encoded and
/// decoded again, if a piece between two zeros is neither empty nor decoded nor counted as
/// rejected, or if a whole frame after a zero is not decoded.
pub fn run(data: &[u8]) {
    let Some((chunk, pieces)) = crate::input::<(u8, Vec<Piece<'_>>)>(data) else { return };
    let mut bytes = vec![];
    for piece in pieces {
        match piece {
            Piece::Noise(noise) => bytes.extend(noise),
            Piece::Health(number) => bytes.extend(bytes_of(&frame_of(number))),
            Piece::Damaged { number, len, flip } => {
                let mut frame = bytes_of(&frame_of(number));
                if let Some((at, bits)) = flip {
                    let at = usize::from(at) % frame.len();
                    frame[at] ^= bits;
                }
                frame.truncate(usize::from(len));
                bytes.extend(frame);
            }
        }
    }
    let whole = decoded(&bytes, bytes.len().max(1));
    assert_eq!(decoded(&bytes, usize::from(chunk).max(1)), whole, "in chunks of {chunk}");

    let (frames, rejected, _) = whole;
    let pieces = bytes.split(|byte| *byte == 0);
    let ended = pieces.clone().count() - 1;
    let taken = pieces.take(ended).filter(|piece| !piece.is_empty()).count();
    assert_eq!(
        frames.len() as u64 + rejected.total(),
        taken as u64,
        "every piece must be decoded or counted once"
    );
    for frame in &frames {
        assert_eq!(decoded(&bytes_of(frame), 1).0, std::slice::from_ref(frame));
    }

    let last = frame_of(4_711);
    bytes.push(0);
    bytes.extend(bytes_of(&last));
    assert_eq!(
        decoded(&bytes, 7).0.last(),
        Some(&last),
        "the decoder must start afresh after a zero"
    );
}
