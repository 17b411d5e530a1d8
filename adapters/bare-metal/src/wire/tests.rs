//! Frames go through a line that loses, changes and adds bytes.

use core::time::Duration;

use proptest::prelude::*;
use tailwatch_core::{
    Accuracy, Counters, EventId, EventInfo, FixedPoint, Limit, Outcomes, Pairing, Quantile,
    SlaState, SlaStatus, StatusChange, Summary, Threshold, Unit,
};

use super::*;
use crate::{EventCounts, EventLimit, EventSummary, Health, ReportItem};

const ID: EventId = match EventId::new(2_047) {
    Some(id) => id,
    None => unreachable!(),
};
/// 39 letters of 2 bytes each.
const LONG: &str = "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü";

/// One of each, all of whose numbers are `n`.
fn items(n: u64, name: &'static str) -> [ReportItem; 5] {
    let counters = Counters {
        late: n,
        clock_anomalies: n,
        saturated: n,
        invalid: n,
        unknown_events: n,
        full_counters: n,
    };
    let health = Health {
        produced: n,
        delivered: n,
        overwritten: n,
        pending: n,
        counters,
        passes: n,
        still_passes: n,
        transitions_lost: n,
    };
    let pairing = Pairing {
        paired: n,
        open: n,
        uncertain: n,
        untracked: n,
        abandoned: n,
        early: n,
        orphans: n,
    };
    let outcomes = Outcomes { ok: n, error: n, cancelled: n };
    let summary = Summary {
        count: n,
        estimated_total: n,
        min: n,
        max: n,
        mean: FixedPoint::from_bits(n),
        stddev: FixedPoint::from_bits(n),
        p50: n,
        p95: n,
        p99: n,
        p99_9: n,
        accuracy: Accuracy::WithinPpm(u32::try_from(n).unwrap_or(u32::MAX)),
        covered: n,
        complete: true,
    };
    let window = Some(Duration::from_nanos(n));
    let limit = |limit| {
        ReportItem::Limit(EventLimit {
            name,
            status: SlaStatus {
                event: ID,
                limit,
                state: SlaState::Violated,
                over: n,
                count: n,
                observed: Some(n),
                since: Some(n),
                raised: n,
                cleared: n,
            },
        })
    };
    [
        ReportItem::Health(health),
        ReportItem::Counts(EventCounts { event: ID, name, outcomes, pairing, oldest: Some(n) }),
        ReportItem::Summary(EventSummary { event: ID, name, unit: Unit::Time, window, summary }),
        limit(Limit::Quantile(Threshold::value(Quantile::MAX, n).over(Duration::from_nanos(n)))),
        limit(Limit::Silence(Duration::MAX)),
    ]
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut room = [0; MAX_FRAME];
    encode(frame, &mut room).unwrap().to_vec()
}

/// What a decoder tells of these bytes, and what it rejects.
fn decoded<'b>(chunks: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Frame>, Rejected) {
    let (mut decoder, mut frames) = (Decoder::new(), vec![]);
    for chunk in chunks {
        decoder.feed(chunk, |frame| frames.push(frame));
    }
    (frames, decoder.rejected())
}

#[test]
fn every_item_arrives_as_it_was_sent_and_fits_into_a_frame() {
    for n in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX] {
        for name in ["", "order_fill", LONG] {
            let mut frames: Vec<Frame> = items(n, name).iter().map(Frame::from).collect();
            for item in items(n, name) {
                if let ReportItem::Limit(limit) = item {
                    static EVENTS: [EventInfo; 1] = [EventInfo::new(ID, LONG)];
                    frames.push(Frame::change(
                        &EVENTS,
                        &StatusChange { status: limit.status, at: n },
                    ));
                }
            }
            for frame in frames {
                let bytes = encoded(&frame);
                assert_eq!(
                    bytes.iter().position(|byte| *byte == 0),
                    Some(bytes.len() - 1),
                    "a zero ends it"
                );
                assert_eq!(decoded([&bytes[..]]), (vec![frame], Rejected::default()));
            }
        }
    }
}

