//! The strategy stage: books, candles and signals of every symbol, and the resulting orders.

use std::collections::HashMap;

use rust_decimal::Decimal;
use tailwatch::{Stamp, Trading, measure};

use crate::{
    book::Books,
    candle::{Added, Candle, Series},
    message::{Message, Payload, Trade},
    signal::{EmaCross, Side},
};

/// An order that the strategy wants to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) symbol: String,
    pub(crate) side: Side,
    pub(crate) price: Decimal,
    pub(crate) quantity: Decimal,
    /// When the message arrived that led to the order.
    pub(crate) arrived: Stamp,
}

/// The results of the strategy.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct StrategySummary {
    /// The stream messages that were handled.
    pub(crate) handled: u64,
    pub(crate) candles: u64,
    pub(crate) signals: u64,
    /// Signals without an order, because the queue of orders was full.
    pub(crate) skipped: u64,
    /// Candles for earlier seconds; they give no signal.
    pub(crate) out_of_order: u64,
    /// Trades whose candle is not kept any more.
    pub(crate) too_late: u64,
    pub(crate) book_gaps: u64,
}

/// The candles of one symbol and the averages of their closes.
#[derive(Debug, Default)]
struct Chart {
    series: Series,
    cross: EmaCross,
}

/// The strategy. It handles messages in the order in which they arrive.
pub(crate) struct Strategy<O> {
    books: Books,
    charts: HashMap<String, Chart>,
    orders: O,
    summary: StrategySummary,
    /// When the message arrived that was handled last.
    arrived: Stamp,
}

impl<O: FnMut(Intent) -> bool> Strategy<O> {
    /// Creates a strategy that calls `orders` for every order. `orders` returns whether there was
    /// room for it, and is dropped with the strategy.
    pub(crate) fn new(orders: O) -> Self {
        Self {
            books: Books::default(),
            charts: HashMap::new(),
            orders,
            summary: StrategySummary::default(),
            arrived: Stamp::default(),
        }
    }

    /// Handles a message of the bus.
    pub(crate) fn on_message(&mut self, message: Message) {
        self.arrived = message.arrived;
        let span = message.is_stream().then(|| measure(Trading::EventBusHandle));
        self.handle(message);
        drop(span);
    }

    /// Closes the last candles, after the last message, and returns the results.
    pub(crate) fn finish(mut self) -> StrategySummary {
        let symbols: Vec<String> = self.charts.keys().cloned().collect();
        for symbol in symbols {
            self.close_candle(&symbol);
        }
        self.summary.book_gaps = self.books.gaps;
        self.summary
    }

    fn handle(&mut self, message: Message) {
        self.summary.handled += u64::from(message.is_stream());
        match message.payload {
            Payload::BookTicker(ticker) => self.books.on_ticker(&message.symbol, &ticker),
            Payload::Depth(depth) => self.books.on_depth(&message.symbol, depth),
            Payload::Trade(trade) => self.on_trade(&message.symbol, &trade),
            Payload::Snapshot(snapshot) => self.books.on_snapshot(snapshot),
        }
    }

    fn on_trade(&mut self, symbol: &str, trade: &Trade) {
        if self.charts.get(symbol).is_some_and(|chart| chart.series.is_over_at(trade)) {
            self.close_candle(symbol);
        }
        let series = &mut self.charts.entry(symbol.to_owned()).or_default().series;
        let span = series.is_out_of_order(trade).then(|| measure(Trading::CandleProcessing));
        match series.add(trade) {
            Added::Open | Added::Amended => {}
            Added::OutOfOrder(_) => {
                // Later closes are already part of the averages, so this candle can give no signal.
                self.summary.candles += 1;
                self.summary.out_of_order += 1;
            }
            Added::TooLate => self.summary.too_late += 1,
        }
        drop(span);
    }

