//! The recorder of the current thread.
//!
//! Two thread-locals hold it. `OWNER` owns the recorder, and gives its ring back when the thread
//! ends. `CURRENT` is a raw pointer to the recorder; it has no destructor, so the hot path reads it
//! with a single load. A span refers to neither. Its end looks the recorder up again, so a span may
//! outlive the recorder (in another thread-local that is dropped later) or end on another thread.

#![allow(
    unsafe_code,
    reason = "a raw pointer into another thread-local, and references that an `Arc` keeps valid"
)]

use core::{
    cell::{Cell, RefCell},
    ptr,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use arc_swap::ArcSwapOption;
use tailwatch_core::{Clock, Disabled, EventId, Outcome, Recorder, Token};

use crate::{
    HostClock,
    pool::{Claim, IDS, Pool},
};

/// A thread's recorder, and the claim on the ring that it writes into.
struct ThreadRecorder {
    // Declared first, and so dropped first, because its references borrow from the pool that
    // `claim` keeps alive.
    recorder: Recorder<'static, HostClock, IDS>,
    claim: Claim,
}

impl ThreadRecorder {
    fn new(claim: Claim) -> Self {
        let pool: *const Pool = Arc::as_ptr(claim.pool());
        // SAFETY: `claim` keeps the pool alive and is stored beside `recorder`, the only thing that
        // borrows from this reference. `recorder` is dropped before `claim` and is never moved out
        // of this struct.
        let pool: &'static Pool = unsafe { &*pool };
        let producer = pool.ring(claim.slot).attach_producer();
        Self { recorder: Recorder::new(producer, pool.gate(), pool.clock()), claim }
    }

    fn pool(&self) -> &Arc<Pool> {
        self.claim.pool()
    }
}

/// Owns the recorder of a thread.
struct Owner(RefCell<Option<Box<ThreadRecorder>>>);

impl Drop for Owner {
    fn drop(&mut self) {
        // Before the recorder is dropped, which happens after this function.
        CURRENT.set(ptr::null());
    }
}

thread_local! {
    static CURRENT: Cell<*const ThreadRecorder> = const { Cell::new(ptr::null()) };
    static OWNER: Owner = const { Owner(RefCell::new(None)) };
}

/// The pool of the installed collector, which unregistered threads record into.
static INSTALLED: ArcSwapOption<Pool> = ArcSwapOption::const_empty();

/// Held while [`INSTALLED`] is checked and changed.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Whether the feature `off` compiles recording out. Then every recording function below is empty.
pub(crate) const OFF: bool = cfg!(feature = "off");

/// Returns the current thread's recorder, if it has one.
#[inline(always)]
fn current<'a>() -> Option<&'a ThreadRecorder> {
    // SAFETY: a pointer that is not null points to the box in this thread's `OWNER`. Only `adopt`
    // and the drop of `Owner` drop that box, and both change the pointer first. The reference lives
    // no longer than a call of one of the functions below, none of which uses it after calling
    // `adopt`. No other thread can reach the box.
    unsafe { CURRENT.get().as_ref() }
}

/// Makes this thread record into the ring of `claim`, and gives the ring it had back.
///
/// Returns `false`, and does nothing, if the thread is ending and can own no recorder any more.
fn adopt(claim: Claim) -> bool {
    let recorder = Box::new(ThreadRecorder::new(claim));
    OWNER
        .try_with(|owner| {
            let former = owner.0.replace(Some(recorder));
            // The pointer is taken after the box was moved into the cell, because moving a box
            // invalidates pointers to its content.
            CURRENT.set(owner.0.borrow().as_deref().map_or(ptr::null(), ptr::from_ref));
            // Dropped only now that no pointer leads to it any more.
            drop(former);
        })
        .is_ok()
}

/// Whether this thread can still own a recorder. It cannot once `OWNER` has been dropped at the end
/// of the thread.
fn can_adopt() -> bool {
    OWNER.try_with(|_| ()).is_ok()
}

/// Gives the current thread a ring of `pool` under this name, in place of the ring it has. A thread
/// that has a ring of `pool` keeps it.
///
/// With `may_wait`, it waits for the rings of threads that have ended. Returns `false` if no ring
/// is free.
pub(crate) fn register(pool: &Arc<Pool>, name: &str, may_wait: bool) -> bool {
    if OFF {
        return true;
    }
    if let Some(recorder) = current()
        && Arc::ptr_eq(recorder.pool(), pool)
    {
        return true;
    }
    if !can_adopt() {
        return false;
    }
    let claim = if may_wait {
        pool.claim_or_wait(|| Arc::from(name))
    } else {
        pool.claim(|| Arc::from(name))
    };
    claim.is_some_and(adopt)
}

/// Makes `pool` the one that unregistered threads record into.
///
/// Returns `false`, and does nothing, if another pool is installed that has not stopped.
pub(crate) fn install(pool: &Arc<Pool>) -> bool {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if INSTALLED
        .load()
        .as_ref()
        .is_some_and(|other| !Arc::ptr_eq(other, pool) && !other.is_stopped())
    {
        return false;
    }
    INSTALLED.store(Some(Arc::clone(pool)));
    true
}

/// Uninstalls `pool`, if it is the installed one.
pub(crate) fn uninstall(pool: &Arc<Pool>) {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if INSTALLED.load().as_ref().is_some_and(|installed| Arc::ptr_eq(installed, pool)) {
        INSTALLED.store(None);
    }
}

/// Returns the installed pool, stopped or not.
pub(crate) fn installed() -> Option<Arc<Pool>> {
    INSTALLED.load_full()
}

/// Gives a thread a ring of the installed collector, if it has no ring or one of a stopped
/// collector. If no ring is free, counts the `records` that the thread was about to write as
/// unregistered. Returns whether the thread got a ring.
///
/// `begins` is the event of a record that begins a span or stands alone, which the gate may reject.
/// It is `None` for a record that ends a span, which the gate admitted at the START.
///
/// This function takes no lock unless a ring is free, because it may run for every record: in an
/// instrumented library whose program has no collector, and on a thread that found no free ring.
#[cold]
#[inline(never)]
fn register_late(begins: Option<EventId>, records: usize) -> bool {
    let installed = INSTALLED.load();
    match &*installed {
        Some(pool) if !pool.is_stopped() => {
            if begins.is_some_and(|event| !pool.gate().admits(event)) {
                // Recording is switched off, which is not counted, or the collector has stopped
                // since the check above.
                count_if_stopped(pool, records);
                return false;
            }
            if can_adopt() && pool.claim(thread_name).is_some_and(adopt) {
                return true;
            }
            count_lost(pool, begins, records);
        }
        stopped => {
            // Counted by the thread's own stopped collector, or else by the installed one. Without
            // either, nobody measures.
            if let Some(pool) = current().map(ThreadRecorder::pool).or(stopped.as_ref()) {
                count_lost(pool, begins, records);
            }
        }
    }
    false
}

/// Counts records that go into no ring. `begins` is as for [`register_late`].
fn count_lost(pool: &Pool, begins: Option<EventId>, records: usize) {
    match begins {
        Some(_) => pool.count_unregistered(records),
        None => pool.count_lost_end(),
    }
}

/// Counts records that a gate rejected, if it is closed for good because the collector has stopped.
fn count_if_stopped(pool: &Pool, records: usize) {
    if pool.is_stopped() {
        pool.count_unregistered(records);
    }
}

/// Returns the name of the current thread, or its `ThreadId` if it has none.
fn thread_name() -> Arc<str> {
    let thread = thread::current();
    thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from)
}

