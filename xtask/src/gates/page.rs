//! What came of gates: as JSON for machines, and as one page that needs nothing else.

use super::{Ended, Judged, Outcome, Session, read, shown, tail, unix};
use crate::process;
use serde_json::{Value, json};
use std::fmt::Write;

/// The version of the JSON.
const FORMAT: u32 = 1;

pub(super) fn report(session: &Session<'_>) -> Value {
    json!({
        "format": FORMAT,
        "tier": session.tier.name,
        "command": format!("cargo xtask {}", session.tier.command),
        "commit": session.commit,
        "is_dirty": session.is_dirty,
        "began_unix_s": unix(session.began),
        "is_well": session.is_well(),
        "seconds": rounded(session.judged.iter().map(|j| j.ended.took.as_secs_f64()).sum()),
        "checking_seconds": rounded(session.took().as_secs_f64()),
        "checking_budget_s": session.budget.map(|budget| budget.as_secs()),
        "gates": session.judged.iter().map(|judged| one(session, judged)).collect::<Vec<_>>(),
    })
}

fn one(session: &Session<'_>, judged: &Judged<'_>) -> Value {
    let Judged { gate, words, budget, ended, measured, log } = judged;
    let Ended { outcome, took, used } = ended;
    let slos: Vec<Value> = gate
        .slo
        .iter()
        .zip(measured)
        .map(|(slo, measured)| {
            json!({
                "measure": slo.measure,
                "least": slo.least,
                "most": slo.most,
                "value": measured.value,
                "held": measured.held,
            })
        })
        .collect();
    let end: Option<Vec<String>> = outcome.is_bad().then(|| {
        let text = read(log);
        tail(&text, gate).into_iter().map(str::to_owned).collect()
    });
    json!({
        "gate": gate.name,
        "tier": gate.tier,
        "why": gate.why,
        "outcome": outcome.word(),
        "seconds": rounded(took.as_secs_f64()),
        "cpu_s": rounded(used.as_secs_f64()),
        "budget_s": budget.as_secs(),
        "compiles": gate.compiles,
        "slo": slos,
        "run": shown(words),
        "again": format!("cargo xtask {} --only {}", session.tier.command, gate.name),
        "log": log.strip_prefix(process::root()).unwrap_or(log),
        "tail": end,
    })
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}\
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}\
code,pre{font:13px/1.4 ui-monospace,monospace}\
pre{background:#f6f8fa;padding:.6rem;overflow-x:auto;white-space:pre-wrap}\
.good{color:#1a7f37}.bad{color:#cf222e;font-weight:600}.off{color:#6e7781}\
small{color:#57606a}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}\
th,td{border-color:#30363d}pre{background:#161b22}.good{color:#3fb950}.bad{color:#ff7b72}\
.off,small{color:#8b949e}}";

pub(super) fn page(session: &Session<'_>) -> String {
    let mut rows = String::new();
    for judged in &session.judged {
        // Writing to a string cannot fail.
        let _ = row(session, judged, &mut rows);
    }
    let verdict = match session.is_well() {
        true => "<span class=\"good\">all passed</span>".to_owned(),
        false => {
            let bad = session.judged.iter().filter(|judged| judged.ended.outcome.is_bad()).count();
            format!("<span class=\"bad\">{bad} of {} failed</span>", session.judged.len())
        }
    };
    let took = session.took().as_secs_f64();
    let time = match session.budget {
        None => format!("{took:.0} s of checking"),
        Some(budget) => {
            let class = if session.is_over_budget() { "bad" } else { "good" };
            let budget = budget.as_secs();
            format!("<span class=\"{class}\">{took:.0} s of checking, of {budget}</span>")
        }
    };
    let (tier, commit) = (text(&session.tier.name), text(&session.commit));
    let (command, why) = (text(&session.tier.command), text(&session.tier.why));
    let dirty = if session.is_dirty { ", with changes that are in no commit" } else { "" };
    let began = unix(session.began);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>gates: {tier}</title><style>{STYLE}</style></head><body>\n\
         <h1>{tier}: {verdict}</h1>\n<p>{why}</p>\n\
         <p>commit <code>{commit}</code>{dirty}; began at {began} s Unix time; {time}; \
         <code>cargo xtask {command}</code></p>\n\
         <table><thead><tr><th>gate</th><th>outcome</th><th class=\"n\">seconds</th>\
         <th class=\"n\">of the processor</th><th class=\"n\">budget</th>\
         <th>measured and stated</th></tr></thead><tbody>\n\
         {rows}</tbody></table>\n</body></html>\n"
    )
}

fn row(session: &Session<'_>, judged: &Judged<'_>, out: &mut String) -> std::fmt::Result {
    let Judged { gate, words, budget, ended, measured, log } = judged;
    let Ended { outcome, took, used } = ended;
    let class = match outcome {
        Outcome::Passed => "good",
        Outcome::NotRun => "off",
        _ => "bad",
    };
    let (name, why, command) = (text(&gate.name), text(&gate.why), text(&shown(words)));
    let (word, seconds, budget) = (outcome.word(), took.as_secs_f64(), budget.as_secs());
    let used = used.as_secs_f64();
    write!(
        out,
        "<tr><td><b>{name}</b><br><small>a failure means: {why}</small><br>\
         <code>{command}</code></td><td class=\"{class}\">{word}</td>\
         <td class=\"n\">{seconds:.1}</td><td class=\"n\">{used:.1}</td>\
         <td class=\"n\">{budget}</td><td>"
    )?;
    for (slo, measured) in gate.slo.iter().zip(measured) {
        let class = if measured.held { "good" } else { "bad" };
        let (what, bounds) = (text(&slo.measure), slo.bounds());
        write!(out, "{what}: <span class=\"{class}\">{}</span>, {bounds}<br>", measured.shown())?;
    }
    if let Some(why) = &gate.never_empty {
        write!(out, "<small>{}</small>", text(why))?;
    }
    out.push_str("</td></tr>\n");
    if outcome.is_bad() {
        let lines = text(&tail(&read(log), gate).join("\n"));
        let again = text(&session.tier.command);
        writeln!(
            out,
            "<tr><td colspan=\"6\">again: <code>cargo xtask {again} --only {name}</code>\
             <pre>{lines}</pre></td></tr>"
        )?;
    }
    Ok(())
}

/// A text that means nothing to a browser.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
