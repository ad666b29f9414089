//! Histories that others have published, in the files they published them in: Jepsen's logs of
//! etcd and key-value texts as porcupine has them, Knossos' registers and locks, Elle's lists.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use orloj_invariants::checkers::{
    anomalies::{Act, Beside, Fate, Txn, anomalies},
    linearizability::{Budget, Call, Verdict, linearizable, linearizable_by},
    models::{Kv, KvOp, Register, RegisterOp},
};

use crate::edn::{self, Edn};

/// An operation of a log: who, what happened to it, which, with what.
struct Line {
    process: i64,
    kind: String,
    what: String,
    value: Edn,
}

/// The verdict on the history of a file, in words.
pub(crate) fn check(name: &str, text: &str, budget: &mut Budget) -> Result<String> {
    let lines = if name.ends_with(".log") { jepsen(text)? } else { maps(text)? };
    let first = lines.first().map_or("", |line| line.what.as_str());
    match first {
        "append" | "get" | "put" => {
            let calls = calls(&lines, name, kv)?;
            Ok(said(linearizable_by(&Kv, &calls, KvOp::key, budget)))
        }
        "txn" => transactions(&lines, budget),
        _ => {
            let mut calls = calls(&lines, name, register)?;
            if lines.iter().any(|line| line.what == "acquire") {
                // A lock is a register that is 0 at first.
                calls.push(Call {
                    process: u32::MAX,
                    input: RegisterOp::Write(0),
                    called: 0,
                    answered: Some(0),
                    output: None,
                });
            }
            Ok(said(linearizable(&Register, &calls, budget)))
        }
    }
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Holds(_) => "holds".to_owned(),
        Verdict::Violated(witness) => format!("VIOLATED {}", witness.words),
        Verdict::Unknown => "unknown".to_owned(),
    }
}

/// `INFO  jepsen.util - 3	:ok	:cas	[2 1]`
fn jepsen(text: &str) -> Result<Vec<Line>> {
    let lines = text.lines().filter_map(|line| line.split_once("jepsen.util - "));
    let mut all = Vec::new();
    for (_, line) in lines {
        let words = edn::read(line)?;
        let [Edn::Int(process), Edn::Word(kind), Edn::Word(what), value, ..] = &words[..] else {
            continue; // A remark.
        };
        let (kind, what, value) = (kind.clone(), what.clone(), value.clone());
        all.push(Line { process: *process, kind, what, value });
    }
    Ok(all)
}

fn maps(text: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for map in edn::read(text)? {
        let word = |key| map.get(key).and_then(Edn::word).unwrap_or_default().to_owned();
        let value = map.get("value").cloned().unwrap_or(Edn::Nil);
        let value = match map.get("key") {
            None => value,
            Some(key) => Edn::List(vec![key.clone(), value]),
        };
        let Some(process) = map.get("process").map_or(Some(0), Edn::int) else { continue };
        let what = if map.get("f").is_none() { "txn".to_owned() } else { word("f") };
        lines.push(Line { process, kind: word("type"), what, value });
    }
    Ok(lines)
}

/// Pairs calls with answers. A process whose answer was lost is another one from then on.
fn calls<I: Clone, O>(
    lines: &[Line],
    name: &str,
    read: fn(&Line, &str) -> Result<(I, Answered<O>)>,
) -> Result<Vec<Call<I, O>>> {
    let mut calls: Vec<Option<Call<I, O>>> = Vec::new();
    let mut open: BTreeMap<i64, usize> = BTreeMap::new();
    let mut names: BTreeMap<i64, u32> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let at = at as u64 + 1;
        let next = names.len() as u32;
        let process = *names.entry(line.process).or_insert(next);
        if line.kind == "invoke" {
            let (input, _) = read(line, name)?;
            open.insert(line.process, calls.len());
            let (answered, output) = (None, None);
            calls.push(Some(Call { process, input, called: at, answered, output }));
            continue;
        }
        let Some(call) = open.remove(&line.process) else { continue };
        if line.kind == "info" {
            // Numbers of new processes come behind those of the log.
            names.insert(line.process, 1_000_000 + at as u32);
            continue;
        }
        match read(line, name)? {
            (_, Answered::Never) => calls[call] = None,
            (input, Answered::With(output)) => {
                let it = calls[call].as_mut().context("two answers")?;
                (it.input, it.answered, it.output) = (input, Some(at), output);
            }
        }
    }
    Ok(calls.into_iter().flatten().collect())
}

