//! Generated market data: an endless sequence of the messages of [`crate::message`] for BTCUSDT,
//! repeatable from a seed.
//!
//! It gives every part of the bot work; it does not resemble a market statistically. The price
//! swings up and down every 12 s, with noise, which makes moving averages cross every few seconds.
//! Messages come in bursts, as real ones do. A second of market time has about 200 trades, about
//! 600 book tickers and 10 depth updates. A snapshot of the book comes first, and book tickers and
//! depth updates describe that book consistently. All arithmetic is on integers, so that a seed
//! gives the same messages on every machine.

use core::fmt::Write as _;
use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;

const SYMBOL: &str = "BTCUSDT";
const STREAM: &str = "btcusdt";

/// The beginning of market time, ms since the Unix epoch (2024-01-01 00:00 UTC). It is fixed, so
/// that nothing depends on the current date.
const BEGIN_MS: u64 = 1_704_067_200_000;
/// The time between two depth updates.
const SLOT_MS: u64 = 100;
/// The delay from sending to receiving: at least [`DELAY_NS`], plus less than [`JITTER_NS`].
const DELAY_NS: u64 = 2_000_000;
const JITTER_NS: u64 = 3_000_000;

/// Prices are in cents.
const BASE_PRICE: u64 = 6_180_000;
const SWING: u64 = 4_000;
const SWING_PERIOD_MS: u64 = 12_000;
const NOISE: u64 = 150;

/// The levels on each side of the book, and the cents between two levels.
const LEVELS: u64 = 10;
const LEVEL_STEP: u64 = 50;

/// The number of trades in a slot, and of book tickers after each trade; they give the rates above.
const TRADES: core::ops::RangeInclusive<u64> = 10..=30;
const TICKERS_PER_TRADE: u64 = 3;
/// The number of bursts in a slot.
const BURSTS: core::ops::RangeInclusive<u64> = 1..=4;

/// A generated message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generated {
    /// The time when a recorder would have received it, ns since the Unix epoch.
    pub(crate) received_ns: u64,
    /// The raw message.
    pub(crate) text: String,
    /// Whether it belongs to a stream; the snapshot does not.
    pub(crate) is_stream: bool,
}

/// An endless source of messages.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: Rng,
    book: Book,
    /// The book as of the last depth update or the snapshot.
    published: Book,
    now_ms: u64,
    received_ns: u64,
    update_id: u64,
    published_id: u64,
    trade_id: u64,
    ready: VecDeque<Generated>,
}

/// Quantities, in units of 0.00001, by price in cents.
#[derive(Debug, Clone, Default)]
struct Book {
    bids: BTreeMap<u64, u64>,
    asks: BTreeMap<u64, u64>,
}

impl Book {
    /// Returns the best bid and the best ask, each as price and quantity.
    fn top(&self) -> [(u64, u64); 2] {
        let pair = |entry: Option<(&u64, &u64)>| {
            entry.map_or((0, 0), |(&price, &quantity)| (price, quantity))
        };
        [pair(self.bids.last_key_value()), pair(self.asks.first_key_value())]
    }
}

