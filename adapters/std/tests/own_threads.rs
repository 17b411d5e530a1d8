//! The threads of the library leave the signals and the cores of the program alone.
//!
//! This program has no test harness, whose threads would take the signals, and whose main thread
//! would not be pinned.

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    linux::a_pinned_thread_starts_a_collector();
    println!("a_pinned_thread_starts_a_collector: ok");
    linux::a_program_waits_for_a_signal_that_it_blocks_after_the_start();
    println!("a_program_waits_for_a_signal_that_it_blocks_after_the_start: ok");
}

#[cfg(target_os = "linux")]
mod linux {
    use core::time::Duration;
    use std::{fs, io};

    use nix::{
        sys::signal::{SigSet, Signal, kill},
        unistd::Pid,
    };
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use tailwatch::{BuildError, Builder, Collector, HiccupProbe, Reporter, TraceWriter, Trading};

    fn builder() -> Builder {
        Collector::builder().ignore_environment()
    }

    /// Starts every kind of thread that the library has.
    fn start_all() -> (Collector, Reporter, HiccupProbe) {
        let trace = TraceWriter::new(io::sink());
        let collector = builder().observer(trace.observer()).start().expect("valid settings");
        let every = Duration::from_secs(1);
        let reporter = Reporter::json_lines(&collector, every, io::sink()).expect("it starts");
        let probe = HiccupProbe::start(&collector, Trading::GcPause, every).expect("it starts");
        (collector, reporter, probe)
    }

    /// Returns the value of `key` in the status of each thread of the library, with its name.
    fn statuses(key: &str) -> Vec<(String, String)> {
        let mut statuses = Vec::new();
        for entry in fs::read_dir("/proc/self/task").expect("Linux has it") {
            let path = entry.expect("it can be read").path();
            let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
            let name = read("comm").trim().to_owned();
            if name.starts_with("tailwatch") || name == "hiccup" {
                let status = read("status");
                let line = status.lines().find_map(|line| line.strip_prefix(key));
                statuses
                    .push((name, line.unwrap_or_default().trim_matches([':', '\t']).to_owned()));
            }
        }
        statuses
    }

    /// Runs before any other thread exists, so that the program seems to be confined to one core.
    pub(crate) fn a_pinned_thread_starts_a_collector() {
        let may_use = sched_getaffinity(None).expect("it can be read");
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| may_use.is_set(*core)).collect();
        let mut hot = CpuSet::new();
        hot.set(cores[0]);
        sched_setaffinity(None, &hot).expect("the thread may use the core");

        let all = start_all();
        let of_threads = statuses("Cpus_allowed");
        assert!(of_threads.len() >= 3, "{of_threads:?}");
        let main = fs::read_to_string("/proc/self/status").expect("Linux has it");
        let main = main.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"));
        assert!(sched_getaffinity(None).expect("it can be read") == hot, "the program's own");
        for (name, allowed) in of_threads {
            let is_hot = Some(&*allowed) == main.map(str::trim);
            assert_eq!(is_hot, cores.len() == 1, "{name} may use {allowed}");
        }
        let explained = all.0.explain();
        let listed: Vec<_> = cores.iter().map(usize::to_string).collect();
        let expected = format!("drain: a thread on the cores {}, ", listed.join(", "));
        assert!(explained.contains(&expected), "{explained}");
        drop(all);

        let last = *cores.last().expect("there is one");
        let collector = builder().drain_core(last).start().expect("the process may use the core");
        let mut pinned = CpuSet::new();
        pinned.set(last);
        let explained = collector.explain();
        assert!(explained.contains(&format!("pinned to core {last} (builder)")), "{explained}");
        drop(collector);
        match builder().drain_core(4_000).start() {
            Err(BuildError::NoSuchCore { core: 4_000, available }) => {
                assert!(cores.iter().all(|core| available.contains(core)), "{available:?}");
            }
            other => panic!("{other:?}"),
        }
        sched_setaffinity(None, &may_use).expect("the thread may use the cores");
    }

    pub(crate) fn a_program_waits_for_a_signal_that_it_blocks_after_the_start() {
        let all = start_all();
        let mut waited_for = SigSet::empty();
        waited_for.add(Signal::SIGTERM);
        waited_for.thread_block().expect("the set is valid");
        for _ in 0..50 {
            // If any thread took the signal, the process would end.
            kill(Pid::this(), Signal::SIGTERM).expect("a process may signal itself");
            assert_eq!(waited_for.wait(), Ok(Signal::SIGTERM));
        }
        for (name, blocked) in statuses("SigBlk") {
            let blocked = u64::from_str_radix(&blocked, 16).expect("it is a number");
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
                assert!(blocked & (1 << (signal as i32 - 1)) != 0, "{name} takes {signal}");
            }
        }
        drop(all);
    }
}
