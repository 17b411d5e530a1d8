//! Builds the programs whose machine code the tests examine.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds an example of this package as a release, with features of its own: in a folder for them, as features of one build are
/// one. The folder where it is then.
pub(crate) fn build_example(example: &str, features: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = root.join("target").join(format!("off-{}", features.len()));
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--quiet", "-p", "tailwatch-tests", "--example", example])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root)
        // What instruments this build is not to instrument that one.
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "{example} builds");
    target.join("release").join("examples")
}
