//! Where two recorded runs part.

use std::collections::BTreeMap;

use orloj_sim::{
    choice::Choice,
    graph::{Event, Graph},
};

use crate::{Record, story};

/// The first difference between two runs.
#[derive(Clone, Debug)]
pub struct Parting {
    /// How many events are the same; the number of the first that differs.
    pub event: usize,
    /// When it happened in the first run, or when that run's last event did.
    pub at: u64,
    /// It in each, as a line; none where that run had ended.
    pub lines: [Option<String>; 2],
    /// The last choice that both made before it.
    pub before: Option<Choice>,
    /// The first choice that they made differently, if that came before it.
    pub differs: Option<[Choice; 2]>,
}

impl Parting {
    /// The choice that matters, in words.
    pub fn choice(&self) -> String {
        match (&self.differs, &self.before) {
            (Some([mine, theirs]), _) => {
                format!("{} is {} here and {} there", named(mine), chosen(mine), chosen(theirs))
            }
            (None, Some(before)) => format!("{} is {} in both", named(before), chosen(before)),
            (None, None) => "none was made yet".to_owned(),
        }
    }
}

fn named(choice: &Choice) -> String {
    format!("\"{}\" (number {} of {})", choice.site, choice.index, choice.stream.name())
}

fn chosen(choice: &Choice) -> String {
    format!("{} of 0..{}", choice.value, choice.bound)
}

/// Whether two events are the same one, whatever number their hosts have.
fn same(a: (&Graph, &Event), b: (&Graph, &Event)) -> bool {
    let what = |e: &Event| (e.at, e.kind, e.actor);
    what(a.1) == what(b.1) && a.0.host(a.1) == b.0.host(b.1) && a.1.text == b.1.text
}

/// The first event that differs, if any does.
pub fn parting(mine: &Record, theirs: &Record) -> Option<Parting> {
    let (a, b) = (&mine.graph, &theirs.graph);
    let equal = a.events.iter().zip(&b.events).take_while(|(x, y)| same((a, x), (b, y))).count();
    if equal == a.events.len() && equal == b.events.len() {
        return None;
    }
    let line = |graph: &Graph| graph.events.get(equal).map(|event| story::line(graph, event));
    let made = |graph: &Graph| graph.events.get(equal).map_or(usize::MAX, |e| e.choices as usize);
    let made = made(a).min(made(b)).min(mine.choices.len()).min(theirs.choices.len());
    let pairs = mine.choices.iter().zip(&theirs.choices).take(made);
    let differs = pairs.clone().find(|(x, y)| x != y).map(|(x, y)| [*x, *y]);
    Some(Parting {
        event: equal,
        at: a.events.get(equal).or(a.events.last()).map_or(0, |event| event.at),
        lines: [line(a), line(b)],
        before: made.checked_sub(1).map(|last| mine.choices[last]),
        differs,
    })
}

/// Per host and task: how many events are the same, and the first that differs in each run.
pub fn by_task(mine: &Record, theirs: &Record) -> Vec<TaskParting> {
    let lists = [tasks(&mine.graph), tasks(&theirs.graph)];
    let mut names: Vec<&(String, String)> = lists.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let none = Vec::new();
    let part = |name: &&(String, String)| {
        let [a, b] = [&lists[0], &lists[1]].map(|list| list.get(*name).unwrap_or(&none));
        let (g, h) = (&mine.graph, &theirs.graph);
        let equal = a.iter().zip(b).take_while(|(x, y)| same((g, x), (h, y))).count();
        if equal == a.len() && equal == b.len() {
            return None;
        }
        let line = |graph: &Graph, list: &[&Event]| list.get(equal).map(|e| story::line(graph, e));
        let at = [a, b].iter().filter_map(|list| list.get(equal)).map(|event| event.at).min();
        Some(TaskParting {
            host: name.0.clone(),
            task: name.1.clone(),
            same: equal,
            at: at.unwrap_or_default(),
            lines: [line(g, a), line(h, b)],
        })
    };
    let mut parted: Vec<TaskParting> = names.iter().filter_map(part).collect();
    parted.sort_by_key(|parting| parting.at);
    parted
}

/// The first difference between what one task of one host did in two runs.
#[derive(Clone, Debug)]
pub struct TaskParting {
    /// Its host.
    pub host: String,
    /// The task.
    pub task: String,
    /// How many of its events are the same.
    pub same: usize,
    /// When the first that differs happened.
    pub at: u64,
    /// It in each run; none where the task did nothing more.
    pub lines: [Option<String>; 2],
}

fn tasks(graph: &Graph) -> BTreeMap<(String, String), Vec<&Event>> {
    let mut tasks: BTreeMap<(String, String), Vec<&Event>> = BTreeMap::new();
    for event in &graph.events {
        let name = if event.actor.is_empty() { "network" } else { event.actor };
        let key = (graph.host(event).to_owned(), name.to_owned());
        tasks.entry(key).or_default().push(event);
    }
    tasks
}