/// By hand: version, the number of the variant, one byte a field, the checksum as `zlib.crc32` of Python tells it.
#[test]
fn the_bytes_are_the_documented_ones() {
    let [health, ..] = items(1, "");
    let bytes = encoded(&Frame::from(&health));
    let mut plain = vec![1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    plain.extend(0x5AAF_10E2_u32.to_le_bytes());
    // The only zero is at place 1: it is 2 places behind the first code, and the end 18 places behind it.
    let mut expected = vec![2, 1, 18];
    expected.extend(&plain[2..]);
    expected.push(0);
    assert_eq!(bytes, expected);
}

#[test]
fn a_name_is_cut_between_letters() {
    let [_, counts, ..] = items(1, LONG);
    let Frame::Counts(counts) = Frame::from(&counts) else { panic!() };
    assert_eq!(counts.name.as_str(), LONG.chars().take(16).collect::<String>());
}

#[test]
fn too_little_room_is_refused_and_the_error_tells_what_is_enough() {
    let [_, _, summary, ..] = items(u64::MAX, LONG);
    let frame = Frame::from(&summary);
    let needed = encoded(&frame).len();
    for len in 0..needed {
        assert_eq!(encode(&frame, &mut vec![0; len]), Err(BufferTooSmall { room: len }));
    }
    assert!(encode(&frame, &mut vec![0; needed]).is_ok());
    assert!(BufferTooSmall { room: 3 }.to_string().contains("3 bytes") && needed <= MAX_FRAME);
}

#[test]
fn another_version_and_an_unknown_frame_are_counted_apart() {
    let frame_of = |plain: &[u8]| {
        let mut guarded = plain.to_vec();
        guarded.extend(CHECKSUM.checksum(plain).to_le_bytes());
        let mut bytes = vec![0; cobs::max_encoding_length(guarded.len())];
        let len = cobs::encode(&guarded, &mut bytes);
        bytes.truncate(len);
        bytes.push(0);
        bytes
    };
    let (frames, rejected) =
        decoded([&frame_of(&[VERSION + 1, 0])[..], &frame_of(&[VERSION, 99]), &frame_of(&[])]);
    assert_eq!(frames, []);
    assert_eq!(rejected, Rejected { other_version: 1, unknown: 1, damaged: 1, too_long: 0 });
}

#[test]
fn what_is_longer_than_a_frame_is_counted_as_that_and_ends_at_its_zero() {
    let [health, ..] = items(3, "");
    let frame = Frame::from(&health);
    let long =
        [vec![1; MAX_FRAME + 1], vec![0], vec![1; MAX_FRAME], vec![0], encoded(&frame)].concat();
    let (frames, rejected) = decoded(long.chunks(100));
    assert_eq!(frames, [frame]);
    assert_eq!(rejected, Rejected { too_long: 1, damaged: 1, ..Rejected::default() });
}

proptest! {
    #[test]
    fn frames_arrive_in_whatever_chunks_they_come(
        numbers in proptest::collection::vec(any::<u64>(), 1..8),
        cuts in proptest::collection::vec(1..40_usize, 1..60),
    ) {
        let sent: Vec<Frame> =
            numbers.iter().flat_map(|n| items(*n, "order_fill")).map(|item| Frame::from(&item)).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(encoded).collect();
        let (mut rest, mut chunks) = (&bytes[..], vec![]);
        for cut in cuts.iter().cycle() {
            let (chunk, behind) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoded(chunks), (sent, Rejected::default()));
    }

    /// One burst of noise costs the frames that it hits and at most the one it runs into; all others arrive.
    #[test]
    fn noise_is_counted_and_every_frame_that_it_does_not_touch_arrives(
        numbers in proptest::collection::vec(any::<u64>(), 3..8),
        noise in proptest::collection::vec(any::<u8>(), 1..600),
        hit in any::<prop::sample::Index>(),
    ) {
        let sent: Vec<Frame> =
            numbers.iter().flat_map(|n| items(*n, "order_fill")).map(|item| Frame::from(&item)).collect();
        let hit = hit.index(sent.len());
        let mut bytes = vec![];
        for (number, frame) in sent.iter().enumerate() {
            let mut frame = encoded(frame);
            if number == hit {
                // The frame breaks off, and something else ends.
                frame.truncate(frame.len() / 2);
                frame.extend(&noise);
                frame.push(0);
            }
            bytes.extend(frame);
        }
        let (frames, rejected) = decoded([&bytes[..]]);
        let untouched: Vec<&Frame> = (0..).zip(&sent).filter(|(number, _)| *number != hit).map(|(_, frame)| frame).collect();
        prop_assert_eq!(frames.iter().collect::<Vec<_>>(), untouched);
        prop_assert!(rejected.total() >= 1);
    }

    #[test]
    fn whatever_the_bytes_the_decoder_survives_and_begins_anew_at_a_zero(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..2_000),
        n: u64,
    ) {
        let (mut decoder, mut frames) = (Decoder::new(), vec![]);
        decoder.feed(&bytes, |_| ());
        decoder.feed(&[0], |_| ());
        let sent = Frame::from(&items(n, "order_fill")[2]);
        decoder.feed(&encoded(&sent), |frame| frames.push(frame));
        prop_assert_eq!(frames, [sent]);
        prop_assert_eq!(decoder.waiting(), 0);
    }
}
