//! The recorder of the current thread, which writes records into the thread's ring.
//!
//! The recorder is in a thread-local, with copies of what a span reads. A thread without a ring has
//! a recorder too. Its copies of the gate are those of a closed one, which leads a START to the
//! rare path. Its clock counts as the operating system's, which the rare path reads at an END. The
//! hot path therefore does not ask whether the thread has a ring. A second thread-local owns the
//! claim on the ring, and gives the ring back when the thread ends. The recorder has no destructor,
//! so it can be used until the end of the thread.
//!
//! A span refers to neither. The end of a span looks up the recorder again. Therefore a span may
//! outlive the thread's claim, for example in another thread-local that is dropped later, and may
//! end on another thread.

#![allow(
    unsafe_code,
    reason = "a recorder in a thread-local that is replaced, and references that an `Arc` keeps \
              valid"
)]

use core::{
    cell::{RefCell, UnsafeCell},
    ptr,
};
use std::{sync::Arc, thread};

use tailwatch_core::{
    Clock, EventId, Gate, LargerRing, Outcome, Producer, Recorder, ThreadCopies, TickRate, Token,
};
#[cfg(not(tailwatch_loom))]
use tailwatch_core::{Ring, Slot, ring::MIN_CAPACITY};

use super::{
    followers::{Followers, Following},
    lane::Lane,
    pool::{Claim, IDS, Pool},
    process,
};
use crate::clock::{ReadMethod, tsc};

/// Whether thread-locals are in memory that lives as long as the thread, so that other threads may
/// write copies of a gate into it. On other systems `std` frees a thread-local when the thread
/// ends, in no known order with others. There the copies stay closed, and every START takes the
/// rare path.
const HAS_NATIVE_THREAD_LOCALS: bool = cfg!(any(
    target_os = "linux",
    target_os = "freebsd",
    target_vendor = "apple",
    all(windows, target_env = "msvc")
));

/// What a thread records with. If the collector reads the processor's counter, on a 64-bit target,
/// a span of an event with an id below 16 reads only the first 64 bytes. Ids from 16 to 79 take
/// another 64 bytes, and higher ones the gate.
#[repr(C)]
// The alignment is for speed only, and not every system provides it for thread-locals.
#[cfg_attr(target_os = "linux", repr(align(64)))]
pub(crate) struct ThreadState {
    /// The recorder. Its gate is the collector's if the recorder may decide by copies of it, and
    /// otherwise a closed one: see `has_copies`.
    pub(crate) recorder: Recorder<'static, ReadMethod, IDS, LaneCopies>,
    /// The pool of the ring, or null if the thread has no ring.
    pool: *const Pool,
}

/// What a recorder keeps copies of, and where it finds a larger ring.
pub(crate) type LaneCopies = ThreadCopies<LaneOffer>;

/// The larger ring that the drain offers to the lane of a thread.
#[derive(Debug)]
pub(crate) struct LaneOffer(pub(crate) Option<&'static Lane>);

impl LargerRing for LaneOffer {
    #[inline(always)]
    fn take(&self) -> Option<Producer<'static>> {
        let lane = self.0?;
        if lane.has_offer() { lane.take_offer() } else { None }
    }
}

#[cfg(not(tailwatch_loom))]
const _: () = assert!(
    cfg!(not(target_pointer_width = "64")) || core::mem::offset_of!(ThreadState, pool) == 136,
    "all that a span reads fills two cache lines; the offer follows"
);

/// Returns whether the threads of `pool` decide by copies of its gate. They do not if the collector
/// reads the operating system's clock, so that START need not ask which clock it has to read.
fn has_copies(pool: &Pool) -> bool {
    HAS_NATIVE_THREAD_LOCALS && pool.clock().method() != ReadMethod::Monotonic
}

/// The gate and the ring of recorders that do not record by themselves.
#[cfg(not(tailwatch_loom))]
static CLOSED: Gate<IDS> = Gate::closed();
#[cfg(not(tailwatch_loom))]
static NO_RING: Ring<[Slot; MIN_CAPACITY]> = Ring::new();

#[cfg(not(tailwatch_loom))]
impl ThreadState {
    /// The state of a thread that has no ring.
    const fn without_ring() -> Self {
        let recorder = Recorder::closed(&NO_RING, &CLOSED, ReadMethod::Monotonic, LaneOffer(None));
        Self { recorder, pool: ptr::null() }
    }

    /// Returns the gate of recorders that do not record by themselves.
    fn closed_gate() -> &'static Gate<IDS> {
        &CLOSED
    }
}

