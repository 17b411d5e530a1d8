//! The collectors of this process: which one is installed, which clock they read, and which ENDs do
//! not reach the collector that has their START.
//!
//! All collectors read the same clock, because a span may end in another collector than the one
//! where it began. Its duration would be nonsense if the two counted different ticks.
//!
//! An END goes into the ring of the thread that ends the span. It is *lost* to the collector where
//! the span began if that thread has no ring, or one of another collector. A token does not contain
//! its collector, so a lost END is announced to all collectors that still drain. The one that has
//! the open span gives the span up, and counts the END as unregistered. If none has it, because the
//! START was lost too, the last one that was asked counts it.
//!
//! Blocking: one lock guards all of this. It is taken when a collector starts, is installed or
//! stops, by a fork, and for a lost END.

use core::{
    mem, ptr,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwapOption, Guard};
use tailwatch_core::{EventId, Kind, Record};

use super::{attachment, pool::Pool};
use crate::{clock::ClockSource, events::numbers::Numbers};

/// How many lost ENDs may wait for a collector. A collector gets those that wait at its next pass.
pub(crate) const MAX_WAITING: usize = 4_096;

/// What the collectors of this process share.
#[derive(Debug)]
pub(crate) struct Process {
    /// The pools of the collectors that may drain. A pool that was dropped is removed later.
    pools: Vec<Known>,
    /// What the clocks of all collectors read. The first collector fixes it.
    clock_source: Option<ClockSource>,
    /// Which event has which number. `None` until a collector needs it.
    numbers: Option<Numbers>,
    /// Whether the operating system calls the handlers of [`fork`](super::fork).
    #[cfg_attr(any(not(unix), tailwatch_loom), allow(dead_code, reason = "nothing forks"))]
    pub(super) has_fork_handlers: bool,
    /// The descriptors of the locks on shared files, which a forked child closes.
    #[cfg_attr(
        any(not(target_os = "linux"), tailwatch_loom),
        allow(dead_code, reason = "nothing is shared")
    )]
    pub(crate) file_locks: Vec<i32>,
}

/// A pool, and the lost ENDs that its drain has not taken yet.
#[derive(Debug)]
struct Known {
    pool: Weak<Pool>,
    /// Whether the collector still drains: its last pass is not over.
    is_open: bool,
    waiting: Vec<Arc<LostEnd>>,
}

/// The number of pools that are open, which can be read without the lock.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The number of pools that are not open but whose threads may still write into their rings, which
/// can be read without the lock.
static CLOSED: AtomicUsize = AtomicUsize::new(0);

/// An END that did not reach the collector that has its START.
#[derive(Debug)]
pub(crate) struct LostEnd {
    pub(crate) event: EventId,
    /// The tick at which the span began.
    pub(crate) start: u64,
    /// Whether another collector has the END, without the START.
    is_delivered: bool,
    /// The number of collectors to which it was announced.
    announced_to: usize,
    /// The number of collectors that have not answered yet whether they have the open span.
    left: AtomicUsize,
    /// Not 0 once a collector has counted the END as unregistered.
    counted: AtomicU8,
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    pools: Vec::new(),
    clock_source: None,
    numbers: None,
    has_fork_handlers: false,
    file_locks: Vec::new(),
});

/// The pool of the installed collector, from which unregistered threads take a ring. It is changed
/// only with the lock held.
static INSTALLED: ArcSwapOption<Pool> = ArcSwapOption::const_empty();

/// Locks what the collectors of this process share.
pub(crate) fn lock() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an error if the collectors of this process read another source than this one. The error
/// has their source.
pub(crate) fn check_clock_source(source: ClockSource) -> Result<(), ClockSource> {
    lock().check_clock_source(source)
}

/// Returns what the collectors of this process read, if there has been any.
pub(crate) fn clock_source() -> Option<ClockSource> {
    lock().clock_source
}

/// Adds the pool of a collector that has started. Returns an error as
/// [`check_clock_source`] does.
pub(crate) fn add(pool: &Arc<Pool>) -> Result<(), ClockSource> {
    let source = pool.clock().source();
    attachment::serve_threads();
    let mut process = lock();
    process.check_clock_source(source)?;
    process.clock_source = Some(source);
    let known = Known { pool: Arc::downgrade(pool), is_open: true, waiting: Vec::new() };
    process.pools.push(known);
    process.count_pools();
    Ok(())
}

