//! The market side of the bot's connection: a WebSocket server on loopback that sends a feed's messages to one client.
//!
//! Messages are sent as they stand in the feed, paced by the times they were received at (see [`pace`]).
//! Every wait is short enough for a stop to be prompt, and none is without limit when the client does not come, does
//! not read or does not answer; all of that ends the replay in order, and the [`Tally`] tells.

// By its path, as another bot has this file by its own.
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

/// No wait is longer before the stop flag is looked at again.
const NAP: Duration = Duration::from_millis(50);
/// How long to wait for a client, and for each one's handshake.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);
/// How long a client may take to read what is still on its way and answer the close; shorter once a stop was asked for.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
const STOPPED_CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Messages between two looks at what the client sends, where no wait gives the occasion.
const ADJUST_EVERY: u64 = 256;
/// Items of a feed that are read ahead.
const READ_AHEAD: usize = 1_024;
/// Bytes gathered for one write to the socket.
const WRITE_BYTES: usize = 16 << 10;

/// Where the messages come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A recorded feed; the replay ends with it.
    Feed(Feed),
    /// Generated messages; the replay ends when it is stopped.
    Generated(Box<Generator>),
}

impl Source {
    /// The feed in this file; without one, a market from this seed.
    pub(crate) fn open(feed: Option<&Path>, seed: u64) -> Result<Self, FeedError> {
        match feed {
            Some(path) => Feed::open(path).map(Self::Feed),
            None => Ok(Self::Generated(Box::new(Generator::new(seed)))),
        }
    }
}

/// What a replay did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Well-formed stream messages handed to the connection.
    pub(crate) sent: u64,
    /// Snapshots handed to the connection.
    pub(crate) snapshots: u64,
    /// Problems by kind.
    pub(crate) problems: BTreeMap<&'static str, u64>,
    /// Problems of all kinds.
    pub(crate) total_problems: u64,
    /// The client went away before the end, so that not everything sent was received.
    pub(crate) client_left: bool,
    /// No client came within the time allowed, so that nothing was sent.
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
    /// Opens a port on loopback and replays `source` to the first client that connects, on a thread of its own, until
    /// it ends or `stop` is set. `on_notice` is called there for what is worth saying about the feed.
    pub(crate) fn start(
        source: Source,
        speed: Speed,
        stop: Arc<AtomicBool>,
        on_notice: impl FnMut(Notice<'_>) + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // There is no accepting with a time limit.
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let sent = Arc::new(AtomicU64::new(0));
        let live = Arc::clone(&sent);
        let thread = thread::Builder::new().name("replay".to_owned()).spawn(move || {
            Sender { stop, live, on_notice, behind_said: false, tally: Tally::default() }
                .run(&listener, source, speed)
        })?;
        Ok(Self { addr, sent, thread })
    }

    /// Where to connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// [`Tally::sent`] while it grows.
    pub(crate) fn sent_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// Whether the replay has ended, so that [`Replay::join`] returns at once.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    pub(crate) fn join(self) -> Tally {
        self.thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

/// Why there is nobody to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoClient {
    Stopped,
    TimedOut,
}

