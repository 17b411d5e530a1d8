//! Checks that every public type can be logged by defmt, and logs a report.

use std::sync::Mutex;

use tailwatch_bare_metal::{
    self as bare,
    clock::{self, Counter},
    tailwatch_core::{self, Gate, Outcome, Shape, TickRate, Trading, WindowSpec, storage},
};

/// The bytes that were logged. Decoding them would need the symbols of the program's ELF file, so
/// the test only counts them.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[defmt::global_logger]
struct Logger;

// SAFETY: only one test logs, in one thread, so the logger is not used concurrently.
unsafe impl defmt::Logger for Logger {
    fn acquire() {}
    unsafe fn flush() {}
    unsafe fn release() {}
    unsafe fn write(bytes: &[u8]) {
        LOGGED.lock().unwrap().extend_from_slice(bytes);
    }
}

defmt::timestamp!("");

#[defmt::panic_handler]
fn panic() -> ! {
    std::process::abort()
}

/// The clock of these tests.
type Timer = Counter<fn() -> u32>;
const WINDOWS: [WindowSpec; 1] = [WindowSpec::SECOND];
const SHAPE: Shape = Shape::small(Trading::ALL, &WINDOWS);
storage!(Memory: SHAPE, u16);

/// Compiles only if `T` can be logged.
fn can_be_logged<T: ?Sized + defmt::Format>() {}

