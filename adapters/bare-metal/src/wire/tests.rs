//! Tests of frames that are sent over a line which loses, changes and adds bytes.

use core::time::Duration;

use proptest::prelude::*;
use tailwatch_core::{
    Accuracy, Aggregator, Counters, EventId, EventInfo, FixedPoint, Limit, Outcome, Outcomes,
    Pairing, Quantile, Record, Scope, Shape, SlaState, SlaStatus, StatusChange, Summary, Threshold,
    TickRate, Unit, WindowSpec, storage,
};

use super::*;
use crate::{EventCounts, EventLimit, EventSummary, Health, ReportItem};

const ID: EventId = match EventId::new(2_047) {
    Some(id) => id,
    None => unreachable!(),
};
/// 39 characters of 2 bytes each.
const LONG: &str = "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü";

/// Returns a summary, and the statuses of a limit on a quantile and of a limit on silence, as an
/// aggregator computes them.
fn computed() -> (Summary, Vec<SlaStatus>) {
    const EVENTS: &[EventInfo] = &[EventInfo::new(ID, "order_fill")];
    const SHAPE: Shape =
        Shape { limits: 1, silences: 1, ..Shape::small(EVENTS, &[WindowSpec::SECOND]) };
    storage!(Memory: SHAPE);
    let storage = Box::leak(Box::new(Memory::new()));
    let windows = [WindowSpec::SECOND];
    let mut aggregator =
        Aggregator::new(&windows, EVENTS, TickRate::NANOSECONDS, 0, storage).unwrap();
    let limits = [
        Limit::Quantile(Threshold::value(Quantile::MAX, 1)),
        Limit::Silence(Duration::from_secs(1)),
    ];
    aggregator.set_limits(ID, &limits).unwrap();
    aggregator.record(0, Record::end(9, ID, 0, Outcome::Ok, 5));
    let mut statuses = vec![];
    aggregator.limits(|status| statuses.push(*status));
    (aggregator.summary(ID, Scope::Total).unwrap(), statuses)
}

/// Returns an item of each kind in which all numbers are `n`.
fn items(n: u64, name: &'static str) -> [ReportItem; 5] {
    let (mut summary, statuses) = computed();
    let mut counters = Counters::default();
    counters.late = n;
    counters.clock_anomalies = n;
    counters.saturated = n;
    counters.invalid = n;
    counters.unknown_events = n;
    counters.full_counters = n;
    counters.negative_differences = n;
    counters.orphan_tags = n;
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
    let mut pairing = Pairing::default();
    pairing.paired = n;
    pairing.open = n;
    pairing.uncertain = n;
    pairing.untracked = n;
    pairing.abandoned = n;
    pairing.early = n;
    pairing.orphans = n;
    let outcomes = Outcomes { ok: n, error: n, cancelled: n };
    summary.count = n;
    summary.estimated_total = n;
    summary.min = n;
    summary.max = n;
    summary.mean = FixedPoint::from_bits(n);
    summary.stddev = FixedPoint::from_bits(n);
    summary.p50 = n;
    summary.p95 = n;
    summary.p99 = n;
    summary.p99_9 = n;
    summary.accuracy = Accuracy::WithinPpm(u32::try_from(n).unwrap_or(u32::MAX));
    summary.covered = n;
    summary.complete = true;
    let window = Some(Duration::from_nanos(n));
    let limit = |mut status: SlaStatus, limit| {
        status.limit = limit;
        status.state = SlaState::Violated;
        status.over = n;
        status.count = n;
        status.observed = Some(n);
        status.since = Some(n);
        status.raised = n;
        status.cleared = n;
        ReportItem::Limit(EventLimit { name, status })
    };
    let threshold = Threshold::value(Quantile::MAX, n).over(Duration::from_nanos(n));
    [
        ReportItem::Health(health),
        ReportItem::Counts(EventCounts { event: ID, name, outcomes, pairing, oldest: Some(n) }),
        ReportItem::Summary(EventSummary { event: ID, name, unit: Unit::Time, window, summary }),
        limit(statuses[0], Limit::Quantile(threshold)),
        limit(statuses[1], Limit::Silence(Duration::MAX)),
    ]
}

/// Returns a frame for each kind of item and each of `numbers`.
fn frames_of(numbers: &[u64]) -> Vec<Frame> {
    let items = numbers.iter().flat_map(|n| items(*n, "order_fill"));
    items.map(|item| Frame::from(&item)).collect()
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut buffer = [0; MAX_FRAME];
    encode(frame, &mut buffer).unwrap().to_vec()
}

/// Passes `chunks` to a decoder. Returns the frames, and how many byte sequences were rejected.
fn decoded<'b>(chunks: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Frame>, Rejected) {
    let (mut decoder, mut frames) = (Decoder::new(), vec![]);
    for chunk in chunks {
        decoder.feed(chunk, |frame| frames.push(frame));
    }
    (frames, decoder.rejected())
}

#[test]
fn every_item_fits_into_a_frame_and_decodes_to_the_same() {
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
                    "the only zero byte is the last"
                );
                assert_eq!(decoded([&bytes[..]]), (vec![frame], Rejected::default()));
            }
        }
    }
}

