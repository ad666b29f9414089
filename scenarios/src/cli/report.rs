//! Verdicts in words, and as JSON.

use std::{collections::BTreeMap, time::Duration};

use orloj_invariants::Moment;
use orloj_kernel::SiteKind;
use serde::Serialize;

use super::{
    args::RunArgs,
    campaign::{Sum, Timed},
    machine::{self, say},
    program::Program,
    shrink::Shrunk,
};
use crate::{Case, Outcome, Run};

/// One seed, for machines.
#[derive(Serialize)]
struct Row<'a> {
    seed: u64,
    scenario: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    law: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a str>,
    trace_hash: String,
    events: u64,
    virtual_ms: u64,
    wall_ms: u64,
    requests: u64,
    answered: u64,
    faults: BTreeMap<&'static str, u64>,
    unfired: Vec<&'static str>,
    sometimes: BTreeMap<&'static str, u64>,
}

/// One object on one line.
pub(super) fn json(scenario: &str, timed: &Timed) -> String {
    let run = &timed.run;
    let (outcome, law, evidence) = match &run.outcome {
        Outcome::Held => ("held", None, None),
        Outcome::Broken(b) => ("broken", Some(b.law.as_str()), Some(b.evidence.as_str())),
        Outcome::DidNotStart(why) => ("did-not-start", None, Some(why.as_str())),
    };
    let properties = run.met.iter().filter(|met| met.site.kind != SiteKind::Buggify);
    let row = Row {
        seed: run.seed,
        scenario,
        outcome,
        law,
        evidence,
        trace_hash: hash(run.trace_hash),
        events: run.events,
        virtual_ms: run.virtual_ns / 1_000_000,
        wall_ms: u64::try_from(timed.took.as_millis()).unwrap_or(u64::MAX),
        requests: run.tally.requests,
        answered: run.tally.answered,
        faults: run.faults.iter().map(|(class, times)| (class.name(), *times)).collect(),
        unfired: run.unfired.iter().map(|class| class.name()).collect(),
        sometimes: properties.map(|met| (met.site.name, met.hit)).collect(),
    };
    serde_json::to_string(&row).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

fn hash(hash: u64) -> String {
    format!("{hash:016x}")
}

/// A broken promise on one screen: which, what contradicts it, when, the events that matter, and
/// the command to copy.
pub(super) fn broken(program: &Program, args: &RunArgs, run: &Run) {
    let Outcome::Broken(breach) = &run.outcome else { return };
    let head = format!("BROKEN  {}", breach.law);
    say(&format!("{head:<56}scenario {}   seed {}\n", program.title(), run.seed));
    paragraph("promise", &breach.promise);
    paragraph("evidence", &breach.evidence);
    let simulated = Moment(breach.when);
    paragraph("when", &format!("simulated {simulated} s of {} s", Moment(run.virtual_ns)));
    if !breach.also.is_empty() {
        paragraph("also", &format!("the run breaks {}", breach.also.join(", ")));
    }
    if !breach.story.is_empty() {
        say("\n  what it rests on");
        breach.story.iter().for_each(|line| say(&format!("    {line}")));
    }
    if let Some(backtrace) = &breach.backtrace {
        say("\n  backtrace");
        ours(backtrace).for_each(|line| say(&format!("    {line}")));
    }
    say("");
    let replay = replay(program, args, run.seed);
    paragraph("replay", &replay);
    let picture = replay.replacen("sim ", "sim trace ", 1);
    paragraph("picture", &format!("{picture} -o run-{}.html", run.seed));
    paragraph("story", &format!("{replay} --trace run-{}.txt", run.seed));
    let commit = machine::commit().unwrap_or_else(|| "unknown".to_owned());
    paragraph("commit", &format!("{commit}, digest {}\n", hash(run.trace_hash)));
}

/// What a failing seed was made into.
pub(super) fn shrunk(shrunk: &Shrunk) {
    let (ops, strikes) = shrunk.before;
    let case = &shrunk.case;
    say(&format!(
        "  of {} operations and {} strikes are left, after {:.1} s and {} runs,",
        number(ops as u64),
        number(strikes as u64),
        shrunk.took.as_secs_f64(),
        number(shrunk.tried)
    ));
    say(&story(case));
    let Shrunk { failures, schedules, .. } = shrunk;
    say(&format!("  {failures} of {schedules} schedules break {}\n", case.law));
    if shrunk.holds_without == Some(false) {
        say("  it fails without its defect too: the case shows something else");
    }
    let history = &case.history;
    let mutant = case.mutant.as_ref().map_or(String::new(), |name| format!(" --mutant {name}"));
    paragraph(
        "keep it",
        &format!(
            "cargo xtask sim shrink --scenario {} --seed {}{mutant} -o seeds/NAME.toml\n",
            history.scenario, history.seed
        ),
    );
}

/// A case in a few lines: who does what, and what strikes when.
pub(super) fn story(case: &Case) -> String {
    let (ops, faults, hosts) = (case.ops(), case.faults(), case.hosts());
    let mut text = format!(
        "  {ops} {}, {faults} {}, {hosts} {} (* nothing fails without it)",
        plural(ops as u64, "operation"),
        plural(faults as u64, "fault"),
        plural(hosts as u64, "host")
    );
    for (client, script) in case.clients.iter().enumerate() {
        for (place, step) in script.steps.iter().enumerate() {
            let closing = if step.closing { "at the end: " } else { "" };
            let line = format!("{closing}{}", step.show());
            let (star, line) = starred(&line);
            text += &format!("\n    c{client} {:<4} {star} {line}", place + 1);
        }
    }
    for strike in &case.strikes {
        let star = if strike.necessary { '*' } else { ' ' };
        let (wait, after) = (Moment(strike.wait), case.show_anchor(strike.after));
        let blow = strike.blow.show();
        let when = if strike.wait == 0 { after } else { format!("{after}, {wait} s later") };
        text += &format!("\n    strike  {star} {blow}, when {when}");
    }
    for name in ["network", "disk"] {
        let table = case.world.get(name).and_then(toml::Value::as_table);
        for (key, value) in table.into_iter().flatten().filter(|(key, _)| *key != "latency") {
            text += &format!("\n    {name:<7} * {key} {}", value.as_str().unwrap_or_default());
        }
    }
    for clock in &case.clocks {
        let (host, offset, drift) = (&clock.host, clock.offset_us, clock.drift_ppb);
        text += &format!("\n    clock   * {host} {offset} us ahead, gains {drift} ns a second");
    }
    text
}

/// The star of a step's line, and the rest.
fn starred(line: &str) -> (char, String) {
    const WIDTH: usize = 120;
    let is_necessary =
        line.contains("* ") && line.trim_start_matches("at the end: ").starts_with("* ");
    let line = if is_necessary { line.replacen("* ", "", 1) } else { line.to_owned() };
    let cut = line.char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| at);
    (if is_necessary { '*' } else { ' ' }, line[..cut].to_owned())
}

