//! The signal: a fast and a slow exponential moving average (EMA) of candle closes, and the moment
//! when they cross.
//!
//! It is work to be measured, not a way to earn money. The averages are `f64`, because they are
//! estimates and no price is computed from them. Amending a candle after its close does not change
//! them.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

const FAST: u32 = 3;
const SLOW: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Buy,
    Sell,
}

/// The averages of one symbol.
#[derive(Debug, Default)]
pub(crate) struct EmaCross {
    fast: f64,
    slow: f64,
    seen: u32,
    /// Whether the fast average was above the slow one when they last differed.
    fast_above: Option<bool>,
}

impl EmaCross {
    /// Updates the averages with the close of the next candle. Returns a side if they cross. The
    /// first candles only warm the averages up.
    pub(crate) fn update(&mut self, close: Decimal) -> Option<Side> {
        let close = close.to_f64()?;
        if self.seen == 0 {
            (self.fast, self.slow) = (close, close);
        }
        self.fast += weight(FAST) * (close - self.fast);
        self.slow += weight(SLOW) * (close - self.slow);
        self.seen = self.seen.saturating_add(1);
        let difference = self.fast - self.slow;
        // Equal averages, as in a market that stands still, are not a crossing and do not hide one.
        if self.seen < SLOW || difference.abs() < f64::EPSILON * self.slow.abs() {
            return None;
        }
        let above = difference > 0.0;
        match self.fast_above.replace(above) {
            Some(before) if before != above => Some(if above { Side::Buy } else { Side::Sell }),
            _ => None,
        }
    }
}

fn weight(period: u32) -> f64 {
    2.0 / (f64::from(period) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals(closes: impl IntoIterator<Item = i64>) -> Vec<(usize, Side)> {
        let mut cross = EmaCross::default();
        let update = |(index, close)| cross.update(Decimal::from(close)).map(|side| (index, side));
        closes.into_iter().enumerate().filter_map(update).collect()
    }

    #[test]
    fn a_turn_gives_a_signal_and_a_trend_does_not() {
        assert_eq!(signals(0..100), []);
        assert_eq!(signals([100; 50]), []);
        let up_and_down = signals((100..150).chain((100..150).rev()).chain(100..150));
        let sides: Vec<_> = up_and_down.iter().map(|(_, side)| *side).collect();
        assert_eq!(sides, [Side::Sell, Side::Buy]);
        assert!(up_and_down[0].0 > 50 && up_and_down[0].0 < 58, "{up_and_down:?}");
    }

    #[test]
    fn warming_up_gives_no_signal() {
        assert_eq!(signals([1, 9, 1, 9, 1, 9, 1]), []);
    }

    #[test]
    fn the_averages_follow_the_textbook_formula() {
        let mut cross = EmaCross::default();
        for close in [10, 20, 30] {
            cross.update(Decimal::from(close));
        }
        assert!((cross.fast - 22.5).abs() < 1e-9);
        let slow = 10.0 + 10.0 * 2.0 / 9.0;
        assert!((cross.slow - (slow + (30.0 - slow) * 2.0 / 9.0)).abs() < 1e-9);
    }
}
