//! Sharing the rings in a file: what is refused at the start, and which files stay.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use support::{Scratch, Tally, assert_accounted, in_thread, in_turn};
use tailwatch::{BuildError, Builder, Collector, ShareError, Trading, measure, record_value};

fn builder(scratch: &Scratch, name: &str) -> Builder {
    Collector::builder().ignore_environment().share(scratch.path(name).to_str().unwrap())
}

/// Returns the files in a directory, sorted by their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn refused(builder: Builder) -> ShareError {
    match builder.start().unwrap_err() {
        BuildError::Share(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let long = "x".repeat(65);
    for name in ["", " ", "a b", ".hidden", "a\n", "ü", "dir/", "\u{1b}[31m", &long] {
        let error = refused(Collector::builder().ignore_environment().share(name));
        let ShareError::Name { name: named } = &error else { panic!("{name:?}: {error}") };
        assert!(name.ends_with(&**named));
        let message = error.to_string();
        assert!(message.contains("such as \"bot\"") && !message.contains('\u{1b}'), "{message}");
    }
}

#[test]
fn a_file_that_is_too_small_or_too_large_is_refused_with_the_size_that_is_needed() {
    let scratch = Scratch::new();
    let error = refused(builder(&scratch, "bot").share_bytes(1 << 16));
    let ShareError::TooSmall { share_bytes: 65_536, needed } = error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("set at least {needed}")), "{error}");
    builder(&scratch, "bot").share_bytes(needed).start().unwrap();
    let error = refused(builder(&scratch, "bot").share_bytes(1 << 60));
    assert!(matches!(error, ShareError::TooLarge { .. }), "{error}");
    assert!(files(scratch.directory()).is_empty());
}

