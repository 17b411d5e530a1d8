//! Spans that travel to another process of the machine, which ends them.

use core::{error, fmt};

use tailwatch_core::{Event, MAX_PAYLOAD, Token};

use crate::{
    clock::ReadMethod,
    collectors::{WireHashes, collectors},
    measure::{CancelOnDrop, SpanGuard},
    thread_recorder,
};

/// The version of the format.
const VERSION: u64 = 1;

// The fields of word 1: the version in bits 7:0, the clock source in 13:12, k in 17:14, the tag in
// 63:18.
const SOURCE_SHIFT: u32 = 12;
const SAMPLING_SHIFT: u32 = 14;
const TAG_SHIFT: u32 = 18;

/// The clock sources; 0 is a span that is not recorded.
const TSC: u64 = 1;
const MONOTONIC: u64 = 2;

/// Turns an open span into 32 bytes that another process of the machine can end it by.
pub trait IntoWire {
    /// Hands the span over: it is no longer open here, and [`receive_span`] makes it open where the
    /// bytes arrive. Its duration is from its beginning here to its end there. The tag, such as an
    /// order number, travels along; the low 46 bits of it are kept, and 0 is none.
    ///
    /// If the bytes arrive nowhere, the span ends nowhere, and no statistics show that. A span that
    /// is not recorded, for example because sampling leaves it out, arrives as one that is not
    /// recorded. So does a span where the machine cannot be recognised: on other systems than
    /// Linux, and for an event that no collector of this process has.
    ///
    /// The bytes are four little-endian words of 8 bytes:
    ///
    /// | word | content |
    /// |---|---|
    /// | 0 | the tick at which the span began |
    /// | 1 | bits 7:0: the version, 1; 13:12: the clock, 0 if the span is not recorded, 1 the processor's counter, 2 the operating system's; 17:14: k, of 1 in 2^k; 63:18: the tag |
    /// | 2 | the FNV-1a hash of 64 bits of the event's name with its labels, in UTF-8 |
    /// | 3 | that of the 16 bytes of `/proc/sys/kernel/random/boot_id`, in the order of its digits |
    ///
    /// Never panics. Takes a lock to look the name up.
    ///
    /// ```
    /// use tailwatch::{Collector, IntoWire, Outcome, Trading, receive_span, record_end};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?;
    /// collector.install()?;
    /// let wire: [u8; 32] = tailwatch::measure(Trading::OrderPlacement).into_wire(4_711);
    /// // … in another process …
    /// let token = receive_span(Trading::OrderPlacement, &wire)?;
    /// record_end(token, Outcome::Ok);
    /// # collector.stop();
    /// # let orders = collector.report().event(Trading::OrderPlacement).unwrap().clone();
    /// # assert_eq!(orders.total.unwrap().slowest[0].tag, Some(4_711));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "the span ends nowhere unless its bytes arrive"]
    fn into_wire(self, tag: u64) -> [u8; 32];
}

impl IntoWire for Token {
    fn into_wire(self, tag: u64) -> [u8; 32] {
        let words = words_of(&self, tag).unwrap_or([0, VERSION, 0, 0]);
        thread_recorder::hand_over(self);
        let mut wire = [0; 32];
        for (bytes, word) in wire.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        wire
    }
}

impl IntoWire for SpanGuard {
    fn into_wire(mut self, tag: u64) -> [u8; 32] {
        self.take().into_wire(tag)
    }
}

impl IntoWire for CancelOnDrop {
    fn into_wire(mut self, tag: u64) -> [u8; 32] {
        self.take().into_wire(tag)
    }
}

/// Returns the words of a span, or `None` if it arrives as one that is not recorded.
fn words_of(token: &Token, tag: u64) -> Option<[u64; 4]> {
    let source = source(thread_recorder::clock()?.method);
    let hashes = collectors().wire_hashes(token.event()?)?;
    let word = VERSION
        | source << SOURCE_SHIFT
        | u64::from(token.sampling()) << SAMPLING_SHIFT
        | (tag & MAX_PAYLOAD) << TAG_SHIFT;
    Some([token.start(), word, hashes.event, hashes.boot])
}

fn source(method: ReadMethod) -> u64 {
    match method {
        ReadMethod::TscOrdered | ReadMethod::TscRelaxed => TSC,
        ReadMethod::Monotonic => MONOTONIC,
    }
}

