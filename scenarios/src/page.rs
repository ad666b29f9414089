//! A run as one page that needs nothing else, and in the forms of other programs.
//!
//! The page is a template with three scripts (the run as arrays, the canvas, what a person does)
//! and the run as JSON. Every text of the run is data: the scripts put it into the page as text
//! alone, and `<` is written as an escape, so that no line of a run can become markup.

pub mod pcap;
pub mod perfetto;

use std::collections::BTreeMap;

use orloj_sim::graph::{Graph, Kind};
use serde::Serialize;

use crate::{
    Outcome, Record, Run,
    compare::{self, Parting},
};

const TEMPLATE: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
const DATA: &str = include_str!("page/data.js");
const VIEW: &str = include_str!("page/view.js");
const UI: &str = include_str!("page/ui.js");

/// What is said of a run on its page.
#[derive(Debug)]
pub struct Page<'a> {
    /// What was run.
    pub title: String,
    /// The command that makes the page again.
    pub command: String,
    /// The command that shows the actors of this run at an instant, if there is one.
    pub inspect: Option<String>,
    /// The commit it was run at.
    pub commit: String,
    /// The run, its events recorded.
    pub run: &'a Run,
    /// The nearest run that broke nothing, if this one broke something.
    pub passing: Option<Passing>,
}

/// A run that broke nothing, to hold beside one that did.
#[derive(Debug)]
pub struct Passing {
    /// How it was found.
    pub rule: String,
    /// The command that runs it.
    pub command: String,
    /// It, its events recorded; none if none was found.
    pub run: Option<Run>,
}

/// The run as the page's scripts read it: one column a field, strings by number, and numbers of
/// events as distances back (0 is none).
#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    facts: String,
    command: &'a str,
    inspect: Option<&'a str>,
    hosts: &'a [String],
    kinds: Vec<&'static str>,
    actors: Vec<&'a str>,
    texts: Vec<&'a str>,
    end: u64,
    at: Vec<u64>,
    host: Vec<i64>,
    kind: Vec<u8>,
    actor: Vec<u32>,
    text: Vec<u32>,
    of: Vec<u32>,
    before: Vec<u32>,
    choices: Vec<u64>,
    counts: Vec<u32>,
    causes: Vec<u32>,
    faults: Vec<(&'static str, u64)>,
    violation: Option<Violation<'a>>,
    passing: Option<Beside>,
}

#[derive(Serialize)]
struct Violation<'a> {
    law: &'a str,
    promise: &'a str,
    evidence: &'a str,
    when: u64,
    also: &'a [&'static str],
    events: &'a [u32],
    backtrace: Option<&'a str>,
    ledger: Vec<Ledger<'a>>,
}

#[derive(Serialize)]
struct Ledger<'a> {
    key: &'a str,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    at: u64,
    who: &'a str,
    what: &'a str,
    seen: &'a str,
    expected: &'a str,
    wrong: bool,
}

/// The passing run around the first difference.
#[derive(Serialize)]
struct Beside {
    rule: String,
    command: String,
    found: bool,
    same: usize,
    at: Option<u64>,
    choice: Option<String>,
    mine: Vec<(u64, String, String)>,
    theirs: Vec<(u64, String, String)>,
}

/// Strings by number.
#[derive(Default)]
struct Strings<'a> {
    list: Vec<&'a str>,
    numbers: BTreeMap<&'a str, u32>,
}

impl<'a> Strings<'a> {
    fn number(&mut self, text: &'a str) -> u32 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() as u32 - 1
        })
    }
}

/// The page, or none for a run whose events were not recorded.
pub fn render(page: &Page<'_>) -> Option<String> {
    let record = page.run.record.as_deref()?;
    let data = data(page, record);
    let json = serde_json::to_string(&data).ok()?.replace('<', "\\u003c");
    let title = page.title.replace('&', "&amp;").replace('<', "&lt;");
    let js = [DATA, VIEW, UI].concat();
    let whole = TEMPLATE.replace("@TITLE@", &title).replace("@CSS@", CSS).replace("@JS@", &js);
    let (before, after) = whole.split_once("@RUN@")?;
    Some([before, &json, after].concat())
}

