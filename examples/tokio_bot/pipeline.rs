//! The tasks, how they are connected, and how they end.
//!
//! ```text
//! replay ──WebSocket──▶ market data ──bus──▶ strategy ──intents──▶ orders ──TCP──▶ exchange
//! (thread)                                                            └─open──▶ fills ◀──TCP──┘ (threads)
//! ```
//!
//! The end runs along the same path. When the replay closes its connection, market data drops its
//! end of the bus. The strategy handles the remaining messages, closes the last candles and drops
//! its end of the intents. The orders task places the remaining orders and closes order entry. The
//! exchange sends the last fills and closes the stream of fills. Every wait on a connection has a
//! time limit.

use core::net::SocketAddr;
use std::sync::Arc;

use tailwatch_tokio::DrainTask;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    bus::{self, MarketData},
    exchange::MockExchange,
    orders::{self, FillStream, Hold, OrderEntry},
    progress::Notes,
    stall::Stall,
    stop::Stop,
    strategy::{Strategy, StrategySummary},
    summary::{FillsSummary, MarketDataSummary, OrdersSummary, RunSummary},
};

/// The most intents that wait for the orders task.
const INTENTS: usize = 1024;
/// The most orders that wait for the fills task to read them.
const OPEN_ORDERS: usize = 1024;

/// A running bot.
#[derive(Debug)]
pub(crate) struct Pipeline {
    exchange: MockExchange,
    market_data: JoinHandle<MarketDataSummary>,
    strategy: JoinHandle<StrategySummary>,
    orders: JoinHandle<OrdersSummary>,
    fills: JoinHandle<FillsSummary>,
}

/// The error returned when a part of the bot cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be started: {why}")]
pub(crate) struct StartError {
    what: &'static str,
    why: String,
}

fn start_error<E: ToString>(what: &'static str) -> impl FnOnce(E) -> StartError {
    move |why| StartError { what, why: why.to_string() }
}

impl Pipeline {
    /// Starts all stages, each before the one that feeds it, and connects to the market.
    ///
    /// `market` is the address of the replay server, and `stop` ends the replay. `seed` determines
    /// the delays of the mock exchange. `stall` delays one order. `drain` is the task that drains
    /// all records.
    pub(crate) async fn start(
        market: SocketAddr,
        seed: u64,
        stop: &Stop,
        stall: Option<Stall>,
        notes: &Notes,
        drain: &Arc<DrainTask>,
    ) -> Result<Self, StartError> {
        let exchange = MockExchange::start(seed).map_err(start_error("the mock exchange"))?;
        let fill_stream = FillStream::connect(exchange.address)
            .await
            .map_err(start_error("the stream of fills"))?;
        let entry =
            OrderEntry::connect(exchange.address).await.map_err(start_error("order entry"))?;
        let connection = MarketData::connect(market, stop.clone(), Arc::clone(drain)).await;
        let connection = connection.map_err(start_error("market data"))?;

        let (opened, open) = mpsc::channel(OPEN_ORDERS);
        let fills = tokio::spawn(orders::take_all(fill_stream, open));
        let (intend, intents) = mpsc::channel(INTENTS);
        let hold = Hold { stall, stop: stop.clone(), notes: notes.clone() };
        let orders = tokio::spawn(orders::place_all(entry, intents, opened, hold));
        let (publish, mut published) = bus::bus();
        let strategy = tokio::spawn(async move {
            let mut strategy = Strategy::new(|intent| intend.try_send(intent).is_ok());
            while let Some(message) = published.recv().await {
                strategy.on_message(message);
            }
            strategy.finish()
        });
        let market_data = tokio::spawn(connection.run(publish));
        Ok(Self { exchange, market_data, strategy, orders, fills })
    }

    /// Waits for all tasks to end.
    pub(crate) async fn join(self) -> RunSummary {
        let mut failures = Vec::new();
        let market_data = join("market data", self.market_data, &mut failures).await;
        let strategy = join("strategy", self.strategy, &mut failures).await;
        let orders = join("orders", self.orders, &mut failures).await;
        let fills = join("fills", self.fills, &mut failures).await;
        // The exchange's threads have nothing left to do by now, but a task must not block on a
        // thread.
        match spawn_blocking(|| self.exchange.join()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failures.push(format!("the mock exchange: {error}")),
            Err(error) => failures.push(format!("the mock exchange: {error}")),
        }
        RunSummary::of(market_data, strategy, orders, fills, failures)
    }
}

