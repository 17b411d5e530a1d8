//! The recorder of the current thread, which writes records into the thread's ring.
//!
//! Two thread-locals lead to it. `OWNER` owns the recorder, and gives the ring back when the thread
//! ends. `CURRENT` is a raw pointer to the recorder. It has no destructor, so the hot path reads it
//! with a single load.
//!
//! A span refers to neither. The end of a span looks up the recorder again. Therefore a span may
//! outlive the recorder, for example in another thread-local that is dropped later, and may end on
//! another thread.

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

use super::pool::{Claim, IDS, Pool};
use crate::clock::HostClock;

/// A thread's recorder, and the claim on the ring that it writes into.
struct ThreadRecorder {
    // Declared first, and therefore dropped first, because the recorder borrows from the pool that
    // `claim` keeps alive.
    recorder: Recorder<'static, HostClock, IDS>,
    claim: Claim,
}

impl ThreadRecorder {
    /// Creates a recorder that writes into the ring of `claim`.
    fn new(claim: Claim) -> Self {
        let pool: *const Pool = Arc::as_ptr(claim.pool());
        // SAFETY: only `recorder` borrows from this reference. `claim`, which is stored beside it,
        // keeps the pool alive. `recorder` is dropped before `claim` and is never moved out of this
        // struct.
        let pool: &'static Pool = unsafe { &*pool };
        let producer = pool.ring(claim.ring_index).attach_producer();
        // Without a seed of its own, each of many short threads would sample like the one before.
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the number will do")]
        let seed = claim.number as u32;
        let recorder = Recorder::new(producer, pool.gate(), pool.clock()).with_seed(seed);
        Self { recorder, claim }
    }

    fn pool(&self) -> &Arc<Pool> {
        self.claim.pool()
    }
}

/// Owns the recorder of a thread, if the thread has one.
struct Owner(RefCell<Option<Box<ThreadRecorder>>>);

impl Drop for Owner {
    fn drop(&mut self) {
        // The pointer is reset here, before the recorder is dropped, which happens after this
        // function.
        CURRENT.set(ptr::null());
    }
}

thread_local! {
    /// The recorder in [`OWNER`], or null if there is none.
    static CURRENT: Cell<*const ThreadRecorder> = const { Cell::new(ptr::null()) };
    /// Drops the recorder when the thread ends.
    static OWNER: Owner = const { Owner(RefCell::new(None)) };
}

/// The pool of the installed collector, from which unregistered threads take a ring.
static INSTALLED: ArcSwapOption<Pool> = ArcSwapOption::const_empty();

/// Held while [`INSTALLED`] is checked and changed, so that both are one step.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Whether the Cargo feature `off` compiles recording out. Every recording function below is empty
/// then.
pub(crate) const OFF: bool = cfg!(feature = "off");

/// Returns the current thread's recorder, if it has one.
#[inline(always)]
fn current<'a>() -> Option<&'a ThreadRecorder> {
    // SAFETY: unless it is null, the pointer points to the box in this thread's `OWNER`. Only
    // `adopt` and the drop of `Owner` drop that box, and both change the pointer first. The
    // reference lives no longer than a call of one of the functions below, none of which uses it
    // after a call of `adopt`. No other thread can reach the box.
    unsafe { CURRENT.get().as_ref() }
}

/// Makes this thread record into the ring of `claim`. Gives back the ring that the thread had
/// before, if any.
///
/// Does nothing and returns `false` if the thread is ending and can no longer own a recorder.
fn adopt(claim: Claim) -> bool {
    let recorder = Box::new(ThreadRecorder::new(claim));
    OWNER
        .try_with(|owner| {
            let former = owner.0.replace(Some(recorder));
            // The pointer is taken after the box was moved into the cell, because moving a box
            // invalidates pointers to its content.
            CURRENT.set(owner.0.borrow().as_deref().map_or(ptr::null(), ptr::from_ref));
            // Dropped only now, because `CURRENT` pointed to it until the line above.
            drop(former);
        })
        .is_ok()
}

/// Returns whether this thread can still own a recorder. A thread that is ending cannot once its
/// `OWNER` has been dropped.
fn can_adopt() -> bool {
    OWNER.try_with(|_| ()).is_ok()
}