#[test]
fn a_directory_that_is_missing_is_refused_or_the_collector_starts_without_sharing() {
    let scratch = Scratch::new();
    let error = refused(builder(&scratch, "missing/bot"));
    assert!(matches!(error, ShareError::File { .. }), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
    let collector = builder(&scratch, "missing/bot").share_optional(true).start().unwrap();
    assert_eq!(collector.health().not_shared.as_deref(), Some(error.to_string().as_str()));
    assert!(collector.explain().contains("shared: no: could not"), "{}", collector.explain());
    assert!(collector.report().to_string().contains("rings are not shared"));
}

#[test]
fn a_file_of_a_live_program_is_never_replaced() {
    let scratch = Scratch::new();
    let first = builder(&scratch, "bot").start().unwrap();
    let [path] = &files(scratch.directory())[..] else { panic!("one file") };
    let error = refused(builder(&scratch, "bot"));
    assert!(matches!(&error, ShareError::Taken { path: taken } if taken == path), "{error}");
    // Another name does not disturb it, even one that begins with the same letters.
    let second = builder(&scratch, "bot.2").start().unwrap();
    assert_eq!(files(scratch.directory()).len(), 2);
    drop(first);
    assert_eq!(files(scratch.directory()).len(), 1);
    drop(second);
    assert!(files(scratch.directory()).is_empty());
}

#[test]
fn a_reader_in_the_program_itself_does_not_make_it_seem_dead() {
    use tailwatch::shared::{FileState, SharedFile};

    let scratch = Scratch::new();
    let collector = builder(&scratch, "bot").start().unwrap();
    let [path] = &files(scratch.directory())[..] else { panic!("one file") };
    for _ in 0..3 {
        // Closing it would release a lock that belongs to the process.
        let file = SharedFile::open(path).unwrap();
        assert_eq!(file.state(), FileState::Live);
        assert!(file.heartbeat_age().unwrap() < core::time::Duration::from_mins(1));
    }
    drop(collector);
}

#[test]
fn a_stop_removes_the_file_unless_it_is_to_stay() {
    let scratch = Scratch::new();
    let collector = builder(&scratch, "bot").start().unwrap();
    let [path] = &files(scratch.directory())[..] else { panic!("one file") };
    assert!(path.file_name().unwrap().to_str().unwrap().starts_with("bot."));
    collector.stop();
    assert!(files(scratch.directory()).is_empty());

    let collector = builder(&scratch, "bot").keep_shared(true).start().unwrap();
    collector.stop();
    assert_eq!(files(scratch.directory()).len(), 1);
    // A file that the name no longer leads to is left alone.
    let collector = builder(&scratch, "other").start().unwrap();
    let [_, path] = &files(scratch.directory())[..] else { panic!("two files") };
    fs::rename(path, scratch.path("moved")).unwrap();
    fs::write(path, "somebody else's").unwrap();
    collector.stop();
    assert_eq!(fs::read_to_string(path).unwrap(), "somebody else's");
}

#[test]
fn the_newest_files_of_dead_programs_stay() {
    let scratch = Scratch::new();
    let mut dead = Vec::new();
    for number in 1..=6 {
        let collector = builder(&scratch, "bot").keep_shared(true).keep_crashed(9).start().unwrap();
        collector.stop();
        let name = |path: &PathBuf| path.to_str().unwrap().contains("bot.");
        let own =
            files(scratch.directory()).into_iter().find(|path| name(path) && !dead.contains(path));
        let renamed = scratch.path(&format!("bot.{number}.7"));
        fs::rename(own.unwrap(), &renamed).unwrap();
        dead.push(renamed);
    }
    // Neither of these is a file of a dead program of this name.
    for other in ["bot.1", "bot.1.x", "bots.1.7", "bot.8.7"] {
        fs::write(scratch.path(other), "x").unwrap();
    }
    let collector = builder(&scratch, "bot").start().unwrap();
    let left: Vec<_> = dead.iter().map(|path| path.exists()).collect();
    assert_eq!(left, [false, false, true, true, true, true]);
    assert_eq!(files(scratch.directory()).len(), 4 + 4 + 1);
    drop(collector);
    builder(&scratch, "bot").keep_crashed(0).start().unwrap();
    assert!(dead.iter().all(|path| !path.exists()));
}

#[test]
fn in_a_full_file_rings_go_on_outside_and_nothing_is_lost() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let tally = Tally::default();
    // Room for the tables and a few rings of 64 records.
    let collector = builder(&scratch, "bot")
        .ring_capacity(1_024)
        .max_ring_capacity(4_096)
        .share_bytes(820 << 10)
        .observer(tally.observer())
        .start()
        .unwrap();
    collector.install().unwrap();
    let threads: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(|| {
                for n in 0..10_000 {
                    record_value(Trading::QueueBacklog, n);
                    if n % 256 == 0 {
                        std::thread::yield_now();
                        std::thread::sleep(core::time::Duration::from_micros(200));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    collector.flush();
    let health = collector.health();
    assert_eq!(health.unregistered, 0, "{health:?}");
    assert!(health.hidden_threads > 0 && health.hidden_records > 0, "{health:?}");
    assert!(health.hidden_records < health.produced, "{health:?}");
    let explained = collector.explain();
    let shared = explained.lines().find(|line| line.starts_with("shared: ")).unwrap();
    assert!(shared.contains(&format!("with {} records", health.hidden_records)), "{shared}");
    collector.stop();
    assert_accounted(&collector, 160_000, tally.count());
}

#[test]
fn many_threads_that_come_and_go_share_few_rings() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let tally = Tally::default();
    let threads = std::env::var("TAILWATCH_TEST_THREADS").map_or(20_000, |n| n.parse().unwrap());
    let collector = builder(&scratch, "bot").observer(tally.observer()).start().unwrap();
    collector.install().unwrap();
    for n in 0..threads {
        in_thread("short", move || record_value(Trading::QueueBacklog, n));
    }
    collector.flush();
    let [path] = &files(scratch.directory())[..] else { panic!("one file") };
    let allocated = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512;
    let health = collector.health();
    println!("{threads} threads: {allocated} bytes, {health:?}");
    assert!(allocated <= 32 << 20, "{allocated}");
    assert_eq!((health.unregistered, health.hidden_records), (0, 0), "{health:?}");
    collector.stop();
    assert_accounted(&collector, threads, tally.count());
}

#[test]
fn a_span_may_be_open_when_a_sharing_collector_stops() {
    let _turn = in_turn();
    let scratch = Scratch::new();
    let collector = builder(&scratch, "bot").start().unwrap();
    collector.install().unwrap();
    let span = measure(Trading::OrderPlacement);
    collector.stop();
    drop(span);
    assert_eq!(collector.health().unregistered, 1);
}
