//! Bytes of a serial line.

use arbitrary::Arbitrary;
use tailwatch_bare_metal::{
    Health, ReportItem,
    wire::{Decoder, Frame, MAX_FRAME, Rejected, encode},
};

#[derive(Debug, Arbitrary)]
enum Piece<'a> {
    /// Whatever there is on a line.
    Noise(&'a [u8]),
    /// A whole frame.
    Health(u64),
    /// One that lacks its end, or has changed.
    Damaged { number: u64, len: u8, flip: Option<(u8, u8)> },
}

fn frame_of(number: u64) -> Frame {
    Frame::from(&ReportItem::Health(Health {
        produced: number,
        passes: number / 3,
        ..Health::default()
    }))
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut room = [0; MAX_FRAME];
    encode(frame, &mut room).expect("it is always enough").to_vec()
}

/// What the decoder tells of these bytes in chunks of so many.
fn decoded(bytes: &[u8], chunk: usize) -> (Vec<Frame>, Rejected, usize) {
    let (mut decoder, mut frames) = (Decoder::new(), vec![]);
    for chunk in bytes.chunks(chunk) {
        decoder.feed(chunk, |frame| frames.push(frame));
    }
    (frames, decoder.rejected(), decoder.waiting())
}

/// However the bytes are cut, the same comes of them; what is told is a frame, byte for byte; what is between two zeros is a frame,
/// counted, or nothing; a whole frame behind a zero arrives.
///
/// # Panics
/// If that is not so.
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
    let told = decoded(&bytes, bytes.len().max(1));
    assert_eq!(decoded(&bytes, usize::from(chunk).max(1)), told, "in chunks of {chunk}");

    let (frames, rejected, _) = told;
    let pieces = bytes.split(|byte| *byte == 0);
    let ended = pieces.clone().count() - 1;
    let taken = pieces.take(ended).filter(|piece| !piece.is_empty()).count();
    assert_eq!(frames.len() as u64 + rejected.total(), taken as u64, "each counted once");
    for frame in &frames {
        assert_eq!(decoded(&bytes_of(frame), 1).0, std::slice::from_ref(frame));
    }

    let last = frame_of(4_711);
    bytes.push(0);
    bytes.extend(bytes_of(&last));
    assert_eq!(decoded(&bytes, 7).0.last(), Some(&last), "behind a zero it begins anew");
}
