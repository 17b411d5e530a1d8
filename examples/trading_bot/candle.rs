//! One-second candles from trades, by the exchange's trade time.
//!
//! A second without trades has no candle. A candle is closed by the first trade of a later second,
//! and the last one at the end of the feed. A late trade, of a second that is already closed,
//! amends the candle of that second; if there is none, it makes one, out of order. So there are as
//! many candles as seconds with trades.
//!
//! Limit: a series keeps the prices of its newest [`REMEMBERED`] closed candles, and only the
//! seconds of all others. A trade of a second whose candle is not kept any more is counted as too
//! late and changes nothing.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::message::Trade;

/// One hour of a market that trades every second: well under a megabyte per symbol.
const REMEMBERED: usize = 3_600;

/// Open, high, low, close and volume of one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candle {
    pub(crate) second: u64,
    pub(crate) open: Decimal,
    pub(crate) high: Decimal,
    pub(crate) low: Decimal,
    pub(crate) close: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) trades: u64,
    /// The trade times of `open` and `close`, because trades may arrive out of the order of their
    /// times. For equal times the order of arrival counts.
    first_ms: u64,
    last_ms: u64,
}

impl Candle {
    fn of(trade: &Trade) -> Self {
        Self {
            second: second_of(trade),
            open: trade.price,
            high: trade.price,
            low: trade.price,
            close: trade.price,
            volume: trade.quantity,
            trades: 1,
            first_ms: trade.trade_time_ms,
            last_ms: trade.trade_time_ms,
        }
    }

    fn add(&mut self, trade: &Trade) {
        let at_ms = trade.trade_time_ms;
        if at_ms < self.first_ms {
            (self.first_ms, self.open) = (at_ms, trade.price);
        }
        if at_ms >= self.last_ms {
            (self.last_ms, self.close) = (at_ms, trade.price);
        }
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.volume = self.volume.saturating_add(trade.quantity);
        self.trades += 1;
    }
}

fn second_of(trade: &Trade) -> u64 {
    trade.trade_time_ms / 1000
}

/// What a trade did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Added {
    /// It went into the open candle.
    Open,
    /// It amended a closed candle.
    Amended,
    /// It made a candle for an earlier second that had none. That candle is closed at once.
    OutOfOrder(Candle),
    /// Its candle is not kept any more, so it changed nothing.
    TooLate,
}

/// The candles of one symbol.
#[derive(Debug)]
pub(crate) struct Series {
    open: Option<Candle>,
    closed: BTreeMap<u64, Candle>,
    remembered: usize,
    /// The seconds of all closed candles.
    seconds: Seconds,
}

/// A set of seconds, stored as ranges: the seconds of a market that trades all the time take one
/// range.
#[derive(Debug, Default)]
struct Seconds {
    /// The ranges, from the first second to the one after the last.
    ranges: BTreeMap<u64, u64>,
}

impl Seconds {
    fn contains(&self, second: u64) -> bool {
        self.ranges.range(..=second).next_back().is_some_and(|(_, &end)| second < end)
    }

    fn insert(&mut self, second: u64) {
        if self.contains(second) {
            return;
        }
        let before = self
            .ranges
            .range(..second)
            .next_back()
            .filter(|(_, end)| **end == second)
            .map(|(&first, _)| first);
        let end = self.ranges.remove(&(second + 1)).unwrap_or(second + 1);
        self.ranges.insert(before.unwrap_or(second), end);
    }
}

impl Default for Series {
    fn default() -> Self {
        Self::remembering(REMEMBERED)
    }
}

impl Series {
    fn remembering(remembered: usize) -> Self {
        Self { open: None, closed: BTreeMap::new(), remembered, seconds: Seconds::default() }
    }

    /// Whether this trade ends the open candle. If so, [`Series::close`] must be called before
    /// [`Series::add`].
    pub(crate) fn is_over_at(&self, trade: &Trade) -> bool {
        self.open.as_ref().is_some_and(|candle| second_of(trade) > candle.second)
    }

    /// Whether this trade makes a candle for an earlier second: [`Added::OutOfOrder`].
    pub(crate) fn is_out_of_order(&self, trade: &Trade) -> bool {
        let second = second_of(trade);
        let last = self.open.as_ref().map(|candle| candle.second).or(self
            .closed
            .keys()
            .next_back()
            .copied());
        last.is_some_and(|last| second < last) && !self.seconds.contains(second)
    }

    pub(crate) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes the open candle, if there is one, and returns it.
    pub(crate) fn close(&mut self) -> Option<Candle> {
        let candle = self.open.take()?;
        self.remember(candle.clone());
        Some(candle)
    }

    pub(crate) fn add(&mut self, trade: &Trade) -> Added {
        let second = second_of(trade);
        match &mut self.open {
            Some(candle) if candle.second == second => {
                candle.add(trade);
                return Added::Open;
            }
            Some(candle) if candle.second < second => {
                debug_assert!(
                    false,
                    "close must be called before a trade of a later second is added"
                );
            }
            None if self.closed.last_key_value().is_none_or(|(&last, _)| last < second) => {
                self.open = Some(Candle::of(trade));
                return Added::Open;
            }
            Some(_) | None => {}
        }
        if let Some(candle) = self.closed.get_mut(&second) {
            candle.add(trade);
            return Added::Amended;
        }
        if self.seconds.contains(second) {
            return Added::TooLate;
        }
        let candle = Candle::of(trade);
        self.remember(candle.clone());
        Added::OutOfOrder(candle)
    }

