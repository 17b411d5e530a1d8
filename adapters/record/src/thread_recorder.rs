//! The recorder of the current thread, which writes records into the thread's ring.
//!
//! The recorder is in a thread-local, with copies of what a span reads. A thread without a ring has
//! a recorder too: its gate is closed, so a START takes the rare path. Its clock is the operating
//! system's, so an END reads the clock on the rare path. The hot path therefore does not check
//! whether the thread has a ring. The crate `tailwatch` gives the
//! thread a ring, and takes it away before the thread ends. The recorder has no destructor, so it
//! can be used until the end of the thread.

#![allow(
    unsafe_code,
    reason = "a recorder in a thread-local that is replaced, and references whose lifetime the \
              caller of `attach` vouches for"
)]

use core::{
    cell::UnsafeCell,
    fmt, hint,
    ptr::{self, NonNull},
};
use std::thread;

use tailwatch_core::sync::{AtomicPtr, Ordering::Relaxed};
use tailwatch_core::{
    Clock, Event, EventId, Gate, LargerRing, Outcome, Producer, Recorder, ThreadCopies, TickRate,
    Token,
};
#[cfg(not(tailwatch_loom))]
use tailwatch_core::{Ring, Slot, ring::MIN_CAPACITY};

use crate::{
    clock::{ReadMethod, ThreadClock, tsc},
    collectors::{AttachedCollector, Attempt, collectors},
};

/// The number of switches in the gate of a collector: one byte for every event id, so that the hot
/// path needs no bounds check. The switch of [`EventId::UNNUMBERED`] is
/// [closed](Gate::close_event).
///
/// It is 2 under the model checker, which tracks every atomic as an object of its own, and whose
/// models need no more.
pub const IDS: usize = if cfg!(tailwatch_loom) { 2 } else { EventId::MAX as usize + 2 };

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
    pub(crate) recorder: ThreadRecorder,
    /// The collector of the ring, if the thread has a ring.
    attached: Option<Attached>,
}

/// What the rare paths need of the collector that has the thread's ring.
#[derive(Clone, Copy)]
struct Attached {
    collector: &'static dyn AttachedCollector,
    gate: &'static Gate<IDS>,
    clock: ThreadClock,
}

/// What the recorder of a thread keeps copies of, and where it finds a larger ring.
pub type RecorderCopies = ThreadCopies<RingOffer>;

/// Where the recorder of a thread finds a larger ring: nowhere, or at its collector.
pub struct RingOffer(pub Option<LargerRingAt>);

/// Where a collector offers larger rings to a thread.
#[derive(Clone, Copy)]
pub struct LargerRingAt {
    /// Null while no ring is offered. It spares the thread a call then.
    pub offer: &'static AtomicPtr<()>,
    /// Takes the ring that is offered.
    pub taker: &'static dyn LargerRing,
}

impl LargerRing for RingOffer {
    #[inline(always)]
    fn take(&self) -> Option<Producer<'static>> {
        let LargerRingAt { offer, taker } = self.0?;
        // Relaxed: `taker` orders the memory of the ring.
        if offer.load(Relaxed).is_null() { None } else { taker.take() }
    }
}

impl fmt::Debug for LargerRingAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargerRingAt").field("offer", &self.offer).finish_non_exhaustive()
    }
}

impl fmt::Debug for RingOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RingOffer").field(&self.0.is_some()).finish()
    }
}

#[cfg(not(tailwatch_loom))]
const _: () = assert!(
    cfg!(not(target_pointer_width = "64")) || core::mem::offset_of!(ThreadState, attached) == 152,
    "all that a span reads fills two cache lines; the offer follows"
);

/// Returns whether the threads of a collector decide by copies of its gate. They do not if the
/// collector reads the operating system's clock, so that START need not ask which clock it has to
/// read.
fn has_copies(clock: &ThreadClock) -> bool {
    HAS_NATIVE_THREAD_LOCALS && clock.method != ReadMethod::Monotonic
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
        let recorder = Recorder::closed(&NO_RING, &CLOSED, ReadMethod::Monotonic, RingOffer(None));
        Self { recorder, attached: None }
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
    /// The state of a thread that has this ring.
    fn new(ring: ThreadRing) -> Self {
        let ThreadRing { producer, larger_ring, collector, seed } = ring;
        let attached = Attached { collector, gate: collector.gate(), clock: collector.clock() };
        let gate = if has_copies(&attached.clock) { attached.gate } else { Self::closed_gate() };
        let recorder = Recorder::new(producer, gate, attached.clock.method)
            .with_seed(seed)
            .with_copies_and(RingOffer(Some(larger_ring)));
        Self { recorder, attached: Some(attached) }
    }

    /// Returns the clock with which the thread records, if it has a ring.
    pub(crate) fn clock(&self) -> Option<ThreadClock> {
        self.attached.map(|attached| attached.clock)
    }

    /// Counts records that the collector does not get, if the thread has a ring.
    pub(crate) fn count_unregistered(&self, records: usize) {
        if let Some(attached) = self.attached {
            attached.collector.count_unregistered(records);
        }
    }

    /// Returns the rate of the clock with which the thread records, if it has a ring.
    pub(crate) fn rate(&self) -> TickRate {
        self.attached.map_or(TickRate::NANOSECONDS, |attached| attached.clock.rate)
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
}

/// Returns the state of this thread.
#[inline(always)]
pub(crate) fn state<'a>() -> &'a ThreadState {
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
pub const OFF: bool = cfg!(feature = "off");

/// The ring that a collector gives to a thread: see [`attach`].
pub struct ThreadRing {
    /// The producer of the ring.
    pub producer: Producer<'static>,
    /// Where the thread finds a larger ring.
    pub larger_ring: LargerRingAt,
    /// The collector.
    pub collector: &'static dyn AttachedCollector,
    /// The seed of the random choice of occurrences that sampling records. Without a seed of its
    /// own, each of many short threads would sample like the one before.
    pub seed: u32,
}

impl fmt::Debug for ThreadRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadRing").field("producer", &self.producer).finish_non_exhaustive()
    }
}

