//! `cargo xtask sim`: builds the simulation binary and becomes it.
//!
//! The binary parses its own flags. A build that succeeds is silent; one that fails shows the
//! compiler's words and exits 2, because the run did not start. `check-determinism` and `mutants`
//! compare two builds of the same source, so they also get the path of an unoptimised binary.

use crate::process;
use anyhow::{Context, Result};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// Optimised, with overflow checks and unwinding: what seeds run in.
const PROFILE: &str = "sim";
/// Not optimised: the other opinion on what a seed means.
const OTHER_PROFILE: &str = "dev";
/// Tells the binary where its unoptimised twin lies.
const OTHER_BINARY: &str = "--other-binary";

/// Builds what `args` need and replaces this process by the simulation binary.
pub(crate) fn run(args: Vec<String>) -> Result<ExitCode> {
    let binary = build(PROFILE)?;
    let mut command = Command::new(binary);
    command.args(&args);
    if needs_other_binary(&args) {
        command.arg(OTHER_BINARY).arg(build(OTHER_PROFILE)?);
    }
    Err(process::exec(command))
}

/// Tasks of the binary that compare two builds.
const COMPARING: &[&str] = &["check-determinism", "mutants"];

/// Whether the run compares two builds and was not told by hand where the second one lies.
fn needs_other_binary(args: &[String]) -> bool {
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let given = args.iter().any(|arg| arg.split('=').next() == Some(OTHER_BINARY));
    args.iter().any(|arg| COMPARING.contains(&&**arg)) && !given && !asks_for_help
}

/// Builds the simulation binary in `profile` and returns its path.
fn build(profile: &str) -> Result<PathBuf> {
    if std::io::stderr().is_terminal() {
        eprintln!("building the simulator ({profile} profile)");
    }
    let output = process::cargo()
        .args(["build", "--quiet", "--profile", profile])
        .args(["--package", "orloj-scenarios", "--bin", "sim"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .output()
        .context("cargo does not start")?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        anyhow::bail!("the simulator does not build in the {profile} profile; nothing was run");
    }
    process::executable(&String::from_utf8_lossy(&output.stdout), "sim")
        .context("cargo built the simulator and did not say where it lies")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(args: &str) -> bool {
        needs_other_binary(&args.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_compares_builds_builds_twice() {
        assert!(needs("check-determinism --seeds 0..20"));
        assert!(needs("--json check-determinism --seeds 0..20"));
        assert!(needs("mutants --only journal"));
        assert!(!needs("check-determinism --seeds 0..20 --other-binary /t/sim"));
        assert!(!needs("check-determinism --other-binary=/t/sim"));
        assert!(!needs("check-determinism --help"));
        assert!(!needs("--seed 7"));
        assert!(!needs("--seed 7 --mutant ack-before-sync"));
        assert!(!needs(""));
    }
}
