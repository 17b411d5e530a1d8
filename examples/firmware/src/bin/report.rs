//! Prints the report on the emulator's host, as text.

#![no_std]
#![no_main]

use semihosting::{eprintln, println, process};
use tailwatch_core::Storage;
use tailwatch_firmware::{board::entry, firmware};

#[cfg(target_arch = "arm")]
#[entry]
fn main() -> ! {
    static mut STORAGE: firmware::Kept = firmware::Kept::new();
    report(STORAGE)
}

#[cfg(target_arch = "riscv32")]
#[entry]
fn main() -> ! {
    let mut storage = firmware::Kept::new();
    report(&mut storage)
}

fn report(storage: impl Storage) -> ! {
    match firmware::run(storage, |when, item| println!("{when} {item}")) {
        Ok(()) => process::exit(0),
        Err(wrong) => {
            eprintln!("{wrong}");
            process::exit(1)
        }
    }
}