/// Notes that the last pass of the collector of `pool` is over.
pub(crate) fn close(pool: &Pool) {
    let mut process = lock();
    let known = process.pools.iter_mut().find(|known| ptr::eq(known.pool.as_ptr(), pool));
    let left = known.map_or_else(Vec::new, |known| {
        known.is_open = false;
        mem::take(&mut known.waiting)
    });
    process.count_pools();
    drop(process);
    for end in left {
        end.settle(pool, false);
    }
}

/// Returns the pools whose last pass is over but whose threads may still write into their rings.
/// Takes no lock if there are none.
pub(crate) fn closed_pools() -> Vec<Arc<Pool>> {
    if CLOSED.load(Relaxed) == 0 {
        return Vec::new();
    }
    let mut process = lock();
    process.count_pools();
    let closed = process.pools.iter().filter(|known| !known.is_open);
    closed.filter_map(|known| known.pool.upgrade()).collect()
}

impl Process {
    /// Returns which event has which number.
    pub(crate) fn numbers(&mut self) -> &mut Numbers {
        self.numbers.get_or_insert_default()
    }

    fn check_clock_source(&self, source: ClockSource) -> Result<(), ClockSource> {
        self.clock_source.filter(|fixed| *fixed != source).map_or(Ok(()), Err)
    }

    /// Forgets the pools that were dropped, and counts the others.
    fn count_pools(&mut self) {
        self.pools.retain(|known| known.pool.strong_count() > 0);
        let open = self.pools.iter().filter(|known| known.is_open).count();
        OPEN.store(open, Relaxed);
        CLOSED.store(self.pools.len() - open, Relaxed);
    }
}

/// Installs `pool`: unregistered threads take a ring of it from now on.
///
/// Does nothing and returns `false` if another pool of this process is installed and its collector
/// has not stopped.
pub(crate) fn install(pool: &Arc<Pool>) -> bool {
    let process = lock();
    let is_taken = |other: &Arc<Pool>| {
        !Arc::ptr_eq(other, pool) && !other.is_stopped() && !other.is_inherited()
    };
    if installed().as_ref().is_some_and(is_taken) {
        return false;
    }
    let former = INSTALLED.swap(Some(Arc::clone(pool)));
    drop(process);
    // Dropped without the lock: the program's allocator may record.
    drop(former);
    true
}

/// Uninstalls `pool`, if it is the installed one.
pub(crate) fn uninstall(pool: &Arc<Pool>) {
    let process = lock();
    let is_installed = installed().as_ref().is_some_and(|installed| Arc::ptr_eq(installed, pool));
    let former = if is_installed { INSTALLED.swap(None) } else { None };
    drop(process);
    drop(former);
}

/// Returns the installed pool, even if its collector has stopped. Takes no lock.
pub(crate) fn installed() -> Guard<Option<Arc<Pool>>> {
    INSTALLED.load()
}

/// Returns the event and the start tick of the span that this record ends, if it is an END or a
/// FORGET that closes a span.
pub(crate) fn ended_span(record: Record) -> Option<(EventId, u64)> {
    let start = match record.kind() {
        Kind::Forget if record.is_negative_difference() => return None,
        Kind::Forget => record.ticks(),
        kind => kind.outcome().and_then(|_| record.ticks().checked_sub(record.payload()))?,
    };
    Some((record.event()?, start))
}

