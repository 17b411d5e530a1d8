//! What a child process may do with the handles that it inherits.

#![allow(unsafe_code, reason = "`fork` and `_exit`")]

use core::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::{
    fs,
    io::Write,
    sync::{Arc, Mutex},
    thread,
};

use tailwatch::{
    Collector, EventError, HiccupProbe, InstallError, RegisterError, Reporter, Sampling,
    SamplingError, SetLimitsError, SlowSample, TraceWriter, Trading, measure, record_value,
};

use crate::child::{await_child, builder, in_child};

/// An observer makes passes slow, so that the drain has its lock at most forks.
fn start_busy() -> Collector {
    let collector = builder().observer(|_| thread::sleep(Duration::from_micros(200))).start();
    let collector = collector.expect("the settings are valid");
    collector.install().expect("no other collector is installed");
    collector
}

/// Records on another thread until the returned closure is called.
fn record_meanwhile() -> impl FnOnce() {
    let is_over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_over);
    let recording = thread::spawn(move || {
        while !seen.load(Relaxed) {
            record_value(Trading::QueueBacklog, 1);
            thread::sleep(Duration::from_micros(100));
        }
    });
    move || {
        is_over.store(true, Relaxed);
        recording.join().expect("the thread does not panic");
    }
}

pub(crate) fn a_child_drops_or_stops_its_copy_of_the_collector() {
    let mut collector = Some(start_busy());
    let end_recording = record_meanwhile();
    for round in 0..40 {
        // The child has its own copy of the variable.
        in_child(|| {
            if round % 2 == 0 {
                let copy = collector.as_ref().expect("the parent has not dropped it");
                copy.stop();
                assert!(copy.is_stopped());
            }
            drop(collector.take());
            drop(measure(Trading::OrderPlacement));
        });
    }
    end_recording();
    let collector = collector.expect("the parent has not dropped it");
    collector.stop();
    let health = collector.health();
    assert_eq!(health.unregistered, 0, "{health:?}");
    assert_eq!(health.delivered, health.produced, "{health:?}");
}

pub(crate) fn a_child_calls_every_method_while_the_parent_drains() {
    let collector = start_busy();
    let family = collector.family("of_parent", "symbol").expect("there is room");
    let [known, other] = ["known", "other"].map(|symbol| family.event(symbol));
    let end_recording = record_meanwhile();
    for _ in 0..40 {
        in_child(|| {
            assert_eq!(collector.event("of_child").add(), Err(EventError::Forked));
            assert!(matches!(collector.family("of_child", "k"), Err(EventError::Forked)));
            assert_eq!([family.event("known"), family.event("new")], [known, other]);
            assert_eq!(family.overflowed(), 1);
            collector.flush();
            assert!(!collector.flush_up_to(1));
            assert!(!collector.drain().is_zero());
            assert!(!collector.drain_up_to(1).is_zero());
            assert_eq!(collector.register_thread("child"), Err(RegisterError::Forked));
            assert_eq!(tailwatch::register_thread("child"), Err(RegisterError::Forked));
            assert_eq!(collector.install(), Err(InstallError::Forked));
            let limits = collector.set_limits(Trading::OrderFill, &[]);
            assert_eq!(limits, Err(SetLimitsError::Forked));
            let sampling = collector.set_sampling(Trading::OrderFill, Sampling::Rate(0.5));
            assert_eq!(sampling, Err(SamplingError::Forked));
            collector.set_enabled(false);
            collector.set_event_enabled(Trading::OrderFill, false);
            assert!(collector.sla_changes().changes.is_empty());
            assert!(collector.explain().contains("this one was forked"));
            let _ = (collector.report().to_json(), collector.health(), collector.memory_bytes());
        });
    }
    end_recording();
    collector.stop();
}

