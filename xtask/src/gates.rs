//! `cargo xtask ci`, `nightly` and `release-gate`: what a change, a night and a release must pass,
//! as `ci/gates.toml` says.
//!
//! A gate is a command that must succeed within its time, and whose measures must reach what the
//! file states. What came of all is one JSON file and one page under `target/gates/`.

mod page;
mod plan;
mod run;
mod slo;

use crate::process;
use anyhow::{Context, Result, ensure};
use clap::Args;
use plan::{Gate, Plan, Terms, Tier};
use slo::Measured;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the three accept.
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
    /// The tier's time, such as 20m or 8h, of which gates with a share take theirs. Default: what
    /// ci/gates.toml says.
    #[arg(long = "for", value_name = "TIME", value_parser = plan::time)]
    time: Option<Duration>,
    /// Print the gates and stop.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    /// The command failed.
    Failed,
    /// It succeeded, and a measure is out of its bounds.
    Missed,
    OverBudget,
    NotRun,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::Missed => "MISSED ITS SLO",
            Outcome::OverBudget => "OVER BUDGET",
            Outcome::NotRun => "not run",
        }
    }

    fn is_bad(self) -> bool {
        !matches!(self, Outcome::Passed | Outcome::NotRun)
    }
}

/// How a command ended.
struct Ended {
    outcome: Outcome,
    took: Duration,
    /// Processor time of it and of all that it started.
    used: Duration,
}

/// What came of one gate.
struct Judged<'a> {
    gate: &'a Gate,
    words: Vec<String>,
    budget: Duration,
    ended: Ended,
    measured: Vec<Measured>,
    log: PathBuf,
}

/// What came of all that was run so far.
struct Session<'a> {
    tier: &'a Tier,
    commit: String,
    is_dirty: bool,
    began: SystemTime,
    /// Seconds in which the tier's gates must end that do not mostly compile; nothing where not all
    /// of them are run, or for another time.
    budget: Option<Duration>,
    judged: Vec<Judged<'a>>,
}

impl Session<'_> {
    /// The time of those gates: of each the real time or, if that is less, the processor's, since
    /// on a machine that others use real time says little.
    fn took(&self) -> Duration {
        let checking = self.judged.iter().filter(|judged| !judged.gate.compiles);
        checking.map(|judged| judged.ended.took.min(judged.ended.used)).sum()
    }

    fn is_over_budget(&self) -> bool {
        self.budget.is_some_and(|budget| self.took() > budget)
    }

    fn is_well(&self) -> bool {
        !self.is_over_budget() && self.judged.iter().all(|j| j.ended.outcome == Outcome::Passed)
    }
}

