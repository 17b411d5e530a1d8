//! The threads, how they are connected, and how they end.
//!
//! ```text
//! replay ──WebSocket──▶ market-data ──bus──▶ strategy ──intents──▶ orders ──TCP──▶ exchange
//!                                                                     └─open──▶ fills ◀──TCP──┘
//! ```
//!
//! The end runs along the same path. When the replay closes its connection, market data drops its
//! end of the bus. The strategy handles the remaining messages, closes the last candles and drops
//! its end of the intents. The orders thread places the remaining orders and closes order entry.
//! The exchange sends the last fills and closes the stream of fills. Every wait on a connection has
//! a time limit.

use core::{net::SocketAddr, sync::atomic::AtomicBool};
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use tailwatch::register_thread;

use crate::{
    bus::{self, MarketData},
    exchange::{FillStream, MockExchange, OrderEntry},
    orders,
    progress::Notes,
    stall::Stall,
    strategy::{Strategy, StrategySummary},
    summary::{FillsSummary, MarketDataSummary, OrdersSummary, RunSummary},
};

/// The most intents that wait for the orders thread.
const INTENTS: usize = 1024;
/// The most orders that wait for the fills thread to read them.
const OPEN_ORDERS: usize = 1024;

/// A running bot.
#[derive(Debug)]
pub(crate) struct Pipeline {
    exchange: MockExchange,
    market_data: JoinHandle<MarketDataSummary>,
    strategy: JoinHandle<StrategySummary>,
    orders: JoinHandle<OrdersSummary>,
    fills: JoinHandle<FillsSummary>,
    ended: Receiver<()>,
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
    /// `market` is the address of the replay server, and `stop` is the flag that ends the replay.
    /// `seed` determines the delays of the mock exchange. `stall` delays one order.
    /// `flush_collector` drains all records.
    pub(crate) fn start(
        market: SocketAddr,
        seed: u64,
        stop: Arc<AtomicBool>,
        stall: Option<Stall>,
        notes: &Notes,
        flush_collector: impl Fn() + Send + 'static,
    ) -> Result<Self, StartError> {
        let (running, ended) = bounded::<()>(0);
        let stages = Stages { running, notes: notes.clone() };

        let exchange = MockExchange::start(seed).map_err(start_error("the mock exchange"))?;
        let fill_stream = FillStream::connect(exchange.address, orders::READ_TIMEOUT)
            .map_err(start_error("the stream of fills"))?;
        let entry = OrderEntry::connect(exchange.address).map_err(start_error("order entry"))?;

        let (opened, open) = bounded(OPEN_ORDERS);
        let fills = stages.spawn("fills", move || orders::take_all(fill_stream, &open))?;
        let (intend, intents) = bounded(INTENTS);
        let (order_notes, stopped) = (notes.clone(), Arc::clone(&stop));
        let hold = move |id| {
            if stall.is_some_and(|stall| !stall.hold(id, &stopped)) {
                order_notes.print(&format!(
                    "the stall of order {id} was cut short, because the run was stopped"
                ));
            }
        };
        let orders =
            stages.spawn("orders", move || orders::place_all(entry, &intents, &opened, hold))?;
        let (publish, published) = bus::bus();
        let strategy = stages.spawn("strategy", move || {
            let mut strategy = Strategy::new(|intent| intend.try_send(intent).is_ok());
            published.iter().for_each(|message| strategy.on_message(message));
            strategy.finish()
        })?;

        let connection = MarketData::connect(market, stop, flush_collector)
            .map_err(start_error("market data"))?;
        let market_data = stages.spawn("market-data", move || connection.run(&publish))?;
        Ok(Self { exchange, market_data, strategy, orders, fills, ended })
    }

    /// Returns a channel that is closed when all stages have ended. Nothing is ever sent on it.
    pub(crate) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Waits for all threads to end.
    pub(crate) fn join(self) -> RunSummary {
        let mut failures = Vec::new();
        let market_data = join("market data", self.market_data, &mut failures);
        let strategy = join("strategy", self.strategy, &mut failures);
        let orders = join("orders", self.orders, &mut failures);
        let fills = join("fills", self.fills, &mut failures);
        if let Err(error) = self.exchange.join() {
            failures.push(format!("the mock exchange: {error}"));
        }
        RunSummary::of(market_data, strategy, orders, fills, failures)
    }
}

struct Stages {
    running: Sender<()>,
    notes: Notes,
}