/// Begins a span here that another process has [handed over](IntoWire::into_wire), with its tag and
/// the time at which it began there. End it by the token like any other, or make a
/// [`CancelOnDrop`] of it by `from`. It is open here from now on, so it can hang here.
///
/// Returns a token that is not recorded if the span is not, if this process has no collector, or if
/// recording of the event is switched off here. A span that began before the collector of this
/// process started, or in the future, is counted as a clock anomaly, and is a sample all the same
/// when it ends.
///
/// Never panics, whatever the bytes are. Takes a lock to look the name up.
///
/// # Errors
/// Returns an error if the bytes are no span of this version, or if the span is of another event,
/// of another clock, or of another machine or boot, where ticks mean something else.
pub fn receive_span(event: impl Event, wire: &[u8; 32]) -> Result<Token, WireError> {
    let word = |index: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&wire[8 * index..8 * index + 8]);
        u64::from_le_bytes(bytes)
    };
    let [start, fields, of_event, boot] = [word(0), word(1), word(2), word(3)];
    let version = fields & 0xff;
    if version != VERSION {
        return Err(WireError::Version { version });
    }
    let theirs = fields >> SOURCE_SHIFT & 3;
    let Some(clock) = thread_recorder::clock().filter(|_| theirs != 0 && !thread_recorder::OFF)
    else {
        return Ok(Token::unrecorded());
    };
    let ours = source(clock.method);
    if theirs != ours {
        return Err(WireError::OtherClock { theirs, ours });
    }
    let Some(hashes) = collectors().wire_hashes(event.id()) else {
        return Err(WireError::UnlistedEvent);
    };
    let WireHashes { event: name, boot: our_boot } = hashes;
    if boot != our_boot {
        return Err(WireError::OtherBoot { theirs: boot, ours: our_boot });
    }
    if of_event != name {
        return Err(WireError::OtherEvent { theirs: of_event, ours: name });
    }
    let sampling = u8::try_from(fields >> SAMPLING_SHIFT & 15).unwrap_or_default();
    let token = thread_recorder::resume(event, sampling, fields >> TAG_SHIFT, start);
    Ok(token.unwrap_or_else(Token::unrecorded))
}

/// The error returned when a span that arrives cannot be ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are no span, or one of another version of this crate.
    Version {
        /// The version.
        version: u64,
    },
    /// The other process reads another clock.
    OtherClock {
        /// What the other process reads: 1 the processor's counter, 2 the operating system's clock.
        theirs: u64,
        /// What this process reads.
        ours: u64,
    },
    /// The span began on another machine, or before this one was booted.
    OtherBoot {
        /// The hash of the boot there.
        theirs: u64,
        /// The hash of the boot here.
        ours: u64,
    },
    /// The span is of an event with another name.
    OtherEvent {
        /// The hash of its name.
        theirs: u64,
        /// The hash of the name of the event that was expected.
        ours: u64,
    },
    /// No collector of this process has the event, so its name is not known; or the machine cannot
    /// be recognised.
    UnlistedEvent,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |source: u64| {
            if source == TSC { "the processor's counter" } else { "the operating system's clock" }
        };
        match self {
            Self::Version { version } => write!(
                f,
                "a span arrived with the version {version}; this program reads version {VERSION}"
            ),
            Self::OtherClock { theirs, ours } => write!(
                f,
                "a span arrived with ticks of {}, but this program reads {}; set `clock` to the \
                 same in both",
                clock(*theirs),
                clock(*ours)
            ),
            Self::OtherBoot { theirs, ours } => write!(
                f,
                "a span arrived from another machine, or from before a reboot (its boot has the \
                 hash {theirs:016x}, this one {ours:016x}); spans travel within one machine"
            ),
            Self::OtherEvent { theirs, ours } => write!(
                f,
                "a span arrived of an event whose name has the hash {theirs:016x}, but that of the \
                 expected event has {ours:016x}; give the event the same name in both programs"
            ),
            Self::UnlistedEvent => f.write_str(
                "a span arrived of an event that no collector of this process has; list the event \
                 by `Builder::events`",
            ),
        }
    }
}

impl error::Error for WireError {}

#[cfg(test)]
mod tests {
    use tailwatch_core::Trading;

    use super::*;

    #[test]
    fn without_a_collector_nothing_travels_and_nothing_arrives() {
        let wire = Token::unrecorded().into_wire(7);
        assert_eq!(&wire[..16], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(receive_span(Trading::OrderFill, &wire).is_ok_and(|token| !token.is_recorded()));
        let error = receive_span(Trading::OrderFill, &[0xff; 32]).unwrap_err();
        assert_eq!(error, WireError::Version { version: 255 });
    }
}
