//! The recorder of the current thread.
//!
//! Two thread-locals: one owns the recorder and gives its ring back when the thread ends; the other is a bare pointer to
//! it, which needs no destructor and so costs the hot path a single load. A span points to neither: at its end it looks the
//! recorder up again, so it may outlive the recorder (in a thread-local of the user's that is dropped later) or end on
//! another thread.

#![allow(unsafe_code, reason = "a pointer to what another thread-local owns, and a lifetime that an `Arc` stands for")]

use core::{
    cell::{Cell, RefCell},
    ptr,
};
use std::{
    sync::{Arc, Mutex, Weak},
    thread,
};

use tailwatch_core::{Event, EventId, Outcome, Recorder, Token};

use crate::{
    HostClock,
    pool::{Claim, IDS, Pool, lock},
};

/// A thread's recorder, and the claim that keeps its ring.
struct Local {
    // The order matters: the recorder goes before the claim that its references stand on.
    recorder: Recorder<'static, HostClock, IDS>,
    claim: Claim,
}

impl Local {
    fn new(claim: Claim) -> Self {
        let pool: *const Pool = Arc::as_ptr(claim.pool());
        // SAFETY: the claim keeps the pool alive, and stays next to everything that is borrowed from this reference, which
        // is dropped first and never leaves this module.
        let pool: &'static Pool = unsafe { &*pool };
        let producer = pool.ring(claim.slot).attach_producer();
        Self { recorder: Recorder::new(producer, pool.gate(), pool.clock()), claim }
    }

    fn pool(&self) -> &Arc<Pool> {
        self.claim.pool()
    }
}

/// Owns the recorder of a thread.
struct Owner(RefCell<Option<Box<Local>>>);

impl Drop for Owner {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
        // And now the recorder, and with it the claim.
    }
}

thread_local! {
    static CURRENT: Cell<*const Local> = const { Cell::new(ptr::null()) };
    static OWNER: Owner = const { Owner(RefCell::new(None)) };
}

/// The collector that threads record into which were not registered with another.
static INSTALLED: Mutex<Weak<Pool>> = Mutex::new(Weak::new());

/// The current thread's recorder, if it has one.
#[inline(always)]
fn current<'a>() -> Option<&'a Local> {
    // SAFETY: not null, it points to the box in this thread's `OWNER`. That box is dropped in `adopt` and in `Owner::drop`
    // alone, both of which change the pointer before. The reference lives no longer than a call of a function below, none
    // of which calls `adopt` while it still uses the reference, and nothing but this thread can reach it.
    unsafe { CURRENT.get().as_ref() }
}

/// Makes `claim` the ring of this thread, instead of what it had; `false` if the thread is about to end.
fn adopt(claim: Claim) -> bool {
    let local = Box::new(Local::new(claim));
    OWNER
        .try_with(|owner| {
            let former = owner.0.replace(Some(local));
            // Taken where the box stays: to move a box ends what points into it.
            CURRENT.set(owner.0.borrow().as_deref().map_or(ptr::null(), ptr::from_ref));
            // And only now, when nothing points to it any more, the former one.
            drop(former);
        })
        .is_ok()
}

/// Gives the current thread a ring of `pool`, instead of what it had; `false` if none is free. May wait for a ring whose
/// thread has ended.
pub(crate) fn register(pool: &Arc<Pool>, name: &str) -> bool {
    if let Some(local) = current()
        && Arc::ptr_eq(local.pool(), pool)
    {
        return true;
    }
    pool.claim_soon(name).is_some_and(adopt)
}

/// Makes `pool` the one of threads that are not registered; `false` if another one, not stopped, is.
pub(crate) fn install(pool: &Arc<Pool>) -> bool {
    let mut installed = lock(&INSTALLED);
    if installed.upgrade().is_some_and(|other| !Arc::ptr_eq(&other, pool) && !other.is_stopped()) {
        return false;
    }
    *installed = Arc::downgrade(pool);
    true
}

