//! Passes the memory layout of the board to the linker, and sets `cfg(board)` for the program.
//!
//! The environment variable `BOARD` selects the board. Without it, the target determines the board.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-env-changed=BOARD");
    let variable = |name| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let default_board = if target.starts_with("thumbv6m") {
        "microbit"
    } else if target.starts_with("thumb") {
        "lm3s6965evb"
    } else if target.starts_with("riscv32") {
        "virt"
    } else {
        // The package is only checked on the host and not linked, so any board will do.
        println!("cargo:rustc-cfg=board=\"lm3s6965evb\"");
        return;
    };
    let board = env::var("BOARD").unwrap_or_else(|_| default_board.to_owned());
    println!("cargo:rustc-cfg=board=\"{board}\"");

    // The package in the folder `sizes` uses this build script as well. Its folder has no `memory`.
    let here = variable("CARGO_MANIFEST_DIR");
    let root = if Path::new(&here).join("memory").is_dir() { here } else { format!("{here}/..") };
    let memory = format!("{root}/memory/{board}.x");
    println!("cargo:rerun-if-changed={memory}");
    let out = variable("OUT_DIR");
    fs::copy(&memory, Path::new(&out).join("memory.x"))
        .unwrap_or_else(|error| panic!("{memory}: {error}"));
    println!("cargo:rustc-link-search={out}");
    if target.starts_with("riscv") {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
    if env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg=-Tdefmt.x");
    }
}
