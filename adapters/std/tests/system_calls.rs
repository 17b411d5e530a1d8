//! Checks that recording on a registered thread makes no system call.
//!
//! A seccomp filter kills the process at the first system call of the recording thread. To survive
//! that, each test runs itself again in a child process, which reads its task from an environment
//! variable.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod support;

use core::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};
use std::{
    collections::BTreeMap,
    env,
    os::unix::process::ExitStatusExt,
    process::{self, Command, Output},
    sync::Arc,
    thread,
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use support::print_notice;
use tailwatch::{
    ClockMode, ClockSource, Collector, Outcome, Stamp, Trading, measure, measure_cancel_on_drop,
    measure_tagged, record_discard, record_duration, record_end, record_since, record_start,
    record_start_tagged, record_value, time, try_time,
};

/// The environment variable with the child's task under the filter.
const TASK: &str = "UNDER_THE_FILTER_OF_TAILWATCH_TESTS";
/// The child's exit code if this machine refuses the filter.
const NO_FILTER: i32 = 77;
/// The child's exit code once it has done its task.
const DONE: i32 = 78;

/// Runs the test called `test`, which must call [`run_task_if_child`], in a child process with
/// `task`.
fn run_child(test: &str, task: &str) -> Output {
    let program = env::current_exe().expect("this program has a path");
    // `ulimit` keeps a child that the filter kills from leaving a core file.
    Command::new("sh")
        .args(["-c", r#"ulimit -c 0; exec "$0" "$@""#])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(TASK, task)
        .output()
        .expect("the child starts")
}

/// Returns whether the child could install the filter. If not, prints a notice.
fn had_filter(child: &Output) -> bool {
    if child.status.code() == Some(NO_FILTER) {
        let why = String::from_utf8_lossy(&child.stderr);
        print_notice(&format!(
            "SKIPPED: this machine does not let a thread install a seccomp filter: {why}"
        ));
        return false;
    }
    true
}

/// Runs the task under the filter and ends the process if this is the child; otherwise does
/// nothing.
fn run_task_if_child() {
    let Ok(task) = env::var(TASK) else { return };
    let mode = if task == "relaxed" { ClockMode::Relaxed } else { ClockMode::Ordered };
    // The ring is small enough to overflow while it is drained.
    let collector = Collector::builder().clock_mode(mode).ring_capacity(1_024).start().unwrap();
    collector.install().unwrap();
    collector.set_sampling_rate(Trading::EventBusPublish, 0.25).unwrap();
    collector.set_event_enabled(Trading::EventBusHandle, false);
    let mut allowed = BTreeMap::new();
    if collector.report().clock.unwrap().source == ClockSource::Monotonic {
        eprintln!("monotonic clock");
        allowed.insert(libc::SYS_clock_gettime, Vec::new());
    }
    let filter: BpfProgram = SeccompFilter::new(
        allowed,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        env::consts::ARCH.try_into().expect("seccompiler supports this architecture"),
    )
    .and_then(TryInto::try_into)
    .expect("the filter compiles");
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let recording = thread::spawn(move || {
        tailwatch::register_thread("recorder").unwrap();
        if let Err(error) = seccompiler::apply_filter(&filter) {
            eprintln!("{error}");
            process::exit(NO_FILTER);
        }
        // From here on, a system call of this thread kills the process.
        match task.as_str() {
            "call" => thread::yield_now(),
            _ => (0..50_000).for_each(record_everything),
        }
        done.store(true, SeqCst);
        loop {
            core::hint::spin_loop();
        }
    });
    while !is_done.load(SeqCst) {
        assert!(!recording.is_finished(), "the recording thread panicked");
        thread::yield_now();
    }
    collector.stop();
    let total = collector.total(Trading::OrderFill).unwrap().expect("spans were recorded");
    assert!(total.count > 0);
    process::exit(DONE);
}

/// Calls every function that records, in every way of ending a span.
fn record_everything(n: u64) {
    drop(measure(Trading::OrderFill));
    measure(Trading::OrderFill).end(Outcome::Error);
    measure(Trading::OrderFill).discard();
    drop(measure_tagged(Trading::OrderFill, n));
    time(Trading::SignalGeneration, || ());
    // Alternates between `Ok` and `Err`; the result does not matter.
    let _: Result<(), ()> =
        try_time(Trading::OrderPlacement, || if n.is_multiple_of(2) { Ok(()) } else { Err(()) });
    record_end(record_start(Trading::OrderFill), Outcome::Cancelled);
    record_end(record_start_tagged(Trading::OrderFill, n), Outcome::Ok);
    record_discard(record_start(Trading::OrderFill));
    record_value(Trading::QueueBacklog, n);
    record_value(Trading::QueueBacklog, u64::MAX);
    record_duration(Trading::GcPause, Duration::from_nanos(n));
    record_since(Stamp::now(), Trading::OrderFill, n);
    record_since(Stamp::default(), Trading::OrderFill, n);
    // This event is sampled.
    record_since(Stamp::now(), Trading::EventBusPublish, n);
    drop(measure_cancel_on_drop(Trading::OrderFill));
    let _: Result<(), ()> = measured_by_attribute(n);
    // The first event is sampled, the second is switched off.
    drop(measure(Trading::EventBusPublish));
    drop(measure(Trading::EventBusHandle));
}

#[measure(Trading::OrderPlacement, err, tag = n)]
fn measured_by_attribute(n: u64) -> Result<(), ()> {
    if n.is_multiple_of(3) { Err(()) } else { Ok(()) }
}

#[test]
fn the_filter_kills_the_process_at_a_system_call() {
    run_task_if_child();
    let child = run_child("the_filter_kills_the_process_at_a_system_call", "call");
    if had_filter(&child) {
        assert_eq!(child.status.signal(), Some(libc::SIGSYS), "{child:?}");
    }
}

#[test]
fn recording_on_a_registered_thread_makes_no_system_call() {
    run_task_if_child();
    for task in ["ordered", "relaxed"] {
        let child = run_child("recording_on_a_registered_thread_makes_no_system_call", task);
        if !had_filter(&child) {
            return;
        }
        if String::from_utf8_lossy(&child.stderr).contains("monotonic clock") {
            print_notice(
                "NOT FULLY TESTED: this machine's tick counter is not trustworthy, so recording \
                 reads the operating system's clock. Whether that is a system call depends on \
                 the machine; clock_gettime was allowed",
            );
        }
        assert_ne!(
            child.status.signal(),
            Some(libc::SIGSYS),
            "{task}: recording made a system call; `strace -f` shows which"
        );
        assert_eq!(child.status.code(), Some(DONE), "{task}: {child:?}");
    }
}
