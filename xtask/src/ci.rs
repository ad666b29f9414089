//! `cargo xtask ci`: the gate every change passes, read from `ci/gates.toml`.
//!
//! A gate is a command with a time budget; one that outlives it is ended and has failed. Without a
//! terminal each gate runs in its own process group and is ended together with everything it
//! started; at a terminal it stays in ours, so that Ctrl-C reaches it.

use crate::process;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What `cargo xtask ci` accepts.
#[derive(Args)]
pub(crate) struct Options {
    /// Run the later gates too after one has failed.
    #[arg(long)]
    keep_going: bool,
    /// Run only this gate; may be given more than once.
    #[arg(long, value_name = "GATE")]
    only: Vec<String>,
    /// Leave this gate out; may be given more than once.
    #[arg(long, value_name = "GATE")]
    skip: Vec<String>,
    /// Print the gates and stop.
    #[arg(long)]
    list: bool,
}

/// `ci/gates.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gates {
    gate: Vec<Gate>,
}

/// One command that must succeed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    name: String,
    /// What a failure of it would mean for a reader who did not write it.
    why: String,
    /// Program and arguments.
    run: Vec<String>,
    /// Seconds of real time after which it is ended and has failed.
    budget_s: u64,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// A file under the workspace that takes the standard output instead of the terminal.
    stdout: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    Failed,
    OverBudget,
    NotRun,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::OverBudget => "OVER BUDGET",
            Outcome::NotRun => "not run",
        }
    }
}

/// Runs the chosen gates in their order and closes with a table.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let path = process::root().join("ci/gates.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let gates = parse(&text).context("ci/gates.toml")?;
    let chosen = choose(&gates, &options.only, &options.skip)?;
    if options.list {
        for gate in chosen {
            println!("{:<14} {:>5} s  {}", gate.name, gate.budget_s, gate.why);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Vec::new();
    let mut broken = false;
    for gate in chosen {
        if broken && !options.keep_going {
            table.push((gate, Outcome::NotRun, Duration::ZERO));
            continue;
        }
        println!("==> {}: {}", gate.name, gate.run.join(" "));
        let started = Instant::now();
        let outcome = run_gate(gate)?;
        let took = started.elapsed();
        println!("<== {}: {} after {:.1} s", gate.name, outcome.word(), took.as_secs_f64());
        if outcome != Outcome::Passed {
            println!("    why it matters: {}", gate.why);
            println!("    again alone:    cargo xtask ci --only {}", gate.name);
            broken = true;
        }
        table.push((gate, outcome, took));
    }
    println!("\n{:<14} {:<12} {:>8} {:>8}", "gate", "outcome", "seconds", "budget");
    for (gate, outcome, took) in &table {
        let seconds = took.as_secs_f64();
        println!("{:<14} {:<12} {seconds:>8.1} {:>8}", gate.name, outcome.word(), gate.budget_s);
    }
    for (gate, outcome, _) in &table {
        if matches!(outcome, Outcome::Failed | Outcome::OverBudget) {
            println!("{}  {}: {}", outcome.word(), gate.name, gate.run.join(" "));
        }
    }
    Ok(ExitCode::from(u8::from(broken)))
}

fn parse(text: &str) -> Result<Vec<Gate>> {
    let gates: Gates = toml::from_str(text)?;
    let mut names = BTreeSet::new();
    for gate in &gates.gate {
        ensure!(names.insert(&gate.name), "gate {} is listed twice", gate.name);
        ensure!(!gate.run.is_empty(), "gate {} runs nothing", gate.name);
        ensure!(gate.budget_s > 0, "gate {} has no time", gate.name);
    }
    Ok(gates.gate)
}

/// The gates that `only` and `skip` leave; a name that no gate has is refused.
fn choose<'a>(gates: &'a [Gate], only: &[String], skip: &[String]) -> Result<Vec<&'a Gate>> {
    for name in only.iter().chain(skip) {
        let known = gates.iter().any(|gate| gate.name == *name);
        ensure!(known, "no gate is called {name}; `cargo xtask ci --list` names them");
    }
    let wanted = |gate: &&Gate| only.is_empty() || only.contains(&gate.name);
    Ok(gates.iter().filter(wanted).filter(|gate| !skip.contains(&gate.name)).collect())
}

