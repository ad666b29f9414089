//! Programs of the system that a benchmark needs, from Debian's packages where they are missing.

use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

/// Sees to it that `programs` can be run, all of which `packages` bring.
///
/// # Errors
///
/// One of them is missing and cannot be installed from here.
pub(crate) fn require(programs: &[&str], packages: &[&str]) -> Result<()> {
    let Some(missing) = first_missing(programs) else { return Ok(()) };
    if !geteuid().is_root() {
        bail!("{missing} is missing: install the packages {}", packages.join(" and "));
    }
    let install = || {
        Command::new("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .with_context(|| format!("{missing} is missing, and there is no apt-get to install it"))
    };
    let mut output = install()?;
    if !output.status.success() {
        // The list of packages may be missing or stale.
        Command::new("apt-get").args(["update", "-q"]).output()?;
        output = install()?;
    }
    if !output.status.success() || first_missing(programs).is_some() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{missing} is missing, and apt-get cannot install it:\n{error}");
    }
    Ok(())
}

fn first_missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let runs = |program: &str| {
        let run = Command::new(program).arg("--version").output();
        run.is_ok_and(|output| output.status.success())
    };
    programs.iter().copied().find(|program| !runs(program))
}