/// The installed pool, stopped or not.
pub(crate) fn installed() -> Option<Arc<Pool>> {
    lock(&INSTALLED).upgrade()
}

/// For a thread that has no ring, or one of a collector that has stopped: gives it a ring of the installed collector, or
/// counts what it was about to record. Whether it got one.
#[cold]
#[inline(never)]
fn register_late(records: usize) -> bool {
    let former = current().map(|local| Arc::clone(local.pool()));
    let installed = installed();
    if let Some(pool) = &installed
        && !pool.is_stopped()
    {
        let thread = thread::current();
        let name = thread.name().map_or_else(|| format!("{:?}", thread.id()), str::to_owned);
        if pool.claim(&name).is_some_and(adopt) {
            return true;
        }
        pool.count_unregistered(records);
    } else if let Some(pool) = former.or(installed) {
        pool.count_unregistered(records);
    }
    false
}

/// Begins a span.
///
/// Here and in `end` one cold call stands for all that is rare, so that the rest is small enough to be inlined.
#[inline(always)]
pub(crate) fn start(event: impl Event, tag: u64) -> Token {
    match current() {
        Some(local) if local.recorder.clock().is_counter() => {
            let token = local.recorder.start(event, tag);
            if token.is_recorded() || !local.pool().is_stopped() { token } else { start_rare(event.id(), tag) }
        }
        _ => start_rare(event.id(), tag),
    }
}

#[cold]
#[inline(never)]
fn start_rare(event: EventId, tag: u64) -> Token {
    if let Some(local) = current() {
        let token = local.recorder.start(event, tag);
        if token.is_recorded() || !local.pool().is_stopped() {
            return token;
        }
    }
    // A span is two records, its START and what closes it.
    if register_late(2)
        && let Some(local) = current()
    {
        return local.recorder.start(event, tag);
    }
    Token::unrecorded()
}

/// Ends a span, as cancelled if the thread is unwinding and was not at its START.
#[inline(always)]
pub(crate) fn end(token: Token, outcome: Outcome, was_unwinding: bool) {
    if !token.is_recorded() {
        return;
    }
    let mut end = NOT_READ;
    if let Some(local) = current()
        && !thread::panicking()
        && let Some(now) = local.recorder.clock().end_by_counter()
    {
        if local.recorder.try_end_at(&token, outcome, now) {
            return;
        }
        end = now;
    }
    end_rare(token, outcome, was_unwinding, end);
}

/// Stands for a tick that was not read yet: a counter that starts with the machine is past it.
const NOT_READ: u64 = 0;

#[cold]
#[inline(never)]
fn end_rare(token: Token, outcome: Outcome, was_unwinding: bool, end: u64) {
    let outcome = if thread::panicking() && !was_unwinding { Outcome::Cancelled } else { outcome };
    match current() {
        Some(local) if end == NOT_READ => local.recorder.end(token, outcome),
        Some(local) => local.recorder.end_at(token, outcome, end),
        None => late(|recorder| recorder.end(token, outcome)),
    }
}

/// Closes a span without a latency.
pub(crate) fn forget(token: Token) {
    if let Some(local) = current() {
        local.recorder.forget(token);
    } else if token.is_recorded() {
        late(|recorder| recorder.forget(token));
    }
}

/// Records one record that belongs to no span.
#[inline(always)]
pub(crate) fn record(event: impl Event, record: impl FnOnce(&Recorder<'_, HostClock, IDS>)) {
    match current() {
        Some(local) if local.recorder.admits(event) => record(&local.recorder),
        Some(local) if !local.pool().is_stopped() => (),
        _ => late(record),
    }
}

/// Records one record on a thread that has no ring yet, or one that nobody drains any more.
#[cold]
#[inline(never)]
fn late(record: impl FnOnce(&Recorder<'_, HostClock, IDS>)) {
    if register_late(1)
        && let Some(local) = current()
    {
        record(&local.recorder);
    }
}