async fn join<T: Default>(stage: &str, task: JoinHandle<T>, failures: &mut Vec<String>) -> T {
    task.await.unwrap_or_else(|error| {
        failures.push(format!("{stage}: {error}"));
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use core::{
        fmt::Write as _,
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };
    use std::{
        collections::{HashMap, HashSet},
        fs,
        sync::{Mutex, PoisonError},
    };

    use clap::Parser;
    use tailwatch::{Collector, Delivery};
    use tailwatch_tokio::CancellationToken;
    use tokio::task::yield_now;

    use super::*;
    use crate::{
        command::Command,
        feed::Feed,
        generator::Generator,
        measure::{self, RING_CAPACITY},
        message::{Message, Payload},
        options::Speed,
        replay::{Replay, Source, Tally},
    };

    const MESSAGES: usize = 20_000;

    /// Keeps two pipelines from running at once, which would record into the same collector.
    static ALONE: Mutex<()> = Mutex::new(());

    /// Returns a feed of the generator's messages and two damaged lines, and the number of candles
    /// in it.
    fn feed() -> (Source, u64) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        let (mut text, mut seconds) = (String::from("no feed line\n1 no JSON\n"), HashSet::new());
        for generated in Generator::new(3).take(MESSAGES) {
            writeln!(text, "{} {}", generated.received_ns, generated.text).unwrap();
            let message = Message::decode(&generated.text).unwrap();
            if let Payload::Trade(trade) = message.payload {
                seconds.insert((message.symbol, trade.trade_time_ms / 1000));
            }
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("tokio_bot-pipeline-{}-{number}", std::process::id()));
        fs::write(&path, text).unwrap();
        let feed = Feed::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        (Source::Feed(feed), seconds.len() as u64)
    }

    /// The samples that an observer saw, by event.
    type Counts = HashMap<String, Vec<u64>>;

    struct Run {
        summary: RunSummary,
        tally: Tally,
        counts: Counts,
        overwritten: u64,
    }

    fn run(workers: &str, source: Source, stop_at: u64, stall: Option<Stall>) -> Run {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let command = Command::try_parse_from(["tokio_bot", "--workers", workers]).unwrap();
        let counts = Arc::new(Mutex::new(Counts::new()));
        let counted = Arc::clone(&counts);
        let count = move |delivery: &Delivery<'_>| {
            if let Some(sample) = delivery.duration_ns_or_value {
                counted.lock().unwrap().entry(delivery.event.to_owned()).or_default().push(sample);
            }
        };
        let builder = Collector::builder()
            .ignore_environment()
            .events(&measure::events())
            .ring_capacity(RING_CAPACITY)
            .rings(8)
            .manual_drain();
        let collector = Arc::new(builder.observer(count).start().unwrap());
        collector.install().unwrap();
        let stop = Stop::default();
        let replay = Replay::start(source, Speed::Max, stop.flag(), |_| {}).unwrap();
        let (summary, report) = command.runtime().unwrap().block_on(async {
            let token = CancellationToken::new();
            let drain = Arc::new(tailwatch_tokio::spawn_drain(collector, token.clone()).unwrap());
            let notes = Notes::without_bar();
            let pipeline =
                Pipeline::start(replay.addr(), 1, &stop, stall, &notes, &drain).await.unwrap();
            let sent = replay.sent_counter();
            while sent.load(Ordering::Relaxed) < stop_at && !replay.is_finished() {
                yield_now().await;
            }
            if stop_at > 0 {
                stop.now();
            }
            let summary = pipeline.join().await;
            token.cancel();
            (summary, Arc::into_inner(drain).unwrap().join().await.unwrap())
        });
        let counts = core::mem::take(&mut *counts.lock().unwrap());
        Run { summary, tally: replay.join(), counts, overwritten: report.health.overwritten }
    }

    #[test]
    fn a_feed_is_measured_from_end_to_end_on_one_or_several_threads() {
        for workers in ["0", "3"] {
            let (feed, candles) = feed();
            let Run { summary, tally, counts, overwritten } = run(workers, feed, 0, None);
            assert_eq!(summary.failures, [""; 0]);
            let messages = MESSAGES as u64 - 1;
            assert_eq!((tally.sent, tally.snapshots, tally.total_problems), (messages, 1, 2));
            let strategy = &summary.strategy;
            assert_eq!(
                (summary.published, strategy.handled, strategy.candles),
                (messages, messages, candles)
            );
            assert!(summary.placed > 0);
            assert_eq!((summary.placed, summary.filled), (strategy.signals, strategy.signals));
            for (event, expected) in [
                ("event_bus_publish", messages),
                ("queue_backlog", messages),
                ("event_bus_handle", messages),
                ("candle_processing", candles),
                ("signal_generation", candles),
                ("order_placement", summary.placed),
                ("tick_to_order", summary.placed),
                ("order_fill", summary.placed),
            ] {
                assert_eq!(
                    counts.get(event).map(|samples| samples.len() as u64),
                    Some(expected),
                    "{event}"
                );
            }
            assert_eq!(overwritten, 0);
        }
    }

    #[test]
    fn a_stall_is_measured_as_part_of_its_order() {
        let stall = Stall { delay: Duration::from_millis(60), order: 2 };
        let Run { summary, counts, .. } = run("0", feed().0, 0, Some(stall));
        assert_eq!(summary.failures, [""; 0]);
        // Orders are placed one after another, so the second sample is that of order 2.
        assert!(Duration::from_nanos(counts["order_placement"][1]) >= stall.delay);
    }

    #[test]
    fn a_stopped_run_handles_the_messages_in_flight() {
        for workers in ["0", "2"] {
            let Run { summary, tally, .. } =
                run(workers, Source::Generated(Box::new(Generator::new(5))), 5_000, None);
            assert_eq!(summary.failures, [""; 0]);
            assert!(tally.sent >= 5_000);
            assert!(!tally.client_left);
            assert_eq!(summary.strategy.handled, summary.published);
            assert_eq!(summary.placed, summary.filled);
        }
    }
}