/// Begins a span.
///
/// Here and in [`end`], all rare cases share one call of a cold function, so that the rest is small
/// enough to be inlined.
#[inline(always)]
pub(crate) fn start(event: EventId, tag: u64) -> Token {
    if OFF {
        return Token::unrecorded();
    }
    let Some(current) = current() else { return start_rare(event, tag) };
    match current.recorder.try_start(event, tag) {
        Ok(token) => token,
        // `start_rare` may replace the recorder, which is sound because the reference is not used
        // any more.
        Err(Disabled { is_final: true }) => start_rare(event, tag),
        Err(_) => Token::unrecorded(),
    }
}

#[cold]
#[inline(never)]
fn start_rare(event: EventId, tag: u64) -> Token {
    if let Some(current) = current() {
        match current.recorder.try_start(event, tag) {
            Ok(token) => return token,
            Err(Disabled { is_final: false }) => return Token::unrecorded(),
            Err(_) => (),
        }
    }
    // A span is two records, its START and its END or FORGET.
    if register_late(Some(event), 2)
        && let Some(current) = current()
    {
        let token = current.recorder.start(event, tag);
        if !token.is_recorded() {
            count_if_stopped(current.pool(), 2);
        }
        return token;
    }
    Token::unrecorded()
}

/// Ends a span with this outcome, or as cancelled if the thread is unwinding and `was_unwinding` is
/// false.
///
/// `was_unwinding` is whether the thread was already unwinding at the START, or `true` if the
/// outcome always holds.
#[inline(always)]
pub(crate) fn end(token: Token, outcome: Outcome, was_unwinding: bool) {
    if OFF || !token.is_recorded() {
        return;
    }
    let mut end = NOT_READ;
    if let Some(current) = current()
        && !thread::panicking()
        && let Some(now) = current.recorder.clock().end_by_counter()
    {
        if current.recorder.try_end_at(&token, outcome, now) {
            return;
        }
        end = now;
    }
    end_rare(token, outcome, was_unwinding, end);
}

