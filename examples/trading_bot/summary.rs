//! The results of a run, stage by stage, and its failures.

use tailwatch::Report;

use crate::{progress::Notes, replay::Tally, stall::Stall, strategy::StrategySummary};

/// The results of the market-data stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MarketDataSummary {
    pub(crate) published: u64,
    pub(crate) failure: Option<String>,
}

/// The results of the orders stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OrdersSummary {
    pub(crate) placed: u64,
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

/// The results of the fills stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FillsSummary {
    pub(crate) filled: u64,
    pub(crate) unfilled: u64,
    pub(crate) failure: Option<String>,
}

/// The results of the bot.
#[derive(Debug, Default)]
pub(crate) struct RunSummary {
    pub(crate) published: u64,
    pub(crate) strategy: StrategySummary,
    pub(crate) placed: u64,
    pub(crate) filled: u64,
    /// Failures of the bot itself, not of the feed.
    pub(crate) failures: Vec<String>,
}

impl RunSummary {
    /// Combines the results of the stages. `failures` has the stages that failed altogether.
    pub(crate) fn of(
        market_data: MarketDataSummary,
        strategy: StrategySummary,
        orders: OrdersSummary,
        fills: FillsSummary,
        mut failures: Vec<String>,
    ) -> Self {
        failures.extend([market_data.failure, orders.failure, fills.failure].into_iter().flatten());
        if orders.failed + fills.unfilled > 0 {
            failures.push(format!(
                "{} orders were not placed, and {} were not filled",
                orders.failed, fills.unfilled
            ));
        }
        if market_data.published != strategy.handled {
            failures.push(format!(
                "{} messages were published, but {} were handled",
                market_data.published, strategy.handled
            ));
        }
        Self {
            published: market_data.published,
            strategy,
            placed: orders.placed,
            filled: fills.filled,
            failures,
        }
    }

    /// Prints the results.
    pub(crate) fn print(&self, tally: &Tally, stall: Option<Stall>, notes: &Notes) {
        let strategy = &self.strategy;
        notes.print(&format!(
            "sent {} stream messages and {} snapshots; published {}, handled {}, candles {}, \
             signals {}, orders {}, fills {}",
            tally.sent,
            tally.snapshots,
            self.published,
            strategy.handled,
            strategy.candles,
            strategy.signals,
            self.placed,
            self.filled,
        ));
        if tally.total_problems > 0 {
            let kinds: Vec<String> =
                tally.problems.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
            notes.print(&format!(
                "{} problems with the feed: {}",
                tally.total_problems,
                kinds.join(", ")
            ));
        }
        for (count, what) in [
            (strategy.skipped, "signals without an order, because the queue of orders was full"),
            (strategy.out_of_order, "candles out of order, which gave no signal"),
            (strategy.too_late, "trades too late for their candle"),
            (
                strategy.book_gaps,
                "gaps in the depth stream, with the levels unknown until the next snapshot",
            ),
        ] {
            if count > 0 {
                notes.print(&format!("{count} {what}"));
            }
        }
        if let Some(Stall { order, .. }) = stall
            && self.placed < order
        {
            notes.print(&format!(
                "order {order} was to be stalled, but only {} orders were placed",
                self.placed
            ));
        }
    }

    /// Returns all failures of the bot, the replay and the outputs (`unwritten`). `stopped` is
    /// whether the run was stopped early.
    pub(crate) fn failures(
        self,
        tally: &Tally,
        report: &Report,
        stopped: bool,
        unwritten: Vec<String>,
    ) -> Vec<String> {
        let mut failures = self.failures;
        failures.extend(unwritten);
        if tally.no_client {
            failures.push("the bot did not connect to the replay server".to_owned());
        } else if tally.client_left {
            failures.push("the bot left the replay server before the end".to_owned());
        } else if self.published != tally.sent && !stopped {
            failures.push(format!(
                "{} messages were sent, but {} were published",
                tally.sent, self.published
            ));
        }
        let overwritten = report.health.overwritten;
        if overwritten > 0 {
            failures.push(format!(
                "{overwritten} records were overwritten, so the report is incomplete"
            ));
        }
        if self.strategy.handled == 0 {
            failures.push(
                "nothing could be processed: no well-formed message of a known stream".to_owned(),
            );
        }
        failures
    }
}