/// Something about the feed that is worth saying.
#[derive(Debug)]
pub(crate) enum Notice<'n> {
    /// A line that could not be used.
    Problem(&'n Problem),
    /// The first line that was received, by the recording's clock, before it was sent by the exchange's. Said once; nothing
    /// depends on it.
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
    behind_said: bool,
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
            Err(without) => self.tally.no_client = without == NoClient::TimedOut,
        }
        self.tally
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for a client. A connection that speaks no WebSocket is dropped, and the waiting goes on.
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
                // What else can go wrong here, such as a client gone already, may also pass.
                Err(_) => thread::sleep(NAP / 10),
            }
        }
        Err(NoClient::TimedOut)
    }

    fn send_all(&mut self, socket: &mut Socket, source: Source, speed: Speed) -> Result<(), Halt> {
        let mut pace = Pace::new(speed);
        match source {
            Source::Feed(feed) => {
                let items = read_beside(feed);
                while let Some(item) = self.next_of(&items)? {
                    match item {
                        FeedItem::Line(line) => {
                            self.look_at_clock(&line);
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

    /// The next item of a feed, which may be a pipe that is quiet for long.
    fn next_of(&self, items: &Receiver<FeedItem>) -> Result<Option<FeedItem>, Halt> {
        loop {
            if self.stopped() {
                return Err(Halt::Stopped);
            }
            match items.recv_timeout(NAP) {
                Ok(item) => return Ok(Some(item)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn look_at_clock(&mut self, line: &Line) {
        if let Some(behind) = clock::behind(line).filter(|_| !self.behind_said) {
            self.behind_said = true;
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
        if (self.tally.sent + self.tally.snapshots).is_multiple_of(ADJUST_EVERY) {
            look(socket)?;
        }
        self.wait(socket, due)?;
        let written = socket.write(Frame::text(text));
        // A message that the socket did not take yet is kept, so it is sent in either case.
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
        self.settle(socket, written)
    }

    /// Waits until a message is due; what was written before goes out first.
    fn wait(&self, socket: &mut Socket, due: Due) -> Result<(), Halt> {
        let mut flushed = false;
        loop {
            let left = match due {
                Due::Now => return Ok(()),
                Due::At(instant) => instant.saturating_duration_since(Instant::now()),
                Due::Never => NAP,
            };
            if left.is_zero() {
                return Ok(());
            }
            if self.stopped() {
                return Err(Halt::Stopped);
            }
            if !flushed {
                let result = socket.flush();
                self.settle(socket, result)?;
                flushed = true;
                // That took time: look at the clock again.
                continue;
            }
            look(socket)?;
            thread::sleep(left.min(NAP));
        }
    }

    /// Waits until the client takes what is written. The socket's own time limit makes the stop flag be seen.
    fn settle(&self, socket: &mut Socket, mut result: Result<(), WsError>) -> Result<(), Halt> {
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

    /// Sends what is left and the close, and waits for the client's answer, which says that it has read everything.
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
                    // Either direction may be what is stuck, and each try is limited by the socket.
                    result = match socket.flush() {
                        Ok(()) => socket.read().map(drop),
                        failed => failed,
                    };
                }
                // A client that leaves at the close instead of answering it has read that far all the same.
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

/// Reads a feed on a thread of its own, a little ahead. It is not waited for: a pipe may never speak again.
fn read_beside(feed: Feed) -> Receiver<FeedItem> {
    let (items, read) = bounded(READ_AHEAD);
    thread::spawn(move || {
        for item in feed {
            if items.send(item).is_err() {
                // Nobody wants more.
                return;
            }
        }
    });
    read
}

/// Makes a fresh connection a WebSocket; `None` where the other side does not take part.
fn handshake(stream: TcpStream) -> Option<Socket> {
    // Some systems hand the listener's mode down to the connection.
    stream.set_nonblocking(false).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(HANDSHAKE_LIMIT)).ok()?;
    stream.set_write_timeout(Some(NAP)).ok()?;
    let config = WebSocketConfig::default().write_buffer_size(WRITE_BYTES);
    let socket = tungstenite::accept_with_config(stream, Some(config)).ok()?;
    socket.get_ref().set_read_timeout(Some(NAP)).ok()?;
    Some(socket)
}

/// Reads what the client has sent, without waiting: pings are answered by that, and a leaving client is noticed.
fn look(socket: &mut Socket) -> Result<(), Halt> {
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

/// Whether an operation on the socket only ran into its time limit, however the system calls that.
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

    /// Reads text messages up to the close, and answers that.
    fn read_all(client: &mut Client) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            match client.read() {
                Ok(Frame::Text(text)) => texts.push(text.to_string()),
                Ok(_) => {}
                Err(WsError::ConnectionClosed) => return texts,
                Err(error) => panic!("no proper close: {error}"),
            }
        }
    }

    #[test]
    fn the_well_formed_messages_arrive_as_they_are_and_the_rest_is_told() {
        let snapshot = r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#;
        // More than fits into the socket's buffers at once.
        let trades: Vec<String> = (1..=50_000).map(trade).collect();
        let head = format!("1 {snapshot}\noops\n2 {{\n3 {{\"stream\":\"x@y\"}}\n4 {{\n5 ");
        let text = head + &trades.join("\n5 ") + "\n6 {}";
        let told = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&told);
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
        // The first trade is in line 6, received 5 ns after 1970 and sent 1 ms after it.
        let expected = [
            ("problem", 2),
            ("problem", 3),
            ("problem", 4),
            ("problem", 5),
            ("clock", 6),
            ("problem", 50_006),
        ];
        assert_eq!(*told.lock().expect("not poisoned"), expected);
    }

    #[test]
    fn a_stop_ends_an_endless_source_with_a_proper_close() {
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
            assert!(generated.eq(texts), "what was sent is what was generated");
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
    fn a_connection_without_handshake_does_not_take_the_place_of_the_client() {
        let replay = start(feed(&format!("1 {}", trade(1))), Speed::Max, &Arc::default());
        drop(TcpStream::connect(replay.addr()).expect("connects"));
        assert_eq!(read_all(&mut connect(&replay)), [trade(1)]);
        assert_eq!(replay.join().sent, 1);
    }
}