    fn close_candle(&mut self, symbol: &str) {
        let Some(chart) = self.charts.get_mut(symbol) else { return };
        if !chart.series.has_open() {
            return;
        }
        let _span = measure(Trading::CandleProcessing);
        let Some(Candle { close, .. }) = chart.series.close() else { return };
        self.summary.candles += 1;
        let span = measure(Trading::SignalGeneration);
        let signal = chart.cross.update(close);
        drop(span);
        if let Some(side) = signal {
            self.order(symbol, side, close);
        }
    }

    fn order(&mut self, symbol: &str, side: Side, close: Decimal) {
        self.summary.signals += 1;
        // The price is the best one of the other side, so that the order would fill; without a
        // book, the last price.
        let price = self.books.top(symbol).map_or(close, |top| match side {
            Side::Buy => top.ask.price,
            Side::Sell => top.bid.price,
        });
        let intent = Intent {
            symbol: symbol.to_owned(),
            side,
            price,
            quantity: Decimal::new(1, 3),
            arrived: self.arrived,
        };
        // An old signal is worthless, so an order that would have to wait for others is skipped.
        if !(self.orders)(intent) {
            self.summary.skipped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;

    fn trade(symbol: &str, trade_time_ms: u64) -> Message {
        let (price, quantity) = (Decimal::TEN, Decimal::ONE);
        let trade = Trade { event_time_ms: 0, trade_time_ms, price, quantity };
        let payload = Payload::Trade(trade);
        Message { symbol: symbol.to_owned(), payload, arrived: Stamp::default() }
    }

    fn generated(count: usize) -> Vec<Message> {
        Generator::new(7)
            .take(count)
            .map(|generated| Message::decode(&generated.text).unwrap())
            .collect()
    }

    fn run(
        messages: impl IntoIterator<Item = Message>,
        orders: usize,
    ) -> (StrategySummary, Vec<Intent>) {
        let mut intents = Vec::new();
        let mut strategy = Strategy::new(|intent| {
            let has_room = intents.len() < orders;
            intents.extend(has_room.then_some(intent));
            has_room
        });
        messages.into_iter().for_each(|message| strategy.on_message(message));
        let summary = strategy.finish();
        (summary, intents)
    }

    #[test]
    fn candles_are_counted_by_symbol_and_second() {
        let feed = [
            ("a", 1_000),
            ("b", 1_100),
            ("a", 1_900),
            ("a", 2_000),
            ("a", 1_500),
            ("a", 500),
            ("b", 9_000),
        ];
        let (summary, intents) = run(feed.map(|(symbol, at)| trade(symbol, at)), 1024);
        // a: 0, 1, 2; b: 1, 9.
        assert_eq!(
            summary,
            StrategySummary {
                handled: 7,
                candles: 5,
                out_of_order: 1,
                ..StrategySummary::default()
            }
        );
        assert_eq!(intents, []);
    }

    #[test]
    fn buys_and_sells_alternate_on_the_built_in_market() {
        let (summary, intents) = run(generated(30_000), 1024);
        assert_eq!(summary.handled, 29_999, "all messages but the snapshot");
        assert_eq!((summary.skipped, summary.too_late, summary.book_gaps), (0, 0, 0));
        assert_eq!(summary.signals, intents.len() as u64);
        assert!(intents.len() >= 4, "{}", intents.len());
        assert!(
            intents.windows(2).all(|two| two[0].side != two[1].side),
            "buys and sells alternate"
        );
    }

    #[test]
    fn orders_are_priced_by_the_book() {
        let mut messages = generated(30_000);
        messages.retain(|message| matches!(message.payload, Payload::Trade(_)));
        let ticker = Message::decode(
            r#"{"stream":"x@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"3","B":"1","a":"4","A":"1"}}"#,
        );
        messages.insert(0, ticker.unwrap());
        let (_, intents) = run(messages, 1024);
        assert!(!intents.is_empty());
        for intent in intents {
            let price = if intent.side == Side::Buy { 4 } else { 3 };
            assert_eq!(intent.price, price.into());
        }
    }

    #[test]
    fn orders_without_room_are_skipped_without_waiting() {
        let (summary, intents) = run(generated(30_000), 1);
        assert_eq!(intents.len(), 1);
        assert_eq!(summary.skipped, summary.signals - 1);
    }
}
