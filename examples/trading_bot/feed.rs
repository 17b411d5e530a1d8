//! A recorded feed: lines of `<local receive time in ns> <raw message>`, plain or gzip, read one at
//! a time.
//!
//! Memory is bounded by one line of at most [`MAX_LINE_BYTES`]; a longer line is skipped. Lines are
//! decoded here, where file and line number are known, so that problems can name them. If the file
//! itself is damaged, such as a truncated gzip stream, the lines before the damage are delivered
//! and the damaged one is not. A decompressor may also withhold the last few kilobytes before the
//! damage.

use core::str;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::bufread::MultiGzDecoder;

use crate::message::{DecodeError, Message, Quoted};

/// The longest line that is read, in bytes. The largest real ones, depth snapshots of 5,000 levels,
/// are below half a megabyte.
pub(crate) const MAX_LINE_BYTES: usize = 4 << 20;

/// The first two bytes of every gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open feed.
pub(crate) struct Feed {
    file: Arc<Path>,
    reader: Box<dyn BufRead + Send>,
    gzip: bool,
    /// The number of the line that is being read, or was read last, counted from 1.
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

/// An item of a feed.
#[derive(Debug)]
pub(crate) enum FeedItem {
    /// A line with a message.
    Line(Line),
    /// A line, or the rest of the file, that cannot be used.
    Problem(Problem),
}

/// A line whose message could be decoded.
#[derive(Debug)]
pub(crate) struct Line {
    /// The line number in the file, counted from 1.
    pub(crate) number: u64,
    /// The time when the recorder received the message, ns since the Unix epoch.
    pub(crate) received_ns: u64,
    /// The message as it was received.
    pub(crate) text: String,
    /// The decoded message.
    pub(crate) message: Message,
}

/// A problem and its place in the file.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {cause}", file.display())]
pub(crate) struct Problem {
    pub(crate) file: Arc<Path>,
    pub(crate) line: u64,
    #[source]
    pub(crate) cause: Cause,
}

/// The reason why a line or the rest of a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("not UTF-8 text (from byte {} of the line)", valid_up_to + 1)]
    NotUtf8 { valid_up_to: usize },
    #[error("the line must begin with a receive time in ns, found `{}`", Quoted(.0))]
    BadTimestamp(String),
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Not JSON, of an unknown stream, or malformed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    #[error("the gzip data is truncated or corrupt ({0}); the feed ends here")]
    CorruptGzip(#[source] io::Error),
    #[error("the file cannot be read further ({0}); the feed ends here")]
    Unreadable(#[source] io::Error),
}

/// The error returned when a feed cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error("{}: cannot be opened: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}: the file is empty", path.display())]
    Empty { path: PathBuf },
}

impl Cause {
    /// Returns the kind of problem, to count problems by.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } => "not UTF-8",
            Self::BadTimestamp(_) => "bad timestamp",
            Self::TooLong => "line too long",
            Self::Message(DecodeError::NotJson(_)) => "not JSON",
            Self::Message(DecodeError::UnknownStream(_)) => "unknown stream",
            Self::Message(DecodeError::Malformed { .. }) => "malformed message",
            Self::CorruptGzip(_) => "truncated or corrupt gzip",
            Self::Unreadable(_) => "read error",
        }
    }
}

/// The result of reading a line.
enum ReadLine {
    /// The line is in the buffer.
    Whole,
    TooLong,
    End,
}

impl Feed {
    /// Opens a feed. It is read as gzip if its first bytes are those of a gzip file, whatever its
    /// name.
    pub(crate) fn open(path: &Path) -> Result<Self, FeedError> {
        let file =
            File::open(path).map_err(|source| FeedError::Open { path: path.to_owned(), source })?;
        Self::read(path, file)
    }

    /// Returns a feed of the bytes of `file`. Problems name `path` as their file.
    pub(crate) fn read(
        path: &Path,
        mut file: impl Read + Send + 'static,
    ) -> Result<Self, FeedError> {
        let failed = |source| FeedError::Open { path: path.to_owned(), source };
        // Chained in front of the rest instead of seeking back, so that a pipe works too.
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).map_err(failed)?;
        if magic.is_empty() {
            return Err(FeedError::Empty { path: path.to_owned() });
        }
        let gzip = magic == GZIP_MAGIC;
        let whole = BufReader::with_capacity(64 << 10, io::Cursor::new(magic).chain(file));
        let reader: Box<dyn BufRead + Send> = if gzip {
            // A recording that was appended to has several gzip members.
            Box::new(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { file: Arc::from(path), reader, gzip, line: 0, buffer: Vec::new(), ended: false })
    }

