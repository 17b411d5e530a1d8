//! Prints the reports of the firmware as text on the host that runs the emulator.

#![no_std]
#![no_main]

use semihosting::{eprintln, println, process};
use tailwatch_core::Storage;
use tailwatch_firmware::{board::entry, firmware};

#[cfg(target_arch = "arm")]
#[entry]
fn main() -> ! {
    static mut STORAGE: firmware::Memory = firmware::Memory::new();
    report(STORAGE)
}

#[cfg(target_arch = "riscv32")]
#[entry]
fn main() -> ! {
    let mut storage = firmware::Memory::new();
    report(&mut storage)
}

fn report(storage: impl Storage) -> ! {
    match firmware::run(storage, |when, item| println!("{when} {item}")) {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            process::exit(1)
        }
    }
}