pub(crate) fn a_child_installs_a_collector_of_its_own() {
    let collector = start_busy();
    let end_recording = record_meanwhile();
    drop(measure(Trading::OrderPlacement));
    for _ in 0..20 {
        in_child(|| {
            drop(measure(Trading::OrderPlacement)); // lost: the parent has the ring
            let own = builder().start().expect("the settings are valid");
            own.install().expect("no collector of this process is installed");
            thread::spawn(|| drop(measure(Trading::OrderPlacement))).join().expect("no panic");
            drop(measure(Trading::OrderPlacement));
            own.stop();
            let count = own.total(Trading::OrderPlacement).expect("the event exists");
            assert_eq!(count.map(|total| total.count), Some(2));
            // The forking thread has another number here than in the parent.
            let report = own.report();
            let event = report.event(Trading::OrderPlacement).expect("it exists");
            let slowest = &event.total.as_ref().expect("it has samples").slowest;
            let here = Some(std::process::id().into());
            let is_here = |slow: &&SlowSample| slow.tid == here;
            let known = usize::from(cfg!(any(target_os = "linux", target_os = "android")));
            assert_eq!(slowest.iter().filter(is_here).count(), known, "{slowest:?}");
            assert_eq!(own.health().unregistered, 0);
            assert_eq!(collector.health().unregistered, 2);
        });
    }
    end_recording();
    collector.stop();
    let count = collector.total(Trading::OrderPlacement).expect("the event exists");
    assert_eq!(count.map(|total| total.count), Some(1));
}

pub(crate) fn nobody_drains_or_judges_in_a_child() {
    for is_installed in [true, false] {
        let collector = builder().start().expect("the settings are valid");
        if is_installed {
            collector.install().expect("no other collector is installed");
        }
        collector.register_thread("main").expect("a ring is free");
        drop(measure(Trading::OrderPlacement));
        collector.flush();
        let check = || {
            for event in [Trading::OrderPlacement, Trading::QueueBacklog] {
                let has_limit = collector.report().sla.iter().any(|limit| {
                    limit.event == collector.report().event(event).expect("it exists").name
                });
                let is_child = !collector.health().has_drain;
                assert_eq!(collector.breached(event), has_limit && is_child, "{event:?}");
            }
        };
        assert!(collector.health().has_drain);
        check();
        in_child(|| {
            assert!(!collector.health().has_drain);
            assert!(!collector.report().health.has_drain);
            check();
            drop(measure(Trading::OrderPlacement));
            thread::spawn(|| record_value(Trading::QueueBacklog, 1)).join().expect("no panic");
            assert_eq!(collector.health().unregistered, 3, "installed: {is_installed}");
        });
        collector.stop();
        assert_eq!(collector.health().produced, 2);
        assert!(!collector.health().has_drain);
        check();
    }
}

pub(crate) fn a_child_drops_a_reporter_a_probe_and_a_trace() {
    let directory = std::env::temp_dir().join(format!("tailwatch-fork-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("the directory can be created");
    let [trace_path, reports] = ["trace.csv", "reports.json"].map(|name| directory.join(name));
    let trace = TraceWriter::new(fs::File::create(&trace_path).expect("it can be created"));
    let collector = builder().observer(trace.observer()).start().expect("the settings are valid");
    let reporter = Reporter::json_lines(
        &collector,
        Duration::from_millis(1),
        fs::File::create(&reports).expect("it can be created"),
    );
    let probe = HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1));
    let (reporter, probe) = (reporter.expect("it starts"), probe.expect("it starts"));
    collector.register_thread("main").expect("a ring is free");
    for _ in 0..100 {
        drop(measure(Trading::OrderPlacement));
    }
    collector.flush();
    let (mut held, mut copy) = (Some((reporter, probe)), Some(trace.clone()));
    for round in 0..20 {
        in_child(|| {
            if round % 2 == 0 {
                let (reporter, probe) = held.take().expect("the parent has them");
                let _ = reporter.stop();
                probe.stop();
                // The rows in the buffer are those of the parent.
                let _ = trace.finish();
            }
            drop((held.take(), copy.take()));
        });
    }
    let (reporter, probe) = held.expect("the parent has not dropped them");
    probe.stop();
    collector.stop();
    reporter.stop().expect("the file can be written");
    trace.finish().expect("the file can be written");
    let rows = fs::read_to_string(&trace_path).expect("it can be read");
    assert_eq!(rows.lines().filter(|row| row.starts_with("order_placement,")).count(), 200);
    let reports = fs::read_to_string(&reports).expect("it can be read");
    for line in reports.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is one report");
    }
    fs::remove_dir_all(directory).expect("it can be removed");
}

