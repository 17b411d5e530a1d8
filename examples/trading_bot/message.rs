//! Market data messages: Binance's combined streams and its REST depth snapshot, decoded into owned
//! types.
//!
//! Prices and quantities arrive as decimal strings and stay decimal: a price that was converted to
//! binary floating point no longer equals the level that it belongs to. Only what the bot uses is
//! kept; unknown fields are ignored. The known streams are `trade`, `bookTicker`, `depth` and
//! `depth@<number>ms`, for any symbol. A stream name without an `@` has no type and counts as
//! unknown.

use core::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use tailwatch::Stamp;

/// The most characters of a message that an error quotes: a damaged line may be megabytes long.
const QUOTED_CHARS: usize = 80;

/// One decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The symbol in the payload (`BTCUSDT`); empty for a [`Payload::Snapshot`], which has none.
    pub(crate) symbol: String,
    /// The decoded payload.
    pub(crate) payload: Payload,
    /// When the message arrived. Decoding leaves this to whoever received the message.
    pub(crate) arrived: Stamp,
}

/// The kinds of message that the bot decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A trade.
    Trade(Trade),
    /// The best bid and ask changed.
    BookTicker(BookTicker),
    /// Levels of the book changed.
    Depth(Depth),
    /// The whole book, from the REST interface.
    Snapshot(Snapshot),
}

/// A price and the quantity offered at it. In a [`Depth`] a quantity of zero removes the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) price: Decimal,
    pub(crate) quantity: Decimal,
}

/// A trade.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the exchange distinguishes trade time and event time"
)]
pub(crate) struct Trade {
    /// When the exchange sent the message, ms since the Unix epoch.
    #[serde(rename = "E")]
    pub(crate) event_time_ms: u64,
    /// When the trade happened, ms since the Unix epoch.
    #[serde(rename = "T")]
    pub(crate) trade_time_ms: u64,
    #[serde(rename = "p", deserialize_with = "decimal")]
    pub(crate) price: Decimal,
    #[serde(rename = "q", deserialize_with = "decimal")]
    pub(crate) quantity: Decimal,
}

/// The best bid and ask. This stream is the only one without an event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BookTicker {
    pub(crate) update_id: u64,
    pub(crate) bid: Level,
    pub(crate) ask: Level,
}

/// Changed levels of the book.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Depth {
    /// When the exchange sent the message, ms since the Unix epoch.
    #[serde(rename = "E")]
    pub(crate) event_time_ms: u64,
    /// The first book update contained here.
    #[serde(rename = "U")]
    pub(crate) first_update_id: u64,
    /// The last book update contained here.
    #[serde(rename = "u")]
    pub(crate) last_update_id: u64,
    #[serde(rename = "b")]
    pub(crate) bids: Vec<Level>,
    #[serde(rename = "a")]
    pub(crate) asks: Vec<Level>,
}

/// The whole book as of one update.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Snapshot {
    #[serde(rename = "lastUpdateId")]
    pub(crate) last_update_id: u64,
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

/// The error returned for a text that is not a message the bot can use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The text does not follow JSON's grammar.
    #[error("not JSON: {}", Quoted(&.0.to_string()))]
    NotJson(#[source] serde_json::Error),
    /// A message of a stream whose type the bot does not know; holds the full stream name.
    #[error("unknown stream `{}`", Quoted(.0))]
    UnknownStream(String),
    /// JSON, but without the fields that this kind of message must have.
    #[error("malformed message{}: {}", OfStream(stream), Quoted(cause))]
    Malformed {
        /// The stream name; empty if the message has none.
        stream: String,
        /// What is wrong with the message.
        cause: String,
    },
}

