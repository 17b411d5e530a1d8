//! Shared files on a kernel that cannot populate pages by `madvise`: Linux before 5.14.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod support;

use std::{env, fs, thread};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use support::{Scratch, in_turn, print_notice};
use tailwatch::{
    Collector, Trading, record_value,
    shared::{SharedFile, SharedReader},
};

/// Makes `madvise` answer this thread, and those that it starts, as an old kernel does. Returns
/// `false` if this machine refuses the filter.
fn forget_populate() -> bool {
    let advice = |number| {
        let condition =
            SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    };
    let numbers = [libc::MADV_POPULATE_READ, libc::MADV_POPULATE_WRITE];
    let rules = numbers.map(|number| advice(u64::try_from(number).unwrap())).to_vec();
    let filter: BpfProgram = SeccompFilter::new(
        [(libc::SYS_madvise, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(u32::try_from(libc::EINVAL).unwrap()),
        env::consts::ARCH.try_into().expect("seccompiler supports this architecture"),
    )
    .and_then(TryInto::try_into)
    .expect("the filter compiles");
    seccompiler::apply_filter(&filter).is_ok()
}

#[test]
fn a_file_is_shared_and_read_without_populating_pages() {
    let _turn = in_turn();
    let run = || {
        if !forget_populate() {
            print_notice("SKIPPED: this machine does not let a thread install a seccomp filter");
            return;
        }
        let scratch = Scratch::new();
        let share = scratch.path("bot");
        let collector = Collector::builder()
            .ignore_environment()
            .share(share.to_str().unwrap())
            .start()
            .unwrap();
        collector.register_thread("recorder").unwrap();
        (0..100).for_each(|n| record_value(Trading::QueueBacklog, n));
        let path = fs::read_dir(scratch.directory()).unwrap().next().unwrap().unwrap().path();
        let mut reader = SharedReader::from_oldest(SharedFile::open(path).unwrap()).unwrap();
        reader.pass().unwrap();
        let total = reader.report().event(Trading::QueueBacklog).unwrap().total.clone();
        assert_eq!(total.map(|total| total.summary.count), Some(100));
    };
    thread::spawn(run).join().unwrap();
}
