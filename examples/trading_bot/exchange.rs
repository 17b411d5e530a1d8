//! A mock exchange on loopback TCP: it acknowledges every order and fills it whole a little later.
//!
//! Both directions are JSON, one value a line. There are two connections, as with real exchanges: order entry, where
//! each order is answered by its acknowledgement, and a stream of fills. Each opens with a line that says which it
//! is. Fills come 50–500 µs after the order, from a seeded generator, in the order of the orders. No rejections,
//! no partial fills, no prices of its own: an order is filled at its limit.

use core::{net::SocketAddr, time::Duration};
use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{net, signal::Side};

/// An order as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) symbol: String,
    pub(crate) side: WireSide,
    /// Decimal strings: JSON numbers would be read as binary floating point.
    price: String,
    quantity: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum WireSide {
    Buy,
    Sell,
}

impl Order {
    pub(crate) fn new(
        id: u64,
        symbol: &str,
        side: Side,
        price: Decimal,
        quantity: Decimal,
    ) -> Self {
        let side = match side {
            Side::Buy => WireSide::Buy,
            Side::Sell => WireSide::Sell,
        };
        Self {
            id,
            symbol: symbol.to_owned(),
            side,
            price: price.to_string(),
            quantity: quantity.to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ack {
    pub(crate) id: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fill {
    pub(crate) id: u64,
    pub(crate) price: String,
    pub(crate) quantity: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hello {
    OrderEntry,
    Fills,
}

/// An exchange that runs until its order entry is closed and its last fill is out.
#[derive(Debug)]
pub(crate) struct MockExchange {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<io::Result<u64>>,
}

impl MockExchange {
    pub(crate) fn start(seed: u64) -> io::Result<Self> {
        let (listener, address) = net::listen()?;
        let thread = thread::Builder::new()
            .name("exchange".to_owned())
            .spawn(move || trade(&listener, seed))?;
        Ok(Self { address, thread })
    }

    /// How many orders it filled.
    pub(crate) fn join(self) -> io::Result<u64> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the mock exchange panicked")))
    }
}

fn trade(listener: &TcpListener, seed: u64) -> io::Result<u64> {
    let (mut entry, mut fills) = (None, None);
    while entry.is_none() || fills.is_none() {
        let mut lines = Lines::new(net::accept(listener)?);
        lines.limit(Some(net::PATIENCE))?;
        match lines.next::<Hello>()? {
            Some(Hello::OrderEntry) => entry = Some(lines),
            Some(Hello::Fills) => fills = Some(lines),
            None => {}
        }
    }
    let (Some(mut entry), Some(fills)) = (entry, fills) else { return Ok(0) };
    // An order may be a long time coming; a client that dies closes the connection.
    entry.limit(None)?;

    let (matched, to_fill) = crossbeam_channel::bounded(1024);
    let thread = thread::Builder::new()
        .name("exchange-fills".to_owned())
        .spawn(move || fill_all(fills, &to_fill))?;
    let taken = take_orders(&mut entry, &matched, seed);
    drop(matched);
    let filled =
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the exchange's fills panicked")));
    taken.and(filled)
}

fn take_orders(entry: &mut Lines, matched: &Sender<(Instant, Fill)>, seed: u64) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    while let Some(order) = entry.next::<Order>()? {
        let due = Instant::now() + Duration::from_micros(random.u64(50..=500));
        entry.send(&Ack { id: order.id })?;
        let fill = Fill { id: order.id, price: order.price, quantity: order.quantity };
        if matched.send((due, fill)).is_err() {
            return Err(io::Error::other("nobody takes fills any more"));
        }
    }
    Ok(())
}

fn fill_all(mut stream: Lines, matched: &Receiver<(Instant, Fill)>) -> io::Result<u64> {
    let mut filled = 0;
    for (due, fill) in matched {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.send(&fill)?;
        filled += 1;
    }
    Ok(filled)
}

/// The bot's side of order entry.
pub(crate) struct OrderEntry(Lines);

impl OrderEntry {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut lines = Lines::new(net::connect(address)?);
        lines.limit(Some(net::PATIENCE))?;
        lines.send(&Hello::OrderEntry)?;
        Ok(Self(lines))
    }

    /// Sends an order and waits for its acknowledgement.
    pub(crate) fn place(&mut self, order: &Order) -> io::Result<()> {
        self.0.send(order)?;
        match self.0.next::<Ack>()? {
            Some(ack) if ack.id == order.id => Ok(()),
            Some(ack) => Err(io::Error::other(format!(
                "order {} sent, but {} acknowledged",
                order.id, ack.id
            ))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The bot's side of the fills.
pub(crate) struct FillStream(Lines);

/// What the fills' connection had to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextFill {
    Fill(Fill),
    /// Nothing within the time limit.
    Quiet,
    /// The exchange has closed it: every order is filled.
    Closed,
}

impl FillStream {
    pub(crate) fn connect(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let mut lines = Lines::new(net::connect(address)?);
        lines.limit(Some(limit))?;
        lines.send(&Hello::Fills)?;
        Ok(Self(lines))
    }

    pub(crate) fn next(&mut self) -> io::Result<NextFill> {
        match self.0.next() {
            Ok(Some(fill)) => Ok(NextFill::Fill(fill)),
            Ok(None) => Ok(NextFill::Closed),
            Err(error) if net::timed_out(&error) => Ok(NextFill::Quiet),
            Err(error) => Err(error),
        }
    }
}

/// JSON values by line, over a socket.
struct Lines {
    stream: BufReader<TcpStream>,
    /// Survives a read that ran into its time limit in the middle of a line.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Lines {
    fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream), incoming: Vec::new(), outgoing: Vec::new() }
    }

    fn limit(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(limit)
    }

    /// One write a line: two would be two packets.
    fn send(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.outgoing.clear();
        serde_json::to_writer(&mut self.outgoing, value)?;
        self.outgoing.push(b'\n');
        self.stream.get_mut().write_all(&self.outgoing)
    }

    fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        self.stream.read_until(b'\n', &mut self.incoming)?;
        if self.incoming.is_empty() {
            return Ok(None);
        }
        let value = serde_json::from_slice(&self.incoming);
        self.incoming.clear();
        Ok(Some(value?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: u64) -> Order {
        Order::new(id, "BTCUSDT", Side::Buy, Decimal::new(617_735_000, 4), Decimal::new(1, 3))
    }

    #[test]
    fn every_order_is_acknowledged_and_filled_once() {
        let exchange = MockExchange::start(1).unwrap();
        let mut fills = FillStream::connect(exchange.address, net::PATIENCE).unwrap();
        let mut entry = OrderEntry::connect(exchange.address).unwrap();
        for id in 1..=50 {
            entry.place(&order(id)).unwrap();
        }
        drop(entry);
        for id in 1..=50 {
            let NextFill::Fill(fill) = fills.next().unwrap() else { panic!("no fill of {id}") };
            assert_eq!((fill.id, &*fill.price, &*fill.quantity), (id, "61773.5000", "0.001"));
        }
        assert_eq!(fills.next().unwrap(), NextFill::Closed);
        assert_eq!(exchange.join().unwrap(), 50);
    }

    #[test]
    fn a_client_that_talks_nonsense_is_an_error_and_no_panic() {
        let exchange = MockExchange::start(1).unwrap();
        let _fills = FillStream::connect(exchange.address, net::PATIENCE).unwrap();
        let mut entry = OrderEntry::connect(exchange.address).unwrap();
        entry.0.send(&"nonsense").unwrap();
        assert!(exchange.join().is_err());
        assert!(entry.place(&order(1)).is_err());
    }

    #[test]
    fn silence_is_not_the_end() {
        let exchange = MockExchange::start(1).unwrap();
        let mut fills = FillStream::connect(exchange.address, Duration::from_millis(1)).unwrap();
        let mut entry = OrderEntry::connect(exchange.address).unwrap();
        assert_eq!(fills.next().unwrap(), NextFill::Quiet);
        entry.place(&order(9)).unwrap();
        drop(entry);
        loop {
            match fills.next().unwrap() {
                NextFill::Quiet => {}
                NextFill::Fill(fill) => break assert_eq!(fill.id, 9),
                NextFill::Closed => panic!("closed without the fill"),
            }
        }
    }
}