enum Answered<O> {
    /// It had no effect.
    Never,
    /// So; `None` is of no interest.
    With(Option<O>),
}

fn register(line: &Line, name: &str) -> Result<(RegisterOp, Answered<Option<i64>>)> {
    let failed = line.kind == "fail";
    // What porcupine makes of Jepsen's logs: a comparison that failed has seen another value.
    let is_told = failed && name.ends_with(".log") && line.what == "cas";
    let done = match failed {
        true if is_told => Answered::With(Some(Some(0))),
        true => Answered::Never,
        false => Answered::With(Some(Some(1))),
    };
    Ok(match (line.what.as_str(), &line.value) {
        ("read", _) if failed => (RegisterOp::Read, Answered::Never),
        ("read", value) => (RegisterOp::Read, Answered::With(Some(value.int()))),
        ("write", value) => (RegisterOp::Write(value.int().context("what is written")?), done),
        ("cas", Edn::List(pair)) => match &pair[..] {
            [from, to] => (RegisterOp::Cas(from.int(), to.int().context("to what")?), done),
            _ => bail!("cas of {pair:?}"),
        },
        ("cas", _) => (RegisterOp::Cas(None, 0), Answered::Never),
        ("acquire", _) => (RegisterOp::Cas(Some(0), 1), done),
        ("release", _) => (RegisterOp::Cas(Some(1), 0), done),
        (what, value) => bail!("{what} of {value:?}"),
    })
}

fn kv(line: &Line, _: &str) -> Result<(KvOp, Answered<Option<String>>)> {
    let [key, value] = line.value.list() else { bail!("no key: {:?}", line.value) };
    let (key, text) = (key.show(), value.word().unwrap_or_default().to_owned());
    Ok(match line.what.as_str() {
        // Absent and empty are one in these.
        "get" => (KvOp::Get(key), Answered::With(Some((!text.is_empty()).then_some(text)))),
        "put" => (KvOp::Put(key, text), Answered::With(None)),
        "append" => (KvOp::Append(key, text), Answered::With(None)),
        what => bail!("{what}"),
    })
}

fn transactions(lines: &[Line], budget: &mut Budget) -> Result<String> {
    let mut txns: Vec<Txn> = Vec::new();
    let mut open: BTreeMap<i64, usize> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        if line.kind != "invoke" && !open.contains_key(&line.process) {
            continue;
        }
        let acts: Vec<Act> = line.value.list().iter().map(act).collect::<Result<_>>()?;
        if line.kind == "invoke" {
            let (name, process) = (format!("T{}", txns.len()), line.process as u32);
            let (began, ended, fate) = (at as u64, u64::MAX, Fate::Unknown);
            open.insert(line.process, txns.len());
            txns.push(Txn { name, process, began, ended, fate, acts });
            continue;
        }
        let txn = &mut txns[open.remove(&line.process).context("it was asked")?];
        txn.ended = at as u64;
        txn.fate = match line.kind.as_str() {
            "ok" => Fate::Committed,
            "fail" => Fate::Aborted,
            _ => Fate::Unknown,
        };
        if txn.fate == Fate::Committed {
            txn.acts = acts;
        }
    }
    let found = anomalies(&txns, &BTreeMap::new(), Beside::Nothing, budget);
    let mut words = match (found.anomalies.is_empty(), found.is_complete) {
        (true, true) => "none".to_owned(),
        (true, false) => "none found, out of budget".to_owned(),
        (false, _) => format!("{} anomalies of {} transactions", found.anomalies.len(), txns.len()),
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for anomaly in &found.anomalies {
        *counts.entry(anomaly.kind.name()).or_default() += 1;
    }
    counts.iter().for_each(|(kind, count)| words += &format!(", {count} {kind}"));
    if let Some(first) = found.anomalies.first() {
        words += &format!("; {}", first.words);
    }
    Ok(words)
}

fn act(value: &Edn) -> Result<Act> {
    let [kind, key, value] = value.list() else { bail!("an act: {value:?}") };
    let key = key.show();
    let one = || value.int().context("a value");
    Ok(match kind.word() {
        Some("append") => Act::Append(key, one()?),
        Some("w" | "write") => Act::Write(key, one()?),
        Some("r" | "read") => match value {
            Edn::Int(read) => Act::Read(key, Some(*read)),
            _ => Act::List(key, value.list().iter().filter_map(Edn::int).collect()),
        },
        _ => bail!("an act of {kind:?}"),
    })
}
