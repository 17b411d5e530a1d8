//! A socket that carries JSON values, one per line: the bot's end of a connection to the mock
//! exchange, for tasks.

use core::net::SocketAddr;
use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{error::Elapsed, timeout},
};

use crate::{exchange::Hello, net::PEER_TIMEOUT};

/// A connection to the exchange.
#[derive(Debug)]
pub(crate) struct Lines {
    incoming: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    outgoing: OwnedWriteHalf,
}

impl Lines {
    /// Connects, and sends the line that states the purpose of the connection.
    pub(crate) async fn connect(address: SocketAddr, hello: Hello) -> io::Result<Self> {
        let stream = connect(address).await?;
        let (incoming, outgoing) = stream.into_split();
        let mut lines = Self { incoming: BufReader::new(incoming).lines(), outgoing };
        lines.send(&hello).await?;
        Ok(lines)
    }

    /// Sends a value by a single write: two writes would be two packets.
    pub(crate) async fn send(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.outgoing.write_all(&line).await
    }

    /// Waits for the next value. Returns `None` once the exchange has closed the connection. Cancel
    /// safe: if the future is dropped, no value is lost.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match self.incoming.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => Ok(None),
        }
    }
}

/// Connects to a server on this machine, within [`PEER_TIMEOUT`].
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(PEER_TIMEOUT, TcpStream::connect(address)).await.map_err(timed_out)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn timed_out(error: Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, error)
}