impl Message {
    /// Decodes one raw message: a combined-stream message (`stream`, `data`) or a REST snapshot
    /// (`lastUpdateId`).
    pub(crate) fn decode(text: &str) -> Result<Self, DecodeError> {
        // The grammar of the whole text is checked first. A typed reader stops at the first field
        // that does not fit, so a truncated line would be reported as a malformed message instead
        // of as not JSON.
        let raw: &RawValue = serde_json::from_str(text).map_err(DecodeError::NotJson)?;
        let head: Head<'_> = object(raw, "")?;
        let Some(stream) = head.stream else {
            if head.last_update_id.is_none() {
                return Err(malformed("", "missing field `stream` or `lastUpdateId`"));
            }
            return Ok(Self {
                symbol: String::new(),
                payload: Payload::Snapshot(object(raw, "")?),
                arrived: Stamp::default(),
            });
        };
        let Some((prefix, kind)) =
            stream.split_once('@').and_then(|(prefix, kind)| Some((prefix, Kind::of(kind)?)))
        else {
            return Err(DecodeError::UnknownStream(stream));
        };
        let Some(data) = head.data else {
            return Err(malformed(&stream, "missing field `data`"));
        };
        let payload = match kind {
            Kind::Trade => Payload::Trade(object(data, &stream)?),
            Kind::BookTicker => Payload::BookTicker(object::<WireTicker>(data, &stream)?.into()),
            Kind::Depth => Payload::Depth(object(data, &stream)?),
        };
        // A stream name begins with the symbol in lower case, which serves if the payload has no
        // symbol.
        let symbol =
            object::<Named>(data, &stream)?.symbol.unwrap_or_else(|| prefix.to_uppercase());
        if symbol.is_empty() {
            return Err(malformed(&stream, "the symbol is empty"));
        }
        Ok(Self { symbol, payload, arrived: Stamp::default() })
    }

    /// Returns when the exchange sent the message, ms since the Unix epoch, if the message has that
    /// time.
    pub(crate) fn event_time_ms(&self) -> Option<u64> {
        match &self.payload {
            Payload::Trade(trade) => Some(trade.event_time_ms),
            Payload::Depth(depth) => Some(depth.event_time_ms),
            Payload::BookTicker(_) | Payload::Snapshot(_) => None,
        }
    }

    /// Whether the message came from a stream; a snapshot did not.
    pub(crate) fn is_stream(&self) -> bool {
        !matches!(self.payload, Payload::Snapshot(_))
    }
}

/// The stream types.
#[derive(Clone, Copy)]
enum Kind {
    Trade,
    BookTicker,
    Depth,
}

impl Kind {
    /// Parses the type, which follows a stream's first `@`.
    fn of(name: &str) -> Option<Self> {
        match name {
            "trade" => Some(Self::Trade),
            "bookTicker" => Some(Self::BookTicker),
            "depth" => Some(Self::Depth),
            _ => {
                let speed = name.strip_prefix("depth@")?.strip_suffix("ms")?;
                (!speed.is_empty() && speed.bytes().all(|byte| byte.is_ascii_digit()))
                    .then_some(Self::Depth)
            }
        }
    }
}

/// The fields by which the kinds of message differ. The payload stays unparsed until its kind is
/// known.
#[derive(Deserialize)]
struct Head<'a> {
    stream: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "lastUpdateId")]
    last_update_id: Option<&'a RawValue>,
}

/// The symbol, a field of every stream payload.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "s")]
    symbol: Option<String>,
}

/// `bookTicker` spreads its two levels over four fields.
#[derive(Deserialize)]
struct WireTicker {
    #[serde(rename = "u")]
    update_id: u64,
    #[serde(rename = "b", deserialize_with = "decimal")]
    bid_price: Decimal,
    #[serde(rename = "B", deserialize_with = "decimal")]
    bid_quantity: Decimal,
    #[serde(rename = "a", deserialize_with = "decimal")]
    ask_price: Decimal,
    #[serde(rename = "A", deserialize_with = "decimal")]
    ask_quantity: Decimal,
}

impl From<WireTicker> for BookTicker {
    fn from(wire: WireTicker) -> Self {
        Self {
            update_id: wire.update_id,
            bid: Level { price: wire.bid_price, quantity: wire.bid_quantity },
            ask: Level { price: wire.ask_price, quantity: wire.ask_quantity },
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Exact(price), Exact(quantity)) = Deserialize::deserialize(deserializer)?;
        Ok(Self { price, quantity })
    }
}

/// A decimal string, which is decoded exactly or refused.
struct Exact(Decimal);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decimal(deserializer).map(Self)
    }
}

