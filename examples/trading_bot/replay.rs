//! The market's end of the bot's connection: a WebSocket server on loopback that sends the messages
//! of a feed to one client.
//!
//! Messages are sent unchanged, paced by their receive times (see [`pace`]). Every wait is short
//! enough for a prompt stop, and has a limit if the client does not connect, read or answer. Each
//! of these ends the replay in order, with an entry in the [`Tally`].

// By its path, because `tokio_bot` includes this file by a path too.
#[path = "replay/pace.rs"]
mod pace;

use core::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::{
    collections::BTreeMap,
    io,
    net::{TcpListener, TcpStream},
    panic,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use tungstenite::{
    Error as WsError, Message as Frame, WebSocket, error::ProtocolError, protocol::WebSocketConfig,
};

use crate::{
    clock,
    feed::{Feed, FeedError, FeedItem, Line, Problem},
    generator::Generator,
    options::Speed,
    replay::pace::{Due, Pace},
};

/// The longest wait before the stop flag is checked again.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The longest waits for a client, and for the handshake of each connection.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);
/// How long a client may take to read the remaining messages and answer the close: normally, and
/// after a stop.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
const STOPPED_CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// The messages between two reads from the client, if the replay does not wait in between.
const READ_CLIENT_EVERY: u64 = 256;
/// The items of a feed that are read ahead.
const READ_AHEAD: usize = 1_024;
/// The bytes that are gathered for one write to the socket.
const WRITE_BYTES: usize = 16 << 10;

/// The source of the messages.
#[derive(Debug)]
pub(crate) enum Source {
    /// A recorded feed; the replay ends with it.
    Feed(Feed),
    /// Generated messages; the replay ends when it is stopped.
    Generated(Box<Generator>),
}

impl Source {
    /// Opens the feed in this file, or, without one, the generated market for this seed.
    pub(crate) fn open(feed: Option<&Path>, seed: u64) -> Result<Self, FeedError> {
        match feed {
            Some(path) => Feed::open(path).map(Self::Feed),
            None => Ok(Self::Generated(Box::new(Generator::new(seed)))),
        }
    }
}

/// The results of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Well-formed stream messages that were handed to the connection.
    pub(crate) sent: u64,
    /// Snapshots that were handed to the connection.
    pub(crate) snapshots: u64,
    /// Problems by kind.
    pub(crate) problems: BTreeMap<&'static str, u64>,
    /// Problems of all kinds.
    pub(crate) total_problems: u64,
    /// Whether the client left before the end, so that not every sent message was received.
    pub(crate) client_left: bool,
    /// Whether no client connected within the time limit, so that nothing was sent.
    pub(crate) no_client: bool,
}

/// A running replay.
#[derive(Debug)]
pub(crate) struct Replay {
    addr: SocketAddr,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Tally>,
}