    /// Reads up to the end of the line into the buffer.
    fn read_line(&mut self) -> io::Result<ReadLine> {
        self.buffer.clear();
        let (mut any, mut too_long) = (false, false);
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Counts the damaged line, even if none of it could be read.
                    self.line += u64::from(!any);
                    return Err(error);
                }
            };
            if chunk.is_empty() {
                return Ok(if too_long {
                    ReadLine::TooLong
                } else if any {
                    ReadLine::Whole
                } else {
                    ReadLine::End
                });
            }
            self.line += u64::from(!any);
            any = true;
            let newline = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..newline.unwrap_or(chunk.len())];
            too_long |= self.buffer.len() + part.len() > MAX_LINE_BYTES;
            if too_long {
                self.buffer.clear();
            } else {
                self.buffer.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(newline.is_some());
            self.reader.consume(consumed);
            if newline.is_some() {
                return Ok(if too_long { ReadLine::TooLong } else { ReadLine::Whole });
            }
        }
    }

    /// Decodes the line in the buffer. Returns `None` for a blank line.
    fn parse(&self) -> Option<Result<Line, Cause>> {
        let text = match str::from_utf8(&self.buffer) {
            Ok(text) => text.trim(),
            Err(error) => return Some(Err(Cause::NotUtf8 { valid_up_to: error.valid_up_to() })),
        };
        if text.is_empty() {
            return None;
        }
        let (stamp, message) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        // `parse` alone would also accept a plus sign.
        let digits = stamp.bytes().all(|byte| byte.is_ascii_digit());
        let Some(received_ns) = stamp.parse().ok().filter(|_| digits) else {
            return Some(Err(Cause::BadTimestamp(stamp.to_owned())));
        };
        let text = message.trim_start();
        Some(Message::decode(text).map_err(Cause::from).map(|message| Line {
            number: self.line,
            received_ns,
            text: text.to_owned(),
            message,
        }))
    }

    fn problem(&self, cause: Cause) -> FeedItem {
        FeedItem::Problem(Problem { file: Arc::clone(&self.file), line: self.line, cause })
    }
}

impl Iterator for Feed {
    type Item = FeedItem;

    fn next(&mut self) -> Option<FeedItem> {
        while !self.ended {
            match self.read_line() {
                Ok(ReadLine::Whole) => match self.parse() {
                    Some(Ok(line)) => return Some(FeedItem::Line(line)),
                    Some(Err(cause)) => return Some(self.problem(cause)),
                    None => {}
                },
                Ok(ReadLine::TooLong) => return Some(self.problem(Cause::TooLong)),
                Ok(ReadLine::End) => self.ended = true,
                Err(error) => {
                    // A decompressor that failed must not be asked again: its further output is
                    // unspecified.
                    self.ended = true;
                    let cause = if self.gzip {
                        Cause::CorruptGzip(error)
                    } else {
                        Cause::Unreadable(error)
                    };
                    return Some(self.problem(cause));
                }
            }
        }
        None
    }
}