/// Makes this thread record into `ring`.
///
/// # Safety
///
/// The gate of the collector must be [closed](Gate::close_event) for [`EventId::UNNUMBERED`].
///
/// All that `ring` refers to must stay valid until this function or [`detach`] is called again on
/// this thread, although the lifetimes in `ring` are `'static`. If other threads refer to the
/// [`copies`] of this thread, that must end before.
pub unsafe fn attach(ring: ThreadRing) {
    set_state(ThreadState::new(ring));
}

/// Takes the ring of this thread away, if it has one.
///
/// # Safety
///
/// If other threads refer to the [`copies`] of this thread, that must end before.
pub unsafe fn detach() {
    set_state(ThreadState::without_ring());
}

/// Returns the address of the collector whose ring this thread has.
pub fn attached_to() -> Option<*const ()> {
    state().attached.map(|attached| ptr::from_ref(attached.collector).cast())
}

/// Returns whether the collector whose ring this thread has would record events that it has.
pub(crate) fn is_recording() -> bool {
    state().attached.is_some_and(|attached| attached.gate.is_enabled())
}

/// Returns the copies of the gate from which this thread decides what it records, or `None` if it
/// asks the gate itself. They stay where they are until the thread ends, after it has dropped its
/// thread-locals that need dropping. Only [`attach`] and [`detach`] replace them.
pub fn copies() -> Option<NonNull<RecorderCopies>> {
    let state = state();
    let has_copies = state.attached.is_some_and(|attached| has_copies(&attached.clock));
    has_copies.then(|| NonNull::from_ref(state.recorder.copies()))
}

/// Counts records that the gate of `collector` rejected, if the gate is closed because the
/// collector has stopped. A gate that is only switched off rejects them without counting.
fn count_if_stopped(collector: &dyn AttachedCollector, records: usize) {
    if collector.is_stopped() {
        collector.count_unregistered(records);
    }
}