/// The one command that runs this seed again.
fn replay(program: &Program, args: &RunArgs, seed: u64) -> String {
    let mut command = format!(
        "cargo xtask sim --scenario {} --seed {seed}",
        match &args.scenario {
            Some(name) => name,
            None => program.title(),
        }
    );
    if args.no_faults {
        command += " --no-faults";
    }
    if args.scheduler_of(seed) != orloj_sim::Scheduler::default() {
        command += &format!(" --scheduler {}", args.scheduler_of(seed));
    }
    command.extend(args.branch.iter().map(|branch| format!(" --branch {branch}")));
    if let Some(mutant) = &args.mutant {
        command += &format!(" --mutant {mutant}");
    }
    command
}

/// The frames of a backtrace that are in this repository.
fn ours(backtrace: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = backtrace.lines().map(str::trim).collect();
    let frames = lines.windows(2).filter(|pair| {
        pair[1].starts_with("at ") && pair[0].contains("orloj") && !pair[0].contains("panics")
    });
    let shown: Vec<&str> = frames.flat_map(|pair| [pair[0], pair[1]]).take(24).collect();
    shown.into_iter()
}

/// `  name      text`, the text wrapped beside the name.
fn paragraph(name: &str, text: &str) {
    const WIDTH: usize = 92;
    let mut line = String::new();
    let mut first = true;
    let put = |line: &str, first: bool| {
        let name = if first { name } else { "" };
        say(&format!("  {name:<9} {line}"));
    };
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() >= WIDTH {
            put(&line, first);
            (first, line) = (false, String::new());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    put(&line, first);
}

/// What all seeds together did and met.
pub(super) fn summary(title: &str, sum: &Sum, took: Duration) {
    let seeds = sum.held + sum.broken.len() as u64;
    let simulated = Duration::from_millis((sum.virtual_ns / 1_000_000) as u64);
    let verdict = match sum.broken.len() {
        0 => "every promise held".to_owned(),
        broken => format!("{broken} BROKEN"),
    };
    say(&format!("{title}: {} {}, {verdict}", number(seeds), plural(seeds, "seed")));
    say(&format!(
        "  {} events, {:.1} s simulated in {:.1} s",
        number(sum.events),
        simulated.as_secs_f64(),
        took.as_secs_f64()
    ));
    let t = sum.tally;
    if t.requests > 0 {
        say(&format!(
            "  {} requests: {} answered, {} lost; {} executed in {} lives of the node",
            number(t.requests),
            number(t.answered),
            number(t.lost),
            number(t.executed),
            number(t.lives)
        ));
    }
    faults(sum);
    places(sum);
}

fn faults(sum: &Sum) {
    if !sum.faults.is_empty() {
        say("  faults injected                    times    seeds");
    }
    for (class, often) in &sum.faults {
        say(&format!("    {class:<24} {:>12} {:>8}", number(often.times), number(often.seeds)));
    }
    let never: Vec<&str> =
        sum.unfired.keys().copied().filter(|class| !sum.faults.contains_key(class)).collect();
    if !never.is_empty() {
        say(&format!("  enabled and never fired: {}", never.join(", ")));
    }
}

fn places(sum: &Sum) {
    let is_property = |kind: &str| kind != "buggify";
    let properties = || sum.met.iter().filter(|((kind, _), _)| is_property(kind));
    if properties().any(|(_, often)| often.times > 0) {
        say("  met in the code                    times    seeds");
    }
    for ((kind, name), often) in properties().filter(|(_, often)| often.times > 0) {
        let name = format!("{kind} {name}");
        say(&format!("    {name:<36} {:>12} {:>8}", number(often.times), number(often.seeds)));
    }
    let never = |buggify: bool| -> Vec<&str> {
        let idle = sum.met.iter().filter(|(_, often)| often.times == 0);
        idle.filter(|((kind, _), _)| is_property(kind) != buggify).map(|((_, n), _)| *n).collect()
    };
    let (unmet, untaken) = (never(false), never(true));
    if !unmet.is_empty() {
        say(&format!("  never met: {}", unmet.join(", ")));
    }
    if !untaken.is_empty() {
        say(&format!("  rare paths never taken: {}", untaken.join(", ")));
    }
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

/// `1,234,567`
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
    }
}
