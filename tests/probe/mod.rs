//! Builds the programs whose machine code the tests examine.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds an example of this package in release mode with the cargo arguments `features`. Returns
/// the folder that contains it.
///
/// Each number of arguments has its own target folder, so that builds with and without features do
/// not replace each other.
pub(crate) fn build_example(example: &str, features: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = root.join("target").join(format!("off-{}", features.len()));
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--offline",
            "--quiet",
            "-p",
            "tailwatch-tests",
            "--example",
            example,
        ])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root)
        // Flags that instrument the tests must not instrument the example.
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo starts");
    assert!(status.success(), "cargo cannot build the example {example}");
    target.join("release").join("examples")
}
