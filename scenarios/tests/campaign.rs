//! A campaign as a process: killed, begun again, steered, failing.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "campaigns are started as processes, and killed"
)]

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

fn sim(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(args.split_whitespace()).stdin(Stdio::null());
    command
}

fn ended(args: &str) -> Output {
    sim(args).output().expect("the binary starts")
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// A file that is not there yet.
fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("orloj-campaign-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// What does not depend on the machine.
fn sums(report: &Value) -> Value {
    let mut report = report.clone();
    for part in report["parts"].as_array_mut().expect("there are parts") {
        part["cpu_us"] = Value::Null;
    }
    for key in ["real_ms", "cpu_ms", "rerun", "jobs"] {
        report[key] = Value::Null;
    }
    for key in ["seeds_per_second", "seeds_per_cpu_second", "simulated_per_cpu"] {
        report["summary"][key] = Value::Null;
    }
    report
}

const WHAT: &str =
    "campaign --seeds 0..12 --scenarios pipelining,engine-in-memory --audit 0 --json";

/// Goal: a campaign that was killed and begun again comes to the same sums as one that was left
/// alone. Method: kill it without a warning when its file shows some runs, twice.
#[test]
fn a_campaign_that_was_killed_goes_on() {
    let whole = report(&ended(&format!("{WHAT} --jobs 2")));
    assert_eq!(whole["summary"]["runs"], 24, "{whole}");
    let file = file("killed");
    let with = format!("{WHAT} --jobs 2 --save-every 1 --resume {}", file.display());
    for runs in [3, 11] {
        let mut child = sim(&with).stdout(Stdio::null()).spawn().expect("the binary starts");
        let shown = || -> u64 {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let parts = value["parts"].as_array().cloned().unwrap_or_default();
            parts.iter().filter_map(|part| part["runs"].as_u64()).sum()
        };
        while shown() < runs && child.try_wait().expect("it is a child").is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it is a child");
    }
    let going_on = report(&ended(&with));
    assert_eq!(sums(&going_on), sums(&whole));
    // Something else is not what was begun.
    let other = ended(&format!("{WHAT} --steered --resume {}", file.display()));
    assert_eq!(other.status.code(), Some(2));
    let _ = std::fs::remove_file(&file);
}

/// Goal: a failure is one group with a command that fails again in the same way. Method: a planted
/// defect, found by a steered campaign that stops at the first; the printed command is run.
#[test]
fn a_failure_replays_from_its_command() {
    let mutant = "journal.ack_before_sync";
    let args = format!(
        "campaign --steered --runs-max 60 --first --scenarios crash-anywhere --seeds 0..60 \
         --mutant {mutant} --json"
    );
    let output = ended(&args);
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    let group = &report["failures"][0];
    let replay = group["example"]["replay"].as_str().expect("there is a command");
    let words = replay.strip_prefix("cargo xtask sim ").expect("it is one of ours");
    let again = ended(&format!("{words} --json"));
    let row: Value = serde_json::from_slice(&again.stdout).expect("one object");
    assert_eq!(row["trace_hash"], group["example"]["trace_hash"], "{replay}");
    assert_eq!(row["law"], group["law"]);
}

/// Goal: one number draws the whole world, scheduler included. Method: a seed with `--swarm` is the
/// seed with the scheduler that it draws.
#[test]
fn swarm_draws_the_scheduler_of_a_campaign() {
    let hash = |args: &str| {
        let row: Value = serde_json::from_slice(&ended(args).stdout).expect("one object");
        row["trace_hash"].clone()
    };
    for seed in 0..4 {
        let name = orloj_scenarios::campaign::scheduler(seed);
        let own = hash(&format!("--scenario pipelining --seed {seed} --swarm --json"));
        let named = format!("--scenario pipelining --seed {seed} --scheduler {name} --json");
        assert_eq!(own, hash(&named));
    }
}
