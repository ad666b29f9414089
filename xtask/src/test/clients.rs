//! The clients of other projects that the tests run against the daemon.
//!
//! Libraries go into `target/clients`, in the versions that the files of `tests/clients` pin;
//! redis-cli, redis-benchmark and redis-server are Debian's. A test whose client is absent fails,
//! so what goes wrong here is said and the tests go on.

use crate::process;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Installs what is missing or of another version; says what cannot be had and what to do.
pub(super) fn install() {
    let target = process::root().join("target/clients");
    let files = process::root().join("tests/clients");
    for (what, outcome) in [
        ("redis-py and FlatBuffers", python(&files, &target)),
        ("ioredis", node(&files, &target)),
        ("redis-cli, redis-benchmark and redis-server", tools()),
    ] {
        if let Err(error) = outcome {
            eprintln!("{what} cannot be installed, so its tests will fail: {error:#}");
        }
    }
}

/// A virtual environment with what `requirements.txt` pins.
fn python(files: &Path, target: &Path) -> Result<()> {
    let folder = target.join("python");
    unless_current(&folder, &[&files.join("requirements.txt")], || {
        let mut venv = Command::new("python3");
        quietly(venv.args(["-m", "venv"]).arg(&folder))
            .context("install Python 3.10 or later with its venv (Debian: python3-venv)")?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        quietly(pip.arg(files.join("requirements.txt"))).context("pip reaches no registry")
    })
}

/// A folder of Node's modules with what `package-lock.json` pins.
fn node(files: &Path, target: &Path) -> Result<()> {
    let folder = target.join("node");
    let manifests = [files.join("package.json"), files.join("package-lock.json")];
    unless_current(&folder, &[&manifests[0], &manifests[1]], || {
        fs::create_dir_all(&folder)?;
        for manifest in &manifests {
            let name = manifest.file_name().context("a file has a name")?;
            fs::copy(manifest, folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        quietly(npm.current_dir(&folder))
            .context("install Node.js 20 or later with npm (Debian: nodejs npm)")
    })
}

/// Debian's redis-tools and redis-server, installed where that is allowed.
fn tools() -> Result<()> {
    let present = |program: &&str| quietly(Command::new(program).arg("--version")).is_ok();
    let programs = ["redis-cli", "redis-benchmark", "redis-server"];
    if programs.iter().all(present) {
        return Ok(());
    }
    let remedy =
        "install redis-cli, redis-benchmark and redis-server (Debian: redis-tools redis-server)";
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "-q", "--no-install-recommends"]);
        apt.args(["redis-tools", "redis-server"]);
        // In run level 1 Debian starts no service that it installs.
        quietly(apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
    };
    if install().is_err() {
        // The list of packages may be missing or stale.
        quietly(Command::new("apt-get").args(["update", "-q"])).context(remedy)?;
        install().context(remedy)?;
    }
    ensure!(programs.iter().all(present), remedy);
    Ok(())
}

/// Runs `install` into an empty `folder`, unless it was made from the same `pins` before.
fn unless_current(folder: &Path, pins: &[&Path], install: impl Fn() -> Result<()>) -> Result<()> {
    let mut wanted = String::new();
    for pin in pins {
        wanted += &fs::read_to_string(pin).with_context(|| format!("{}", pin.display()))?;
    }
    let stamp = folder.join("installed-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    install()?;
    // Last, so that an installation that was cut short is made again.
    Ok(fs::write(stamp, wanted)?)
}

/// Runs `command` without a word; its last lines are the error if it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| program.clone())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.trim_end().lines().rev().take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    ensure!(output.status.success(), "{program} failed: {}", last.join(" | "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_installation_is_made_once_for_each_version_and_again_when_it_failed() {
        let target = process::root().join("target/xtask/clients-test");
        let _ = fs::remove_dir_all(&target);
        fs::create_dir_all(&target).expect("a folder");
        let (pin, folder) = (target.join("pins.txt"), target.join("made"));
        let (made, works) = (Cell::new(0), Cell::new(true));
        let install = || {
            made.set(made.get() + 1);
            ensure!(works.get(), "no registry");
            Ok(())
        };
        let run = || unless_current(&folder, &[&pin], install);
        assert!(run().is_err(), "the pins are absent");
        for (pins, times) in [("a==1", 1), ("a==1", 1), ("a==2", 2)] {
            fs::write(&pin, pins).expect("a file");
            run().expect("it installs");
            assert_eq!(made.get(), times);
        }
        works.set(false);
        fs::write(&pin, "a==3").expect("a file");
        assert!(run().is_err());
        works.set(true);
        run().expect("it installs");
        run().expect("it is there");
        assert_eq!(made.get(), 4);
    }

    #[test]
    fn a_program_that_fails_or_is_absent_is_said() {
        let mut fails = Command::new("sh");
        fails.args(["-c", "echo one >&2; echo two >&2; exit 3"]);
        let error = quietly(&mut fails).expect_err("it fails").to_string();
        assert_eq!(error, "sh failed: one | two");
        let error = quietly(&mut Command::new("no-such-program")).expect_err("it is absent");
        assert!(format!("{error:#}").starts_with("no-such-program: "), "{error:#}");
    }
}