/// Runs the chosen gates of the tier behind `command` in their order and closes with a table.
pub(crate) fn run(command: &str, options: &Options) -> Result<ExitCode> {
    let path = process::root().join("ci/gates.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let plan = Plan::parse(&text).context("ci/gates.toml")?;
    let tier = plan.tier(command)?;
    let chosen = plan.choose(tier, &options.only, &options.skip)?;
    let (commit, is_dirty) = commit()?;
    let whole = Duration::from_secs(tier.budget_s);
    let scale = options.time.unwrap_or(whole).as_secs_f64() / whole.as_secs_f64();
    let terms = Terms { commit: seed(&commit)?, scale };
    if options.list {
        println!("{}", tier.why);
        for gate in chosen {
            let budget = plan.budget(gate, &terms).as_secs();
            println!("{:<20} {:<8} {budget:>6} s  {}", gate.name, gate.tier, gate.why);
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!("commit {}, seeds from {} on", &commit[..12.min(commit.len())], terms.commit);
    let before = plan.tiers.iter().take_while(|other| other.name != tier.name);
    let whole = whole + before.map(|tier| Duration::from_secs(tier.budget_s)).sum::<Duration>();
    let is_whole = options.only.is_empty() && options.skip.is_empty() && options.time.is_none();
    let mut session = Session {
        tier,
        commit,
        is_dirty,
        began: SystemTime::now(),
        budget: is_whole.then_some(whole),
        judged: Vec::new(),
    };
    let folder = process::root().join("target/gates");
    let mut broken = false;
    for gate in chosen {
        let (words, budget) = (plan.command(gate, &terms)?, plan.budget(gate, &terms));
        let log = folder.join(&tier.command).join(format!("{}.log", gate.name));
        let is_run = !broken || options.keep_going || tier.goes_on;
        let judged = match is_run {
            true => judge(gate, words, budget, log)?,
            false => {
                let (took, used) = (Duration::ZERO, Duration::ZERO);
                let ended = Ended { outcome: Outcome::NotRun, took, used };
                Judged { gate, words, budget, ended, measured: Vec::new(), log }
            }
        };
        tell(&judged, tier);
        broken |= judged.ended.outcome.is_bad();
        session.judged.push(judged);
        // After each, so that what is ended early leaves behind what it knew.
        std::fs::create_dir_all(&folder)?;
        write(&folder, &session)?;
    }
    close(&session);
    println!("results: target/gates/{0}.json, target/gates/{0}.html", tier.command);
    Ok(ExitCode::from(u8::from(!session.is_well())))
}

fn judge(gate: &Gate, words: Vec<String>, budget: Duration, log: PathBuf) -> Result<Judged<'_>> {
    println!("==> {}: {}", gate.name, shown(&words));
    // Rows of an earlier run are nobody's.
    let rows_file = gate.rows.as_ref().map(|file| process::root().join(file));
    if let Some(file) = rows_file.as_ref().filter(|file| file.exists()) {
        std::fs::remove_file(file)?;
    }
    let mut ended = run::run(&gate.name, &words, &gate.env, budget, &log)?;
    let text = read(rows_file.as_deref().unwrap_or(&log));
    let rows = slo::rows(&text);
    let measured: Vec<Measured> = gate.slo.iter().map(|slo| slo.judge(&rows)).collect();
    if ended.outcome == Outcome::Passed && measured.iter().any(|measured| !measured.held) {
        ended.outcome = Outcome::Missed;
    }
    Ok(Judged { gate, words, budget, ended, measured, log })
}

/// What there is of a log or of a file of rows.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn tell(judged: &Judged<'_>, tier: &Tier) {
    let Judged { gate, ended, budget, measured, log, .. } = judged;
    let Ended { outcome, took, .. } = ended;
    let (seconds, budget) = (took.as_secs_f64(), budget.as_secs());
    if *outcome == Outcome::NotRun {
        return println!("    {}: not run", gate.name);
    }
    println!("<== {}: {}, {seconds:.1} s of {budget}", gate.name, outcome.word());
    for (slo, measured) in gate.slo.iter().zip(measured) {
        let mark = if measured.held { ' ' } else { '!' };
        println!("  {mark} {}: {}, {}", slo.measure, measured.shown(), slo.bounds());
    }
    if outcome.is_bad() {
        let log = log.strip_prefix(process::root()).unwrap_or(log);
        println!("    the last lines of {}:", log.display());
        for line in tail(&read(&judged.log), gate) {
            println!("    | {line}");
        }
        println!("    why it matters: {}", gate.why);
        println!("    again:          {}", shown(&judged.words));
        println!("    as a gate:      cargo xtask {} --only {}", tier.command, gate.name);
    }
}

fn close(session: &Session<'_>) {
    let (name, word) = ("gate", "outcome");
    println!("\n{name:<20} {word:<14} {:>8} {:>8} {:>8}", "seconds", "cpu_s", "budget");
    for Judged { gate, ended: Ended { outcome, took, used }, budget, .. } in &session.judged {
        let (seconds, used, budget) = (took.as_secs_f64(), used.as_secs_f64(), budget.as_secs());
        let (name, word) = (&gate.name, outcome.word());
        println!("{name:<20} {word:<14} {seconds:>8.1} {used:>8.1} {budget:>8}");
    }
    let took = session.took().as_secs_f64();
    match session.budget {
        Some(budget) => {
            let word = if session.is_over_budget() { "OVER BUDGET" } else { "within budget" };
            let budget = budget.as_secs();
            println!("{:<20} {word:<14} {took:>8.1} {:>8} {budget:>8}", "all that check", "");
        }
        None => println!("{:<20} {:<14} {took:>8.1}", "all that check", ""),
    }
    for judged in session.judged.iter().filter(|judged| judged.ended.outcome.is_bad()) {
        println!("{}  {}: {}", judged.ended.outcome.word(), judged.gate.name, shown(&judged.words));
    }
}

fn write(folder: &Path, session: &Session<'_>) -> Result<()> {
    let name = |extension: &str| folder.join(format!("{}.{extension}", session.tier.command));
    let report = page::report(session);
    std::fs::write(name("json"), serde_json::to_string_pretty(&report)? + "\n")?;
    std::fs::write(name("html"), page::page(session))?;
    Ok(())
}

/// The end of a log, where the reason of a failure usually is. Of the rows in it those that the
/// gate wants none of, unless there is nothing else.
fn tail<'t>(text: &'t str, gate: &Gate) -> Vec<&'t str> {
    const LINES: usize = 40;
    let is_told = |line: &&str| match serde_json::from_str(line) {
        Ok(row @ serde_json::Value::Object(_)) => gate.slo.iter().any(|slo| slo.blames(&row)),
        _ => true,
    };
    let told: Vec<&str> = text.lines().filter(is_told).collect();
    let lines = if told.is_empty() { text.lines().collect() } else { told };
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