/// Decodes a decimal string. JSON numbers are refused: their writer may already have rounded them.
fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    struct Text;

    impl de::Visitor<'_> for Text {
        type Value = Decimal;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a decimal string that is not negative")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
            // The library also accepts signs and digit separators, which an exchange does not
            // write.
            if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return Err(E::invalid_value(de::Unexpected::Str(text), &self));
            }
            Decimal::from_str_exact(text)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(Text)
}

/// Decodes a JSON object. The brace is checked because derived readers also accept arrays, by
/// position.
fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue, stream: &str) -> Result<T, DecodeError> {
    if !raw.get().starts_with('{') {
        return Err(malformed(stream, "expected a JSON object"));
    }
    serde_json::from_str(raw.get()).map_err(|error| {
        // The position counts from the beginning of this part, which would mislead beside the line
        // of the feed.
        let text = error.to_string();
        malformed(stream, text.rsplit_once(" at line ").map_or(text.as_str(), |(cause, _)| cause))
    })
}

fn malformed(stream: &str, cause: &str) -> DecodeError {
    DecodeError::Malformed { stream: stream.to_owned(), cause: cause.to_owned() }
}

/// Text of a message, as an error shows it: escaped, because it goes to a terminal, and truncated.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(QUOTED_CHARS).map_or(self.0.len(), |(at, _)| at);
        for symbol in self.0[..end].chars() {
            if symbol.is_control() {
                write!(formatter, "{}", symbol.escape_default())?;
            } else {
                fmt::Write::write_char(formatter, symbol)?;
            }
        }
        if end < self.0.len() { formatter.write_str("…") } else { Ok(()) }
    }
}

/// Writes ` of stream …`, or nothing if the name is empty.
struct OfStream<'a>(&'a str);