/// Returns the names of the types that `root`, the source of a module, exports. Traits are left
/// out, because only types can be logged.
fn public_types(root: &str) -> impl Iterator<Item = &str> {
    const TRAITS: [&str; 16] = [
        "Clock",
        "Copies",
        "Event",
        "LargerRing",
        "Pending",
        "Position",
        "Storage",
        "Repr",
        "StoredMoments",
        "StoredSample",
        "ChooseRepr",
        "Count",
        "FreeRunning",
        "CycleRegisters",
        "MachineRegisters",
        "SysTickRegisters",
    ];
    let exports = root.split("pub use").skip(1).map(|export| export.split(';').next().unwrap());
    let words = exports.flat_map(|export| export.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let is_type = |word: &&str| {
        word.starts_with(char::is_uppercase)
            && word.contains(char::is_lowercase)
            && !TRAITS.contains(word)
    };
    words.filter(is_type)
}

#[test]
fn the_lists_below_contain_every_public_type() {
    let list = include_str!("defmt.rs");
    let roots = [
        include_str!("../../../core/src/lib.rs"),
        include_str!("../../../core/src/repr.rs"),
        include_str!("../src/lib.rs"),
        include_str!("../src/clock.rs"),
        include_str!("../src/wire.rs"),
    ];
    let mut types = 0;
    for name in roots.into_iter().flat_map(public_types) {
        let is_listed = |end| list.contains(&format!("::{name}{end}"));
        assert!(
            is_listed('>') || is_listed('<') || name == "Counter",
            "{name} is public but not in the lists below"
        );
        types += 1;
    }
    assert!(types > 70, "only {types} names were found");
}

#[test]
fn every_public_type_of_the_core_can_be_logged() {
    can_be_logged::<tailwatch_core::Aggregator<&mut Memory>>();
    can_be_logged::<tailwatch_core::ConfidenceInterval>();
    can_be_logged::<tailwatch_core::ConfigError>();
    can_be_logged::<tailwatch_core::Counters>();
    can_be_logged::<tailwatch_core::DistributionData<'_>>();
    can_be_logged::<tailwatch_core::Outcomes>();
    can_be_logged::<tailwatch_core::Scope>();
    can_be_logged::<tailwatch_core::Distribution<'_>>();
    can_be_logged::<tailwatch_core::TickRate>();
    can_be_logged::<tailwatch_core::TimeScale>();
    can_be_logged::<tailwatch_core::TimeUnit>();
    can_be_logged::<tailwatch_core::AnyEvent>();
    can_be_logged::<tailwatch_core::EventId>();
    can_be_logged::<tailwatch_core::EventNumber>();
    can_be_logged::<tailwatch_core::CoveredOutcomes>();
    can_be_logged::<tailwatch_core::EventInfo>();
    can_be_logged::<tailwatch_core::Unit>();
    can_be_logged::<tailwatch_core::FixedPoint>();
    can_be_logged::<tailwatch_core::Gate<9>>();
    can_be_logged::<tailwatch_core::Bucket>();
    can_be_logged::<tailwatch_core::Buckets>();
    can_be_logged::<tailwatch_core::Estimate>();
    can_be_logged::<tailwatch_core::Histogram<u16, [u16; 8]>>();
    can_be_logged::<tailwatch_core::OpenSpan>();
    can_be_logged::<tailwatch_core::Pairing>();
    can_be_logged::<tailwatch_core::Moments>();
    can_be_logged::<tailwatch_core::Moments<u64>>();
    can_be_logged::<tailwatch_core::Wide>();
    can_be_logged::<tailwatch_core::Compact>();
    can_be_logged::<tailwatch_core::repr::WideSample>();
    can_be_logged::<tailwatch_core::repr::CompactSample>();
    can_be_logged::<tailwatch_core::repr::CompactMoments>();
    can_be_logged::<tailwatch_core::ReprIf<true>>();
    can_be_logged::<tailwatch_core::Samples<'_>>();
    can_be_logged::<tailwatch_core::Trading>();
    can_be_logged::<tailwatch_core::ParseQuantileError>();
    can_be_logged::<tailwatch_core::Quantile>();
    can_be_logged::<tailwatch_core::DiscardReason>();
    can_be_logged::<tailwatch_core::Kind>();
    can_be_logged::<tailwatch_core::Outcome>();
    can_be_logged::<tailwatch_core::Record>();
    can_be_logged::<tailwatch_core::Recorder<'_, &Timer, 9>>();
    can_be_logged::<tailwatch_core::SpanGuard<'_, '_, &Timer, 9>>();
    can_be_logged::<tailwatch_core::Token>();
    can_be_logged::<tailwatch_core::Decision>();
    can_be_logged::<tailwatch_core::NoCopies>();
    can_be_logged::<tailwatch_core::ThreadCopies>();
    can_be_logged::<tailwatch_core::CopiedBytes>();
    can_be_logged::<tailwatch_core::SameRing>();
    can_be_logged::<tailwatch_core::Recorder<'_, &Timer, 9, tailwatch_core::ThreadCopies>>();
    can_be_logged::<tailwatch_core::CapacityError>();
    can_be_logged::<tailwatch_core::Consumer<'_>>();
    can_be_logged::<tailwatch_core::Reader<'_>>();
    can_be_logged::<tailwatch_core::OwnPosition>();
    can_be_logged::<tailwatch_core::StoredPosition>();
    can_be_logged::<tailwatch_core::ReaderStart>();
    can_be_logged::<tailwatch_core::PassStart>();
    can_be_logged::<tailwatch_core::RingPass>();
    can_be_logged::<tailwatch_core::RingProgress>();
    can_be_logged::<tailwatch_core::Drained>();
    can_be_logged::<tailwatch_core::Producer<'_>>();
    can_be_logged::<tailwatch_core::Ring>();
    can_be_logged::<tailwatch_core::Ring<[tailwatch_core::Slot; 8]>>();
    can_be_logged::<tailwatch_core::Slot>();
    can_be_logged::<tailwatch_core::WeightedSample>();
    can_be_logged::<tailwatch_core::Limit>();
    can_be_logged::<tailwatch_core::LimitError>();
    can_be_logged::<tailwatch_core::Rule>();
    can_be_logged::<tailwatch_core::SlaState>();
    can_be_logged::<tailwatch_core::SlaStatus>();
    can_be_logged::<tailwatch_core::Silence>();
    can_be_logged::<tailwatch_core::Tally>();
    can_be_logged::<tailwatch_core::MinSamples>();
    can_be_logged::<tailwatch_core::Threshold>();
    can_be_logged::<tailwatch_core::StatusChange>();
    can_be_logged::<tailwatch_core::Exemplar>();
    can_be_logged::<tailwatch_core::RowState<tailwatch_core::Wide>>();
    can_be_logged::<tailwatch_core::RowState<tailwatch_core::Compact>>();
    can_be_logged::<tailwatch_core::StorageParts<'_, tailwatch_core::Compact, u16>>();
    can_be_logged::<tailwatch_core::Shape>();
    can_be_logged::<tailwatch_core::Accuracy>();
    can_be_logged::<tailwatch_core::Summary>();
    can_be_logged::<tailwatch_core::UnitConverter>();
    can_be_logged::<tailwatch_core::Window>();
    can_be_logged::<tailwatch_core::WindowSpec>();
}

#[test]
fn every_public_type_of_the_adapter_can_be_logged() {
    can_be_logged::<clock::Base>();
    can_be_logged::<clock::BitsError>();
    can_be_logged::<clock::CortexM>();
    can_be_logged::<Timer>();
    can_be_logged::<clock::CycleCounter<'_>>();
    can_be_logged::<clock::CycleCounterError>();
    can_be_logged::<clock::MachineCycle>();
    can_be_logged::<clock::MachineCycleError>();
    can_be_logged::<clock::PeriodError>();
    can_be_logged::<clock::RiscV>();
    can_be_logged::<clock::SysTick>();
    can_be_logged::<bare::Drain<'_, &mut Memory, &Timer, 9, 1>>();
    can_be_logged::<bare::DrainConfig<'_, &Timer, 9, 1>>();
    can_be_logged::<bare::EventCounts>();
    can_be_logged::<bare::EventLimit>();
    can_be_logged::<bare::EventSummary>();
    can_be_logged::<bare::Health>();
    can_be_logged::<bare::ReportItem>();
    can_be_logged::<bare::Pass>();
    can_be_logged::<bare::StaticRing<8>>();
    can_be_logged::<bare::AlreadyTaken>();
    #[cfg(feature = "critical-section")]
    can_be_logged::<bare::SharedRecorder<'_, &Timer, 9, 8>>();
    #[cfg(feature = "critical-section")]
    can_be_logged::<bare::SharedSpanGuard<'_, '_, &Timer, 9, 8>>();
    #[cfg(feature = "embassy-time")]
    can_be_logged::<clock::EmbassyTime>();
}

#[cfg(feature = "postcard")]
#[test]
fn every_type_of_the_module_wire_can_be_logged() {
    use bare::wire;
    can_be_logged::<wire::Decoder>();
    can_be_logged::<wire::Rejected>();
    can_be_logged::<wire::BufferTooSmall>();
    can_be_logged::<wire::CountsFrame>();
    can_be_logged::<wire::Frame>();
    can_be_logged::<wire::HealthFrame>();
    can_be_logged::<wire::LimitFrame>();
    can_be_logged::<wire::LimitKind>();
    can_be_logged::<wire::LimitState>();
    can_be_logged::<wire::Name>();
    can_be_logged::<wire::SummaryFrame>();
    can_be_logged::<wire::UnitKind>();
}

#[test]
fn each_item_of_a_report_is_a_log_message() {
    fn timer() -> u32 {
        static NOW: ::core::sync::atomic::AtomicU32 = ::core::sync::atomic::AtomicU32::new(0);
        NOW.fetch_add(1_000, ::core::sync::atomic::Ordering::Relaxed)
    }
    let clock = Counter::new(timer as fn() -> u32, 32, TickRate::NANOSECONDS).unwrap();
    let (gate, ring) = (Gate::<9>::new(), bare::StaticRing::<16>::new());
    let recorder = ring.take_recorder(&gate, &clock).unwrap();
    let mut memory = Memory::new();
    let config = bare::DrainConfig {
        windows: &WINDOWS,
        events: Trading::ALL,
        clock: &clock,
        gate: &gate,
        rings: [ring.take_consumer().unwrap()],
        changes: None,
    };
    let mut drain = bare::Drain::new(config, &mut memory).unwrap();
    recorder.measure(Trading::OrderPlacement).end(Outcome::Ok);
    drain.run(16);
    let (mut items, mut last) = (0, LOGGED.lock().unwrap().len());
    drain.report(|item| {
        defmt::error!("{}", item);
        let logged = LOGGED.lock().unwrap().len();
        assert!(logged > last, "nothing was logged for {item}");
        (items, last) = (items + 1, logged);
    });
    // The health, the counts of one event, its two summaries (over the window and in total), and
    // the eight limits that the events of `Trading` declare.
    assert_eq!(items, 12);
}