    fn remember(&mut self, candle: Candle) {
        self.seconds.insert(candle.second);
        self.closed.insert(candle.second, candle);
        if self.closed.len() > self.remembered {
            self.closed.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn trade(trade_time_ms: u64, price: u64, quantity: u64) -> Trade {
        Trade { event_time_ms: 0, trade_time_ms, price: price.into(), quantity: quantity.into() }
    }

    /// Adds trades as the strategy does. Returns the seconds of the candles in the order in which
    /// they were made, and the number of trades that were too late.
    fn feed(series: &mut Series, trades: &[Trade]) -> (Vec<u64>, usize) {
        let (mut made, mut too_late) = (Vec::new(), 0);
        for trade in trades {
            if series.is_over_at(trade) {
                made.extend(series.close().map(|candle| candle.second));
            }
            match series.add(trade) {
                Added::OutOfOrder(candle) => made.push(candle.second),
                Added::TooLate => too_late += 1,
                Added::Open | Added::Amended => {}
            }
        }
        made.extend(series.close().map(|candle| candle.second));
        (made, too_late)
    }

    #[test]
    fn candles_equal_a_recount_for_any_order_of_arrival() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut now = 1_000_000;
            let mut trades = Vec::new();
            for _ in 0..400 {
                now += random.u64(0..900) * u64::from(random.u8(0..4) == 0);
                let late = if random.u8(0..5) == 0 { random.u64(0..20_000) } else { 0 };
                trades.push(trade(now - late, random.u64(1..1000), random.u64(1..10)));
            }
            let mut series = Series::default();
            let (mut made, too_late) = feed(&mut series, &trades);
            assert_eq!(too_late, 0);

            let mut seconds: HashMap<u64, Vec<&Trade>> = HashMap::new();
            for trade in &trades {
                seconds.entry(trade.trade_time_ms / 1000).or_default().push(trade);
            }
            made.sort_unstable();
            let mut expected: Vec<_> = seconds.keys().copied().collect();
            expected.sort_unstable();
            assert_eq!(made, expected, "one candle for each second that traded");
            for (second, mut trades) in seconds {
                // The sort is stable, so the order of arrival decides among equal times.
                trades.sort_by_key(|trade| trade.trade_time_ms);
                let candle = &series.closed[&second];
                assert_eq!(candle.open, trades[0].price);
                assert_eq!(candle.close, trades[trades.len() - 1].price);
                assert_eq!(Some(candle.high), trades.iter().map(|trade| trade.price).max());
                assert_eq!(Some(candle.low), trades.iter().map(|trade| trade.price).min());
                assert_eq!(candle.volume, trades.iter().map(|trade| trade.quantity).sum());
                assert_eq!(candle.trades, trades.len() as u64);
            }
        }
    }

    #[test]
    fn there_is_one_candle_per_second_even_if_few_are_kept() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut trades: Vec<_> =
                (0..300).map(|_| trade(random.u64(0..100_000), 5, 1)).collect();
            match seed % 3 {
                0 => trades.sort_by_key(|trade| trade.trade_time_ms),
                1 => trades.sort_by_key(|trade| u64::MAX - trade.trade_time_ms),
                _ => {}
            }
            let mut series = Series::remembering(3);
            let (mut made, _) = feed(&mut series, &trades);
            made.sort_unstable();
            let mut expected: Vec<_> =
                trades.iter().map(|trade| trade.trade_time_ms / 1000).collect();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(made, expected);
            assert_eq!(series.closed.len(), 3);
        }
    }

    #[test]
    fn is_out_of_order_predicts_the_result_of_add() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut series = Series::remembering(5);
        for _ in 0..2_000 {
            let trade = trade(random.u64(0..60_000), 5, 1);
            if series.is_over_at(&trade) {
                series.close();
            }
            let expected = series.is_out_of_order(&trade);
            assert_eq!(matches!(series.add(&trade), Added::OutOfOrder(_)), expected);
        }
    }

    #[test]
    fn a_second_without_trades_has_no_candle() {
        let mut series = Series::default();
        let made = feed(&mut series, &[trade(1_000, 5, 1), trade(9_999, 6, 1)]);
        assert_eq!(made, (vec![1, 9], 0));
    }

    #[test]
    fn no_trades_make_no_candles() {
        assert_eq!(feed(&mut Series::default(), &[]), (vec![], 0));
    }

    #[test]
    fn memory_is_bounded_and_late_trades_are_reported() {
        let mut series = Series::remembering(10);
        let trades: Vec<_> = (0..1_000).map(|n| trade(n * 1_000, 5, 1)).collect();
        assert_eq!(feed(&mut series, &trades).0.len(), 1_000);
        assert_eq!(series.closed.len(), 10);
        assert_eq!(series.add(&trade(3_000, 5, 1)), Added::TooLate);
        assert_eq!(series.add(&trade(995_000, 5, 1)), Added::Amended);
    }

    #[test]
    fn hostile_times_and_amounts_do_not_panic() {
        let huge = Trade { price: Decimal::MAX, quantity: Decimal::MAX, ..trade(u64::MAX, 1, 1) };
        let mut series = Series::default();
        let trades = [huge.clone(), huge.clone(), trade(5, 1, 1), huge, trade(5, 1, 1)];
        let (made, _) = feed(&mut series, &trades);
        assert_eq!(made, [0, u64::MAX / 1000]);
    }
}
