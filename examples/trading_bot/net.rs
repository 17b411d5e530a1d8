//! Loopback connections with time limits.

use core::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use std::{
    io,
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

/// The longest wait for the other side of a connection.
pub(crate) const PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens on a port that the system chooses, for connections of this machine only.
pub(crate) fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Waits for the next client, for at most [`PEER_TIMEOUT`]; a blocking `accept` has no time limit.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PEER_TIMEOUT;
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // On some systems the stream inherits the listener's mode.
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no client connected in time"));
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PEER_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a read reached its time limit. Systems differ in the error kind.
pub(crate) fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
