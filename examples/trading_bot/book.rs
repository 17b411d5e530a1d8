//! The part of the order book that the bot needs: the top, from whichever source is newer.
//!
//! `bookTicker` has the top with an update id. `depth` has changes to levels. Changes are of use
//! only after a snapshot, and only while no update is missing between two messages. The rules are
//! the exchange's own: changes that come before the snapshot are kept, the first one that is used
//! covers the id after the snapshot's, and each further one must follow without a gap. After a gap
//! the levels are unknown until the next snapshot, and the top comes from `bookTicker` alone.
//!
//! A snapshot has no symbol. It belongs to the symbol whose changes cover the id after the
//! snapshot's.
//!
//! Limits: at most [`KEPT_CHANGES`] changes per symbol wait for a snapshot, at most [`KEPT_LEVELS`]
//! levels per side are kept (those nearest to the top), and one snapshot waits for its symbol. The
//! number of symbols is not limited.

use core::mem;
use std::collections::{BTreeMap, HashMap, VecDeque};

use rust_decimal::Decimal;

use crate::message::{BookTicker, Depth, Level, Snapshot};

const KEPT_CHANGES: usize = 256;
const KEPT_LEVELS: usize = 5_000;

/// The best bid and the best ask, each with its quantity, and the id of the update that they are
/// from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) update_id: u64,
    pub(crate) bid: Level,
    pub(crate) ask: Level,
}

#[derive(Debug, Default)]
struct Levels {
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
    last_update_id: u64,
}

impl Levels {
    fn from_snapshot(snapshot: &Snapshot) -> Self {
        let mut levels = Self { last_update_id: snapshot.last_update_id, ..Self::default() };
        levels.set(&snapshot.bids, &snapshot.asks);
        levels
    }

    fn set(&mut self, bids: &[Level], asks: &[Level]) {
        for (side, changes) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for &Level { price, quantity } in changes {
                if quantity.is_zero() {
                    side.remove(&price);
                } else {
                    side.insert(price, quantity);
                }
            }
        }
        while self.bids.len() > KEPT_LEVELS {
            self.bids.pop_first();
        }
        while self.asks.len() > KEPT_LEVELS {
            self.asks.pop_last();
        }
    }

    fn top(&self) -> Option<Top> {
        let level = |(&price, &quantity)| Level { price, quantity };
        let bid = self.bids.last_key_value().map(level)?;
        let ask = self.asks.first_key_value().map(level)?;
        Some(Top { update_id: self.last_update_id, bid, ask })
    }
}

#[derive(Debug, Default)]
struct Book {
    ticker: Option<Top>,
    levels: Option<Levels>,
    waiting: VecDeque<Depth>,
}

/// The books of all symbols.
#[derive(Debug, Default)]
pub(crate) struct Books {
    by_symbol: HashMap<String, Book>,
    /// A snapshot whose id no symbol's changes cover yet.
    unclaimed: Option<Snapshot>,
    /// The number of times that changes were missing, so that the levels became unknown.
    pub(crate) gaps: u64,
}

impl Books {
    pub(crate) fn on_ticker(&mut self, symbol: &str, ticker: &BookTicker) {
        let book = self.book(symbol);
        if book.ticker.is_none_or(|top| top.update_id <= ticker.update_id) {
            book.ticker =
                Some(Top { update_id: ticker.update_id, bid: ticker.bid, ask: ticker.ask });
        }
    }

    pub(crate) fn on_depth(&mut self, symbol: &str, update: Depth) {
        let book = self.book(symbol);
        if let Some(levels) = &mut book.levels {
            if update.last_update_id <= levels.last_update_id {
                return;
            }
            if update.first_update_id <= levels.last_update_id.saturating_add(1) {
                levels.set(&update.bids, &update.asks);
                levels.last_update_id = update.last_update_id;
                return;
            }
            book.levels = None;
            self.gaps += 1;
        }
        let book = self.book(symbol);
        if book.waiting.len() == KEPT_CHANGES {
            book.waiting.pop_front();
        }
        book.waiting.push_back(update);
        self.seed();
    }

    pub(crate) fn on_snapshot(&mut self, snapshot: Snapshot) {
        self.unclaimed = Some(snapshot);
        self.seed();
    }

    /// Returns the newest known top of a symbol.
    pub(crate) fn top(&self, symbol: &str) -> Option<Top> {
        let book = self.by_symbol.get(symbol)?;
        let levels = book.levels.as_ref().and_then(Levels::top);
        match (book.ticker, levels) {
            (Some(ticker), Some(levels)) => {
                Some(if levels.update_id > ticker.update_id { levels } else { ticker })
            }
            (ticker, levels) => ticker.or(levels),
        }
    }

    fn book(&mut self, symbol: &str) -> &mut Book {
        self.by_symbol.entry(symbol.to_owned()).or_default()
    }