/// An observer that writes what it has kept when it is dropped, as a buffered file does.
struct WritesAtTheEnd(fs::File);

impl Drop for WritesAtTheEnd {
    fn drop(&mut self) {
        self.0.write_all(b"x").expect("the file can be written");
    }
}

pub(crate) fn a_child_drops_a_collector_whose_observer_has_a_file() {
    let path = std::env::temp_dir().join(format!("tailwatch-fork-{}.txt", std::process::id()));
    let kept = WritesAtTheEnd(fs::File::create(&path).expect("it can be created"));
    let collector = builder().manual_drain().observer(move |_| drop(kept.0.metadata())).start();
    let mut collector = Some(collector.expect("the settings are valid"));
    in_child(|| drop(collector.take()));
    assert_eq!(fs::read_to_string(&path).expect("it can be read"), "");
    drop(collector);
    assert_eq!(fs::read_to_string(&path).expect("it can be read"), "x");
    fs::remove_file(path).expect("it can be removed");
}

/// Other threads of the parent have locks that the rest of the pass would take.
pub(crate) fn a_hook_forks_while_the_program_changes_the_sampling() {
    let pids = Arc::new(Mutex::new(Vec::new()));
    let children = Arc::clone(&pids);
    let started = builder().observer(move |_| {
        // SAFETY: as in `in_child`. The child returns into the pass, and its thread then ends.
        let pid = unsafe { libc::fork() };
        if pid != 0 {
            children.lock().expect("no panic").push(pid);
        }
    });
    let started = started.start().expect("the settings are valid");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let rate = started.set_sampling_rate(Trading::OrderFill, 0.5);
                rate.expect("the rate is valid");
            }
        });
        started.register_thread("main").expect("a ring is free");
        for n in 0..50 {
            record_value(Trading::QueueBacklog, n as u64);
            // Not by a flush, which would run the observer on this thread.
            while pids.lock().expect("no panic").len() <= n {
                thread::sleep(Duration::from_micros(100));
            }
        }
        is_over.store(true, Relaxed);
    });
    started.stop();
    for pid in pids.lock().expect("no panic").iter() {
        await_child(*pid);
    }
}

pub(crate) fn a_hook_forks() {
    let pids = Arc::new(Mutex::new(Vec::new()));
    let children = Arc::clone(&pids);
    let mut rounds = 0;
    let collector = builder().observer(move |_| {
        rounds += 1;
        // SAFETY: as in `in_child`.
        let pid = unsafe { libc::fork() };
        if pid != 0 {
            children.lock().expect("no panic").push(pid);
        } else if rounds == 1 {
            let passed = std::panic::catch_unwind(|| {
                // The child may go on with a collector of its own.
                let own = builder().start().expect("the settings are valid");
                own.register_thread("child").expect("a ring is free");
                record_value(Trading::QueueBacklog, 1);
                own.flush();
                assert_eq!(own.health().delivered, 1);
            });
            if passed.is_err() {
                // SAFETY: the function does not return.
                unsafe { libc::_exit(1) };
            }
        }
        // Else the child returns into the pass. Nobody drains there, so the thread ends, which is
        // the only one of the child.
    });
    let collector = collector.start().expect("the settings are valid");
    collector.register_thread("main").expect("a ring is free");
    record_value(Trading::QueueBacklog, 1);
    record_value(Trading::QueueBacklog, 2);
    collector.stop();
    let children = pids.lock().expect("no panic");
    assert_eq!(children.len(), 2);
    for pid in &*children {
        await_child(*pid);
    }
}