/// Begins a span.
///
/// Here, in [`end`] and in [`record`], all rare cases are left to one call of a function that is
/// not inlined, so that the common case is small enough to be inlined.
#[inline(always)]
pub(crate) fn start(event: impl Event, tag: u64) -> Token {
    if OFF {
        return Token::unrecorded();
    }
    let id = event.id();
    let recorder = &state().recorder;
    let decision = recorder.decision(id);
    if decision.is_always() {
        // SAFETY: the gate never admits `UNNUMBERED`: see `attach`. Without this, the compiler
        // takes an instruction more to build each record of an event whose number was assigned.
        unsafe { hint::assert_unchecked(id.get() <= EventId::MAX) };
        recorder.start_at(id, 0, tag, tsc::relaxed())
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
fn start_rare(event: impl Event, tag: u64) -> Token {
    // A span is two records, its START and its END or FORGET.
    let token = write_rare(event, 2, |ThreadState { recorder, .. }, id, sampling, now| {
        recorder.start_at(id, sampling, tag, now)
    });
    token.unwrap_or(Token::unrecorded())
}

/// Writes a record that belongs to no span. The closure `write` gets the event, the sampling and
/// the tick of the record.
#[inline(always)]
pub(crate) fn record(event: impl Event, write: impl Fn(&ThreadState, EventId, u8, u64)) {
    if OFF {
        return;
    }
    let id = event.id();
    let state = state();
    let decision = state.recorder.decision(id);
    if decision.is_always() {
        write(state, id, 0, tsc::relaxed());
    } else if !decision.is_switched_off() {
        record_rare(event, write);
    }
}

/// Writes a record in the cases that [`record`] does not handle.
#[inline(never)]
fn record_rare(event: impl Event, write: impl Fn(&ThreadState, EventId, u8, u64)) {
    write_rare(event, 1, write);
}

/// Calls `write` with the event, the sampling and the tick of a record, if this occurrence of the
/// event is recorded. If its thread has no ring and gets none, counts `records` as unregistered.
#[inline(always)]
pub(crate) fn write_rare<T>(
    event: impl Event,
    records: usize,
    write: impl Fn(&ThreadState, EventId, u8, u64) -> T,
) -> Option<T> {
    let id = event.id();
    let state = state();
    if id == EventId::UNNUMBERED {
        event.count_unnumbered(records);
        return None;
    }
    let decision = state.recorder.decision(id);
    let write = |state: &ThreadState, sampling, now| write(state, id, sampling, now);
    if decision.is_off() {
        return write_by_gate(id, records, None, write);
    }
    // The copies of the gate admit nothing unless the collector reads the processor's counter.
    state.recorder.decide(decision).map(|sampling| write(state, sampling, tsc::relaxed()))
}

/// Does the same as [`write_rare`], but asks the collector's own gate, and reads the collector's
/// clock, whichever it is. Before that, gives the thread a ring if it has none or one of a stopped
/// collector. If the sampling is `decided`, the gate only decides whether the event is off.
#[inline(never)]
fn write_by_gate<T>(
    event: EventId,
    records: usize,
    decided: Option<u8>,
    write: impl Fn(&ThreadState, u8, u64) -> T,
) -> Option<T> {
    let is_closed = |attached: Attached| attached.gate.decision(event).is_closed();
    let attached = state().attached;
    if attached.is_none_or(is_closed) {
        match collectors().attach_for_record(event, records, attached.is_some()) {
            Attempt::Attached => {}
            Attempt::Settled => return None,
            Attempt::NotCounted => {
                self::state().count_unregistered(records);
                return None;
            }
        }
    }
    let state = state();
    let Attached { collector, gate, clock } = state.attached?;
    let decision = gate.decision(event);
    if decision.is_closed() {
        count_if_stopped(collector, records);
        return None;
    }
    let sampling = match decided {
        Some(_) if decision.is_off() => return None,
        Some(sampling) => sampling,
        None => state.recorder.decide(decision)?,
    };
    Some(write(state, sampling, clock.start()))
}

/// Begins a span here that began at the tick `start` in another process, with the sampling that was
/// decided there. Returns `None` if it is not recorded.
pub(crate) fn resume(event: impl Event, sampling: u8, tag: u64, start: u64) -> Option<Token> {
    let id = event.id();
    if id == EventId::UNNUMBERED {
        event.count_unnumbered(1);
        return None;
    }
    write_by_gate(id, 1, Some(sampling), |state, sampling, _| {
        state.recorder.start_at(id, sampling, tag, start)
    })
}

/// Returns the clock of this thread or, if it has no ring, of the installed collector.
pub(crate) fn clock() -> Option<ThreadClock> {
    state().clock().or_else(|| collectors().installed_clock())
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
    let Some(Attached { collector, clock, .. }) = state.attached else {
        return end_without_ring(token, outcome);
    };
    let now = if end == NOT_READ { clock.end() } else { end };
    // A thread that only ends spans leaves the ring of a stopped collector here. The usual path
    // does not look, so it may do so up to 64 records later.
    if collector.is_finished() && collectors().attach_for_end() {
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
    let end = collectors().installed_clock().map_or(0, |clock| clock.end());
    if collectors().attach_for_end() {
        state().recorder.end_at(token, outcome, end);
    } else if let Some(event) = token.event() {
        collectors().lose_end(event, token.start());
    }
}

/// Ends a span without a sample: writes a FORGET record instead of an END.
pub(crate) fn discard(token: Token) {
    close(token, Recorder::discard);
}

/// Closes a span that another process ends.
pub(crate) fn hand_over(token: Token) {
    close(token, Recorder::hand_over);
}

/// What the recorder of a thread is.
type ThreadRecorder = Recorder<'static, ReadMethod, IDS, RecorderCopies>;

/// Closes a span by `close`, unless it is not recorded.
fn close(token: Token, close: impl Fn(&ThreadRecorder, Token)) {
    if OFF || !token.is_recorded() {
        return;
    }
    // As in `end_rare`, a thread leaves the ring of a stopped collector if there is another one.
    if state().attached.is_none_or(|attached| attached.collector.is_finished()) {
        return close_without_ring(token, close);
    }
    close(&state().recorder, token);
}

/// Ends a span without a sample on a thread that has no ring, or one of a stopped collector.
#[cold]
#[inline(never)]
fn close_without_ring(token: Token, close: impl Fn(&ThreadRecorder, Token)) {
    if collectors().attach_for_end() || state().attached.is_some() {
        close(&state().recorder, token);
    } else if let Some(event) = token.event() {
        collectors().lose_end(event, token.start());
    }
}