impl Generator {
    /// Returns the generator for `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut generator = Self {
            rng: Rng::with_seed(seed),
            book: Book::default(),
            published: Book::default(),
            now_ms: BEGIN_MS,
            received_ns: 0,
            update_id: 1_000_000,
            published_id: 1_000_000,
            trade_id: 1,
            ready: VecDeque::new(),
        };
        generator.move_book(BEGIN_MS);
        generator.published = generator.book.clone();
        let snapshot = format!(
            r#"{{"lastUpdateId":{},"bids":{},"asks":{}}}"#,
            generator.update_id,
            levels(generator.book.bids.iter().rev()),
            levels(generator.book.asks.iter()),
        );
        generator.emit(BEGIN_MS, snapshot, false);
        generator
    }

    /// Queues a message that the exchange sends at `event_ms`. Receive times never step back, as
    /// the clock of a single recorder does not over so short a time.
    fn emit(&mut self, event_ms: u64, text: String, is_stream: bool) {
        let arrival = event_ms * 1_000_000 + DELAY_NS + self.rng.u64(..JITTER_NS);
        // Messages of one burst arrive one after another, even if a later one has a shorter delay.
        self.received_ns = arrival.max(self.received_ns + 1_000);
        self.ready.push_back(Generated { received_ns: self.received_ns, text, is_stream });
    }

    /// Returns the price in the middle of the book: a triangle wave with noise.
    fn middle(&mut self, at_ms: u64) -> u64 {
        let phase = at_ms % SWING_PERIOD_MS;
        let rising = phase.min(SWING_PERIOD_MS - phase);
        let swing = 2 * SWING * rising / (SWING_PERIOD_MS / 2);
        BASE_PRICE - SWING + swing - NOISE + self.rng.u64(..=2 * NOISE)
    }

    /// Moves the book to the price at `at_ms`. Levels that stay keep their quantities.
    fn move_book(&mut self, at_ms: u64) {
        let middle = self.middle(at_ms);
        let lowest_ask = middle.div_ceil(LEVEL_STEP) * LEVEL_STEP;
        let mut old = core::mem::take(&mut self.book);
        for depth in 0..LEVELS {
            let (bid, ask) = (lowest_ask - 1 - depth * LEVEL_STEP, lowest_ask + depth * LEVEL_STEP);
            let quantity = old.bids.remove(&bid).unwrap_or_else(|| self.quantity());
            self.book.bids.insert(bid, quantity);
            let quantity = old.asks.remove(&ask).unwrap_or_else(|| self.quantity());
            self.book.asks.insert(ask, quantity);
        }
    }

    fn quantity(&mut self) -> u64 {
        self.rng.u64(1..=500_000)
    }

    /// Generates the messages of the next [`SLOT_MS`].
    fn slot(&mut self) {
        let mut bursts: Vec<u64> =
            (0..self.rng.u64(BURSTS)).map(|_| self.rng.u64(1..SLOT_MS)).collect();
        bursts.sort_unstable();
        let mut trades = self.rng.u64(TRADES);
        for (index, offset) in bursts.iter().enumerate() {
            let at_ms = self.now_ms + offset;
            self.move_book(at_ms);
            // The best prices have changed, which the exchange publishes at once.
            self.ticker(at_ms);
            // The last burst takes the rest, so that the slot has the drawn number of trades.
            let share = if index + 1 == bursts.len() { trades } else { self.rng.u64(..=trades) };
            trades -= share;
            for _ in 0..share {
                self.trade(at_ms);
                for _ in 0..TICKERS_PER_TRADE {
                    self.ticker(at_ms);
                }
            }
        }
        self.now_ms += SLOT_MS;
        self.depth();
    }

    /// Emits a trade at the best price of one side.
    fn trade(&mut self, at_ms: u64) {
        let buyer_is_maker = self.rng.bool();
        let [(bid, _), (ask, _)] = self.book.top();
        let text = format!(
            r#"{{"stream":"{STREAM}@trade","data":{{"e":"trade","E":{at_ms},"s":"{SYMBOL}","t":{},"p":"{}","q":"{}","T":{},"m":{buyer_is_maker},"M":true}}}}"#,
            self.trade_id,
            price(if buyer_is_maker { bid } else { ask }),
            quantity(self.rng.u64(1..=20_000)),
            at_ms - 1,
        );
        self.trade_id += 1;
        self.emit(at_ms, text, true);
    }

    /// Changes the quantity at the best price of one side and emits a book ticker.
    fn ticker(&mut self, at_ms: u64) {
        let [(bid, _), (ask, _)] = self.book.top();
        let changed = self.quantity();
        if self.rng.bool() {
            self.book.bids.insert(bid, changed);
        } else {
            self.book.asks.insert(ask, changed);
        }
        self.update_id += 1;
        let [bid, ask] = self.book.top();
        let text = format!(
            r#"{{"stream":"{STREAM}@bookTicker","data":{{"u":{},"s":"{SYMBOL}","b":"{}","B":"{}","a":"{}","A":"{}"}}}}"#,
            self.update_id,
            price(bid.0),
            quantity(bid.1),
            price(ask.0),
            quantity(ask.1),
        );
        self.emit(at_ms, text, true);
    }

    /// Emits the changes of the book since the last depth update.
    fn depth(&mut self) {
        self.update_id += 1;
        let text = format!(
            r#"{{"stream":"{STREAM}@depth@100ms","data":{{"e":"depthUpdate","E":{},"s":"{SYMBOL}","U":{},"u":{},"b":{},"a":{}}}}}"#,
            self.now_ms,
            self.published_id + 1,
            self.update_id,
            levels(changes(&self.published.bids, &self.book.bids).iter().rev()),
            levels(changes(&self.published.asks, &self.book.asks).iter()),
        );
        self.published = self.book.clone();
        self.published_id = self.update_id;
        self.emit(self.now_ms, text, true);
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            self.slot();
        }
    }
}

/// Returns the levels to set to turn one side of a book into another. A removed level has a
/// quantity of zero.
fn changes(from: &BTreeMap<u64, u64>, to: &BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    let gone = from.keys().filter(|price| !to.contains_key(price)).map(|&price| (price, 0));
    let set = to
        .iter()
        .filter(|&(price, quantity)| from.get(price) != Some(quantity))
        .map(|(&p, &q)| (p, q));
    gone.chain(set).collect()
}

/// Formats levels as the exchange does.
fn levels<'a>(side: impl Iterator<Item = (&'a u64, &'a u64)>) -> String {
    let mut text = String::from("[");
    for (index, (&at, &offered)) in side.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, r#"{comma}["{}","{}"]"#, price(at), quantity(offered));
    }
    text + "]"
}

/// Formats a price in cents as the exchange does.
fn price(cents: u64) -> String {
    format!("{}.{:02}000000", cents / 100, cents % 100)
}