/// The models have recorders of their own. These functions are never called.
#[cfg(tailwatch_loom)]
impl ThreadState {
    fn without_ring() -> Self {
        unreachable!("a model uses the recorder of a thread")
    }

    fn closed_gate() -> &'static Gate<IDS> {
        unreachable!("a model uses the recorder of a thread")
    }
}

impl ThreadState {
    /// The state of the thread that has this claim.
    ///
    /// # Panics
    /// Panics if the lane of the claim has no ring, which it always has.
    fn new(claim: &Claim) -> Self {
        let pool: *const Pool = Arc::as_ptr(claim.pool());
        // SAFETY: the state refers to the pool only as long as the `Attachment` of the claim, which
        // keeps the pool alive, is not dropped: its drop replaces the state first.
        let pool: &'static Pool = unsafe { &*pool };
        let lane = pool.lane(claim.lane_index);
        let producer = lane.producer().expect("a claimed lane has a ring");
        let gate = if has_copies(pool) { pool.gate() } else { Self::closed_gate() };
        // Without a seed of its own, each of many short threads would sample like the one before.
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the number will do")]
        let seed = claim.number as u32;
        let recorder = Recorder::new(producer, gate, pool.clock().method())
            .with_seed(seed)
            .with_copies_and(LaneOffer(Some(lane)));
        Self { recorder, pool }
    }

    /// Returns the pool of the thread's ring, if the thread has a ring.
    fn pool(&self) -> Option<&Pool> {
        // SAFETY: the pool lives at least as long as the pointer is stored; see `new`.
        unsafe { self.pool.as_ref() }
    }

    /// Returns the rate of the clock with which the thread records, if it has a ring.
    pub(crate) fn rate(&self) -> TickRate {
        self.pool().map_or(TickRate::NANOSECONDS, |pool| pool.clock().rate())
    }
}

/// A thread's claim on its ring. While it exists, [`STATE`] is the state of the claim.
struct Attachment {
    /// `None` if the recorder does not decide by copies of the pool's gate.
    following: Option<Following>,
    /// Gives the ring back when it is dropped, and keeps the pool alive until then.
    #[cfg_attr(any(not(unix), tailwatch_loom), allow(dead_code, reason = "nothing forks"))]
    claim: Claim,
}

impl Attachment {
    /// Attaches the current thread to the ring of `claim`. The thread must not have another
    /// attachment.
    fn new(claim: Claim) -> Self {
        set_state(ThreadState::new(&claim));
        let pool = claim.pool();
        let following = has_copies(pool).then(|| {
            // SAFETY: the copies are in `STATE`, which lives until the thread ends, after the
            // attachment was dropped: `has_copies` has checked it. `STATE` is changed only here, in
            // the drop, where `following` is dropped first, and in the child of a fork, which has
            // no followers.
            unsafe { Followers::of_this_process().follow(pool.gate(), state().recorder.copies()) }
        });
        Self { following, claim }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.following = None;
        // The claim is dropped after this function, because the state refers to its pool and ring.
        set_state(ThreadState::without_ring());
    }
}

thread_local! {
    /// The state of this thread.
    #[cfg(not(tailwatch_loom))]
    static STATE: UnsafeCell<ThreadState> =
        const { UnsafeCell::new(ThreadState::without_ring()) };
    /// The state of this thread.
    #[cfg(tailwatch_loom)]
    static STATE: UnsafeCell<ThreadState> = UnsafeCell::new(ThreadState::without_ring());
    /// The attachment of this thread to a ring, which is dropped when the thread ends.
    static ATTACHMENT: RefCell<Option<Attachment>> = const { RefCell::new(None) };
}

/// Returns the state of this thread.
#[inline(always)]
fn state<'a>() -> &'a ThreadState {
    // SAFETY: the thread-local exists as long as `with` returns a reference to it. The
    // reference lives no longer than a call of one of the functions below, none of which uses it
    // after a call that may attach the thread to another ring. Other threads reach only the copies
    // in it, which atomics and the lock of the followers guard.
    STATE.with(|state| unsafe { &*state.get() })
}

/// Replaces the state of this thread.
fn set_state(new: ThreadState) {
    // SAFETY: no reference to the state is in use, as in `state`, and no other thread refers to the
    // copies in it: see `Attachment`.
    STATE.with(|state| unsafe { *state.get() = new });
}

/// Whether the Cargo feature `off` compiles recording out. Every recording function below is empty
/// then.
pub(crate) const OFF: bool = cfg!(feature = "off");