fn run_gate(gate: &Gate) -> Result<Outcome> {
    let mut command = Command::new(&gate.run[0]);
    command.args(&gate.run[1..]).envs(&gate.env).current_dir(process::root());
    command.stdin(Stdio::null());
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    if let Some(stdout) = &gate.stdout {
        let path = process::root().join(stdout);
        let folder = path.parent().context("a gate's stdout is a file")?;
        std::fs::create_dir_all(folder)?;
        command.stdout(File::create(&path).with_context(|| format!("{}", path.display()))?);
    }
    let outcome = match command.spawn() {
        Ok(child) => wait(child, own_group, Duration::from_secs(gate.budget_s))?,
        Err(error) => {
            println!("    {} does not start: {error}", gate.run[0]);
            Outcome::Failed
        }
    };
    match (&gate.stdout, outcome) {
        (Some(stdout), Outcome::Failed | Outcome::OverBudget) => print_tail(stdout),
        (Some(stdout), _) => println!("    output: {stdout}"),
        (None, _) => {}
    }
    Ok(outcome)
}

/// Waits for `child`; one that outlives `budget` is ended, with its process group if it has one.
fn wait(mut child: Child, own_group: bool, budget: Duration) -> Result<Outcome> {
    let deadline = Instant::now() + budget;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(Outcome::Passed),
            Some(_) => return Ok(Outcome::Failed),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            None => {
                if own_group {
                    let group = format!("-{}", child.id());
                    Command::new("kill").args(["-KILL", "--", &group]).status()?;
                }
                child.kill()?;
                child.wait()?;
                return Ok(Outcome::OverBudget);
            }
        }
    }
}

/// Prints the end of a gate's captured output, where the reason of a failure usually is.
fn print_tail(stdout: &str) {
    const LINES: usize = 30;
    let bytes = std::fs::read(process::root().join(stdout)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    println!("    the last lines of {stdout}:");
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        println!("    {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(run: &str, budget_s: u64) -> Gate {
        let text = format!(
            "[[gate]]\nname = \"g\"\nwhy = \"w\"\nrun = [\"sh\", \"-c\", \"{run}\"]\n\
             budget_s = {budget_s}\n"
        );
        parse(&text).expect("the gate is well formed").remove(0)
    }

    #[test]
    fn a_gate_passes_fails_or_runs_out_of_time() {
        assert_eq!(run_gate(&gate("true", 10)).expect("it runs"), Outcome::Passed);
        assert_eq!(run_gate(&gate("exit 3", 10)).expect("it runs"), Outcome::Failed);
        let started = Instant::now();
        assert_eq!(
            run_gate(&gate("sleep 60 & sleep 60", 1)).expect("it runs"),
            Outcome::OverBudget
        );
        assert!(started.elapsed() < Duration::from_secs(30), "the children were not ended");
    }

    #[test]
    fn a_program_that_is_absent_is_a_failure_with_a_name() {
        let text =
            "[[gate]]\nname = \"g\"\nwhy = \"w\"\nrun = [\"no-such-program\"]\nbudget_s = 1\n";
        let gate = parse(text).expect("the gate is well formed").remove(0);
        assert_eq!(run_gate(&gate).expect("it is judged"), Outcome::Failed);
    }

    #[test]
    fn gates_without_time_work_or_a_name_of_their_own_are_refused() {
        let entry = |run: &str, budget: u64| {
            format!("[[gate]]\nname = \"g\"\nwhy = \"w\"\nrun = {run}\nbudget_s = {budget}\n")
        };
        assert!(parse(&entry("[\"true\"]", 1)).is_ok());
        assert!(parse(&entry("[]", 1)).is_err());
        assert!(parse(&entry("[\"true\"]", 0)).is_err());
        assert!(parse(&entry("[\"true\"]", 1).repeat(2)).is_err());
        assert!(parse(&format!("{}extra = 1\n", entry("[\"true\"]", 1))).is_err());
    }

    #[test]
    fn only_and_skip_choose_and_unknown_names_are_refused() {
        let gates = vec![gate("true", 1)];
        let g = || vec!["g".to_string()];
        assert_eq!(choose(&gates, &[], &[]).expect("all").len(), 1);
        assert_eq!(choose(&gates, &g(), &[]).expect("one").len(), 1);
        assert_eq!(choose(&gates, &[], &g()).expect("none").len(), 0);
        assert!(choose(&gates, &["h".to_string()], &[]).is_err());
    }

    #[test]
    fn the_gates_of_this_tree_are_well_formed() {
        let path = process::root().join("ci/gates.toml");
        let text = std::fs::read_to_string(path).expect("ci/gates.toml is there");
        assert!(!parse(&text).expect("ci/gates.toml is well formed").is_empty());
    }
}