/// A command as one would type it.
fn shown(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@+".contains(c);
    let quoted = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The commit of the checkout, and whether anything differs from it.
fn commit() -> Result<(String, bool)> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(process::root()).output();
        let output = output.context("git does not start")?;
        ensure!(output.status.success(), "seeds come from the commit, and git knows of none");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok((git(&["rev-parse", "HEAD"])?, !git(&["status", "--porcelain"])?.is_empty()))
}

/// The seed that a commit's hash begins at.
fn seed(commit: &str) -> Result<u64> {
    let digits = commit.get(..8).context("a commit's hash has 40 digits")?;
    u64::from_str_radix(digits, 16).with_context(|| format!("{commit} is no hash"))
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_commit_begins_at_the_same_seed() {
        let seed = |hash: &str| seed(hash).expect("it is a hash");
        assert_eq!(seed("0000002a0123456789012345678901234567890a"), 42);
        assert_eq!(seed("ffffffff0123456789012345678901234567890a"), u64::from(u32::MAX));
        assert!(super::seed("main").is_err());
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let words = ["sim", "--seeds", "1..9", "a b", "it's"].map(String::from);
        assert_eq!(shown(&words), "sim --seeds 1..9 'a b' 'it'\\''s'");
    }

    #[test]
    fn of_the_rows_of_machines_those_are_shown_that_say_what_is_wrong() {
        let text = plan::tests::gate(
            "g",
            "change",
            "run = [\"true\"]\nbudget_s = 1\nslo = [{ measure = \"true held\", least = 1 }]",
        );
        let tier = "[[tier]]\nname = \"change\"\ncommand = \"c\"\nwhy = \"w\"\nbudget_s = 1\n";
        let plan = Plan::parse(&format!("{tier}{text}")).expect("it is well formed");
        let gate = &plan.gates[0];
        let good = "{\"seed\": 1, \"held\": true}\n".repeat(100);
        assert_eq!(tail(&format!("{good}error: no\n"), gate), ["error: no"]);
        let bad = "{\"seed\": 2, \"held\": false}";
        assert_eq!(tail(&format!("{bad}\n{good}"), gate), [bad]);
        assert_eq!(tail(&good, gate).len(), 40);
    }

    /// A gate of two rows, its outcome, and whether its page and report say so.
    fn outcome(script: &str, least: u64) -> (Outcome, serde_json::Value, String) {
        let text = format!(
            "[[tier]]\nname = \"change\"\ncommand = \"try\"\nwhy = \"w\"\nbudget_s = 60\n\
             [[gate]]\nname = \"g\"\ntier = \"change\"\nwhy = \"<why>\"\nbudget_s = 30\n\
             run = [\"sh\", \"-c\", '''{script}''']\n\
             slo = [{{ measure = \"rows\", least = {least} }}]\n"
        );
        let plan = Plan::parse(&text).expect("it is well formed");
        let gate = &plan.gates[0];
        let terms = Terms { commit: 7, scale: 1.0 };
        let words = plan.command(gate, &terms).expect("it can be said");
        let name = format!("rows-{least}-{}", script.len());
        let log = process::root().join(format!("target/gates/test/{name}.log"));
        let judged = judge(gate, words, Duration::from_secs(30), log).expect("it is judged");
        let outcome = judged.ended.outcome;
        let session = Session {
            tier: &plan.tiers[0],
            commit: "c".to_owned(),
            is_dirty: false,
            began: UNIX_EPOCH,
            budget: Some(Duration::from_secs(60)),
            judged: vec![judged],
        };
        (outcome, page::report(&session), page::page(&session))
    }

    #[test]
    fn a_gate_that_did_less_than_it_must_has_failed_and_is_shown_so() {
        let two = "echo '{\"a\": 1}'; echo '{\"a\": 2}'";
        let (passed, report, page) = outcome(two, 2);
        assert_eq!(passed, Outcome::Passed);
        assert_eq!(report["is_well"], true);
        assert_eq!(report["gates"][0]["slo"][0]["value"], 2.0);
        assert!(page.contains("&lt;why&gt;") && !page.contains("<why>"), "{page}");
        let (missed, report, page) = outcome(two, 3);
        assert_eq!(missed, Outcome::Missed);
        assert_eq!(report["is_well"], false);
        assert_eq!(report["gates"][0]["slo"][0]["held"], false);
        assert!(page.contains("MISSED ITS SLO") && page.contains("at least 3"), "{page}");
        let (nothing, ..) = outcome("true ", 1);
        assert_eq!(nothing, Outcome::Missed, "nothing was checked");
        let (failed, report, _) = outcome("echo no luck; exit 1", 1);
        assert_eq!(failed, Outcome::Failed);
        assert_eq!(report["gates"][0]["tail"][0], "no luck");
    }
}