fn data<'a>(page: &'a Page<'_>, record: &'a Record) -> Data<'a> {
    let (run, graph) = (page.run, &record.graph);
    let (mut actors, mut texts) = (Strings::default(), Strings::default());
    let (mut counts, mut causes) = (Vec::new(), Vec::new());
    for id in 0..graph.events.len() as u32 {
        counts.push(graph.causes(id).len() as u32);
        causes.extend(graph.causes(id).iter().map(|cause| id - cause));
    }
    let mut last = 0;
    let since = |at: u64| at - std::mem::replace(&mut last, at);
    let events = || graph.events.iter().zip(0u32..);
    let back = |id: u32, other: Option<u32>| other.map_or(0, |other| id - other);
    Data {
        title: &page.title,
        facts: format!(
            "{} events, {:.3} s simulated, digest {:016x}, commit {}",
            graph.events.len(),
            run.virtual_ns as f64 / 1e9,
            run.trace_hash,
            page.commit
        ),
        command: &page.command,
        inspect: page.inspect.as_deref(),
        hosts: &graph.hosts,
        kinds: Kind::ALL.iter().map(|kind| kind.name()).collect(),
        end: run.virtual_ns,
        at: graph.events.iter().map(|event| event.at).map(since).collect(),
        host: events()
            .map(|(e, _)| graph.hosts.get(e.host as usize).map_or(-1, |_| i64::from(e.host)))
            .collect(),
        kind: events().map(|(event, _)| event.kind as u8).collect(),
        actor: events().map(|(event, _)| actors.number(event.actor)).collect(),
        text: events().map(|(event, _)| texts.number(&event.text)).collect(),
        of: events().map(|(event, id)| back(id, event.of)).collect(),
        before: events().map(|(event, id)| back(id, event.before)).collect(),
        choices: events().map(|(event, _)| event.choices).collect(),
        counts,
        causes,
        actors: actors.list,
        texts: texts.list,
        faults: run.faults.iter().map(|(class, times)| (class.name(), *times)).collect(),
        violation: violation(run, record),
        passing: page.passing.as_ref().map(|passing| beside(passing, record)),
    }
}

fn violation<'a>(run: &'a Run, record: &'a Record) -> Option<Violation<'a>> {
    let Outcome::Broken(breach) = &run.outcome else { return None };
    let row = |row: &'a crate::Row| Row {
        at: row.at,
        who: &row.who,
        what: &row.what,
        seen: &row.seen,
        expected: &row.expected,
        wrong: row.wrong,
    };
    let ledger = |ledger: &'a crate::Ledger| Ledger {
        key: &ledger.key,
        rows: ledger.rows.iter().map(row).collect(),
    };
    Some(Violation {
        law: &breach.law,
        promise: &breach.promise,
        evidence: &breach.evidence,
        when: breach.when,
        also: &breach.also,
        events: &breach.events,
        backtrace: breach.backtrace.as_deref(),
        ledger: record.ledger.iter().map(ledger).collect(),
    })
}

/// Lines of each run that are shown before the first difference, and behind it.
const BEFORE: usize = 12;
const BEHIND: usize = 60;

fn beside(passing: &Passing, mine: &Record) -> Beside {
    let theirs = passing.run.as_ref().and_then(|run| run.record.as_deref());
    let parting = theirs.and_then(|theirs| compare::parting(mine, theirs));
    let lines = |record: &Record, parting: &Parting| lines(&record.graph, parting.event);
    let sides = theirs.zip(parting.as_ref());
    Beside {
        rule: passing.rule.clone(),
        command: passing.command.clone(),
        found: passing.run.is_some(),
        same: parting.as_ref().map_or(0, |parting| parting.event),
        at: parting.as_ref().map(|parting| parting.at),
        choice: parting.as_ref().map(Parting::choice),
        mine: sides.map(|(_, p)| lines(mine, p)).unwrap_or_default(),
        theirs: sides.map(|(theirs, p)| lines(theirs, p)).unwrap_or_default(),
    }
}

/// What happened around event number `first`, turns left out.
fn lines(graph: &Graph, first: usize) -> Vec<(u64, String, String)> {
    let telling = |id: &usize| graph.events[*id].kind != Kind::Turn;
    let mut ids: Vec<usize> = (0..first).rev().filter(telling).take(BEFORE).collect();
    ids.reverse();
    ids.extend((first..graph.events.len()).filter(telling).take(BEHIND));
    let line = |id: usize| {
        let event = &graph.events[id];
        let host = graph.host(event).to_owned();
        (event.at, host, format!("{} {}", event.kind.name(), event.text))
    };
    ids.into_iter().map(line).collect()
}
