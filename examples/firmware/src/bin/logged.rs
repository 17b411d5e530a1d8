//! Tells the report through `defmt`: what is printed is put together on the host, by `defmt-print`.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use defmt_semihosting as _;
use semihosting::process;
use tailwatch_firmware::firmware;

#[entry]
fn main() -> ! {
    static mut STORAGE: firmware::Kept = firmware::Kept::new();
    match firmware::run(STORAGE, |when, item| defmt::info!("{=str} {}", when, item)) {
        Ok(()) => process::exit(0),
        Err(wrong) => {
            defmt::error!("{=str}", wrong);
            process::exit(1)
        }
    }
}
