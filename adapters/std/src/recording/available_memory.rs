//! How much memory the process may still take: the least of what the machine has available and of
//! what the control groups of the process leave.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs_core::{
    FromRead, Meminfo, ProcessCGroup, ProcessCGroups,
    process::{MountInfo, MountInfos},
};

/// Returns how many bytes this process may still take, or `None` where that is not known: on
/// systems other than Linux, and on Linux before 3.14.
pub(crate) fn available_bytes() -> Option<u64> {
    available(|path| fs::read_to_string(path).ok())
}

/// Returns the same from the files that `read` returns.
fn available(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = parse::<Meminfo>("/proc/meminfo", &read)?.mem_available?;
    let groups = parse::<ProcessCGroups>("/proc/self/cgroup", &read);
    let mounts = parse::<MountInfos>("/proc/self/mountinfo", &read);
    let left = groups.zip(mounts).and_then(|(groups, mounts)| {
        groups.0.iter().filter_map(|group| left_by(group, &mounts.0, &read)).min()
    });
    Some(left.map_or(machine, |left| left.min(machine)))
}

fn parse<T: FromRead>(path: &str, read: impl Fn(&Path) -> Option<String>) -> Option<T> {
    T::from_read(read(Path::new(path))?.as_bytes()).ok()
}

/// The names of what a control group says about memory.
struct Names {
    limits: &'static [&'static str],
    usage: &'static str,
    /// The key in `memory.stat` of the file pages that the kernel drops first.
    unused_cache: &'static str,
}

/// In control groups v1. Those that begin with `total_` include the groups below.
const V1: Names = Names {
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    unused_cache: "total_inactive_file",
};

/// In control groups v2. Above `memory.high`, the kernel stops the process again and again until it
/// has reclaimed memory, which a program that measures latencies cannot afford either.
const V2: Names = Names {
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    unused_cache: "inactive_file",
};

/// Returns how many bytes a control group and its ancestors leave, or `None` if none of them limits
/// memory, or none is mounted.
///
/// Ancestors above the mount point, which a container usually does not see, are not known.
fn left_by(
    group: &ProcessCGroup,
    mounts: &[MountInfo],
    read: impl Fn(&Path) -> Option<String>,
) -> Option<u64> {
    let is_v2 = group.controllers.is_empty();
    if !is_v2 && !group.controllers.iter().any(|name| name == "memory") {
        return None;
    }
    let (top, directory) = mounts.iter().find_map(|mount| {
        let is_mount_of_group = if is_v2 {
            mount.fs_type == "cgroup2"
        } else {
            mount.fs_type == "cgroup" && mount.super_options.contains_key("memory")
        };
        directory(group, mount).filter(|_| is_mount_of_group)
    })?;
    let names = if is_v2 { V2 } else { V1 };
    let up_to_top = directory.ancestors().take_while(|directory| directory.starts_with(top));
    up_to_top.filter_map(|directory| left_in(directory, &names, &read)).min()
}

/// Returns a mount point and the directory of the group below it, or `None` if the group is not
/// below the directory that is mounted.
fn directory<'m>(group: &ProcessCGroup, mount: &'m MountInfo) -> Option<(&'m Path, PathBuf)> {
    let below = Path::new(&group.pathname).strip_prefix(&mount.root).ok()?;
    Some((&mount.mount_point, mount.mount_point.join(below)))
}