    /// Gives the snapshot to the symbol whose waiting changes cover the id after it.
    fn seed(&mut self) {
        let Some(snapshot) = &self.unclaimed else { return };
        let next = snapshot.last_update_id.saturating_add(1);
        let covers =
            |update: &Depth| (update.first_update_id..=update.last_update_id).contains(&next);
        let owner = self.by_symbol.iter().find(|(_, book)| book.waiting.iter().any(covers));
        let Some(symbol) = owner.map(|(symbol, _)| symbol.clone()) else { return };
        let levels = Levels::from_snapshot(snapshot);
        self.unclaimed = None;
        let book = self.book(&symbol);
        book.levels = Some(levels);
        for update in mem::take(&mut book.waiting) {
            self.on_depth(&symbol, update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(levels: &[(u32, u32)]) -> Vec<Level> {
        levels
            .iter()
            .map(|&(price, quantity)| Level { price: price.into(), quantity: quantity.into() })
            .collect()
    }

    fn depth(first: u64, last: u64, bids: &[(u32, u32)], asks: &[(u32, u32)]) -> Depth {
        let (bids, asks) = (levels(bids), levels(asks));
        Depth { event_time_ms: 0, first_update_id: first, last_update_id: last, bids, asks }
    }

    fn ticker(update_id: u64, bid: u32, ask: u32) -> BookTicker {
        let level = |price: u32| Level { price: price.into(), quantity: 1.into() };
        BookTicker { update_id, bid: level(bid), ask: level(ask) }
    }

    fn top(books: &Books, symbol: &str) -> Option<(u64, Decimal, Decimal)> {
        books.top(symbol).map(|top| (top.update_id, top.bid.price, top.ask.price))
    }

    #[test]
    fn the_ticker_with_the_higher_update_id_wins() {
        let (mut books, symbol) = (Books::default(), "A");
        assert_eq!(books.top("A"), None);
        books.on_ticker(symbol, &ticker(10, 5, 6));
        books.on_ticker(symbol, &ticker(9, 1, 2));
        assert_eq!(top(&books, "A"), Some((10, 5.into(), 6.into())));
    }

    #[test]
    fn changes_before_the_snapshot_are_applied_to_it() {
        let (mut books, a, b) = (Books::default(), "A", "B");
        books.on_depth(b, depth(5_000, 5_010, &[(1, 1)], &[(2, 1)]));
        books.on_depth(a, depth(90, 99, &[(7, 1)], &[]));
        books.on_depth(a, depth(100, 105, &[(51, 2)], &[(60, 0)]));
        books.on_depth(a, depth(106, 107, &[], &[(58, 3)]));
        let (bids, asks) = (levels(&[(50, 1)]), levels(&[(60, 1), (61, 1)]));
        books.on_snapshot(Snapshot { last_update_id: 102, bids, asks });
        assert_eq!(top(&books, "A"), Some((107, 51.into(), 58.into())));
        assert_eq!(top(&books, "B"), None);
        books.on_depth(a, depth(108, 109, &[(51, 0)], &[]));
        assert_eq!(top(&books, "A"), Some((109, 50.into(), 58.into())));
        books.on_ticker(a, &ticker(108, 1, 99));
        assert_eq!(top(&books, "A"), Some((109, 50.into(), 58.into())));
        assert_eq!(books.gaps, 0);
    }

    #[test]
    fn after_a_gap_the_levels_are_unknown_until_a_snapshot() {
        let (mut books, symbol) = (Books::default(), "A");
        books.on_snapshot(Snapshot {
            last_update_id: 9,
            bids: levels(&[(5, 1)]),
            asks: levels(&[(6, 1)]),
        });
        books.on_depth(symbol, depth(10, 12, &[], &[]));
        assert_eq!(top(&books, "A"), Some((12, 5.into(), 6.into())));
        books.on_depth(symbol, depth(14, 15, &[], &[]));
        assert_eq!((top(&books, "A"), books.gaps), (None, 1));
        books.on_snapshot(Snapshot {
            last_update_id: 14,
            bids: levels(&[(4, 1)]),
            asks: levels(&[(8, 1)]),
        });
        assert_eq!(top(&books, "A"), Some((15, 4.into(), 8.into())));
    }

    #[test]
    fn waiting_changes_and_levels_are_bounded() {
        let (mut books, symbol) = (Books::default(), "A");
        for id in 1..2_000 {
            books.on_depth(symbol, depth(id, id, &[(u32::try_from(id).unwrap(), 1)], &[]));
        }
        assert_eq!(books.by_symbol["A"].waiting.len(), KEPT_CHANGES);
        let many: Vec<_> = (1..20_000).map(|price| (price, 1)).collect();
        let mut sides = Levels::default();
        sides.set(&levels(&many), &[]);
        assert_eq!(sides.bids.len(), KEPT_LEVELS);
        assert_eq!(sides.bids.last_key_value().map(|(price, _)| *price), Some(19_999.into()));
    }
}
