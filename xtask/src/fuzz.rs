//! `cargo xtask fuzz`: coverage-guided fuzzing of the targets in `fuzz/`.
//!
//! One more target, `redis`, is no function of bytes: it compares the daemon with a real
//! redis-server, and is a test of `tests/` with a seed and a time.
//!
//! cargo-fuzz passes flags of the unstable compiler; `RUSTC_BOOTSTRAP` lets the pinned stable one
//! take them, so that the code fuzzed is compiled by the compiler that ships it.

use crate::process;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What `cargo xtask fuzz` accepts.
#[derive(Args)]
pub(crate) struct Options {
    /// One target of `fuzz/`, or redis. Default: all, one after the other.
    target: Option<String>,
    /// How long each target runs, such as 60s or 10m. Default: what `ci/fuzz.toml` says, or 60s.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    lasts: Option<u64>,
    /// How long all targets run together, shared out as `ci/fuzz.toml` does it.
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "lasts")]
    total: Option<u64>,
    /// The first seed of redis; each program takes the next. Default: one that the clock gives.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the targets and their budgets, and stop.
    #[arg(long)]
    list: bool,
    /// Fuzz nothing: keep in the corpus, as `cover-*`, the smallest inputs that reach every branch
    /// that it reaches.
    #[arg(long)]
    minimise: bool,
    /// Passed to libFuzzer as they are.
    #[arg(last = true)]
    args: Vec<String>,
}

/// `ci/fuzz.toml`: seconds by target.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Budgets {
    #[serde(default)]
    seconds: BTreeMap<String, u64>,
}

const SECONDS_DEFAULT: u64 = 60;

/// The target that is none of libFuzzer's.
const REDIS: &str = "redis";

/// Runs the targets; the first finding ends the run with exit status 1.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let folder = process::root().join("fuzz");
    ensure!(folder.join("Cargo.toml").is_file(), "there is nothing to fuzz: fuzz/ is absent");
    let budgets = budgets()?;
    if !process::has_subcommand("fuzz") {
        eprintln!("installing cargo-fuzz");
        let mut install = process::cargo();
        install.args(["install", "--quiet", "--locked", "--debug", "cargo-fuzz@0.13.2"]);
        ensure!(process::run(install)?.success(), "cargo-fuzz cannot be installed");
    }
    let listed = cargo_fuzz("list").stderr(Stdio::inherit()).output()?;
    ensure!(listed.status.success(), "cargo fuzz cannot list the targets of fuzz/");
    let known = String::from_utf8(listed.stdout).context("target names are text")?;
    let known: Vec<&str> = known.split_whitespace().chain([REDIS]).collect();
    let chosen: Vec<&str> = match &options.target {
        Some(target) => vec![choose(target, &known)?],
        None => known,
    };
    let budget = |target: &str| budgets.seconds.get(target).copied().unwrap_or(SECONDS_DEFAULT);
    let whole: u64 = chosen.iter().map(|target| budget(target)).sum();
    let mut fuzzed = 0;
    for target in chosen {
        let share = |total: u64| (total * budget(target) / whole.max(1)).max(1);
        let seconds = options.lasts.or(options.total.map(share)).unwrap_or_else(|| budget(target));
        if options.list {
            println!("{target:<24} {seconds} s");
            continue;
        }
        if target == REDIS {
            if !options.minimise && !redis(options, seconds)? {
                return Ok(ExitCode::from(1));
            }
            continue;
        }
        // Apart, so that a target which does not build is not taken for one that found something.
        let mut build = cargo_fuzz("build");
        build.arg(target);
        ensure!(process::run(build)?.success(), "the target {target} does not build");
        if options.minimise {
            minimise(target)?;
            continue;
        }
        println!("fuzz {target}: {seconds} s");
        let mut command = cargo_fuzz("run");
        command
            .arg(target)
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .args(limits(target));
        command.args(&options.args);
        if !process::run(command)?.success() {
            eprintln!("FOUND  fuzz {target}: the input lies in fuzz/artifacts/{target}/");
            return Ok(ExitCode::from(1));
        }
        fuzzed += 1;
    }
    if !options.list && !options.minimise {
        println!("{}", serde_json::json!({ "targets": fuzzed }));
    }
    Ok(ExitCode::SUCCESS)
}

