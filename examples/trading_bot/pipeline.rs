//! The threads, how they are joined, and how they end.
//!
//! ```text
//! replay ──WebSocket──▶ market-data ──bus──▶ strategy ──intents──▶ orders ──TCP──▶ exchange
//!                                                                     └─open──▶ fills ◀──TCP──┘
//! ```
//!
//! The end runs down the same way: when the replay closes its connection, market data drops its end of the bus; the
//! strategy drains it, closes the last candles and drops the intents; the order thread places what is left and closes
//! order entry; the exchange sends the last fills and closes theirs. Every wait on a connection has a limit.

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

/// Intents that wait for the order thread at most.
const INTENTS: usize = 1024;
/// Orders whose fill is not looked for yet, at most.
const OPEN_ORDERS: usize = 1024;

/// A bot at work.
#[derive(Debug)]
pub(crate) struct Pipeline {
    exchange: MockExchange,
    market_data: JoinHandle<MarketDataSummary>,
    strategy: JoinHandle<StrategySummary>,
    orders: JoinHandle<OrdersSummary>,
    fills: JoinHandle<FillsSummary>,
    ended: Receiver<()>,
}

/// What could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct StartError {
    what: &'static str,
    why: String,
}

fn starting<E: ToString>(what: &'static str) -> impl FnOnce(E) -> StartError {
    move |why| StartError { what, why: why.to_string() }
}

impl Pipeline {
    /// Starts everything, the stages before what feeds them, and connects to the `market`. `stop` is what tells the
    /// market to end; `seed` is of the mock exchange's delays; `stall` makes one order slow; `settle` has what was
    /// recorded drained.
    pub(crate) fn start(
        market: SocketAddr,
        seed: u64,
        stop: Arc<AtomicBool>,
        stall: Option<Stall>,
        notes: &Notes,
        settle: impl Fn() + Send + 'static,
    ) -> Result<Self, StartError> {
        let (running, ended) = bounded::<()>(0);
        let stages = Stages { running, notes: notes.clone() };

        let exchange = MockExchange::start(seed).map_err(starting("the mock exchange"))?;
        let fill_stream = FillStream::connect(exchange.address, orders::LOOK_UP)
            .map_err(starting("the stream of fills"))?;
        let entry = OrderEntry::connect(exchange.address).map_err(starting("order entry"))?;

        let (opened, open) = bounded(OPEN_ORDERS);
        let fills = stages.spawn("fills", move || orders::take_all(fill_stream, &open))?;
        let (intend, intents) = bounded(INTENTS);
        let (order_notes, stopped) = (notes.clone(), Arc::clone(&stop));
        let hold = move |id| {
            if stall.is_some_and(|stall| !stall.hold(id, &stopped)) {
                order_notes.say(&format!(
                    "order {id} was stalled for less than was asked for: the run was stopped"
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

        let connection =
            MarketData::connect(market, stop, settle).map_err(starting("market data"))?;
        let market_data = stages.spawn("market-data", move || connection.run(&publish))?;
        Ok(Self { exchange, market_data, strategy, orders, fills, ended })
    }

    /// A channel that is closed once all stages have ended; nothing is ever sent.
    pub(crate) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Waits for the end of all threads.
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
    /// A thread with a ring of its own, taken before its first message.
    fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        stage: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, StartError> {
        let (running, notes) = (self.running.clone(), self.notes.clone());
        let run = move || {
            // Dropped at the end, also when the stage panics.
            let _running = running;
            register(name, &notes);
            stage()
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(starting(name))
    }
}

/// A thread without a ring still does its work, unmeasured; the report's health counts what it could not record.
fn register(name: &str, notes: &Notes) {
    if let Err(error) = register_thread(name) {
        notes.say(&format!("{name} is not measured: {error}"));
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
    use core::{fmt::Write as _, sync::atomic::Ordering, time::Duration};
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
        message::{Message, Payload},
        options::Speed,
        replay::{Replay, Source, Tally},
    };

    const MESSAGES: usize = 20_000;

    /// Two pipelines at once would record into the same collector under the same names.
    static ALONE: Mutex<()> = Mutex::new(());

    /// The generator's messages as a feed of some lines that are damaged, and how many candles are in it.
    fn feed() -> (Feed, u64) {
        let (mut text, mut seconds) = (String::from("no feed line\n1 no JSON\n"), HashSet::new());
        for generated in Generator::new(3).take(MESSAGES) {
            writeln!(text, "{} {}", generated.received_ns, generated.text).unwrap();
            let message = Message::decode(&generated.text).unwrap();
            if let Payload::Trade(trade) = message.payload {
                seconds.insert((message.symbol, trade.trade_time_ms / 1000));
            }
        }
        let path =
            std::env::temp_dir().join(format!("trading_bot-pipeline-{}", std::process::id()));
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

    /// Tests of other modules record as well, on threads of other names, while this one has a collector installed.
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
        let collector =
            Collector::builder().ring_capacity(65_536).rings(32).observer(count).start().unwrap();
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
            ("order_fill", "fills", summary.placed),
        ] {
            assert_eq!(
                counts.get(&(event.to_owned(), thread.to_owned())),
                Some(&expected),
                "{event}"
            );
        }
    }

    /// That the other orders are not held is shown where nothing has to be timed, in [`crate::stall`].
    #[test]
    fn a_stall_is_measured_as_part_of_its_order() {
        let _alone = ALONE.lock();
        let orders = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&orders);
        let observe = move |delivery: &Delivery<'_>| {
            if (delivery.event, delivery.thread) == ("order_placement", "orders") {
                let mut seen = seen.lock().unwrap();
                // One order after the other: each END is of the START before it.
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
    fn a_run_that_is_stopped_handles_what_is_in_flight() {
        let _alone = ALONE.lock();
        let (summary, tally) = run(Source::Generated(Box::new(Generator::new(5))), 5_000, None);
        assert_eq!(summary.failures, [""; 0]);
        assert!(tally.sent >= 5_000);
        assert!(!tally.client_left);
        assert_eq!(summary.strategy.handled, summary.published);
        assert_eq!(summary.placed, summary.filled);
    }
}
