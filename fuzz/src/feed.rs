//! Reads arbitrary files, plain or compressed, as feeds of the trading bot.

use std::{
    io::{Cursor, Read, Write},
    path::Path,
};

use arbitrary::Arbitrary;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use crate::bot_feed::{Feed, FeedError, FeedItem, MAX_LINE_BYTES};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Bytes(&'a [u8]),
    Lines(Vec<Line<'a>>),
    /// Lines compressed in two gzip members, cut between them, with some bytes flipped.
    Compressed {
        lines: Vec<Line<'a>>,
        cut: u16,
        damage: Vec<(u16, u8)>,
    },
    /// Zeros, which are compressed to about a thousandth of their length.
    Bomb {
        kibibytes: u16,
    },
}

#[derive(Debug, Arbitrary)]
enum Line<'a> {
    Raw(&'a [u8]),
    Message { stamp: u64, message: u8, with: &'a str },
}

const MESSAGES: [&str; 5] = [
    r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1.5","q":"2","T":1,"m":true}}"#,
    r#"{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3"}}"#,
    r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}}"#,
    r#"{"lastUpdateId":7,"bids":[["1.0","2"]],"asks":[["1.1","0"]]}"#,
    r#"{"stream":"btcusdt@nothing","data":{}}"#,
];

fn bytes_of(lines: &[Line<'_>]) -> Vec<u8> {
    let mut bytes = vec![];
    for line in lines {
        match line {
            Line::Raw(raw) => bytes.extend_from_slice(raw),
            Line::Message { stamp, message, with } => {
                let message =
                    MESSAGES[usize::from(*message) % MESSAGES.len()].replace("BTCUSDT", with);
                bytes.extend_from_slice(format!("{stamp} {message}").as_bytes());
            }
        }
        bytes.push(b'\n');
    }
    bytes
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).expect("a `Vec` takes all bytes");
    encoder.finish().expect("a `Vec` takes all bytes")
}

/// Returns the bytes of the file, and whether the file may be damaged.
fn file(input: &Input<'_>) -> (Vec<u8>, bool) {
    match input {
        Input::Bytes(bytes) => (bytes.to_vec(), true),
        Input::Lines(lines) => (bytes_of(lines), false),
        Input::Compressed { lines, cut, damage } => {
            let (first, second) = lines.split_at(usize::from(*cut) % (lines.len() + 1));
            let mut bytes = [compressed(&bytes_of(first)), compressed(&bytes_of(second))].concat();
            for (at, flip) in damage {
                let at = usize::from(*at) % bytes.len();
                bytes[at] ^= flip;
            }
            (bytes, damage.iter().any(|(_, flip)| *flip > 0))
        }
        Input::Bomb { kibibytes } => {
            // Rarely longer than the longest line, because long ones take time.
            let kibibytes =
                if *kibibytes == u16::MAX { 8_192 } else { usize::from(kibibytes % 100) };
            (compressed(&vec![0; kibibytes << 10]), false)
        }
    }
}

/// Reads the feed that the bytes encode to its end.
///
/// # Panics
/// If line numbers do not ascend, or a line of an undamaged file is neither delivered nor reported
/// as a problem.
pub fn run(data: &[u8]) {
    let Some(input) = crate::input(data) else { return };
    let (bytes, may_be_damaged) = file(&input);
    let path = Path::new("feed");
    let feed = match Feed::read(path, Cursor::new(bytes.clone())) {
        Ok(feed) => feed,
        Err(error) => {
            assert!(matches!(error, FeedError::Empty { .. }) && bytes.is_empty(), "{error}");
            return;
        }
    };
    let (mut last, mut found) = (0, vec![]);
    for item in feed {
        let line = match item {
            FeedItem::Line(line) => {
                assert!(!line.text.is_empty() && line.text.len() <= MAX_LINE_BYTES);
                line.number
            }
            FeedItem::Problem(problem) => {
                assert!(
                    !problem.cause.kind().is_empty() && problem.to_string().starts_with("feed:"),
                    "{problem}"
                );
                assert!(
                    problem.to_string().len() < 1_000,
                    "an error message of {} bytes is too long",
                    problem.to_string().len()
                );
                problem.line
            }
        };
        assert!(line > last, "line {line} after {last}");
        last = line;
        found.push(line);
    }
    if !may_be_damaged {
        let mut plain = vec![];
        // Raw lines may begin like a gzip file; then the feed decompresses them.
        if bytes.starts_with(&[0x1f, 0x8b]) && matches!(input, Input::Lines(_)) {
            return;
        }
        match input {
            Input::Lines(_) => plain = bytes,
            _ => drop(
                MultiGzDecoder::new(bytes.as_slice())
                    .read_to_end(&mut plain)
                    .expect("undamaged gzip data can be decompressed"),
            ),
        }
        let is_blank =
            |line: &[u8]| std::str::from_utf8(line).is_ok_and(|text| text.trim().is_empty());
        let lines = plain.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !is_blank(line));
        let numbers: Vec<u64> = lines.map(|(_, number)| number).collect();
        assert_eq!(found, numbers, "every line must be a message or a problem, with its number");
    }
}
