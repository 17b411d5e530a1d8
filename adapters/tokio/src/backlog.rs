//! Reads the backlog of a channel, and records it at regular intervals.
//!
//! `backlog/measured_sender.rs` records it before each message. The other files of this folder
//! have the receivers, and the counts for channels that do not count themselves.

mod broadcast;
mod measured_sender;
mod unbounded;
mod watch;

use core::time::Duration;

use tailwatch::{Event, record_value};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    broadcast::MeasuredBroadcastReceiver,
    measured_sender::MeasuredSender,
    unbounded::{CountedReceiver, CountedSender, counted_unbounded_channel},
    watch::{CountedWatchSender, MeasuredWatchReceiver},
};
use crate::{SpawnError, runtime_handle};

/// One end of a channel, through which the channel's backlog can be read.
///
/// The *backlog* is how far the receiver is behind. Each kind of channel counts it differently:
///
/// | end | backlog |
/// |---|---|
/// | [`mpsc::Sender`] | the messages that wait, and the capacity that is [reserved](mpsc::Sender::reserve) for further ones |
/// | [`CountedSender`] of an unbounded channel | the messages that wait |
/// | [`broadcast::Sender`](tokio::sync::broadcast::Sender) | the messages that wait for the slowest receiver, at most the channel's capacity |
/// | [`MeasuredWatchReceiver`] | the changes that this receiver has not seen |
///
/// Implement this trait for a channel of another crate to use [`watch_backlog`] with it.
pub trait Backlog {
    /// A handle that can read the backlog and does not keep the channel open.
    type Weak;

    /// Returns the backlog as it is now. Records nothing.
    fn backlog(&self) -> usize;

    /// Returns a handle that can read the backlog and does not keep the channel open.
    fn downgrade(&self) -> Self::Weak;

    /// Returns the backlog as it is now, or `None` if the channel is closed.
    fn backlog_of(weak: &Self::Weak) -> Option<usize>;
}

/// Reading the backlog is wait-free.
impl<T> Backlog for mpsc::Sender<T> {
    type Weak = mpsc::WeakSender<T>;

    fn backlog(&self) -> usize {
        self.max_capacity() - self.capacity()
    }

    fn downgrade(&self) -> Self::Weak {
        Self::downgrade(self)
    }

    /// Returns the backlog as it is now, or `None` if the receiver has been dropped or closed, or
    /// all senders have been dropped.
    fn backlog_of(weak: &Self::Weak) -> Option<usize> {
        weak.upgrade().filter(|sender| !sender.is_closed()).map(|sender| sender.backlog())
    }
}

/// Starts a task that records the backlog of a channel once per `period`, until the channel is
/// closed or `token` is cancelled.
///
/// `channel` is any end of the channel that implements [`Backlog`]. The task records the backlog as
/// a value of `event`, whose unit must be [`Unit::One`](tailwatch::Unit::One). The first value is
/// recorded at once. The task does not keep the channel open, because it holds only a weak handle.
/// It notices that the channel is closed at the end of a period:
///
/// - An `mpsc` channel is closed when its receiver has been dropped or closed, or when all its
///   senders have been dropped.
/// - A `broadcast` channel is closed when all its senders have been dropped. It stays open without
///   a receiver, because new ones may subscribe.
/// - The task for a receiver of a `watch` channel ends when that receiver has been dropped.
///
/// Use this function instead of a [`MeasuredSender`] if a channel carries too many messages to
/// record the backlog before each of them, or if other code owns the senders. It also shows the
/// backlog of a receiver that hangs, which records nothing itself.
///
/// If the runtime delays the task for several periods, the task records the backlog once and not
/// once per missed period ([`MissedTickBehavior::Skip`]), because all these values would be equal.
///
/// ```
/// use core::time::Duration;
/// use tailwatch::{Collector, Trading};
/// use tailwatch_tokio::{CancellationToken, counted_unbounded_channel, watch_backlog};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.install()?;
/// let (sender, receiver) = counted_unbounded_channel();
/// for order in 0..5 {
///     sender.send(order)?;
/// }
/// let (period, token) = (Duration::from_millis(10), CancellationToken::new());
/// let watcher = watch_backlog(&sender, Trading::QueueBacklog, period, token)?;
/// # tokio::time::sleep(period / 2).await;
/// drop(receiver); // closes the channel, so the task ends
/// watcher.await?;
/// collector.stop();
/// assert_eq!(collector.total(Trading::QueueBacklog)?.map(|backlog| backlog.max), Some(5));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if the function is called outside of a tokio runtime, if the runtime was built
/// without timers, or if `period` is zero.
pub fn watch_backlog<C: Backlog<Weak: Send + 'static>>(
    channel: &C,
    event: impl Event,
    period: Duration,
    token: CancellationToken,
) -> Result<JoinHandle<()>, SpawnError> {
    let handle = runtime_handle::current()?;
    if period.is_zero() {
        return Err(SpawnError::ZeroPeriod);
    }
    let (weak, event) = (channel.downgrade(), event.any());
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    Ok(handle.spawn(async move {
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(backlog) = C::backlog_of(&weak) else { return };
            record_value(event, backlog as u64);
        }
    }))
}
