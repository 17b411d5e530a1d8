//! Recording on a registered thread makes no system call.
//!
//! A filter of the kernel (seccomp) kills the process at the first system call of the thread that records. So that this
//! does not kill the test, it happens in a child: this very program, told by an environment variable what to be.

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
use support::say_loudly;
use tailwatch::{
    ClockMode, ClockSource, Collector, Outcome, Trading, measure, measure_cancel_on_drop,
    measure_tagged, record_discard, record_duration, record_end, record_start, record_start_tagged,
    record_value, time, try_time,
};

/// In the child's environment: what it is to do under the filter.
const TASK: &str = "UNDER_THE_FILTER_OF_TAILWATCH_TESTS";
/// The child's exit code if there is no filter on this machine.
const NO_FILTER: i32 = 77;
/// The child's exit code if it did its task.
const DONE: i32 = 78;

/// Runs the test called `test` in a child, which calls [`be_the_child`].
fn child(test: &str, task: &str) -> Output {
    let program = env::current_exe().expect("the path of this program");
    // A process that the filter kills leaves no core file.
    Command::new("sh")
        .args(["-c", r#"ulimit -c 0; exec "$0" "$@""#])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(TASK, task)
        .output()
        .expect("a child")
}

/// Whether the filter was installed; if not, that is said.
fn had_filter(child: &Output) -> bool {
    if child.status.code() == Some(NO_FILTER) {
        let why = String::from_utf8_lossy(&child.stderr);
        say_loudly(&format!(
            "SKIPPED: this machine lets no thread give up its system calls (seccomp): {why}"
        ));
        return false;
    }
    true
}

/// In the child, does its task under the filter and ends the process; elsewhere, does nothing.
fn be_the_child() {
    let Ok(task) = env::var(TASK) else { return };
    let mode = if task == "relaxed" { ClockMode::Relaxed } else { ClockMode::Ordered };
    // The ring overflows, and is drained meanwhile.
    let collector = Collector::builder().clock_mode(mode).ring_capacity(1_024).start().unwrap();
    collector.install().unwrap();
    collector.set_sampling_rate(Trading::EventBusPublish, 0.25).unwrap();
    collector.set_event_enabled(Trading::EventBusHandle, false);
    let mut allowed = BTreeMap::new();
    if collector.report().clock.source == ClockSource::Monotonic {
        eprintln!("monotonic clock");
        allowed.insert(libc::SYS_clock_gettime, Vec::new());
    }
    let filter: BpfProgram = SeccompFilter::new(
        allowed,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        env::consts::ARCH.try_into().expect("an architecture of the filter"),
    )
    .and_then(TryInto::try_into)
    .expect("a filter");
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let recording = thread::spawn(move || {
        tailwatch::register_thread("recorder").unwrap();
        if let Err(error) = seccompiler::apply_filter(&filter) {
            eprintln!("{error}");
            process::exit(NO_FILTER);
        }
        // From here on it can do nothing but compute.
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
    let total = collector.total(Trading::OrderFill).unwrap().expect("spans");
    assert!(total.count > 0);
    process::exit(DONE);
}

/// Everything that records.
fn record_everything(n: u64) {
    drop(measure(Trading::OrderFill));
    measure(Trading::OrderFill).end(Outcome::Error);
    measure(Trading::OrderFill).discard();
    drop(measure_tagged(Trading::OrderFill, n));
    time(Trading::SignalGeneration, || ());
    // Both arms do the same, whatever comes out of it.
    let _: Result<(), ()> =
        try_time(Trading::OrderPlacement, || if n.is_multiple_of(2) { Ok(()) } else { Err(()) });
    record_end(record_start(Trading::OrderFill), Outcome::Cancelled);
    record_end(record_start_tagged(Trading::OrderFill, n), Outcome::Ok);
    record_discard(record_start(Trading::OrderFill));
    record_value(Trading::QueueBacklog, n);
    record_value(Trading::QueueBacklog, u64::MAX);
    record_duration(Trading::GcPause, Duration::from_nanos(n));
    drop(measure_cancel_on_drop(Trading::OrderFill));
    let _: Result<(), ()> = by_attribute(n);
    // One that is sampled, and one that is switched off.
    drop(measure(Trading::EventBusPublish));
    drop(measure(Trading::EventBusHandle));
}

#[measure(Trading::OrderPlacement, err, tag = n)]
fn by_attribute(n: u64) -> Result<(), ()> {
    if n.is_multiple_of(3) { Err(()) } else { Ok(()) }
}

#[test]
fn the_filter_kills_at_a_system_call() {
    be_the_child();
    let child = child("the_filter_kills_at_a_system_call", "call");
    if had_filter(&child) {
        assert_eq!(child.status.signal(), Some(libc::SIGSYS), "{child:?}");
    }
}

#[test]
fn recording_on_a_registered_thread_makes_no_system_call() {
    be_the_child();
    for task in ["ordered", "relaxed"] {
        let child = child("recording_on_a_registered_thread_makes_no_system_call", task);
        if !had_filter(&child) {
            return;
        }
        if String::from_utf8_lossy(&child.stderr).contains("monotonic clock") {
            say_loudly(
                "NOT TESTED: this machine's counter cannot be trusted, so that the operating system's clock is read; whether \
                 that is a system call is up to the machine, and clock_gettime was allowed",
            );
        }
        assert_ne!(
            child.status.signal(),
            Some(libc::SIGSYS),
            "{task}: a system call while recording; `strace -f` shows it"
        );
        assert_eq!(child.status.code(), Some(DONE), "{task}: {child:?}");
    }
}
