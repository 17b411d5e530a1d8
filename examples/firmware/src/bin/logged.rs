//! Logs the reports of the firmware through `defmt`. `defmt-print` formats the log on the host.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use defmt_semihosting as _;
use semihosting::process;
use tailwatch_firmware::firmware;

#[entry]
fn main() -> ! {
    static mut STORAGE: firmware::Memory = firmware::Memory::new();
    match firmware::run(STORAGE, |when, item| defmt::info!("{=str} {}", when, item)) {
        Ok(()) => process::exit(0),
        Err(error) => {
            defmt::error!("{=str}", error);
            process::exit(1)
        }
    }
}
