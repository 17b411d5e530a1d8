//! A hiccup probe, as jHiccup is one: a thread that does nothing but sleep, and measures how late it is woken.
//!
//! Rust has no garbage collector; what stops a thread that should run is the machine: scheduler, other processes,
//! hypervisor. Whatever is late here was late for every other thread as well. The floor is the timer's own slack,
//! some 50 µs on Linux, and a pause shorter than [`PERIOD`] is seen only if it hits the wake-up.

use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

/// How long it sleeps at a time.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);

/// A probe that runs; at least its first wake-up is measured, however soon it is stopped.
#[derive(Debug)]
pub(crate) struct HiccupProbe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl HiccupProbe {
    /// `begin` runs on the probe's thread first, then `late` after every sleep.
    pub(crate) fn start(
        begin: impl FnOnce() + Send + 'static,
        mut late: impl FnMut(Duration) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            begin();
            loop {
                let start = Instant::now();
                thread::sleep(PERIOD);
                late(start.elapsed().saturating_sub(PERIOD));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("hiccup".to_owned()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Stops it.
    pub(crate) fn join(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the hiccup probe panicked".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reports_every_sleep_until_it_is_stopped() {
        let (send, receive) = crossbeam_channel::unbounded();
        let first = send.clone();
        let begin = move || first.send(None).unwrap();
        let probe = HiccupProbe::start(begin, move |late| send.send(Some(late)).unwrap()).unwrap();
        assert_eq!(receive.recv(), Ok(None));
        for _ in 0..3 {
            assert!(matches!(receive.recv(), Ok(Some(_))));
        }
        assert_eq!(probe.join(), Ok(()));
    }

    #[test]
    fn the_first_wake_up_is_always_reported() {
        let (send, receive) = crossbeam_channel::unbounded();
        let probe = HiccupProbe::start(|| {}, move |late| send.send(late).unwrap()).unwrap();
        assert_eq!(probe.join(), Ok(()));
        assert!(receive.iter().count() >= 1);
    }
}