/// Gives the current thread a ring of `pool` under this name, in place of the ring that it has. A
/// thread that already has a ring of `pool` keeps that ring and its name.
///
/// If no ring is free and `may_wait` is `true`, waits for the ring of a thread that has ended.
/// Returns `false` if the thread got no ring.
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

/// Installs `pool`: unregistered threads take a ring of it from now on.
///
/// Does nothing and returns `false` if another pool is installed and its collector has not stopped.
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

/// Returns the installed pool, even if its collector has stopped.
pub(crate) fn installed() -> Option<Arc<Pool>> {
    INSTALLED.load_full()
}

/// Gives a ring of the installed collector to a thread that has no ring, or one of a stopped
/// collector. If no ring is free, counts the `records` that the thread was about to write as
/// unregistered. Returns whether the thread got a ring.
///
/// For a record that begins a span or stands alone, `begins` is its event, which the gate may
/// reject. It is `None` for a record that ends a span, because the gate admitted the span at its
/// START.
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
                // Records are not counted while recording is switched off. But the collector may
                // have stopped since the check above.
                count_if_stopped(pool, records);
                return false;
            }
            if can_adopt() && pool.claim(thread_name).is_some_and(adopt) {
                return true;
            }
            count_lost(pool, begins, records);
        }
        stopped => {
            // Either the stopped collector of this thread counts the records, or the installed one
            // does. If there is neither, the program has no collector.
            if let Some(pool) = current().map(ThreadRecorder::pool).or(stopped.as_ref()) {
                count_lost(pool, begins, records);
            }
        }
    }
    false
}

/// Counts records that go into no ring. `begins` has the same meaning as for [`register_late`].
fn count_lost(pool: &Pool, begins: Option<EventId>, records: usize) {
    match begins {
        Some(_) => pool.count_unregistered(records),
        None => pool.count_lost_end(),
    }
}

/// Counts records that the gate of `pool` rejected, if the gate is closed because the collector has
/// stopped. A gate that is only switched off rejects them without counting.
fn count_if_stopped(pool: &Pool, records: usize) {
    if pool.is_stopped() {
        pool.count_unregistered(records);
    }
}

/// Returns the name of the current thread, or its `ThreadId` if the thread has no name.
fn thread_name() -> Arc<str> {
    let thread = thread::current();
    thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from)
}

/// Begins a span.
///
/// Here and in [`end`], all rare cases are left to one call of a function that is not inlined, so
/// that the common case is small enough to be inlined.
#[inline(always)]
pub(crate) fn start(event: EventId, tag: u64) -> Token {
    if OFF {
        return Token::unrecorded();
    }
    let Some(current) = current() else { return start_rare(event, tag) };
    match current.recorder.try_start(event, tag) {
        Ok(token) => token,
        // `start_rare` may drop the recorder that `current` refers to. That is sound, because
        // `current` is not used after this call.
        Err(Disabled { is_final: true }) => start_rare(event, tag),
        Err(_) => Token::unrecorded(),
    }
}

/// Begins a span on a thread that has no ring, or one of a stopped collector.
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

/// Ends a span with this outcome. If the thread is unwinding and `was_unwinding` is `false`, the
/// span ends as cancelled instead.
///
/// `was_unwinding` is whether the thread was already unwinding when the span began. It is `true`
/// for a caller whose outcome must hold even if a panic unwinds the thread.
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

/// Stands for a tick that was not read yet. No clock returns it at the end of a span: a counter
/// starts when the machine starts, and has passed 0.
const NOT_READ: u64 = 0;

/// Ends a span in the cases that [`end`] does not handle. `end` is the tick of the end, or
/// [`NOT_READ`].
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
    // which that takes.
    let end = INSTALLED.load().as_ref().map_or(0, |pool| pool.clock().end());
    if register_late(None, 1)
        && let Some(current) = current()
    {
        current.recorder.end_at(token, outcome, end);
    }
}

/// Ends a span without a sample: writes a FORGET record instead of an END.
pub(crate) fn discard(token: Token) {
    if OFF || !token.is_recorded() || (current().is_none() && !register_late(None, 1)) {
        return;
    }
    if let Some(current) = current() {
        current.recorder.discard(token);
    }
}

/// Writes a record that belongs to no span. The closure `record` writes it, and returns `false` if
/// the gate rejected its event.
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

/// Writes a record on a thread that has no ring, or one of a stopped collector. The arguments are
/// those of [`record`].
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