impl Replay {
    /// Opens a port on loopback and replays `source` to the first client that connects, on a thread
    /// of its own, until the source ends or `stop` is set. That thread calls `on_notice` with
    /// notices about the feed.
    pub(crate) fn start(
        source: Source,
        speed: Speed,
        stop: Arc<AtomicBool>,
        on_notice: impl FnMut(Notice<'_>) + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // `accept` has no time limit.
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let sent = Arc::new(AtomicU64::new(0));
        let live = Arc::clone(&sent);
        let thread = thread::Builder::new().name("replay".to_owned()).spawn(move || {
            Sender { stop, live, on_notice, clock_reported: false, tally: Tally::default() }
                .run(&listener, source, speed)
        })?;
        Ok(Self { addr, sent, thread })
    }

    /// Returns the address to connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns a counter that follows [`Tally::sent`] during the replay.
    pub(crate) fn sent_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// Whether the replay has ended, so that [`Replay::join`] returns at once.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the replay.
    pub(crate) fn join(self) -> Tally {
        self.thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

/// Why no client connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoClient {
    Stopped,
    TimedOut,
}

/// A notice about the feed.
#[derive(Debug)]
pub(crate) enum Notice<'n> {
    /// A line that could not be used.
    Problem(&'n Problem),
    /// The first line whose receive time, by the recording's clock, is before its send time, by the
    /// exchange's. There is at most one such notice, and nothing depends on it.
    ClockBehind { line: u64, behind: Duration },
}

/// Why sending ended before the source did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halt {
    Stopped,
    ClientLeft,
}

type Socket = WebSocket<TcpStream>;

/// The state of the replay thread.
struct Sender<F> {
    stop: Arc<AtomicBool>,
    live: Arc<AtomicU64>,
    on_notice: F,
    clock_reported: bool,
    tally: Tally,
}

impl<F: FnMut(Notice<'_>)> Sender<F> {
    fn run(mut self, listener: &TcpListener, source: Source, speed: Speed) -> Tally {
        match self.connect(listener) {
            Ok(mut socket) => {
                let halt = self.send_all(&mut socket, source, speed).err();
                self.tally.client_left =
                    halt == Some(Halt::ClientLeft) || self.close(&mut socket).is_err();
            }
            Err(reason) => self.tally.no_client = reason == NoClient::TimedOut,
        }
        self.tally
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for a client. A connection without a WebSocket handshake is dropped, and the wait goes
    /// on.
    fn connect(&self, listener: &TcpListener) -> Result<Socket, NoClient> {
        let deadline = Instant::now() + CLIENT_LIMIT;
        while Instant::now() < deadline {
            if self.stopped() {
                return Err(NoClient::Stopped);
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Some(socket) = handshake(stream) {
                        return Ok(socket);
                    }
                }
                // Other errors, such as a client that has left already, may be temporary.
                Err(_) => thread::sleep(STOP_CHECK_INTERVAL / 10),
            }
        }
        Err(NoClient::TimedOut)
    }

    fn send_all(&mut self, socket: &mut Socket, source: Source, speed: Speed) -> Result<(), Halt> {
        let mut pace = Pace::new(speed);
        match source {
            Source::Feed(feed) => {
                let items = read_ahead(feed);
                while let Some(item) = self.next_item(&items)? {
                    match item {
                        FeedItem::Line(line) => {
                            self.check_clock(&line);
                            let is_stream = line.message.is_stream();
                            self.send(socket, pace.due(line.received_ns), line.text, is_stream)?;
                        }
                        FeedItem::Problem(problem) => {
                            *self.tally.problems.entry(problem.cause.kind()).or_default() += 1;
                            self.tally.total_problems += 1;
                            (self.on_notice)(Notice::Problem(&problem));
                        }
                    }
                }
            }
            Source::Generated(generator) => {
                for message in *generator {
                    self.send(
                        socket,
                        pace.due(message.received_ns),
                        message.text,
                        message.is_stream,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Waits for the next item of a feed, which may be a pipe that is quiet for long.
    fn next_item(&self, items: &Receiver<FeedItem>) -> Result<Option<FeedItem>, Halt> {
        loop {
            if self.stopped() {
                return Err(Halt::Stopped);
            }
            match items.recv_timeout(STOP_CHECK_INTERVAL) {
                Ok(item) => return Ok(Some(item)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn check_clock(&mut self, line: &Line) {
        if let Some(behind) = clock::behind(line).filter(|_| !self.clock_reported) {
            self.clock_reported = true;
            (self.on_notice)(Notice::ClockBehind { line: line.number, behind });
        }
    }

    /// Sends one message when it is due.
    fn send(
        &mut self,
        socket: &mut Socket,
        due: Due,
        text: String,
        is_stream: bool,
    ) -> Result<(), Halt> {
        if self.stopped() {
            return Err(Halt::Stopped);
        }
        if (self.tally.sent + self.tally.snapshots).is_multiple_of(READ_CLIENT_EVERY) {
            read_pending(socket)?;
        }
        self.wait(socket, due)?;
        let written = socket.write(Frame::text(text));
        // The WebSocket keeps a message that the socket did not take yet, so it counts as sent too.
        let kept = match &written {
            Ok(()) => true,
            Err(WsError::Io(error)) => is_temporary(error),
            Err(_) => false,
        };
        if kept && is_stream {
            self.tally.sent += 1;
            self.live.store(self.tally.sent, Ordering::Relaxed);
        } else if kept {
            self.tally.snapshots += 1;
        }
        self.finish_write(socket, written)
    }

    /// Sends the messages written before, then waits until the next one is due.
    fn wait(&self, socket: &mut Socket, due: Due) -> Result<(), Halt> {
        let mut flushed = false;
        loop {
            let left = match due {
                Due::Now => return Ok(()),
                Due::At(instant) => instant.saturating_duration_since(Instant::now()),
                Due::Never => STOP_CHECK_INTERVAL,
            };
            if left.is_zero() {
                return Ok(());
            }
            if self.stopped() {
                return Err(Halt::Stopped);
            }
            if !flushed {
                let result = socket.flush();
                self.finish_write(socket, result)?;
                flushed = true;
                // Flushing took time, so the rest of the wait is computed again.
                continue;
            }
            read_pending(socket)?;
            thread::sleep(left.min(STOP_CHECK_INTERVAL));
        }
    }

    /// Waits until the socket has taken what was written. The socket's own time limit lets the stop
    /// flag be checked in between.
    fn finish_write(
        &self,
        socket: &mut Socket,
        mut result: Result<(), WsError>,
    ) -> Result<(), Halt> {
        loop {
            match result {
                Ok(()) => return Ok(()),
                Err(WsError::Io(error)) if is_temporary(&error) => {
                    if self.stopped() {
                        return Err(Halt::Stopped);
                    }
                    result = socket.flush();
                }
                Err(_) => return Err(Halt::ClientLeft),
            }
        }
    }

    /// Sends the remaining messages and the close, and waits for the client's answer, which shows
    /// that it has read everything.
    fn close(&self, socket: &mut Socket) -> Result<(), Halt> {
        let begin = Instant::now();
        let mut stop_seen = None;
        let mut result = socket.close(None);
        loop {
            match result {
                Ok(()) => result = socket.read().map(drop),
                Err(WsError::Io(error)) if is_temporary(&error) => {
                    if self.stopped() {
                        stop_seen = stop_seen.or_else(|| Some(Instant::now()));
                    }
                    if stop_seen.is_some_and(|seen| seen.elapsed() > STOPPED_CLOSE_LIMIT) {
                        return Ok(());
                    }
                    if begin.elapsed() > CLOSE_LIMIT {
                        return Err(Halt::ClientLeft);
                    }
                    // Either direction may be blocked. Each try is limited by the socket's time
                    // limit.
                    result = match socket.flush() {
                        Ok(()) => socket.read().map(drop),
                        failed => failed,
                    };
                }
                // A client that leaves at the close without answering it has still read everything
                // before.
                Err(
                    WsError::ConnectionClosed
                    | WsError::AlreadyClosed
                    | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                ) => return Ok(()),
                Err(_) if self.stopped() => return Ok(()),
                Err(_) => return Err(Halt::ClientLeft),
            }
        }
    }
}

/// Reads a feed ahead on a thread of its own. The thread is not joined, because reading from a pipe
/// may never return.
fn read_ahead(feed: Feed) -> Receiver<FeedItem> {
    let (items, read) = bounded(READ_AHEAD);
    thread::spawn(move || {
        for item in feed {
            if items.send(item).is_err() {
                // The replay has ended.
                return;
            }
        }
    });
    read
}

/// Performs the WebSocket handshake on a new connection. Returns `None` if it fails.
fn handshake(stream: TcpStream) -> Option<Socket> {
    // On some systems the connection inherits the listener's mode.
    stream.set_nonblocking(false).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(HANDSHAKE_LIMIT)).ok()?;
    stream.set_write_timeout(Some(STOP_CHECK_INTERVAL)).ok()?;
    let config = WebSocketConfig::default().write_buffer_size(WRITE_BYTES);
    let socket = tungstenite::accept_with_config(stream, Some(config)).ok()?;
    socket.get_ref().set_read_timeout(Some(STOP_CHECK_INTERVAL)).ok()?;
    Some(socket)
}

/// Reads what the client has sent, without waiting. This answers pings and detects a client that
/// leaves.
fn read_pending(socket: &mut Socket) -> Result<(), Halt> {
    let nonblocking =
        |socket: &Socket, on| socket.get_ref().set_nonblocking(on).map_err(|_| Halt::ClientLeft);
    nonblocking(socket, true)?;
    let read = socket.read();
    nonblocking(socket, false)?;
    match read {
        Ok(Frame::Close(_)) => Err(Halt::ClientLeft),
        Ok(_) => Ok(()),
        Err(WsError::Io(error)) if is_temporary(&error) => Ok(()),
        Err(_) => Err(Halt::ClientLeft),
    }
}

/// Whether an operation on the socket only reached its time limit. Systems differ in the error
/// kind.
fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU32;
    use std::{fs, sync::Mutex};
    use tungstenite::stream::MaybeTlsStream;

    type Client = WebSocket<MaybeTlsStream<TcpStream>>;

    fn feed(text: &str) -> Source {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("trading_bot-replay-{}-{number}", std::process::id()));
        fs::write(&path, text).expect("a temporary file");
        let feed = Feed::open(&path).expect("opens");
        fs::remove_file(&path).expect("removed");
        Source::Feed(feed)
    }

    fn trade(price: u64) -> String {
        format!(r#"{{"stream":"x@trade","data":{{"E":1,"s":"X","p":"{price}","q":"2","T":1}}}}"#)
    }

    fn start(source: Source, speed: Speed, stop: &Arc<AtomicBool>) -> Replay {
        Replay::start(source, speed, Arc::clone(stop), |_| {}).expect("starts")
    }

    fn connect(replay: &Replay) -> Client {
        tungstenite::connect(format!("ws://{}", replay.addr())).expect("connects").0
    }

    /// Reads text messages up to the close, and answers it.
    fn read_all(client: &mut Client) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            match client.read() {
                Ok(Frame::Text(text)) => texts.push(text.to_string()),
                Ok(_) => {}
                Err(WsError::ConnectionClosed) => return texts,
                Err(error) => panic!("the connection was not closed in order: {error}"),
            }
        }
    }

    #[test]
    fn well_formed_messages_arrive_unchanged_and_the_others_are_reported() {
        let snapshot = r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#;
        // More messages than fit into the socket's buffers.
        let trades: Vec<String> = (1..=50_000).map(trade).collect();
        let head = format!("1 {snapshot}\noops\n2 {{\n3 {{\"stream\":\"x@y\"}}\n4 {{\n5 ");
        let text = head + &trades.join("\n5 ") + "\n6 {}";
        let notices = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&notices);
        let replay = Replay::start(feed(&text), Speed::Max, Arc::default(), move |notice| {
            lines.lock().expect("not poisoned").push(match notice {
                Notice::Problem(problem) => ("problem", problem.line),
                Notice::ClockBehind { line, .. } => ("clock", line),
            });
        })
        .expect("starts");
        let sent = replay.sent_counter();
        let texts = read_all(&mut connect(&replay));
        assert_eq!(texts[0], snapshot);
        assert_eq!(texts[1..], trades);
        let expected = Tally {
            sent: 50_000,
            snapshots: 1,
            problems: [
                ("bad timestamp", 1),
                ("not JSON", 2),
                ("unknown stream", 1),
                ("malformed message", 1),
            ]
            .into(),
            total_problems: 5,
            client_left: false,
            no_client: false,
        };
        assert_eq!(replay.join(), expected);
        assert_eq!(sent.load(Ordering::Relaxed), 50_000);
        // The first trade is in line 6. It was received 5 ns after 1970 and sent 1 ms after 1970.
        let expected = [
            ("problem", 2),
            ("problem", 3),
            ("problem", 4),
            ("problem", 5),
            ("clock", 6),
            ("problem", 50_006),
        ];
        assert_eq!(*notices.lock().expect("not poisoned"), expected);
    }

    #[test]
    fn a_stop_ends_an_endless_source_and_closes_the_connection() {
        for speed in [Speed::Max, Speed::Factor(1_000.0), Speed::Factor(1e-300)] {
            let stop = Arc::new(AtomicBool::new(false));
            let replay = start(Source::Generated(Box::new(Generator::new(1))), speed, &stop);
            let mut client = connect(&replay);
            let first = client.read().expect("a message").into_text().expect("text").to_string();
            stop.store(true, Ordering::Relaxed);
            let rest = read_all(&mut client);
            let tally = replay.join();
            assert_eq!(
                (tally.snapshots, tally.sent, tally.client_left),
                (1, rest.len() as u64, false)
            );
            let texts = [vec![first], rest].concat();
            let generated = Generator::new(1).map(|message| message.text).take(texts.len());
            assert!(generated.eq(texts), "the generated messages arrive unchanged");
        }
    }

    #[test]
    fn a_client_that_leaves_ends_the_replay() {
        for polite in [false, true] {
            let replay =
                start(Source::Generated(Box::new(Generator::new(1))), Speed::Max, &Arc::default());
            let mut client = connect(&replay);
            client.read().expect("a message");
            if polite {
                client.close(None).expect("sent");
            }
            drop(client);
            assert!(replay.join().client_left);
        }
    }

    #[test]
    fn a_stop_ends_the_wait_for_a_client() {
        let replay = start(feed("1 {}"), Speed::Max, &Arc::new(AtomicBool::new(true)));
        assert_eq!(replay.join(), Tally::default());
    }

    #[test]
    fn a_connection_without_a_handshake_is_not_the_client() {
        let replay = start(feed(&format!("1 {}", trade(1))), Speed::Max, &Arc::default());
        drop(TcpStream::connect(replay.addr()).expect("connects"));
        assert_eq!(read_all(&mut connect(&replay)), [trade(1)]);
        assert_eq!(replay.join().sent, 1);
    }
}
