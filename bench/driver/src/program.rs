//! The benchmarked programs: which of them are wanted, and how they are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Those of `all` that are wanted, which is every one when none is named.
///
/// # Errors
///
/// A wanted name that is not among them; `kind` says what it was meant to be.
pub(crate) fn select(
    wanted: &[String],
    all: &[&'static str],
    kind: &str,
) -> Result<Vec<&'static str>> {
    for name in wanted {
        if !all.contains(&name.as_str()) {
            bail!("there is no {kind} {name}; there are {}", all.join(", "));
        }
    }
    let chosen = |name: &&&str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == **name);
    Ok(all.iter().filter(chosen).copied().collect())
}

/// The folder of the workspace this program was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member lies in its root")
}

/// Builds one program of the workspace, into `target` below its root and with `environment`, and
/// says where it is.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build(package: &str, target: &str, environment: &[(&str, &str)]) -> Result<PathBuf> {
    let target = root().join(target);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--package", package]);
    cargo.arg("--manifest-path").arg(root().join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&target);
    cargo.envs(environment.iter().copied());
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{package} does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(target.join("release").join(package))
}
