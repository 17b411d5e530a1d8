//! Tells the linker where the board's memory lies, and the program which board it is.
//!
//! The variable `BOARD` chooses; else it is the one that goes with the target.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-env-changed=BOARD");
    let variable = |name| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let of_target = if target.starts_with("thumbv6m") {
        "microbit"
    } else if target.starts_with("thumb") {
        "lm3s6965evb"
    } else if target.starts_with("riscv32") {
        "virt"
    } else {
        // A linter on the host: nothing is linked.
        println!("cargo:rustc-cfg=board=\"lm3s6965evb\"");
        return;
    };
    let board = env::var("BOARD").unwrap_or_else(|_| of_target.to_owned());
    println!("cargo:rustc-cfg=board=\"{board}\"");

    // `sizes` has this build script as well.
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
