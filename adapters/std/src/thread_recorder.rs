//! The recorder of the current thread.
//!
//! Two thread-locals: one owns the recorder and gives its ring back when the thread ends; the other is a bare pointer to
//! it, which needs no destructor and so costs the hot path a single load. A span points to neither: at its end it looks the
//! recorder up again, so it may outlive the recorder (in a thread-local of the user's that is dropped later) or end on
//! another thread.

#![allow(
    unsafe_code,
    reason = "a pointer to what another thread-local owns, and a lifetime that an `Arc` stands for"
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
static INSTALLED: ArcSwapOption<Pool> = ArcSwapOption::const_empty();

/// Held while a collector is installed.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Whether recording is compiled out, by the feature `off`: then nothing is left of what is below.
pub(crate) const OFF: bool = cfg!(feature = "off");

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

/// Whether this thread can still own a recorder: not once its thread-locals are being dropped and ours is gone.
fn can_adopt() -> bool {
    OWNER.try_with(|_| ()).is_ok()
}

/// Gives the current thread a ring of `pool`, instead of what it had; `false` if none is free. If it is `patient`, it may
/// wait for a ring whose thread has ended.
pub(crate) fn register(pool: &Arc<Pool>, name: &str, patient: bool) -> bool {
    if OFF {
        return true;
    }
    if let Some(local) = current()
        && Arc::ptr_eq(local.pool(), pool)
    {
        return true;
    }
    if !can_adopt() {
        return false;
    }
    let claim =
        if patient { pool.claim_soon(|| Arc::from(name)) } else { pool.claim(|| Arc::from(name)) };
    claim.is_some_and(adopt)
}

/// Makes `pool` the one of threads that are not registered; `false` if another one, not stopped, is.
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

/// Lets go of `pool`, if it is the installed one.
pub(crate) fn uninstall(pool: &Arc<Pool>) {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if INSTALLED.load().as_ref().is_some_and(|installed| Arc::ptr_eq(installed, pool)) {
        INSTALLED.store(None);
    }
}

/// The installed pool, stopped or not.
pub(crate) fn installed() -> Option<Arc<Pool>> {
    INSTALLED.load_full()
}

/// For a thread that has no ring, or one of a collector that has stopped: gives it a ring of the installed collector, or
/// counts the records that it was about to write. Whether it got one. The gate turns away what `begins`; what closes a span
/// was admitted already.
///
/// Takes no lock unless there is a ring to be had: an instrumented library in a program without a collector, or a thread
/// that found no ring, comes here with every record.
#[cold]
#[inline(never)]
fn register_late(begins: Option<EventId>, records: usize) -> bool {
    let installed = INSTALLED.load();
    match &*installed {
        Some(pool) if !pool.is_stopped() => {
            if begins.is_some_and(|event| !pool.gate().admits(event)) {
                // Closed for now, which is asked for; or by a stop since the look above.
                count_if_stopped(pool, records);
                return false;
            }
            if can_adopt() && pool.claim(thread_name).is_some_and(adopt) {
                return true;
            }
            count_unseen(pool, begins, records);
        }
        stopped => {
            // Its own collector counts it, else the installed one; without any, nobody asked.
            if let Some(pool) = current().map(Local::pool).or(stopped.as_ref()) {
                count_unseen(pool, begins, records);
            }
        }
    }
    false
}

/// Counts records that go into no ring.
fn count_unseen(pool: &Pool, begins: Option<EventId>, records: usize) {
    match begins {
        Some(_) => pool.count_unregistered(records),
        None => pool.count_lost_end(),
    }
}

/// Counts records that a gate turned away, if it is closed for good.
fn count_if_stopped(pool: &Pool, records: usize) {
    if pool.is_stopped() {
        pool.count_unregistered(records);
    }
}

fn thread_name() -> Arc<str> {
    let thread = thread::current();
    thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from)
}

/// Begins a span.
///
/// Here and in `end` one cold call stands for all that is rare, so that the rest is small enough to be inlined.
#[inline(always)]
pub(crate) fn start(event: EventId, tag: u64) -> Token {
    if OFF {
        return Token::unrecorded();
    }
    let Some(local) = current() else { return start_rare(event, tag) };
    match local.recorder.try_start(event, tag) {
        Ok(token) => token,
        // Here nothing borrows from the recorder any more: this may put another one in its place.
        Err(Disabled { is_final: true }) => start_rare(event, tag),
        Err(_) => Token::unrecorded(),
    }
}

#[cold]
#[inline(never)]
fn start_rare(event: EventId, tag: u64) -> Token {
    if let Some(local) = current() {
        match local.recorder.try_start(event, tag) {
            Ok(token) => return token,
            Err(Disabled { is_final: false }) => return Token::unrecorded(),
            Err(_) => (),
        }
    }
    // A span is two records, its START and what closes it.
    if register_late(Some(event), 2)
        && let Some(local) = current()
    {
        let token = local.recorder.start(event, tag);
        if !token.is_recorded() {
            count_if_stopped(local.pool(), 2);
        }
        return token;
    }
    Token::unrecorded()
}

/// Ends a span, as cancelled if the thread is unwinding and was not at its START.
#[inline(always)]
pub(crate) fn end(token: Token, outcome: Outcome, was_unwinding: bool) {
    if OFF || !token.is_recorded() {
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
        None => end_without_ring(token, outcome),
    }
}

/// Ends a span on a thread that has no ring yet.
#[inline(never)]
fn end_without_ring(token: Token, outcome: Outcome) {
    // Read before a ring is taken, which is no part of what was measured.
    let end = INSTALLED.load().as_ref().map_or(0, |pool| pool.clock().end());
    if register_late(None, 1)
        && let Some(local) = current()
    {
        local.recorder.end_at(token, outcome, end);
    }
}

/// Closes a span without a latency.
pub(crate) fn discard(token: Token) {
    if OFF || !token.is_recorded() || (current().is_none() && !register_late(None, 1)) {
        return;
    }
    if let Some(local) = current() {
        local.recorder.discard(token);
    }
}

/// Records one record that belongs to no span, by a function that tells whether the gate admitted it.
#[inline(always)]
pub(crate) fn record(event: EventId, record: impl Fn(&Recorder<'_, HostClock, IDS>) -> bool) {
    if OFF {
        return;
    }
    match current() {
        Some(local) if record(&local.recorder) || !local.pool().is_stopped() => (),
        _ => late(event, record),
    }
}

/// Records one record on a thread that has no ring yet, or one that nobody drains any more.
#[cold]
#[inline(never)]
fn late(event: EventId, record: impl Fn(&Recorder<'_, HostClock, IDS>) -> bool) {
    if register_late(Some(event), 1)
        && let Some(local) = current()
        && !record(&local.recorder)
    {
        count_if_stopped(local.pool(), 1);
    }
}