/// Makes this thread record into the ring of `claim`. Gives back the ring that the thread had
/// before, if any.
///
/// Does nothing and returns `false` if the thread is ending and can no longer own a claim.
fn adopt(claim: Claim) -> bool {
    ATTACHMENT
        .try_with(|attachment| {
            // The former attachment is dropped before the new one is made. Dropping may free the
            // pool. If the program's allocator records that, the thread has another attachment
            // then, which must be dropped too.
            while let Some(former) = attachment.take() {
                drop(former);
            }
            attachment.replace(Some(Attachment::new(claim)));
        })
        .is_ok()
}

/// Returns whether this thread can still own a claim. A thread that is ending cannot once its
/// `ATTACHMENT` has been dropped.
fn can_adopt() -> bool {
    ATTACHMENT.try_with(|_| ()).is_ok()
}

/// Returns whether this thread is ending and can no longer have a ring.
pub(crate) fn is_ending() -> bool {
    !can_adopt()
}

/// Detaches this thread, the only one of a child process, from its ring, which the parent has.
#[cfg(all(unix, not(tailwatch_loom)))]
pub(crate) fn detach_in_child() {
    // A thread without a ring may not have an `ATTACHMENT` yet, which would need memory.
    if state().pool.is_null() {
        return;
    }
    // Forgotten and not dropped: the drop could free the pool, in a process of which another thread
    // may have held the allocator's locks.
    let attachment =
        core::mem::ManuallyDrop::new(ATTACHMENT.try_with(RefCell::take).ok().flatten());
    set_state(ThreadState::without_ring());
    if let Some(attachment) = &*attachment {
        process::count_on(attachment.claim.pool());
    }
}

/// Gives the current thread a ring of `pool` under this name, in place of the ring that it has. A
/// thread that already has a ring of `pool` keeps that ring and its name.
///
/// Returns `false` if the thread got no ring.
pub(crate) fn register(pool: &Arc<Pool>, name: &str) -> bool {
    if OFF {
        return true;
    }
    if ptr::eq(state().pool, Arc::as_ptr(pool)) {
        return true;
    }
    if !can_adopt() {
        return false;
    }
    pool.claim(|| Arc::from(name)).is_some_and(adopt)
}

/// Gives a ring of the installed collector to a thread that has no ring, or one of a stopped
/// collector, and that is about to write `records`, of which the first one begins a span of `event`
/// or stands alone. If no ring is free, counts the records as unregistered. Returns whether the
/// thread got a ring.
///
/// This function takes no lock unless the thread may get a ring, because it may run for every
/// record: in an instrumented library whose program has no collector, and on a thread for which
/// there is no ring.
#[cold]
#[inline(never)]
fn register_late(event: EventId, records: usize) -> bool {
    let installed = process::installed();
    match &*installed {
        Some(pool) if !pool.is_stopped() => {
            if !pool.gate().admits(event) {
                // Records are not counted while recording is switched off. But the collector may
                // have stopped since the check above.
                count_if_stopped(pool, records);
                return false;
            }
            if take_ring(pool) {
                return true;
            }
            pool.count_unregistered(records);
        }
        stopped => {
            // Either the stopped collector of this thread counts the records, or the installed one
            // does. If there is neither, the program has no collector.
            if let Some(pool) = state().pool().or(stopped.as_deref()) {
                pool.count_unregistered(records);
            }
        }
    }
    false
}

/// Gives this thread a ring of `pool`, and returns whether there was one.
fn take_ring(pool: &Arc<Pool>) -> bool {
    can_adopt() && pool.claim(thread_name).is_some_and(adopt)
}

/// Gives a ring of the installed collector to this thread, which has none and is about to end a
/// span. Returns whether the thread got one.
#[cold]
#[inline(never)]
fn register_late_for_end() -> bool {
    process::installed().as_ref().is_some_and(|pool| !pool.is_stopped() && take_ring(pool))
}