/// Announces that the END of a span is lost to the collector that has its START. `reached` is the
/// pool that has the END without the START, and counts it, if any.
pub(crate) fn announce_lost_end(event: EventId, start: u64, reached: Option<&Pool>) {
    let mut process = lock();
    let pools: Vec<Option<Arc<Pool>>> =
        process.pools.iter().map(|known| known.pool.upgrade()).collect();
    let is_asked = |known: &Known| {
        known.is_open && reached.is_none_or(|reached| !ptr::eq(known.pool.as_ptr(), reached))
    };
    let asked = process.pools.iter().filter(|known| is_asked(known)).count();
    let end = Arc::new(LostEnd {
        event,
        start,
        is_delivered: reached.is_some(),
        announced_to: asked,
        left: AtomicUsize::new(asked),
        counted: AtomicU8::new(0),
    });
    let mut only = None;
    for (known, pool) in process.pools.iter_mut().zip(&pools) {
        let Some(pool) = pool.as_ref() else { continue };
        if !is_asked(known) {
            // A stopped collector counts it if there is no other.
            only = only.or(Some(pool));
            continue;
        }
        only = Some(pool);
        if known.waiting.len() < MAX_WAITING {
            known.waiting.push(Arc::clone(&end));
            pool.set_lost_ends_wait(true);
        } else {
            // Each of its open spans may be the one that has ended. So many ENDs that have reached
            // another collector are most likely that collector's own, with overwritten STARTs.
            if reached.is_none() {
                pool.note_lost_end();
            }
            end.settle(pool, false);
        }
    }
    // Counted at once if it is clear where.
    let installed = installed();
    if let (None, 0 | 1) = (reached, asked) {
        let installed = installed.as_ref().filter(|_| asked == 0);
        if let Some(pool) = installed.or(only) {
            end.count_once(pool);
        }
    }
    drop(process);
    // Dropped without the lock: the last reference frees the pool, and the program's allocator may
    // record.
    drop(pools);
}

/// Notes that the collector of `pool` has lost records, among which may be ENDs of spans of other
/// collectors.
pub(crate) fn note_lost_records(pool: &Pool) {
    if !has_other() {
        return;
    }
    let process = lock();
    let others = process.pools.iter().filter(|known| !ptr::eq(known.pool.as_ptr(), pool));
    let others: Vec<Arc<Pool>> = others.filter_map(|known| known.pool.upgrade()).collect();
    drop(process);
    for other in others {
        other.note_lost_end();
    }
}

/// Returns the lost ENDs that were announced to `pool` since the last call. Takes no lock if there
/// are none.
pub(crate) fn take_lost_ends(pool: &Pool) -> Vec<Arc<LostEnd>> {
    if !pool.do_lost_ends_wait() {
        return Vec::new();
    }
    let mut process = lock();
    pool.set_lost_ends_wait(false);
    let known = process.pools.iter_mut().find(|known| ptr::eq(known.pool.as_ptr(), pool));
    known.map_or_else(Vec::new, |known| mem::take(&mut known.waiting))
}

/// Returns whether a span that ends in one collector may have begun in another one: whether more
/// than one drains.
pub(crate) fn has_other() -> bool {
    OPEN.load(Relaxed) > 1
}

/// Makes a forked child count what it records on `pool`, which it has inherited, unless it counts
/// it on another one. The child has no other thread.
#[cfg(all(unix, not(tailwatch_loom)))]
pub(super) fn count_on(pool: &Arc<Pool>) {
    if installed().is_none() {
        INSTALLED.store(Some(Arc::clone(pool)));
    }
}

/// Makes the collectors that a forked child has inherited those of no process: nobody judges their
/// limits. The child has no other thread, and its thread holds the lock.
#[cfg(all(unix, not(tailwatch_loom)))]
pub(super) fn leave_to_parent(process: &mut Process) {
    let pools = mem::ManuallyDrop::new(mem::take(&mut process.pools));
    process.count_pools();
    for known in pools.iter() {
        if let Some(pool) = known.pool.upgrade() {
            pool.breaches().stop_judging();
            // Forgotten and not dropped, as the list is: this could free memory, in a process of
            // which another thread may have held the allocator's locks.
            mem::forget(pool);
        }
    }
}

impl LostEnd {
    /// Returns whether no other collector can have the open span.
    pub(crate) fn is_announced_once(&self) -> bool {
        self.announced_to == 1 && !self.is_delivered
    }

    /// Notes that the collector of `pool` had the open span, or did not have it.
    pub(crate) fn settle(&self, pool: &Pool, had_span: bool) {
        let is_last = self.left.fetch_sub(1, Relaxed) == 1;
        if had_span || (is_last && !self.is_delivered) {
            self.count_once(pool);
        }
    }

    fn count_once(&self, pool: &Pool) {
        if self.counted.swap(1, Relaxed) == 0 {
            pool.count_unregistered(1);
        }
    }
}