/// The expected bytes were worked out by hand: the version, the index of the variant of `Frame`,
/// one byte per field, and the checksum, which was computed by `zlib.crc32` of Python.
#[test]
fn the_bytes_are_the_documented_ones() {
    let [health, ..] = items(1, "");
    let bytes = encoded(&Frame::from(&health));
    let mut plain = vec![1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    plain.extend(0x5E3A_C88D_u32.to_le_bytes());
    // The only zero byte of `plain` is at index 1. COBS replaces it with 20, the distance from
    // there to the end, and puts 2, the distance to the zero byte, in front.
    let mut expected = vec![2, 1, 20];
    expected.extend(&plain[2..]);
    expected.push(0);
    assert_eq!(bytes, expected);
}

#[test]
fn a_mean_that_is_not_known_is_none_in_text_and_in_frames() {
    for (n, mean) in [(1 << 16, Some(1.0)), (u64::MAX, None)] {
        let [_, _, summary, ..] = items(n, "order_fill");
        let shown =
            if mean.is_some() { " mean=1.0 stddev=1.0 " } else { " mean=none stddev=none " };
        assert!(summary.to_string().contains(shown), "{summary}");
        let (frames, _) = decoded([&encoded(&Frame::from(&summary))[..]]);
        let [Frame::Summary(frame)] = &frames[..] else { panic!("{frames:?}") };
        for bits in [frame.mean_bits, frame.stddev_bits] {
            assert_eq!(FixedPoint::from_bits(bits).map(FixedPoint::to_f64), mean);
        }
    }
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let [_, counts, ..] = items(1, LONG);
    let Frame::Counts(counts) = Frame::from(&counts) else { panic!() };
    assert_eq!(counts.name.as_str(), LONG.chars().take(16).collect::<String>());
}

#[test]
fn a_buffer_that_is_too_small_is_an_error_that_names_its_length() {
    let [_, _, summary, ..] = items(u64::MAX, LONG);
    let frame = Frame::from(&summary);
    let needed = encoded(&frame).len();
    for len in 0..needed {
        assert_eq!(encode(&frame, &mut vec![0; len]), Err(BufferTooSmall { room: len }));
    }
    assert!(encode(&frame, &mut vec![0; needed]).is_ok());
    assert!(BufferTooSmall { room: 3 }.to_string().contains("3 bytes"));
    assert!(needed <= MAX_FRAME);
}

#[test]
fn other_versions_and_unknown_frames_are_counted_separately() {
    let frame_of = |plain: &[u8]| {
        let mut checked = plain.to_vec();
        checked.extend(CHECKSUM.checksum(plain).to_le_bytes());
        let mut bytes = vec![0; cobs::max_encoding_length(checked.len())];
        let len = cobs::encode(&checked, &mut bytes);
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
fn a_sequence_longer_than_a_frame_is_counted_and_ends_at_its_zero() {
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
    fn frames_are_decoded_from_chunks_of_any_length(
        numbers in proptest::collection::vec(any::<u64>(), 1..8),
        cuts in proptest::collection::vec(1..40_usize, 1..60),
    ) {
        let sent = frames_of(&numbers);
        let bytes: Vec<u8> = sent.iter().flat_map(encoded).collect();
        let (mut rest, mut chunks) = (&bytes[..], vec![]);
        for cut in cuts.iter().cycle() {
            let (chunk, remaining) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = remaining;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoded(chunks), (sent, Rejected::default()));
    }

    /// Noise destroys only the frame in which it begins. All other frames are decoded.
    #[test]
    fn noise_is_counted_and_all_other_frames_are_decoded(
        numbers in proptest::collection::vec(any::<u64>(), 3..8),
        noise in proptest::collection::vec(any::<u8>(), 1..600),
        hit in any::<prop::sample::Index>(),
    ) {
        let sent = frames_of(&numbers);
        let hit = hit.index(sent.len());
        let mut bytes = vec![];
        for (number, frame) in sent.iter().enumerate() {
            let mut frame = encoded(frame);
            if number == hit {
                // The frame breaks off, noise follows, and a zero byte ends it.
                frame.truncate(frame.len() / 2);
                frame.extend(&noise);
                frame.push(0);
            }
            bytes.extend(frame);
        }
        let (frames, rejected) = decoded([&bytes[..]]);
        let mut untouched = sent.clone();
        untouched.remove(hit);
        prop_assert_eq!(frames, untouched);
        prop_assert!(rejected.total() >= 1);
    }

    #[test]
    fn after_any_bytes_the_decoder_is_synchronised_again_at_a_zero(
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

/// Returns the names of the fields in the `Debug` output of a struct whose fields are numbers.
fn field_names(value: &impl core::fmt::Debug) -> Vec<String> {
    let text = format!("{value:?}");
    let words = text.split([' ', '{', ',']);
    words.filter_map(|word| word.strip_suffix(':')).map(str::to_owned).collect()
}

/// The structs of the core can get new fields, which the compiler does not require anybody to use.
#[test]
fn frames_and_text_contain_each_counter_of_the_core() {
    let [health, counts, ..] = items(1, "order_fill");
    for (item, core_fields) in
        [(health, field_names(&Counters::default())), (counts, field_names(&Pairing::default()))]
    {
        assert!(core_fields.len() > 5, "{core_fields:?}");
        let (text, frame) = (item.to_string(), field_names(&Frame::from(&item)));
        for field in core_fields {
            assert!(text.contains(&format!("{field}=")), "{field} is missing in {text}");
            assert!(frame.contains(&field), "{field} is missing in {frame:?}");
        }
    }
}

/// Like the test above, for summaries: three of their fields have other names in frames.
#[test]
fn frames_contain_each_field_of_a_summary() {
    let (summary, _) = computed();
    let frame = field_names(&Frame::from(&items(1, "order_fill")[2]));
    for field in field_names(&summary) {
        let name = match &*field {
            "mean" => "mean_bits",
            "stddev" => "stddev_bits",
            "accuracy" => "error_ppm",
            other => other,
        };
        assert!(frame.contains(&name.to_owned()), "{name} is missing in {frame:?}");
    }
}