/// Announces that a span has ended, but that its thread has no ring for the END.
fn lose_end(token: &Token) {
    if let Some(event) = token.event() {
        process::announce_lost_end(event, token.start(), None);
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
/// Here, in [`end`] and in [`record`], all rare cases are left to one call of a function that is
/// not inlined, so that the common case is small enough to be inlined.
#[inline(always)]
pub(crate) fn start(event: EventId, tag: u64) -> Token {
    if OFF {
        return Token::unrecorded();
    }
    let recorder = &state().recorder;
    let decision = recorder.decision(event);
    if decision.is_always() {
        recorder.start_at(event, 0, tag, tsc::relaxed())
    } else if decision.is_switched_off() {
        Token::unrecorded()
    } else {
        start_rare(event, tag)
    }
}

/// Begins a span in the cases that [`start`] does not handle.
// Not all of them are rare, because sampled spans come here. `cold` makes the compiler place the
// call behind the usual path, which then takes one line of the instruction cache less.
#[cold]
#[inline(never)]
fn start_rare(event: EventId, tag: u64) -> Token {
    // A span is two records, its START and its END or FORGET.
    let token = write_rare(event, 2, |ThreadState { recorder, .. }, sampling, now| {
        recorder.start_at(event, sampling, tag, now)
    });
    token.unwrap_or(Token::unrecorded())
}

/// Writes a record that belongs to no span. The closure `write` gets the sampling and the tick of
/// the record.
#[inline(always)]
pub(crate) fn record(event: EventId, write: impl Fn(&ThreadState, u8, u64)) {
    if OFF {
        return;
    }
    let state = state();
    let decision = state.recorder.decision(event);
    if decision.is_always() {
        write(state, 0, tsc::relaxed());
    } else if !decision.is_switched_off() {
        record_rare(event, write);
    }
}

/// Writes a record in the cases that [`record`] does not handle.
#[inline(never)]
fn record_rare(event: EventId, write: impl Fn(&ThreadState, u8, u64)) {
    write_rare(event, 1, write);
}

/// Calls `write` with the sampling and the tick of a record, if this occurrence of the event is
/// recorded. If its thread has no ring and gets none, counts `records` as unregistered.
#[inline(always)]
fn write_rare<T>(
    event: EventId,
    records: usize,
    write: impl Fn(&ThreadState, u8, u64) -> T,
) -> Option<T> {
    let state = state();
    let decision = state.recorder.decision(event);
    if decision.is_off() {
        return write_by_gate(event, records, write);
    }
    // The copies of the gate admit nothing unless the collector reads the processor's counter.
    state.recorder.decide(decision).map(|sampling| write(state, sampling, tsc::relaxed()))
}

/// Does the same as [`write_rare`], but asks the collector's own gate, and reads the collector's
/// clock, whichever it is. Before that, gives the thread a ring if it has none or one of a stopped
/// collector.
#[inline(never)]
fn write_by_gate<T>(
    event: EventId,
    records: usize,
    write: impl Fn(&ThreadState, u8, u64) -> T,
) -> Option<T> {
    let is_closed = |pool: &Pool| pool.gate().decision(event).is_closed();
    if state().pool().is_none_or(is_closed) && !register_late(event, records) {
        return None;
    }
    let state = state();
    let pool = state.pool()?;
    let decision = pool.gate().decision(event);
    if decision.is_closed() {
        count_if_stopped(pool, records);
        return None;
    }
    let sampling = state.recorder.decide(decision)?;
    Some(write(state, sampling, pool.clock().start()))
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
    let recorder = &state().recorder;
    let mut end = NOT_READ;
    if (was_unwinding || !thread::panicking())
        && let Some(now) = recorder.clock().end_by_counter()
    {
        if recorder.try_end_at(&token, outcome, now) {
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
    let state = state();
    let Some(pool) = state.pool() else { return end_without_ring(token, outcome) };
    let now = if end == NOT_READ { pool.clock().end() } else { end };
    // A thread that only ends spans leaves the ring of a stopped collector here. The usual path
    // does not look, so it may do so up to 64 records later.
    if pool.is_finished() && register_late_for_end() {
        // Not `state`, which is that of the former ring.
        return self::state().recorder.end_at(token, outcome, now);
    }
    // The usual case if the collector reads the operating system's clock.
    if end != NOT_READ || !state.recorder.try_end_at(&token, outcome, now) {
        state.recorder.end_at(token, outcome, now);
    }
}

/// Ends a span on a thread that has no ring.
#[inline(never)]
fn end_without_ring(token: Token, outcome: Outcome) {
    // The clock is read before the thread takes a ring, so that the span does not include the time
    // which that takes.
    let end = process::installed().as_ref().map_or(0, |pool| pool.clock().end());
    if register_late_for_end() {
        state().recorder.end_at(token, outcome, end);
    } else {
        lose_end(&token);
    }
}

/// Ends a span without a sample: writes a FORGET record instead of an END.
pub(crate) fn discard(token: Token) {
    if OFF || !token.is_recorded() {
        return;
    }
    // As in `end_rare`, a thread leaves the ring of a stopped collector if there is another one.
    if state().pool().is_none_or(Pool::is_finished) {
        return discard_end_without_ring(token);
    }
    state().recorder.discard(token);
}

/// Ends a span without a sample on a thread that has no ring, or one of a stopped collector.
#[cold]
#[inline(never)]
fn discard_end_without_ring(token: Token) {
    if register_late_for_end() || state().pool().is_some() {
        state().recorder.discard(token);
    } else {
        lose_end(&token);
    }
}
