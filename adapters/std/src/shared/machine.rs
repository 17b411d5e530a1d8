//! What identifies this process beyond its number, which repeats: the boot of its machine and the
//! time of its start.

use std::fs;

use procfs_core::{FromRead, process::Stat};

/// Returns the identity of the machine's present boot: the 16 bytes of the number that Linux writes
/// as text.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    parse_uuid(text.trim())
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then_some(())?;
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

/// Returns when this process started, in clock ticks since the boot, as `/proc` has it.
pub(crate) fn process_start() -> Option<u64> {
    let stat = fs::read("/proc/self/stat").ok()?;
    Stat::from_read(stat.as_slice()).ok().map(|stat| stat.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_boot_id_are_in_the_order_of_its_text() {
        let id = parse_uuid("00010203-0405-0607-0809-0a0b0c0d0eff").unwrap();
        assert_eq!(id, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(parse_uuid("00010203"), None);
        assert!(boot_id().is_some() && process_start().is_some_and(|start| start > 0));
    }
}