/// Formats a quantity in units of 0.00001 as the exchange does.
fn quantity(units: u64) -> String {
    format!("{}.{:05}000", units / 100_000, units % 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BookTicker, Level, Message, Payload};
    use rust_decimal::{Decimal, prelude::ToPrimitive};

    /// Returns the messages of the first `seconds` of market time.
    fn market(seed: u64, seconds: u64) -> impl Iterator<Item = (u64, Message)> {
        let end = (BEGIN_MS + seconds * 1_000) * 1_000_000;
        Generator::new(seed).take_while(move |generated| generated.received_ns < end).map(
            |generated| {
                let message = Message::decode(&generated.text).expect("well-formed");
                assert_eq!(message.is_stream(), generated.is_stream);
                (generated.received_ns, message)
            },
        )
    }

    #[test]
    fn equal_seeds_give_equal_messages_and_others_do_not() {
        let texts = |seed| Generator::new(seed).take(5_000).collect::<Vec<_>>();
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
    }

    #[test]
    fn the_snapshot_comes_first_and_rates_are_as_documented() {
        let (mut trades, mut tickers, mut depths, mut snapshots) = (0, 0, 0, 0);
        for (index, (_, message)) in market(3, 30).enumerate() {
            match message.payload {
                Payload::Trade(_) => trades += 1,
                Payload::BookTicker(_) => tickers += 1,
                Payload::Depth(_) => depths += 1,
                Payload::Snapshot(_) => {
                    assert_eq!(index, 0);
                    snapshots += 1;
                }
            }
        }
        assert_eq!(snapshots, 1);
        assert!((150 * 30..=250 * 30).contains(&trades), "{trades} trades");
        assert!((450 * 30..=750 * 30).contains(&tickers), "{tickers} tickers");
        assert!((29 * 10..=30 * 10).contains(&depths), "{depths} depth updates");
    }

    #[test]
    fn times_do_not_step_back_and_messages_are_received_after_they_are_sent() {
        let (mut received_before, mut event_before) = (0, 0);
        for (received, message) in market(4, 20) {
            assert!(received > received_before);
            received_before = received;
            if let Some(event) = message.event_time_ms() {
                assert!(event >= event_before);
                event_before = event;
                assert!((event * 1_000_000..event * 1_000_000 + 20_000_000).contains(&received));
            }
        }
    }

    #[test]
    fn updates_follow_each_other_and_keep_one_consistent_book() {
        fn apply(side: &mut BTreeMap<Decimal, Decimal>, changed: &[Level]) {
            for level in changed {
                if level.quantity.is_zero() {
                    assert!(
                        side.remove(&level.price).is_some(),
                        "only existing levels are removed"
                    );
                } else {
                    side.insert(level.price, level.quantity);
                }
            }
        }
        let (mut bids, mut asks, mut last_id) = (BTreeMap::new(), BTreeMap::new(), 0);
        let mut ticker: Option<BookTicker> = None;
        for (_, message) in market(5, 20) {
            match message.payload {
                Payload::Snapshot(snapshot) => {
                    last_id = snapshot.last_update_id;
                    apply(&mut bids, &snapshot.bids);
                    apply(&mut asks, &snapshot.asks);
                }
                Payload::BookTicker(update) => {
                    assert!(update.bid.price < update.ask.price);
                    ticker = Some(update);
                }
                Payload::Depth(depth) => {
                    assert_eq!(depth.first_update_id, last_id + 1);
                    last_id = depth.last_update_id;
                    apply(&mut bids, &depth.bids);
                    apply(&mut asks, &depth.asks);
                    let (bid, ask) = (bids.last_key_value(), asks.first_key_value());
                    let (Some(bid), Some(ask)) = (bid, ask) else { panic!("a side is empty") };
                    assert!(bid.0 < ask.0);
                    assert_eq!((bids.len(), asks.len()), (10, 10));
                    let top = ticker.take().expect("a ticker between two depth updates");
                    assert!(top.update_id < last_id);
                    assert_eq!((bid.0, bid.1), (&top.bid.price, &top.bid.quantity));
                    assert_eq!((ask.0, ask.1), (&top.ask.price, &top.ask.quantity));
                }
                Payload::Trade(_) => {}
            }
        }
    }

    #[test]
    fn moving_averages_of_the_candles_cross_often() {
        for seed in [1, 7, 42] {
            let mut closes = BTreeMap::new();
            let end = (BEGIN_MS + 150_000) * 1_000_000;
            let messages = Generator::new(seed).take_while(|generated| generated.received_ns < end);
            for generated in messages.filter(|generated| generated.text.contains("@trade")) {
                if let Payload::Trade(trade) =
                    Message::decode(&generated.text).expect("well-formed").payload
                {
                    closes.insert(
                        trade.trade_time_ms / 1_000,
                        trade.price.to_f64().expect("in range"),
                    );
                }
            }
            let (mut crosses, mut above) = (0, None);
            let mut averages: Option<(f64, f64)> = None;
            for close in closes.into_values() {
                let (fast, slow) = averages.get_or_insert((close, close));
                *fast += (close - *fast) * 2.0 / 4.0;
                *slow += (close - *slow) * 2.0 / 9.0;
                let now = *fast > *slow;
                crosses += u32::from(above.replace(now).is_some_and(|before| before != now));
            }
            assert!(crosses >= 10, "{crosses} crosses with seed {seed}");
        }
    }
}
