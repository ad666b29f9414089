//! The few lines of a run that a violation rests on.

use orloj_invariants::{About, Moment};
use orloj_sim::{
    Line,
    graph::{Event, Graph, Kind},
};

use crate::record::Words;

/// What fits on a screen.
const LINES: usize = 40;
/// Of them, lines about the violation's requests and keys,
const ABOUT: usize = 16;
/// lines about hosts that went down, stood still and came up, links, clocks and disks,
const STRIKES: usize = 10;
/// and about other faults.
const FAULTS: usize = 5;

/// Chooses from the causal cone of `roots` what a reader needs, in order: what is about the
/// violation's requests and keys, what struck, and then whatever else is nearest.
pub(crate) fn choose(graph: &Graph, roots: &[u32], when: Moment, about: &About) -> Vec<String> {
    let words = Words::of(about);
    let cone = graph.cone(roots);
    let event = |id: u32| &graph.events[id as usize];
    let mut chosen: Vec<u32> = Vec::new();
    let latest = |wanted: &dyn Fn(&Event) -> bool, most: usize| {
        let of_cone = cone.iter().rev().map(|(id, _)| *id);
        of_cone.filter(|id| wanted(event(*id))).take(most).collect::<Vec<u32>>()
    };
    chosen.extend(latest(&|e| words.touch(e), ABOUT));
    chosen.extend(latest(&|e| e.at <= when.0 && is_strike(e), STRIKES));
    chosen.extend(latest(&|e| e.at <= when.0 && e.kind == Kind::Fault, FAULTS));
    let mut others: Vec<(u32, u32)> =
        cone.iter().filter(|(id, _)| is_telling(event(*id))).map(|(id, far)| (*far, *id)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    others.sort_by_key(|(far, id)| (*far, std::cmp::Reverse(*id)));
    for (_, id) in others {
        if chosen.len() >= LINES {
            break;
        }
        if !chosen.contains(&id) {
            chosen.push(id);
        }
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|id| cut(&line(graph, event(id)))).collect()
}

/// Whether an event is a fault, a start or an end, or tells of one.
fn is_strike(event: &Event) -> bool {
    const TOLD: &[&str] = &["link", "clock", "disk"];
    const LIVES: &[&str] = &["ended: ", "undid ", "recovered ", "QUIET"];
    let text = &event.text;
    let told = event.kind == Kind::Story
        && (TOLD.contains(&event.actor) && !text.ends_with("not found")
            || LIVES.iter().any(|life| text.starts_with(life)));
    told || event.kind.is_strike() && event.kind != Kind::Fault
}

/// Whether an event says something to a reader who has not asked for all.
fn is_telling(event: &Event) -> bool {
    match event.kind {
        Kind::Turn | Kind::Connect | Kind::Send | Kind::Disk | Kind::Held => false,
        Kind::Fault => false,
        // Bytes on their way are told by who asks and who hears.
        Kind::Deliver => false,
        Kind::Story => !event.text.ends_with("not found"),
        Kind::DiskDone => event.text.starts_with("write "),
        _ => true,
    }
}

/// An event as a line of a story.
pub(crate) fn line(graph: &Graph, event: &Event) -> String {
    let target = if event.actor.is_empty() { "network" } else { event.actor };
    let text = match event.kind {
        Kind::Fault => format!("FAULT {}", event.text),
        Kind::Lost => format!("LOST {}", event.text),
        Kind::Synced | Kind::DiskDone => format!("did {}", event.text),
        _ => event.text.clone(),
    };
    Line { at: event.at, host: graph.host(event).to_owned(), target, text }.to_string()
}

/// One line stays one line.
fn cut(line: &str) -> String {
    const WIDTH: usize = 140;
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use orloj_sim::Detail;

    use crate::{Outcome, Setup, run, scenario};

    /// The screen of a planted defect names the crash and what was taken by it.
    #[test]
    fn a_failure_is_one_screen_and_to_the_point() {
        let scenario = scenario::find("default").expect("a built-in scenario");
        let mutant = Some("journal.ack_before_sync");
        let told = |seed| Setup { mutant, detail: Detail::Graph, ..Setup::seed(seed) };
        let broken = (0..60).find_map(|seed| match run(&scenario, told(seed)).outcome {
            Outcome::Broken(breach) => Some(breach),
            _ => None,
        });
        let breach = broken.expect("the defect is found");
        assert!(breach.story.len() <= super::LINES, "{:#?}", breach.story);
        let has = |word: &str| breach.story.iter().any(|line| line.contains(word));
        assert!(has("CRASH") && has("client"), "{:#?}", breach.story);
        assert!(!breach.events.is_empty());
    }
}
