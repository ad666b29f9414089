//! `cargo xtask test`: every test there is, in one command.
//!
//! Unit and integration tests run under nextest where it is installed (each test in its own
//! process, in parallel) and under `cargo test` where it is not; documentation tests follow. The
//! clients of other projects that some tests run are installed first. The
//! last line is the sum over both, also left in `target/xtask/tests.txt` for whoever prints later,
//! and beside it as JSON for whoever judges it.

mod clients;

use crate::process;
use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::ops::AddAssign;
use std::process::{Command, ExitCode, Stdio};

/// What `cargo xtask test` accepts.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave the documentation tests out.
    #[arg(long)]
    no_doc: bool,
    /// Passed to the test runner as they are: a filter, `-p CRATE`, `--no-fail-fast`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the tests. Documentation tests are skipped when a filter was given or a test failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    clients::install();
    let mut total = Counts::default();
    let nextest = process::has_subcommand("nextest");
    let mut command = process::cargo();
    match nextest {
        true => command.args(["nextest", "run", "--workspace"]),
        false => command.args(["test", "--workspace", "--all-targets"]),
    };
    command.args(&options.args);
    let mut passed = count(command, &mut total)?;
    if passed && !options.no_doc && options.args.is_empty() {
        let mut command = process::cargo();
        command.args(["test", "--quiet", "--workspace", "--doc"]);
        passed &= count(command, &mut total)?;
    }
    let line = total.to_string();
    let folder = process::root().join("target/xtask");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("tests.txt"), format!("{line}\n"))?;
    let Counts { passed: sound, failed, skipped } = total;
    let row = json!({ "passed": sound, "failed": failed, "skipped": skipped });
    std::fs::write(folder.join("tests.json"), format!("{row}\n"))?;
    println!("{line}");
    Ok(ExitCode::from(u8::from(!passed || total.failed > 0)))
}

/// How many tests ended how.
#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tests: {} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Runs `command`, passes its output on as it comes and adds up the closing lines of the runner.
fn count(mut command: Command, total: &mut Counts) -> Result<bool> {
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the test runner does not start")?;
    let errors = child.stderr.take().expect("stderr is piped");
    let beside = std::thread::spawn(move || pass_on(errors, std::io::stderr()));
    let output = child.stdout.take().expect("stdout is piped");
    *total += pass_on(output, std::io::stdout());
    *total += beside.join().expect("passing text on does not panic");
    Ok(child.wait()?.success())
}

/// Copies `from` to `to` line by line and returns what the closing lines in it add up to.
fn pass_on(from: impl Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A reader that went away does not stop the tests.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        if let Some(closing) = closing_line(&String::from_utf8_lossy(&line)) {
            counts += closing;
        }
        line.clear();
    }
    counts
}

/// Reads the closing line of nextest or of libtest; any other line is `None`.
fn closing_line(line: &str) -> Option<Counts> {
    let line = without_colour(line);
    let is_nextest = line.trim_start().starts_with("Summary [");
    // nextest shows what a failed test printed, indented: libtest's own closing line among it.
    if !is_nextest && !line.starts_with("test result: ") {
        return None;
    }
    let mut counts = Counts::default();
    for part in line.split([',', ';', ':', '.', '(']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" => counts.passed += number,
            "failed" | "timed" | "exec" => counts.failed += number,
            // Under nextest, skipped also counts what a filter left out; that is no finding.
            "skipped" | "ignored" => counts.skipped += number,
            _ => {}
        }
    }
    Some(counts)
}

/// `line` without the escape sequences that colour a terminal.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => drop(chars.by_ref().find(|c| c.is_ascii_alphabetic())),
            _ => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn closing_lines_of_both_runners_are_read() {
        let nextest = "     Summary [   1.234s] 12 tests run: 12 passed, 3 skipped\n";
        assert_eq!(closing_line(nextest), counts(12, 0, 3));
        let slow = "     Summary [  61.0s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out";
        assert_eq!(closing_line(slow), counts(6, 3, 0));
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [ 0.1s] \u{1b}[1m2\u{1b}[0m tests run: \
                        \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(closing_line(coloured), counts(2, 0, 0));
        let libtest = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 4 filtered";
        assert_eq!(closing_line(libtest), counts(3, 1, 2));
        assert_eq!(closing_line(&format!("    {libtest}")), None, "shown by nextest");
        assert_eq!(closing_line("test lint::tests::x ... ok"), None);
        assert_eq!(closing_line("running 3 tests"), None);
    }

    #[test]
    fn passing_on_keeps_every_byte_and_counts() {
        let text = b"one\nbad \xff bytes\ntest result: ok. 1 passed; 0 failed\nno newline";
        let mut copy = Vec::new();
        assert_eq!(Some(pass_on(&text[..], &mut copy)), counts(1, 0, 0));
        assert_eq!(copy, text);
    }
}
