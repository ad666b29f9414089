//! Running one gate: a command with a time budget and a log.
//!
//! Without a terminal it runs in its own process group and is ended together with everything it
//! started; at a terminal it stays in ours, so that Ctrl-C reaches it.

use super::{Ended, Outcome};
use crate::process;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often somebody without a terminal hears that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Runs `words` to its end or that of its budget, with all it prints in `log`.
pub(super) fn run(
    name: &str,
    words: &[String],
    env: &BTreeMap<String, String>,
    budget: Duration,
    log: &Path,
) -> Result<Ended> {
    let folder = log.parent().context("a log lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    let file = File::create(log).with_context(|| format!("{}", log.display()))?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(env).current_dir(process::root());
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let (begun, before) = (Instant::now(), processor_time());
    let outcome = match command.spawn() {
        Ok(child) => wait(name, child, own_group, budget)?,
        Err(error) => {
            std::fs::write(log, format!("{} does not start: {error}\n", words[0]))?;
            Outcome::Failed
        }
    };
    Ok(Ended { outcome, took: begun.elapsed(), used: processor_time().saturating_sub(before) })
}

/// Processor time of the programs that we started and that have ended, and of those they started.
fn processor_time() -> Duration {
    // Fields 16 and 17 of /proc/self/stat, counted behind the command's closing parenthesis, in
    // ticks of a hundredth of a second on every Linux we run on.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Waits for `child`; one that outlives `budget` is ended, with its process group if it has one.
fn wait(name: &str, mut child: Child, own_group: bool, budget: Duration) -> Result<Outcome> {
    let begun = Instant::now();
    let mut said = begun;
    let at_terminal = std::io::stdout().is_terminal();
    let outcome = loop {
        match child.try_wait()? {
            Some(status) if status.success() => break Outcome::Passed,
            Some(_) => break Outcome::Failed,
            None if begun.elapsed() < budget => std::thread::sleep(Duration::from_millis(50)),
            None => {
                if own_group {
                    let group = format!("-{}", child.id());
                    Command::new("kill").args(["-KILL", "--", &group]).status()?;
                }
                child.kill()?;
                child.wait()?;
                break Outcome::OverBudget;
            }
        }
        let every = if at_terminal { Duration::from_millis(500) } else { SIGN_OF_LIFE };
        if said.elapsed() >= every {
            said = Instant::now();
            let (now, of) = (begun.elapsed().as_secs(), budget.as_secs());
            match at_terminal {
                true => print!("\r\x1b[K{name}: {now} s of {of}"),
                false => println!("    {name}: {now} s of {of}"),
            }
            std::io::stdout().flush()?;
        }
    };
    if at_terminal {
        print!("\r\x1b[K");
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str, budget_s: u64) -> (Outcome, String) {
        let folder = process::root().join("target/gates/test");
        let log =
            folder.join(format!("{}.log", script.replace(|c: char| !c.is_alphanumeric(), "-")));
        let words: Vec<String> = match script.split_once(' ') {
            None => vec![script.to_owned()],
            Some(_) => ["sh", "-c", script].map(String::from).to_vec(),
        };
        let budget = Duration::from_secs(budget_s);
        let ended = run("g", &words, &BTreeMap::new(), budget, &log).expect("it is judged");
        (ended.outcome, std::fs::read_to_string(log).expect("there is a log"))
    }

    #[test]
    fn a_gate_passes_fails_or_runs_out_of_time() {
        assert_eq!(outcome("true", 10).0, Outcome::Passed);
        assert_eq!(outcome("exit 3", 10).0, Outcome::Failed);
        let (both, text) = outcome("echo out; echo err >&2", 10);
        assert_eq!((both, &*text), (Outcome::Passed, "out\nerr\n"));
        let begun = Instant::now();
        assert_eq!(outcome("sleep 60 & sleep 60", 1).0, Outcome::OverBudget);
        assert!(begun.elapsed() < Duration::from_secs(30), "the children were not ended");
    }

    #[test]
    fn a_program_that_is_absent_is_a_failure_with_a_name() {
        let (outcome, text) = outcome("no-such-program", 1);
        assert_eq!(outcome, Outcome::Failed);
        assert!(text.contains("no-such-program does not start"), "{text}");
    }
}