impl fmt::Display for OfStream<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(formatter, " of stream `{}`", Quoted(self.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: (i64, u32), quantity: (i64, u32)) -> Level {
        Level {
            price: Decimal::new(price.0, price.1),
            quantity: Decimal::new(quantity.0, quantity.1),
        }
    }

    fn error(text: &str) -> DecodeError {
        Message::decode(text).expect_err("the text is refused")
    }

    #[test]
    fn a_trade_keeps_its_times_and_exact_decimals() {
        let message = Message::decode(
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.10000000","T":1723161255342,"m":true,"M":true}}"#,
        )
        .expect("well-formed");
        assert_eq!(message.symbol, "BTCUSDT");
        assert_eq!(message.event_time_ms(), Some(1_723_161_255_343));
        assert!(message.is_stream());
        let Payload::Trade(trade) = message.payload else { panic!("no trade") };
        assert_eq!(trade.trade_time_ms, 1_723_161_255_342);
        assert_eq!(trade.price, Decimal::new(6_183_763, 2));
        assert_eq!(trade.quantity, Decimal::new(1, 1));
    }

    #[test]
    fn a_book_ticker_has_two_levels_and_no_event_time() {
        let message = Message::decode(
            r#"{"stream":"ethbtc@bookTicker","data":{"u":7,"s":"ETHBTC","b":"0.04","B":"3.5","a":"0.05","A":"2"}}"#,
        )
        .expect("well-formed");
        assert_eq!((message.symbol.as_str(), message.event_time_ms()), ("ETHBTC", None));
        let expected =
            BookTicker { update_id: 7, bid: level((4, 2), (35, 1)), ask: level((5, 2), (2, 0)) };
        assert_eq!(message.payload, Payload::BookTicker(expected));
    }

    #[test]
    fn depth_streams_are_known_with_and_without_a_speed() {
        for kind in ["depth", "depth@100ms", "depth@1000ms"] {
            let text = format!(
                r#"{{"stream":"x@{kind}","data":{{"E":5,"s":"X","U":1,"u":3,"b":[["1.5","0.0"]],"a":[["2","4"],["3","5"]]}}}}"#
            );
            let message = Message::decode(&text).expect("well-formed");
            let expected = Depth {
                event_time_ms: 5,
                first_update_id: 1,
                last_update_id: 3,
                bids: vec![level((15, 1), (0, 0))],
                asks: vec![level((2, 0), (4, 0)), level((3, 0), (5, 0))],
            };
            assert_eq!(message.payload, Payload::Depth(expected), "{kind}");
        }
    }

    #[test]
    fn a_snapshot_is_not_a_stream_message() {
        let message =
            Message::decode(r#"{"lastUpdateId":9,"bids":[["1","2"]],"asks":[["3","4"]]}"#)
                .expect("well-formed");
        assert!(!message.is_stream());
        assert_eq!((message.symbol.as_str(), message.event_time_ms()), ("", None));
        let expected = Snapshot {
            last_update_id: 9,
            bids: vec![level((1, 0), (2, 0))],
            asks: vec![level((3, 0), (4, 0))],
        };
        assert_eq!(message.payload, Payload::Snapshot(expected));
    }

    #[test]
    fn a_symbol_missing_from_the_payload_comes_from_the_stream() {
        let message =
            Message::decode(r#"{"data":{"E":1,"T":1,"p":"1","q":"1"},"stream":"ltcusdt@trade"}"#)
                .expect("well-formed");
        assert_eq!(message.symbol, "LTCUSDT");
    }

    #[test]
    fn errors_name_unknown_streams() {
        for stream in [
            "x@kline_1m",
            "x@depth5@100ms",
            "x@depth@ms",
            "x@depth@+5ms",
            "x@Trade",
            "trade",
            "x@trade@1",
        ] {
            let found = error(&format!(r#"{{"stream":"{stream}","data":{{}}}}"#));
            assert!(
                matches!(&found, DecodeError::UnknownStream(name) if name == stream),
                "{stream}: {found}"
            );
            assert_eq!(found.to_string(), format!("unknown stream `{stream}`"));
        }
    }

    #[test]
    fn invalid_json_and_wrong_fields_are_distinct_errors() {
        for text in
            ["", "hello", r#"{"stream":5,"data":"#, r#"{"stream":"x@trade","data":{}} tail"#]
        {
            assert!(matches!(error(text), DecodeError::NotJson(_)), "{text}");
        }
        for text in [
            "5",
            "[]",
            "{}",
            r#"{"stream":5}"#,
            r#"{"stream":null}"#,
            r#"{"stream":"x@trade"}"#,
            r#"{"stream":"x@trade","data":[1,1,"1","1"]}"#,
            r#"{"stream":"x@trade","data":{"E":1,"T":1,"q":"1"}}"#,
            r#"{"stream":"x@trade","data":{"E":-1,"T":1,"p":"1","q":"1"}}"#,
            r#"{"stream":"x@trade","data":{"E":1,"T":1,"p":1.5,"q":"1"}}"#,
            r#"{"stream":"x@trade","data":{"E":1,"T":1,"p":"-1","q":"1"}}"#,
            r#"{"stream":"x@trade","data":{"E":1,"T":1,"p":"","q":"1"}}"#,
            r#"{"stream":"x@trade","data":{"E":1,"T":1,"p":"1_0","q":"1"}}"#,
            r#"{"stream":"x@trade","data":{"E":1,"T":1,"p":"0.00000000000000000000000000000000001","q":"1"}}"#,
            r#"{"stream":"@trade","data":{"E":1,"T":1,"p":"1","q":"1"}}"#,
            r#"{"stream":"x@depth","data":{"E":1,"U":1,"u":1,"b":[["1"]],"a":[]}}"#,
            r#"{"lastUpdateId":1,"bids":[]}"#,
        ] {
            assert!(matches!(error(text), DecodeError::Malformed { .. }), "{text}");
        }
    }

    #[test]
    fn errors_quote_few_characters_and_escape_control_characters() {
        let stream = format!("x@\\u001b[2J{}", "y".repeat(10_000));
        let text = error(&format!(r#"{{"stream":"{stream}","data":{{}}}}"#)).to_string();
        assert!(text.len() < 200 && !text.contains('\u{1b}'), "{text}");
        let text = error(r#"{"stream":"x@trade","data":{"E":1,"T":1,"q":"1"}}"#).to_string();
        assert_eq!(text, "malformed message of stream `x@trade`: missing field `p`");
    }
}
