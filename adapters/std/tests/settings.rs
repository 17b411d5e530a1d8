//! Settings from the program, a file and the environment: their precedence, errors and effects.

mod support;

use core::{error::Error as _, time::Duration};
use std::{
    fs,
    path::{Path, PathBuf},
};

use support::{Log, Tally, assert_accounted, in_own_process, in_thread, in_turn};
use tailwatch::{
    BuildError, Builder, ClockMode, ClockSetting, Collector, DrainPriority, Event, EventInfo,
    Limit, Origin, Quantile, Sampling, SettingsError, SettingsProblem, Threshold, Trading,
    WindowSpec, measure, parse_limits, record_duration, record_value,
};

const NO_VARIABLES: [(&str, &str); 0] = [];

/// Returns a builder that ignores the environment of the test run.
fn builder() -> Builder {
    Collector::builder().ignore_environment()
}

/// Writes a configuration file into the target directory and returns its path. `name` distinguishes
/// the files of the tests.
fn config(name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("settings-{name}.toml"));
    fs::write(&path, text).expect("the target directory can be written to");
    path
}

#[track_caller]
fn refused(builder: Builder) -> SettingsError {
    match builder.start().expect_err("the settings are invalid") {
        BuildError::Settings(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn environment_overrides_file_overrides_builder_overrides_default() {
    let path = config("precedence", "[tailwatch]\nrings = 3\nexact_samples = 30\n");
    let variables = [("TAILWATCH_RINGS", "4")];
    let in_code = || Collector::builder().rings(2).exact_samples(20).ring_capacity(64);
    let file = |line| Origin::File { path: path.clone(), line };
    let environment = Origin::Environment { variable: "TAILWATCH_RINGS".to_owned() };
    for (builder, rings, samples) in [
        (builder(), (1_024, Origin::Default), (512, Origin::Default)),
        (in_code().environment(NO_VARIABLES), (2, Origin::Builder), (20, Origin::Builder)),
        (in_code().config_file(&path).environment(NO_VARIABLES), (3, file(2)), (30, file(3))),
        (
            in_code().config_file(&path).environment(variables),
            (4, environment.clone()),
            (30, file(3)),
        ),
        // The order of the calls does not matter.
        (
            Collector::builder().environment(variables).config_file(&path).rings(2),
            (4, environment.clone()),
            (30, file(3)),
        ),
        (in_code().environment(variables), (4, environment), (20, Origin::Builder)),
    ] {
        let collector = builder.start().unwrap();
        let settings = collector.settings();
        assert_eq!((settings.rings.value, settings.rings.origin.clone()), rings);
        assert_eq!((settings.exact_samples.value, settings.exact_samples.origin.clone()), samples);
    }
}

#[test]
fn the_variable_for_the_file_overrides_the_program() {
    let (of_program, of_operator) = (
        config("of-program", "[tailwatch]\nrings = 3\nenabled = false"),
        config("of-operator", "[tailwatch]\nrings = 5"),
    );
    let collector = Collector::builder()
        .config_file(of_program)
        .environment([("TAILWATCH_CONFIG", &of_operator)])
        .start()
        .unwrap();
    assert_eq!(collector.settings().rings.value, 5);
    assert!(collector.settings().enabled.value, "the other file is not read");
    assert_eq!(collector.settings().config_file.value.as_deref(), Some(&*of_operator));
}

#[test]
fn settings_of_the_file_take_effect() {
    // Another test of this program reads another clock.
    in_own_process("settings_of_the_file_take_effect", check_settings_of_the_file);
}

fn check_settings_of_the_file() {
    let path = config(
        "in-force",
        "[tailwatch]\nrings = 1\nring_capacity = 1024\nwindows = ['10s/5', '2s/4']\n\
         clock = 'monotonic'\nenabled = false\n",
    );
    let collector = builder().clock_mode(ClockMode::Relaxed).config_file(path).start().unwrap();
    collector.install().unwrap();
    let memory = collector.memory_bytes();
    in_thread("recorder", || record_value(Trading::QueueBacklog, 1));
    let report = collector.report();
    assert!(!report.health.enabled);
    assert_eq!(collector.settings().clock.value, ClockSetting::Monotonic);
    let clock = report.clock.as_ref().unwrap();
    assert_eq!((clock.source.to_string().as_str(), clock.ordered), ("monotonic", true));
    let windows: Vec<_> =
        report.events[0].windows.iter().map(|window| window.length.as_secs()).collect();
    assert_eq!(windows, [2, 10]);
    collector.set_enabled(true);
    in_thread("recorder", || record_value(Trading::QueueBacklog, 2));
    collector.stop();
    assert_eq!(
        collector.total(Trading::QueueBacklog).unwrap().map(|total| (total.count, total.min)),
        Some((1, 2))
    );
    // 1,024 records of 16 bytes; the default would be 256 KiB.
    let default = builder().rings(1).monotonic_clock().start().unwrap();
    assert!(memory < default.memory_bytes());
}

#[test]
fn a_limit_of_the_file_leaves_all_others_armed() {
    let _turn = in_turn();
    let path = config(
        "limits",
        "[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\nlimit = '12ms'\n\n\
         [[sla]]\nevent = 'order_fill'\nmax_silence = '50ms'\n",
    );
    let in_code = Limit::Quantile(Threshold::duration(Quantile::P99, Duration::from_millis(15)));
    let limits = [(Trading::OrderPlacement.id(), in_code)];
    let collector = builder().limits(&limits).config_file(&path).start().unwrap();
    let declared =
        |event: &EventInfo| event.limits.len() + usize::from(event.max_silence.is_some());
    let declared: usize = Trading::ALL.iter().map(declared).sum();
    // Two replaced ones, and one more.
    assert_eq!(collector.report().sla.len(), declared + 1);
    let explained = collector.explain();
    let path = path.display();
    for line in [
        format!("  order_placement p95 over 60 s: at most 12.0 ms (file {path}:1)\n"),
        "  order_placement p99 over 60 s: at most 15.0 ms (builder)\n".to_owned(),
        format!("  order_fill: at most 50.0 ms without a record (file {path}:6)\n"),
        "  candle_processing p95 over 60 s: at most 50.0 ms (declared)\n".to_owned(),
        format!("  order_placement p95 over 60 s: at most 20.0 ms (declared), by file {path}:1\n"),
        "  order_placement p99 over 60 s: at most 50.0 ms (declared), by builder\n".to_owned(),
    ] {
        assert!(explained.contains(&line), "{line}{explained}");
    }
    collector.register_thread("main").unwrap();
    record_duration(Trading::CandleProcessing, Duration::from_secs(1));
    collector.flush();
    assert!(collector.breached(Trading::CandleProcessing), "declared with the event");
    assert!(!collector.breached(Trading::OrderPlacement));
    record_duration(Trading::OrderPlacement, Duration::from_millis(13));
    collector.flush();
    assert!(collector.breached(Trading::OrderPlacement));

    // Limits that are set at run time are listed as such.
    let at_run_time = Limit::Silence(Duration::from_millis(70));
    collector.set_limits(Trading::OrderPlacement, &[in_code, at_run_time]).unwrap();
    let explained = collector.explain();
    let line = "  order_placement: at most 70.0 ms without a record (after the start)\n";
    assert!(explained.contains(line) && !explained.contains("at most 12.0 ms"));
}

#[test]
fn a_limit_of_the_file_can_drop_the_others_of_its_event() {
    let _turn = in_turn();
    let path = config(
        "replace",
        "[[sla]]\nevent = 'order_placement'\nquantile = 'p50'\nlimit = '10ms'\nreplace = true\n",
    );
    let collector = builder().config_file(&path).start().unwrap();
    let of_order = |event: &str| collector.report().sla.iter().filter(|l| l.event == event).count();
    assert_eq!((of_order("order_placement"), of_order("candle_processing")), (1, 2));
}

#[test]
fn a_file_may_have_thousands_of_limits() {
    const LIMITS: usize = 14_000;
    let _turn = in_turn();
    let events = ["order_placement", "order_fill"];
    let table = |n: usize| {
        let event = events[n % events.len()];
        format!("[[sla]]\nevent = '{event}'\nquantile = 'p90'\nlimit = '{}us'\n", n + 1)
    };
    let path = config("thousands", (0..LIMITS).map(table).collect::<String>());
    let collector = builder().manual_drain().config_file(&path).start().unwrap();
    assert_eq!(collector.report().sla.len(), LIMITS + 8);
    collector.register_thread("main").unwrap();
    record_duration(Trading::OrderFill, Duration::from_millis(10));
    collector.flush();
    let violated = collector.sla_violations(Duration::from_mins(1)).unwrap().len();
    // Those of 2, 4 … 9,998 µs.
    assert_eq!(violated, 4_999);
}

#[test]
fn main_prints_the_message_of_an_error_that_it_returns() {
    let path = config("typo", "[tailwatch]\nring_capacity = 100\n");
    let error = builder().config_file(&path).start().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    let refused = refused(Collector::builder().environment([("TAILWATCH_RINGS", "many")]));
    assert_eq!(format!("{refused:?}"), refused.to_string());
    let error = parse_limits("[[sla]]", Trading::ALL).unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn with_over_512_events_fewer_samples_are_kept_unless_a_number_is_set() {
    for (builder, samples) in [
        (builder().max_events(512), "512 (default)"),
        (builder().max_events(513), "128 (default)"),
        (builder().max_events(513).exact_samples(512), "512 (builder)"),
    ] {
        let settings = builder.settings().unwrap().exact_samples;
        assert!(samples.starts_with(&settings.value.to_string()), "{settings:?}");
        let explained = builder.start().unwrap().explain();
        assert!(explained.contains(&format!("exact_samples = {samples}")), "{explained}");
    }
}

#[test]
fn sampling_of_the_file_takes_effect() {
    let path = config("sampling", "[[sampling]]\nevent = 'order_fill'\nrate = 0.25\n");
    let collector = builder()
        .sampling(Trading::OrderFill, Sampling::Rate(0.5))
        .config_file(path)
        .start()
        .unwrap();
    assert_eq!(
        collector.health().sampling.into_iter().collect::<Vec<_>>(),
        [("order_fill".to_owned(), 0.25)]
    );
    assert!(
        collector.explain().contains("sampling: order_fill: a share of 0.25, now 1 in 4 ("),
        "{}",
        collector.explain()
    );
    collector.set_sampling_rate(Trading::OrderFill, 0.5).unwrap();
    assert!(
        collector.explain().contains("now 1 in 2 (set at run time)"),
        "{}",
        collector.explain()
    );
}

#[test]
fn the_error_for_a_value_out_of_range_names_its_origin() {
    let path = config("impossible", "[tailwatch]\nmax_period = '1us'\n");
    let error = refused(builder().config_file(&path));
    assert_eq!(error.origin, Origin::File { path: path.clone(), line: 2 });
    let message = error.to_string();
    assert!(
        message.contains(
            "settings-impossible.toml:2: `max_period`: the longest poll interval is 1µs; "
        ),
        "{message}"
    );
    assert!(message.contains("`max_period` must be 1ms to 3600s"), "{message}");

    for (name, value, parts) in [
        ("RING_CAPACITY", "1000", ["1000 records", "power of two"]),
        ("RINGS", "0", ["0 rings", "at least 1"]),
        ("EXACT_SAMPLES", "1000000", ["1000000", "maximum is 65536"]),
        ("DRAIN_CORE", "98765", ["no core 98765", "the available cores are ["]),
        ("WINDOWS", "1s/7", ["7", "1s"]),
        ("WINDOWS", "1s/10,1s/5", ["1s", "two windows"]),
        ("RING_CAPACITY", "4611686018427387904", ["4611686018427387904", "records"]),
    ] {
        let variable = format!("TAILWATCH_{name}");
        let error = refused(Collector::builder().environment([(&variable, value)]));
        assert!(matches!(error.problem, SettingsProblem::Rejected { .. }), "{error:?}");
        let message = error.to_string();
        let start = format!("{variable}: `{}`: ", name.to_lowercase());
        assert!(message.starts_with(&start), "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn the_error_for_a_misspelt_key_suggests_the_right_one() {
    let path = config("wrong", "[tailwatch]\n\nclok = 'relaxed'\n");
    let message = refused(builder().config_file(&path)).to_string();
    assert!(
        message.ends_with(
            "settings-wrong.toml:3: unknown key \"clok\" in [tailwatch]; did you mean \"clock\"?"
        ),
        "{message}"
    );
    let error = refused(Collector::builder().environment([("TAILWATCH_DRAIN_CORES", "1")]));
    assert_eq!(
        error.to_string(),
        "TAILWATCH_DRAIN_CORES: unknown variable; did you mean TAILWATCH_DRAIN_CORE?"
    );
    assert!(builder().start().is_ok(), "an ignored environment causes no error");
}

#[test]
fn the_error_for_an_unreadable_file_names_its_path_and_origin() {
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings-missing.toml");
    let error = refused(builder().config_file(&missing));
    assert_eq!(error.origin, Origin::Builder);
    assert!(
        matches!(&error.problem, SettingsProblem::Unreadable { path, .. } if *path == missing),
        "{error:?}"
    );
    assert!(error.to_string().contains("settings-missing.toml cannot be read: "), "{error}");
    assert!(error.source().is_some());

    let error = refused(Collector::builder().environment([("TAILWATCH_CONFIG", &missing)]));
    assert!(error.to_string().starts_with("TAILWATCH_CONFIG: the configuration file "), "{error}");
}

/// A pipe that nobody writes to, a directory, an endless device and a socket: reading from the
/// first would block, and reading from the device would not end.
#[cfg(unix)]
#[test]
fn a_configuration_that_is_not_a_regular_file_is_refused() {
    use std::{os::unix::net::UnixListener, process::Command};

    use support::without_hanging;

    without_hanging(|| {
        let folder = std::env::temp_dir().join(format!("tailwatch-config-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (pipe, socket, link) =
            (folder.join("pipe"), folder.join("socket"), folder.join("link"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let listener = UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, found) in [
            (&pipe, "a pipe"),
            (&link, "a pipe"),
            (&socket, "a socket"),
            (&folder, "a directory"),
            (&PathBuf::from("/dev/zero"), "a device"),
        ] {
            let error = refused(Collector::builder().environment([("TAILWATCH_CONFIG", path)]));
            let expected = format!(
                "TAILWATCH_CONFIG: the configuration file {} is {found}; write the settings to a \
                 regular file",
                path.display()
            );
            assert_eq!(error.to_string(), expected);
            assert!(matches!(error.problem, SettingsProblem::NotAFile { .. }), "{error:?}");
        }
        drop(listener);
        fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let mut text = vec![b'#'; 1 << 20];
    let path = config("too-large", &text);
    assert!(builder().rings(1).config_file(path).start().is_ok(), "1 MiB is allowed");
    text.push(b'#');
    let error = refused(builder().config_file(config("too-large", &text)));
    assert!(
        matches!(
            error.problem,
            SettingsProblem::TooLarge { bytes: 1_048_577, most: 1_048_576, .. }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(
            "too-large.toml is too large: it has 1048577 bytes, and the maximum is 1048576"
        ),
        "{error}"
    );
}

#[test]
fn without_a_drain_thread_nothing_is_delivered_until_drain_is_called() {
    let _turn = in_turn();
    let log = Log::default();
    // A ring of 16 records is drained early once it has 4.
    let collector =
        builder().ring_capacity(16).manual_drain().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let record = |from: u64, to: u64| {
        in_thread("recorder", move || {
            for value in from..to {
                record_value(Trading::QueueBacklog, value);
            }
        });
    };
    record(0, 4);
    assert_eq!(log.count(), 0);
    let rest = collector.drain();
    assert_eq!(log.count(), 4);
    assert!(rest <= Duration::from_millis(4), "{rest:?}");
    record(4, 6);
    assert_eq!(log.count(), 4);
    collector.flush();
    assert_eq!(log.count(), 6);
    assert_eq!(collector.total(Trading::QueueBacklog).unwrap().map(|total| total.count), Some(6));
    record(6, 9);
    collector.stop();
    assert_accounted(&collector, 9, log.count());
    assert_eq!(log.count(), 9);
    record_value(Trading::QueueBacklog, 10);
    assert_eq!(collector.health().unregistered, 1);
    assert_eq!(collector.drain(), Duration::from_millis(4), "nothing more will be recorded");
    collector.flush();
    collector.stop();
    assert_eq!(log.count(), 9);
}

#[test]
fn dropping_a_collector_without_a_drain_thread_stops_it() {
    let _turn = in_turn();
    let tally = Tally::default();
    let collector = builder().manual_drain().observer(tally.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(Trading::OrderFill));
    drop(collector);
    assert_eq!(tally.count(), 2);
}

#[test]
fn a_hook_may_stop_a_collector_without_a_drain_thread() {
    use std::sync::{Arc, OnceLock};

    let _turn = in_turn();
    let collector: Arc<OnceLock<Collector>> = Arc::default();
    let tally = Tally::default();
    let in_hook = Arc::clone(&collector);
    let limit = Limit::Quantile(Threshold::value(Quantile::MAX, 5));
    let started = builder()
        .manual_drain()
        .limits(&[(Trading::QueueBacklog.id(), limit)])
        .observer(tally.observer())
        .on_sla_change(move |_| {
            let collector = in_hook.get().expect("set before anything is recorded");
            // Recorded during this pass, so the last pass delivers it.
            record_value(Trading::QueueBacklog, 1);
            assert_eq!(collector.drain(), Duration::ZERO, "a hook cannot start another pass");
            collector.stop();
        })
        .start()
        .unwrap();
    let collector = collector.get_or_init(|| started);
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 6);
    collector.flush();
    assert_eq!(tally.count(), 2);
    assert!(collector.explain().contains("recording: stopped"), "{}", collector.explain());
    assert_eq!(collector.health().observer_panics, 0);
    assert_accounted(collector, 2, tally.count());
}

#[test]
fn a_core_or_priority_without_a_drain_thread_is_refused() {
    let variables = [("TAILWATCH_DRAIN_PRIORITY", "idle")];
    let error = refused(Collector::builder().manual_drain().environment(variables));
    assert!(
        matches!(error.problem, SettingsProblem::NoDrainThread { key: "drain_priority", .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("`manual_drain` (builder)"), "{error}");
    let error = refused(builder().drain_core(0).manual_drain());
    assert_eq!(error.origin, Origin::Builder);
    // The environment may turn the drain thread on again.
    let collector = Collector::builder()
        .manual_drain()
        .environment([("TAILWATCH_MANUAL_DRAIN", "false")])
        .start()
        .unwrap();
    assert!(collector.explain().contains("drain: a thread on the cores "), "{collector:?}");
}

#[test]
fn the_drain_runs_at_the_requested_priority_or_start_fails() {
    let _turn = in_turn();
    for priority in [DrainPriority::Inherited, DrainPriority::Normal, DrainPriority::Idle] {
        let tally = Tally::default();
        match builder().drain_priority(priority).observer(tally.observer()).start() {
            Ok(collector) => {
                collector.register_thread("main").unwrap();
                drop(measure(Trading::OrderFill));
                collector.stop();
                assert_accounted(&collector, 2, tally.count());
                assert!(
                    collector.explain().contains(&format!("priority {priority}")),
                    "{}",
                    collector.explain()
                );
            }
            Err(error @ BuildError::Priority { .. }) => {
                assert_ne!(priority, DrainPriority::Inherited);
                assert!(error.to_string().contains(&priority.to_string()), "{error}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn rings_are_locked_or_the_error_names_the_limit_to_raise() {
    let _turn = in_turn();
    match builder().mlock(true).rings(2).start() {
        Ok(collector) => {
            collector.register_thread("main").unwrap();
            drop(measure(Trading::OrderFill));
            collector.flush();
            assert_eq!(collector.health().delivered, 2);
            assert!(collector.explain().contains(" MiB, locked\n"), "{}", collector.explain());
            #[cfg(target_os = "linux")]
            assert!(locked_kib() >= 2 * 256, "two rings of 256 KiB are locked");
        }
        Err(error @ BuildError::Lock { bytes, .. }) => {
            assert!(bytes > 2 * 16 * 16_384);
            for part in ["RLIMIT_MEMLOCK", "ulimit -l", &bytes.to_string()] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Returns the locked memory of this process in KiB, as the kernel reports it.
#[cfg(target_os = "linux")]
fn locked_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .expect("every process has a VmLck line");
    line.trim().trim_end_matches(" kB").parse().expect("VmLck is a number")
}

#[test]
fn the_explanation_names_each_setting_and_its_origin() {
    let path = config("explained", "[tailwatch]\nexact_samples = 100\nmax_period = '50ms'\n");
    let collector = Collector::builder()
        .windows(&[WindowSpec::new(Duration::from_secs(2), 4)])
        .rings(2)
        .config_file(&path)
        .environment([("TAILWATCH_RING_CAPACITY", "1024"), ("TAILWATCH_CLOCK", "relaxed")])
        .start()
        .unwrap();
    let explained = collector.explain();
    let file = path.display();
    for line in [
        "  ring_capacity = 1024 (TAILWATCH_RING_CAPACITY)".to_owned(),
        "  rings = 2 (builder)".to_owned(),
        "  clock = relaxed (TAILWATCH_CLOCK)".to_owned(),
        format!("  exact_samples = 100 ({file}:2)"),
        "  drain_core = none (default)".to_owned(),
        "  drain_priority = inherited (default)".to_owned(),
        "  manual_drain = false (default)".to_owned(),
        "  mlock = false (default)".to_owned(),
        format!("  max_period = 50ms ({file}:3)"),
        "  windows = 2s/4 (builder)".to_owned(),
        "  enabled = true (default)".to_owned(),
        format!("  config_file = {file} (builder)"),
        "sampling: everything is recorded".to_owned(),
        "recording: on".to_owned(),
    ] {
        assert!(explained.lines().any(|found| found == line), "{line:?} is not in\n{explained}");
    }
    let drain = explained.lines().find(|line| line.starts_with("drain: ")).unwrap();
    assert!(drain.starts_with("drain: a thread on the cores "), "{drain}");
    assert!(drain.ends_with(", which the process may use, priority inherited"), "{drain}");
    // (1,024 − 64) / 2 spans in 50 ms.
    for line in [
        "sizing: up to 2 threads can record at once; each begins with a ring of 1024 records",
        "sizing: such a ring takes 9600 spans per second without a loss while the drain pauses for \
         50ms",
        "sizing: a ring that is too small grows to up to 262144 records",
    ] {
        assert!(explained.lines().any(|found| found == line), "{line:?} is not in\n{explained}");
    }
    let clock = collector.report().clock.unwrap();
    assert!(explained.contains(&format!("clock: {}, ", clock.source)), "{explained}");
    assert!(explained.contains(&format!("{} Hz", clock.hz)), "{explained}");
    for word in ["limits: ", "(declared)", "cost: ", "memory: ", "cores: "] {
        assert!(explained.contains(word), "{word:?} is not in\n{explained}");
    }
    collector.stop();
    assert!(collector.explain().contains("recording: stopped"));
}