/// What libFuzzer is told of a target.
fn limits(target: &str) -> Vec<&'static str> {
    // libFuzzer watches memory from a thread, and the simulator, which is linked with the targets,
    // answers for the creation of threads in the sanitizer's place. The sanitizer watches itself.
    let mut limits = vec!["-rss_limit_mb=0", "-malloc_limit_mb=2048"];
    if target.starts_with("program_") {
        limits.push("-max_len=400");
    }
    limits
}

/// Sends random programs to the daemon and to a redis-server; whether all answers were the same.
fn redis(options: &Options, seconds: u64) -> Result<bool> {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = options.seed.unwrap_or_else(|| clock() % 1_000_000 * 1_000_000);
    println!("fuzz {REDIS}: {seconds} s, from seed {seed} on");
    let mut command = process::cargo();
    command.args(["test", "--quiet", "--package", "orloj-tests", "--test", "it", "--"]);
    command.args(["--exact", "redis::programs_get_the_answers_that_redis_gives", "--nocapture"]);
    command.env("ORLOJ_FUZZ_SEED", seed.to_string());
    command.env("ORLOJ_FUZZ_SECONDS", seconds.to_string());
    Ok(process::run(command)?.success())
}

/// Replaces the `cover-*` files of a corpus. What libFuzzer left beside them stays.
fn minimise(target: &str) -> Result<()> {
    let corpus = process::root().join("fuzz/corpus").join(target);
    let fresh = process::root().join("target/xtask/fuzz").join(target);
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let mut command = cargo_fuzz("run");
    command.arg(target).args([&fresh, &corpus]);
    // Branches alone: how often each was taken would keep ten times as many inputs.
    command.args(["--", "-use_counters=0", "-set_cover_merge=1"]).args(limits(target));
    ensure!(process::run(command)?.success(), "libFuzzer cannot merge the corpus of {target}");
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&fresh)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    for entry in fs::read_dir(&corpus)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cover-")) {
            fs::remove_file(path)?;
        }
    }
    let bytes: usize = inputs.iter().map(Vec::len).sum();
    println!("{target}: {} inputs, {bytes} bytes", inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        fs::write(corpus.join(format!("cover-{index:03}")), input)?;
    }
    Ok(())
}

fn cargo_fuzz(subcommand: &str) -> Command {
    let mut command = process::cargo();
    command.args(["fuzz", subcommand]).env("RUSTC_BOOTSTRAP", "1");
    command.env("ASAN_OPTIONS", "hard_rss_limit_mb=2560");
    command
}

fn budgets() -> Result<Budgets> {
    let path = process::root().join("ci/fuzz.toml");
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("{}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Budgets::default()),
        Err(error) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

/// Seconds of a time such as 60s or 10m.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a time such as 60s or 10m");
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)
}

/// The target called `name`, or the names there are.
fn choose<'a>(name: &str, known: &[&'a str]) -> Result<&'a str> {
    let found = known.iter().find(|target| **target == name);
    found.copied().with_context(|| format!("no fuzz target {name}; there are: {}", known.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_refused_with_the_known_ones() {
        assert_eq!(choose("resp", &["frame", "resp"]).expect("it is known"), "resp");
        let error = choose("rsp", &["frame", "resp"]).expect_err("it is unknown").to_string();
        assert!(error.contains("frame resp"), "{error}");
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!((seconds("90s"), seconds("10m"), seconds("7")), (Ok(90), Ok(600), Ok(7)));
        assert!(seconds("1h").is_err() && seconds("m").is_err());
    }

    #[test]
    fn budgets_name_seconds_by_target_and_nothing_else() {
        let budgets: Budgets = toml::from_str("[seconds]\nresp = 600\n").expect("it parses");
        assert_eq!(budgets.seconds.get("resp"), Some(&600));
        assert!(toml::from_str::<Budgets>("[second]\nresp = 600\n").is_err());
    }
}
