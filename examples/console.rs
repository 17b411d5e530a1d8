//! Prints lines on standard output, whose reader may be gone.

use core::fmt::Display;
use std::{
    io::{self, Write},
    process,
};

/// Prints a text and the end of its line, by one call.
///
/// If the reader of standard output is gone, as with `| head -1`, nobody needs the rest, so the
/// program ends at once and in order, with the exit code 0. `println!` would panic.
///
/// # Errors
/// Returns any other error of standard output, such as that of a full disk.
pub fn print_line(text: impl Display) -> io::Result<()> {
    match io::stdout().lock().write_all(format!("{text}\n").as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        written => written,
    }
}

/// Prints a text and the end of its line on standard error. If that is not possible, the text
/// cannot go anywhere, so it is left out.
pub fn print_note(text: impl Display) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
