//! What a child process does to the shared file of its parent: nothing.

#![allow(unsafe_code, reason = "`fork`, `kill` and `waitpid`")]

use std::{
    fs,
    io::{Read, Write, pipe},
    path::PathBuf,
    thread,
};

use tailwatch::{
    Collector, Trading, measure,
    shared::{FileState, SharedFile},
};

use crate::{
    Check,
    child::{in_child, next_shared},
};

pub(crate) const CHECKS: [Check; 2] = [
    ("a_child_leaves_the_shared_file_alone", a_child_leaves_the_shared_file_alone),
    ("a_killed_parent_is_dead_although_its_child_lives", a_killed_parent_is_dead),
];

/// Starts a collector that shares its rings and makes no pass on its own. Returns the path of the
/// file as well.
fn start() -> (Collector, PathBuf) {
    let path = next_shared();
    let collector = Collector::builder()
        .ignore_environment()
        .share(path.to_str().expect("the path is text"))
        .manual_drain()
        .start()
        .expect("the settings are valid");
    let stat = fs::read_to_string("/proc/self/stat").expect("there is /proc");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let began = after_name.split_whitespace().nth(19).expect("a start time");
    let file = format!("{}.{}.{began}", path.display(), std::process::id());
    (collector, file.into())
}

fn a_child_leaves_the_shared_file_alone() {
    let (collector, path) = start();
    collector.install().expect("no other collector is installed");
    drop(measure(Trading::OrderPlacement));
    let mut collector = Some(collector);
    let before = fs::read(&path).expect("the file is there");
    in_child(|| {
        let copy = collector.as_ref().expect("the parent has not dropped it");
        drop(measure(Trading::OrderPlacement));
        copy.flush();
        copy.stop();
        thread::spawn(|| drop(measure(Trading::OrderFill))).join().expect("it does not panic");
        drop(collector.take());
    });
    assert!(fs::read(&path).expect("the file is there") == before, "no byte was changed");
    let file = SharedFile::open(&path).expect("the file is valid");
    assert_eq!(file.state(), FileState::Live);
    drop(collector);
    assert!(!path.exists(), "the stop of the parent removes the file");
}

/// The parent is a child of this process: it starts a collector, forks a child that waits, and is
/// killed.
fn a_killed_parent_is_dead() {
    let (mut of_parent, mut to_test) = pipe().expect("a pipe");
    let (mut wait, end_child) = pipe().expect("a pipe");
    // SAFETY: this process has no other thread.
    let parent = unsafe { libc::fork() };
    if parent == 0 {
        let (collector, path) = start();
        collector.install().expect("no other collector is installed");
        drop(measure(Trading::OrderPlacement));
        // SAFETY: as above; the collector has no thread.
        if unsafe { libc::fork() } == 0 {
            drop(end_child);
            drop(to_test);
            // Returns when the test has ended.
            let _ = wait.read(&mut [0]);
            // SAFETY: the function does not return.
            unsafe { libc::_exit(0) };
        }
        let line = format!("{}\n", path.display());
        to_test.write_all(line.as_bytes()).expect("the test reads");
        loop {
            thread::park();
        }
    }
    drop(to_test);
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        of_parent.read_exact(&mut byte).expect("the parent writes a line");
        line.extend(byte);
    }
    let path = PathBuf::from(String::from_utf8(line).expect("text").trim_end());
    let state = || SharedFile::open(&path).expect("the file is valid").state();
    assert_eq!(state(), FileState::Live);
    // SAFETY: the number is that of a child that was not waited for.
    unsafe { libc::kill(parent, libc::SIGKILL) };
    // SAFETY: the pointer may be null.
    unsafe { libc::waitpid(parent, core::ptr::null_mut(), 0) };
    assert_eq!(state(), FileState::Dead, "the child of the parent still lives");
    drop(end_child);
    fs::remove_file(path).expect("the file is there");
}
