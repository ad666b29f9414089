//! `cargo xtask lint`: what neither the compiler nor clippy can check.
//!
//! Every rule is a function from text or from cargo's metadata to findings, with tests that trip
//! it; only this file reads the tree. A finding is one line: where, what, and what to do about it.

mod absences;
mod arrows;
#[cfg(test)]
mod bans;
mod borders;
mod dependencies;
mod leaks;
mod links;
mod metadata;
mod shape;
mod source;
mod words;

use crate::process;
use anyhow::{Context, Result, ensure};
use clap::Args;
use metadata::Metadata;
use source::Source;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What `cargo xtask lint` accepts.
#[derive(Args)]
pub(crate) struct Options {
    /// Print only what is refused, not what is merely getting large.
    #[arg(long)]
    quiet: bool,
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the top folder.
    file: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    what: String,
    remedy: String,
    /// A warning is printed and does not fail the lint.
    warning: bool,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        let (file, what, remedy) = (file.to_owned(), what.into(), remedy.into());
        Finding { file, line, what, remedy, warning: false }
    }

    fn warning(self) -> Finding {
        Finding { warning: true, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.warning { "warning: " } else { "" };
        let line = self.line.max(1);
        write!(f, "{}:{line}: {severity}{} — {}", self.file, self.what, self.remedy)
    }
}

/// Checks the whole tree and prints what was found.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let findings = check_tree()?;
    let refused = findings.iter().filter(|finding| !finding.warning).count();
    for finding in findings.iter().filter(|finding| !(finding.warning && options.quiet)) {
        println!("{finding}");
    }
    let warnings = findings.len() - refused;
    println!("lint: {refused} refused, {warnings} warned");
    Ok(ExitCode::from(u8::from(refused > 0)))
}

fn check_tree() -> Result<Vec<Finding>> {
    let root = process::root();
    let files = tree(root)?;
    ensure!(files.contains("Cargo.toml"), "git lists no tree to look at");
    let metadata = read_metadata()?;
    let mut findings = arrows::check(&metadata);
    findings.extend(absences::check_metadata(&metadata));
    let mut used = borders::Used::default();
    let exists = |path: &Path| root.join(path).exists();
    for file in &files {
        findings.extend(shape::check_name(file));
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue; // Not text, or a link that leads nowhere; git lists both.
        };
        findings.extend(leaks::check(file, &text));
        let extension = file.rsplit('.').next().unwrap_or_default();
        match extension {
            "rs" => {
                let source = Source::new(file, &text);
                findings.extend(shape::check(&source));
                findings.extend(words::check_source(&source));
                findings.extend(absences::check_source(&source));
                findings.extend(borders::check(&source, &mut used));
            }
            "md" => {
                let read = |path: &Path| std::fs::read_to_string(root.join(path)).ok();
                findings.extend(links::check(file, &text, exists, read));
            }
            _ => findings.extend(words::check_text(file, &text)),
        }
        if file.ends_with("Cargo.toml") {
            findings.extend(dependencies::check(file, &text));
        }
    }
    findings.extend(borders::stale(&used));
    findings.sort();
    Ok(findings)
}

/// Every file of the tree that git tracks or would track, in order.
fn tree(root: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("git does not start")?;
    ensure!(output.status.success(), "git cannot list the files of the tree");
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(String::from).collect())
}

fn read_metadata() -> Result<Metadata> {
    // Without a platform, cargo would fetch what only other systems need.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = process::cargo()
        .args(["metadata", "--format-version", "1", "--filter-platform", &platform])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(output.status.success(), "cargo cannot read the workspace");
    serde_json::from_slice(&output.stdout).context("cargo metadata is not what it was")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_place_fact_and_remedy() {
        let finding = Finding::new("a/b.rs", 3, "it is wrong", "put it right");
        assert_eq!(finding.to_string(), "a/b.rs:3: it is wrong — put it right");
        let whole = Finding::new("a/b.rs", 0, "it is long", "split it").warning();
        assert_eq!(whole.to_string(), "a/b.rs:1: warning: it is long — split it");
    }
}
