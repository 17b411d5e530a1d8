//! A mock exchange on loopback TCP. It acknowledges every order and fills it completely a little
//! later.
//!
//! Both sides send JSON, one value per line. There are two connections, as with real exchanges:
//! order entry, where each order is answered by its acknowledgement, and a stream of fills. The
//! first line of a connection states which one it is. A fill is due 50–500 µs after its order
//! (by a seeded generator), and fills are sent in the sequence of the orders. There are no
//! rejections and no partial fills, and every order is filled at its own price.

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

/// An order, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) symbol: String,
    pub(crate) side: WireSide,
    /// A decimal string, as is `quantity`: JSON numbers would be read as binary floating point.
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

/// An exchange that runs until its order entry is closed and its last fill is sent.
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

    /// Waits for the exchange to end and returns how many orders it filled.
    pub(crate) fn join(self) -> io::Result<u64> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    }
}

fn trade(listener: &TcpListener, seed: u64) -> io::Result<u64> {
    let (mut entry, mut fills) = (None, None);
    while entry.is_none() || fills.is_none() {
        let mut lines = Lines::new(net::accept(listener)?);
        lines.set_read_timeout(Some(net::PEER_TIMEOUT))?;
        match lines.next::<Hello>()? {
            Some(Hello::OrderEntry) => entry = Some(lines),
            Some(Hello::Fills) => fills = Some(lines),
            None => {}
        }
    }
    let (Some(mut entry), Some(fills)) = (entry, fills) else { return Ok(0) };
    // The next order may take long. A client that dies closes the connection.
    entry.set_read_timeout(None)?;

    let (matched, to_fill) = crossbeam_channel::bounded(1024);
    let thread = thread::Builder::new()
        .name("exchange-fills".to_owned())
        .spawn(move || fill_all(fills, &to_fill))?;
    let taken = take_orders(&mut entry, &matched, seed);
    drop(matched);
    let filled =
        thread.join().unwrap_or_else(|_| Err(io::Error::other("its fills thread panicked")));
    taken.and(filled)
}

fn take_orders(entry: &mut Lines, matched: &Sender<(Instant, Fill)>, seed: u64) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    while let Some(order) = entry.next::<Order>()? {
        let due = Instant::now() + Duration::from_micros(random.u64(50..=500));
        entry.send(&Ack { id: order.id })?;
        let fill = Fill { id: order.id, price: order.price, quantity: order.quantity };
        if matched.send((due, fill)).is_err() {
            return Err(io::Error::other("its fills thread has ended"));
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

/// The bot's end of order entry.
pub(crate) struct OrderEntry(Lines);

impl OrderEntry {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut lines = Lines::new(net::connect(address)?);
        lines.set_read_timeout(Some(net::PEER_TIMEOUT))?;
        lines.send(&Hello::OrderEntry)?;
        Ok(Self(lines))
    }

    /// Sends an order and waits for its acknowledgement.
    pub(crate) fn place(&mut self, order: &Order) -> io::Result<()> {
        self.0.send(order)?;
        match self.0.next::<Ack>()? {
            Some(ack) if ack.id == order.id => Ok(()),
            Some(ack) => Err(io::Error::other(format!(
                "order {} was sent, but order {} was acknowledged",
                order.id, ack.id
            ))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The bot's end of the stream of fills.
pub(crate) struct FillStream(Lines);

/// The result of a read from the stream of fills.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextFill {
    Fill(Fill),
    /// No fill within the time limit.
    Quiet,
    /// The exchange has closed the connection: every order is filled.
    Closed,
}

impl FillStream {
    pub(crate) fn connect(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let mut lines = Lines::new(net::connect(address)?);
        lines.set_read_timeout(Some(limit))?;
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

/// A socket that carries JSON values, one per line.
struct Lines {
    stream: BufReader<TcpStream>,
    /// The beginning of a line, kept when a read reaches its time limit in the middle of the line.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Lines {
    fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream), incoming: Vec::new(), outgoing: Vec::new() }
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(limit)
    }

    /// Sends a value by a single write: two writes would be two packets.
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
        let mut fills = FillStream::connect(exchange.address, net::PEER_TIMEOUT).unwrap();
        let mut entry = OrderEntry::connect(exchange.address).unwrap();
        for id in 1..=50 {
            entry.place(&order(id)).unwrap();
        }
        drop(entry);
        for id in 1..=50 {
            let NextFill::Fill(fill) = fills.next().unwrap() else {
                panic!("order {id} was not filled")
            };
            assert_eq!((fill.id, &*fill.price, &*fill.quantity), (id, "61773.5000", "0.001"));
        }
        assert_eq!(fills.next().unwrap(), NextFill::Closed);
        assert_eq!(exchange.join().unwrap(), 50);
    }

    #[test]
    fn a_malformed_order_is_an_error() {
        let exchange = MockExchange::start(1).unwrap();
        let _fills = FillStream::connect(exchange.address, net::PEER_TIMEOUT).unwrap();
        let mut entry = OrderEntry::connect(exchange.address).unwrap();
        entry.0.send(&"nonsense").unwrap();
        assert!(exchange.join().is_err());
        assert!(entry.place(&order(1)).is_err());
    }

    #[test]
    fn a_quiet_stream_of_fills_is_not_closed() {
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
                NextFill::Closed => panic!("closed before the fill"),
            }
        }
    }
}