impl Stages {
    /// Starts a stage on a thread of its own, which gets its ring before the first message.
    fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        stage: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, StartError> {
        let (running, notes) = (self.running.clone(), self.notes.clone());
        let run = move || {
            // Dropped when the stage ends, even by a panic.
            let _running = running;
            register(name, &notes);
            stage()
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(start_error(name))
    }
}

/// Registers this thread, which gives it a ring. If that fails, the thread works unmeasured, and
/// the report's health counts its lost records.
fn register(name: &str, notes: &Notes) {
    if let Err(error) = register_thread(name) {
        notes.print(&format!("{name} is not measured: {error}"));
    }
}

fn join<T: Default>(stage: &str, thread: JoinHandle<T>, failures: &mut Vec<String>) -> T {
    thread.join().unwrap_or_else(|_| {
        failures.push(format!("{stage}: the thread panicked"));
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
        sync::Mutex,
    };

    use tailwatch::{Collector, Delivery};

    use super::*;
    use crate::{
        feed::Feed,
        generator::Generator,
        measure,
        message::{Message, Payload},
        options::Speed,
        replay::{Replay, Source, Tally},
    };

    const MESSAGES: usize = 20_000;

    /// Keeps two pipelines from running at once, which would record into the same collector under
    /// the same thread names.
    static ALONE: Mutex<()> = Mutex::new(());

    /// Returns a feed of the generator's messages and two damaged lines, and the number of candles
    /// in it.
    fn feed() -> (Feed, u64) {
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
            .join(format!("trading_bot-pipeline-{}-{number}", std::process::id()));
        fs::write(&path, text).unwrap();
        let feed = Feed::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        (feed, seconds.len() as u64)
    }

    fn run(source: Source, stop_at: u64, stall: Option<Stall>) -> (RunSummary, Tally) {
        let stop = Arc::new(AtomicBool::new(false));
        let replay = Replay::start(source, Speed::Max, Arc::clone(&stop), |_| {}).unwrap();
        let notes = Notes::without_bar();
        let pipeline =
            Pipeline::start(replay.addr(), 1, Arc::clone(&stop), stall, &notes, || ()).unwrap();
        let sent = replay.sent_counter();
        while sent.load(Ordering::Relaxed) < stop_at && !replay.is_finished() {
            thread::yield_now();
        }
        stop.store(stop_at > 0, Ordering::Relaxed);
        (pipeline.join(), replay.join())
    }

    /// While this test has a collector installed, tests of other modules record into it too, but on
    /// threads of other names.
    #[test]
    fn a_feed_is_measured_from_end_to_end() {
        let _alone = ALONE.lock();
        let (feed, candles) = feed();
        let counts = Arc::new(Mutex::new(HashMap::<_, u64>::new()));
        let counted = Arc::clone(&counts);
        let count = move |delivery: &Delivery<'_>| {
            if delivery.duration_ns_or_value.is_some() {
                let key = (delivery.event.to_owned(), delivery.thread.to_owned());
                *counted.lock().unwrap().entry(key).or_default() += 1;
            }
        };
        let builder = Collector::builder().events(&measure::events());
        let collector = builder.ring_capacity(65_536).rings(32).observer(count).start().unwrap();
        collector.install().unwrap();
        let (summary, tally) = run(Source::Feed(feed), 0, None);
        collector.stop();

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

        assert_eq!(collector.health().overwritten, 0);
        let counts = counts.lock().unwrap();
        for (event, thread, expected) in [
            ("event_bus_publish", "market-data", messages),
            ("queue_backlog", "market-data", messages),
            ("event_bus_handle", "strategy", messages),
            ("candle_processing", "strategy", candles),
            ("signal_generation", "strategy", candles),
            ("order_placement", "orders", summary.placed),
            ("tick_to_order", "orders", summary.placed),
            ("order_fill", "fills", summary.placed),
        ] {
            assert_eq!(
                counts.get(&(event.to_owned(), thread.to_owned())),
                Some(&expected),
                "{event}"
            );
        }
    }

    /// The tests of [`crate::stall`] show that no other order is delayed; they need no timing.
    #[test]
    fn a_stall_is_measured_as_part_of_its_order() {
        let _alone = ALONE.lock();
        let orders = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&orders);
        let observe = move |delivery: &Delivery<'_>| {
            if (delivery.event, delivery.thread) == ("order_placement", "orders") {
                let mut seen = seen.lock().unwrap();
                // Orders are placed one after another, so an END belongs to the START before it.
                match (delivery.tag, seen.last_mut()) {
                    (Some(id), _) => seen.push((id, None)),
                    (None, Some(order)) => order.1 = delivery.duration_ns_or_value,
                    (None, None) => {}
                }
            }
        };
        let collector =
            Collector::builder().ring_capacity(65_536).rings(32).observer(observe).start().unwrap();
        collector.install().unwrap();
        let stall = Stall { delay: Duration::from_millis(60), order: 2 };
        let (summary, _) = run(Source::Feed(feed().0), 0, Some(stall));
        collector.stop();

        assert_eq!(summary.failures, [""; 0]);
        let orders = orders.lock().unwrap();
        assert!(orders.iter().map(|order| order.0).eq(1..=summary.placed));
        assert!(
            orders[1].1.is_some_and(|nanos| Duration::from_nanos(nanos) >= stall.delay),
            "{orders:?}"
        );
    }

    #[test]
    fn a_stopped_run_handles_the_messages_in_flight() {
        let _alone = ALONE.lock();
        let (summary, tally) = run(Source::Generated(Box::new(Generator::new(5))), 5_000, None);
        assert_eq!(summary.failures, [""; 0]);
        assert!(tally.sent >= 5_000);
        assert!(!tally.client_left);
        assert_eq!(summary.strategy.handled, summary.published);
        assert_eq!(summary.placed, summary.filled);
    }
}
