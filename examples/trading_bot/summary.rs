//! What a run did, stage by stage, and what went wrong in it.

use tailwatch::Report;

use crate::{progress::Notes, replay::Tally, stall::Stall, strategy::StrategySummary};

/// How the connection to the market ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MarketDataSummary {
    pub(crate) published: u64,
    pub(crate) failure: Option<String>,
}

/// What became of the intents.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OrdersSummary {
    pub(crate) placed: u64,
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
}

/// What became of the orders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FillsSummary {
    pub(crate) filled: u64,
    pub(crate) unfilled: u64,
    pub(crate) failure: Option<String>,
}

/// What the bot did.
#[derive(Debug, Default)]
pub(crate) struct RunSummary {
    pub(crate) published: u64,
    pub(crate) strategy: StrategySummary,
    pub(crate) placed: u64,
    pub(crate) filled: u64,
    /// What went wrong in the bot itself, not in the feed.
    pub(crate) failures: Vec<String>,
}

impl RunSummary {
    /// Of what each stage did, and of stages that failed altogether.
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
                "{} orders were not placed, {} not filled",
                orders.failed, fills.unfilled
            ));
        }
        if market_data.published != strategy.handled {
            failures.push(format!(
                "{} messages were published, {} handled",
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

    /// What the run did, in numbers.
    pub(crate) fn tell(&self, tally: &Tally, stall: Option<Stall>, notes: &Notes) {
        let strategy = &self.strategy;
        notes.say(&format!(
            "sent {} stream messages and {} snapshots; published {}, handled {}, candles {}, signals {}, orders {}, fills {}",
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
            notes.say(&format!(
                "{} problems with the feed: {}",
                tally.total_problems,
                kinds.join(", ")
            ));
        }
        for (count, what) in [
            (strategy.skipped, "signals made no order: orders were not taken fast enough"),
            (strategy.out_of_order, "candles came out of order, and no signal of them"),
            (strategy.too_late, "trades came so late that their candle was forgotten"),
            (
                strategy.book_gaps,
                "gaps in the depth stream: levels were given up until the next snapshot",
            ),
        ] {
            if count > 0 {
                notes.say(&format!("{count} {what}"));
            }
        }
        if let Some(Stall { order, .. }) = stall
            && self.placed < order
        {
            notes.say(&format!(
                "order {order} was to be stalled, but only {} were placed",
                self.placed
            ));
        }
    }

    /// All that went wrong, in the bot and around it, and of what could not be written; `stopped` says whether the run was to end early.
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
            failures.push("the bot did not reach the replay server".to_owned());
        } else if tally.client_left {
            failures.push("the bot left the replay server before the end".to_owned());
        } else if self.published != tally.sent && !stopped {
            failures
                .push(format!("{} messages were sent, {} published", tally.sent, self.published));
        }
        let overwritten = report.health.overwritten;
        if overwritten > 0 {
            failures.push(format!(
                "{overwritten} records were overwritten: the report is not complete"
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