/// The tick of an end whose clock was not read yet. No clock returns it, because a counter that
/// started with the machine has passed 0.
const NOT_READ: u64 = 0;

#[cold]
#[inline(never)]
fn end_rare(token: Token, outcome: Outcome, was_unwinding: bool, end: u64) {
    let outcome = if thread::panicking() && !was_unwinding { Outcome::Cancelled } else { outcome };
    match current() {
        Some(current) if end == NOT_READ => current.recorder.end(token, outcome),
        Some(current) => current.recorder.end_at(token, outcome, end),
        None => end_without_ring(token, outcome),
    }
}

/// Ends a span on a thread that has no ring.
#[inline(never)]
fn end_without_ring(token: Token, outcome: Outcome) {
    // The clock is read before the thread takes a ring, so that the span does not include the time
    // that takes.
    let end = INSTALLED.load().as_ref().map_or(0, |pool| pool.clock().end());
    if register_late(None, 1)
        && let Some(current) = current()
    {
        current.recorder.end_at(token, outcome, end);
    }
}

/// Ends a span without a sample.
pub(crate) fn discard(token: Token) {
    if OFF || !token.is_recorded() || (current().is_none() && !register_late(None, 1)) {
        return;
    }
    if let Some(current) = current() {
        current.recorder.discard(token);
    }
}

/// Writes a record that belongs to no span. The closure `record` writes it, and returns whether the
/// gate admitted it.
#[inline(always)]
pub(crate) fn record(event: EventId, record: impl Fn(&Recorder<'_, HostClock, IDS>) -> bool) {
    if OFF {
        return;
    }
    match current() {
        Some(current) if record(&current.recorder) || !current.pool().is_stopped() => (),
        _ => record_rare(event, record),
    }
}

/// Writes a record on a thread that has no ring, or one of a stopped collector.
#[cold]
#[inline(never)]
fn record_rare(event: EventId, record: impl Fn(&Recorder<'_, HostClock, IDS>) -> bool) {
    if register_late(Some(event), 1)
        && let Some(current) = current()
        && !record(&current.recorder)
    {
        count_if_stopped(current.pool(), 1);
    }
}