impl core::fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Feed")
            .field("file", &self.file)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};
    use flate2::{Compression, write::GzEncoder};
    use std::{fs, io::Write};

    /// The line number, and the receive time or the kind of problem.
    type Seen = (u64, Result<u64, &'static str>);

    /// Opens a feed of `bytes`. The file is removed again; the open feed does not need its name.
    fn open(bytes: &[u8]) -> Result<Feed, FeedError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("trading_bot-feed-{}-{number}", std::process::id()));
        fs::write(&path, bytes).expect("a temporary file");
        let feed = Feed::open(&path);
        fs::remove_file(&path).expect("removed");
        feed
    }

    fn read(bytes: &[u8]) -> Vec<Seen> {
        open(bytes)
            .expect("opens")
            .map(|item| match item {
                FeedItem::Line(line) => (line.number, Ok(line.received_ns)),
                FeedItem::Problem(problem) => (problem.line, Err(problem.cause.kind())),
            })
            .collect()
    }

    fn line(time: u64) -> String {
        format!(
            "{time} {{\"stream\":\"x@trade\",\"data\":{{\"E\":1,\"s\":\"X\",\"p\":\"1\",\"q\":\"2\",\"T\":1}}}}\n"
        )
    }

    fn lines(times: core::ops::RangeInclusive<u64>) -> String {
        times.map(line).collect()
    }

    fn good(times: core::ops::RangeInclusive<u64>) -> Vec<Seen> {
        times.map(|time| (time, Ok(time))).collect()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("into memory");
        encoder.finish().expect("into memory")
    }

    #[test]
    fn plain_text_is_read_with_any_line_ends() {
        assert_eq!(read(lines(1..=3).as_bytes()), good(1..=3));
        assert_eq!(read(lines(1..=3).replace('\n', "\r\n").as_bytes()), good(1..=3));
        assert_eq!(read(lines(1..=3).trim_end().as_bytes()), good(1..=3));
    }

    #[test]
    fn the_raw_message_is_unchanged() {
        let mut feed = open(lines(7..=7).as_bytes()).expect("opens");
        let Some(FeedItem::Line(found)) = feed.next() else { panic!("no line") };
        assert_eq!(found.text, line(7).trim_end().strip_prefix("7 ").expect("the prefix"));
        assert_eq!(found.message, Message::decode(&found.text).expect("well-formed"));
    }

    #[test]
    fn every_member_of_a_gzip_file_is_read() {
        let mut bytes = gzip(&lines(1..=2));
        // The third line begins in one member and ends in the next.
        let third = line(3);
        let (begin, end) = third.split_at(10);
        bytes.extend(gzip(begin));
        bytes.extend(gzip(&(end.to_owned() + &line(4))));
        assert_eq!(read(&bytes), good(1..=4));
    }

    #[test]
    fn truncated_gzip_delivers_the_lines_before_the_cut() {
        let text = lines(1..=5_000);
        let whole = gzip(&text);
        for keep in [3, 12, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            // What is expected: the same bytes, decompressed at once, and the complete lines in the
            // result.
            let mut decoded = Vec::new();
            flate2::read::GzDecoder::new(&whole[..keep])
                .read_to_end(&mut decoded)
                .expect_err("truncated");
            let complete = decoded.split(|&byte| byte == b'\n').count() as u64 - 1;
            let mut expected = good(1..=complete);
            expected.push((complete + 1, Err("truncated or corrupt gzip")));
            assert_eq!(read(&whole[..keep]), expected, "{keep} of {} bytes", whole.len());
        }
    }

    #[test]
    fn corrupt_gzip_ends_the_feed() {
        let mut bytes = gzip(&lines(1..=100));
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        let mut expected = good(1..=100);
        expected.push((101, Err("truncated or corrupt gzip")));
        assert_eq!(read(&bytes), expected);

        let mut trailing = gzip(&lines(1..=100));
        trailing.extend_from_slice(b"no gzip member");
        assert_eq!(read(&trailing), expected);
    }

    #[test]
    fn bad_lines_of_each_kind_are_reported_and_skipped() {
        let mut bytes = line(1).into_bytes();
        bytes.extend_from_slice(b"2 {\"stream\":\"x@trade\xff\"}\n");
        bytes.extend_from_slice(b"+3 {}\n\n \t \n");
        bytes.extend_from_slice(b"99999999999999999999999 {}\n");
        bytes.extend_from_slice(
            b"7 {\"stream\":\"x@tra\n8 {\"stream\":\"x@kline_1m\",\"data\":{}}\n9 {}\n10\n",
        );
        bytes.extend_from_slice(line(11).as_bytes());
        assert_eq!(
            read(&bytes),
            [
                (1, Ok(1)),
                (2, Err("not UTF-8")),
                (3, Err("bad timestamp")),
                (6, Err("bad timestamp")),
                (7, Err("not JSON")),
                (8, Err("unknown stream")),
                (9, Err("malformed message")),
                (10, Err("not JSON")),
                (11, Ok(11)),
            ]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        let prefix = line(2).trim_end().to_owned();
        let fits = prefix.clone() + &" ".repeat(MAX_LINE_BYTES - prefix.len()) + "\n";
        let over = prefix.clone() + &" ".repeat(MAX_LINE_BYTES - prefix.len() + 1) + "\n";
        let text = line(1) + &over + &fits + &line(4) + over.trim_end_matches('\n');
        let expected = [
            (1, Ok(1)),
            (2, Err("line too long")),
            (3, Ok(2)),
            (4, Ok(4)),
            (5, Err("line too long")),
        ];
        assert_eq!(read(text.as_bytes()), expected);
        assert_eq!(read(&gzip(&text)), expected);
    }

    #[test]
    fn problems_name_file_and_line() {
        let mut feed = open((line(1) + "oops {}\n").as_bytes()).expect("opens");
        let Some(FeedItem::Problem(problem)) = feed.by_ref().nth(1) else { panic!("no problem") };
        let file = feed.file.display();
        let expected =
            format!("{file}:2: the line must begin with a receive time in ns, found `oops`");
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn empty_missing_and_unreadable_files_are_distinct_errors() {
        assert!(matches!(open(b""), Err(FeedError::Empty { .. })));
        assert!(read(b"x").len() == 1);
        let missing = Path::new("no/such/feed.jsonl");
        let error = Feed::open(missing).expect_err("the file does not exist").to_string();
        assert!(
            error.starts_with(&format!("{}: cannot be opened: ", missing.display())),
            "{error}"
        );
        assert!(matches!(Feed::open(&std::env::temp_dir()), Err(FeedError::Open { .. })));
    }
}