/// Returns how many bytes the control group in this directory leaves without regard to its
/// ancestors, or `None` if it does not limit memory.
fn left_in(directory: &Path, names: &Names, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    // An absent limit is `max`, which is no number.
    let number = |name: &&str| read(&directory.join(name))?.trim().parse::<u64>().ok();
    let limit = names.limits.iter().filter_map(number).min()?;
    let usage = number(&names.usage).unwrap_or(0);
    let statistics = read(&directory.join("memory.stat")).unwrap_or_default();
    let unused_cache = statistics
        .lines()
        .find_map(|line| line.strip_prefix(names.unused_cache)?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(unused_cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = (
        "/proc/meminfo",
        "MemTotal: 9000 kB\nMemFree: 1000 kB\nMemAvailable: 8000 kB\nBuffers: 1 kB\n\
         Cached: 2 kB\nSwapCached: 0 kB\nActive: 5 kB\nInactive: 6 kB\nSwapTotal: 0 kB\n\
         SwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 3 kB\nSlab: 7 kB\n\
         Committed_AS: 8 kB\nVmallocTotal: 9 kB\nVmallocUsed: 9 kB\nVmallocChunk: 0 kB\n",
    );
    /// What the machine of [`MEMINFO`] has available.
    const MACHINE: u64 = 8_000 * 1_024;
    const V2_MOUNT: (&str, &str) =
        ("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
    const V2_GROUP: (&str, &str) = ("/proc/self/cgroup", "0::/system.slice/bot.service\n");

    fn available_with(files: &[&[(&str, &str)]]) -> Option<u64> {
        let files = files.concat();
        available(|path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn only_linux_says_how_much_is_available() {
        assert_eq!(available_bytes().is_some(), cfg!(target_os = "linux"));
        assert_eq!(available_with(&[]), None);
        assert_eq!(available_with(&[&[V2_GROUP, V2_MOUNT]]), None);
        assert_eq!(available_with(&[&[("/proc/meminfo", "MemTotal: many kB\n")]]), None);
    }

    #[test]
    fn without_a_limit_the_machine_decides() {
        assert_eq!(available_with(&[&[MEMINFO]]), Some(MACHINE));
        assert_eq!(available_with(&[&[MEMINFO, V2_GROUP, V2_MOUNT]]), Some(MACHINE));
        let unlimited = [
            ("/sys/fs/cgroup/system.slice/bot.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/bot.service/memory.high", "max\n"),
            ("/sys/fs/cgroup/system.slice/bot.service/memory.current", "5000\n"),
        ];
        assert_eq!(available_with(&[&[MEMINFO, V2_GROUP, V2_MOUNT], &unlimited]), Some(MACHINE));
        let unreadable = ("/proc/self/mountinfo", "not a mount\n");
        assert_eq!(available_with(&[&[MEMINFO, V2_GROUP, unreadable]]), Some(MACHINE));
        let above_the_machine = [
            ("/sys/fs/cgroup/system.slice/memory.max", "9000000000\n"),
            ("/sys/fs/cgroup/system.slice/memory.current", "10\n"),
        ];
        let files: [&[_]; 2] = [&[MEMINFO, V2_GROUP, V2_MOUNT], &above_the_machine];
        assert_eq!(available_with(&files), Some(MACHINE));
    }

    #[test]
    fn the_tightest_of_a_group_and_its_ancestors_decides() {
        let base = [MEMINFO, V2_GROUP, V2_MOUNT];
        let own = [
            ("/sys/fs/cgroup/system.slice/bot.service/memory.max", "500000\n"),
            ("/sys/fs/cgroup/system.slice/bot.service/memory.current", "100000\n"),
        ];
        let parent = [
            ("/sys/fs/cgroup/system.slice/memory.max", "700000\n"),
            ("/sys/fs/cgroup/system.slice/memory.current", "600000\n"),
        ];
        let top =
            [("/sys/fs/cgroup/memory.max", "90000\n"), ("/sys/fs/cgroup/memory.current", "89999")];
        assert_eq!(available_with(&[&base, &own]), Some(400_000));
        assert_eq!(available_with(&[&base, &own, &parent]), Some(100_000));
        assert_eq!(available_with(&[&base, &own, &parent, &top]), Some(1));
        let above_the_mount = [("/sys/fs/memory.max", "0\n"), ("/memory.max", "0\n")];
        assert_eq!(available_with(&[&base, &own, &above_the_mount]), Some(400_000));
        let high = [("/sys/fs/cgroup/system.slice/bot.service/memory.high", "150000\n")];
        assert_eq!(available_with(&[&base, &own, &high]), Some(50_000));
        let exceeded = [("/sys/fs/cgroup/system.slice/memory.high", "0\n")];
        assert_eq!(available_with(&[&base, &own, &exceeded]), Some(0));
    }

    #[test]
    fn file_pages_that_can_be_dropped_are_available() {
        let base = [MEMINFO, V2_GROUP, V2_MOUNT];
        let full = [
            ("/sys/fs/cgroup/system.slice/memory.max", "500000\n"),
            ("/sys/fs/cgroup/system.slice/memory.current", "500000\n"),
            (
                "/sys/fs/cgroup/system.slice/memory.stat",
                "anon 100000\nfile 400000\nactive_file 100000\ninactive_file 300000\n",
            ),
        ];
        assert_eq!(available_with(&[&base, &full]), Some(300_000));
    }

    /// A container on a host with both versions. Without a namespace of its own, it sees its group
    /// under the name that the host uses, and the mount has that name as its root.
    #[test]
    fn the_version_with_the_memory_controller_decides() {
        let base = [
            MEMINFO,
            (
                "/proc/self/cgroup",
                "9:name=systemd:/docker/c0ffee\n4:cpu,cpuacct:/docker/c0ffee\n\
                 3:memory:/docker/c0ffee\n0::/docker/c0ffee\n",
            ),
            (
                "/proc/self/mountinfo",
                "40 30 0:30 /docker/c0ffee /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n\
                 41 30 0:31 /docker/other /mnt/other ro - cgroup cgroup rw,memory\n\
                 42 30 0:31 /docker/c0ffee /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                 43 30 0:32 /docker/c0ffee /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n",
            ),
            ("/sys/fs/cgroup/cpu/memory.limit_in_bytes", "1\n"),
            ("/mnt/other/memory.limit_in_bytes", "1\n"),
            ("/sys/fs/cgroup/unified/cgroup.procs", "1\n"),
        ];
        let limited = [
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "500000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "450000\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 200000\n"),
        ];
        assert_eq!(available_with(&[&base, &limited]), Some(250_000));
        let unlimited = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(available_with(&[&base, &unlimited]), Some(MACHINE));
    }
}
