//! `cargo xtask bench`: builds the benchmarks of `bench/`, a workspace of its own because it brings
//! every peer along, and becomes them.

use crate::process;
use anyhow::{Result, ensure};
use std::process::ExitCode;

/// Replaces this process by the benchmark binary.
pub(crate) fn run(args: Vec<String>) -> Result<ExitCode> {
    let manifest = process::root().join("bench/Cargo.toml");
    ensure!(manifest.is_file(), "there are no benchmarks: {} is absent", manifest.display());
    let mut command = process::cargo();
    command
        .args(["run", "--quiet", "--release", "--package", "orloj-bench", "--manifest-path"])
        .arg(manifest)
        .arg("--")
        .args(args);
    Err(process::exec(command))
}
