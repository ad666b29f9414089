//! `inspect`: the actors of a run at one instant, and going through a run step by step.
//!
//! A run is a function of its seed, so to look at an instant is to run until there. Steps go
//! through the recorded events, backwards as well, and whoever asks for the state at one gets the
//! state at that one.

use orloj_kernel::Status;
use orloj_sim::{Stop, graph::Kind};

use super::{
    HELD,
    args::RunArgs,
    machine::{self, say},
    pick::{Pick, Picked, instant, law, record},
};
use crate::{Outcome, Record, story};

/// What `inspect` takes.
#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    pub(super) pick: Pick,
    /// Only actors whose name contains this.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(super) actor: String,
    /// At this simulated time, such as 1.25s or 300ms.
    #[arg(long, visible_alias = "until", value_name = "T", value_parser = instant, group = "where")]
    pub(super) at: Option<u64>,
    /// At the event of this number, as the page of a run numbers them.
    #[arg(long, value_name = "N", group = "where")]
    pub(super) at_event: Option<u32>,
    /// At the first event whose line contains this.
    #[arg(long = "break", value_name = "TEXT", group = "where")]
    pub(super) at_text: Option<String>,
    /// Go on from there step by step, by what is typed.
    #[arg(long)]
    pub(super) step: bool,
}

/// Events that are shown before the instant.
const CONTEXT: usize = 10;

/// Runs until the instant and shows it.
pub(super) fn run(args: &RunArgs, task: &InspectArgs) -> Result<u8, String> {
    let picked = task.pick.find(args)?;
    let stop = match (task.at, task.at_event, &task.at_text) {
        (Some(at), _, _) => Some(Stop::At(at)),
        (_, Some(event), _) => Some(Stop::Event(event)),
        (_, _, Some(text)) => Some(Stop::Text(text.clone())),
        (None, None, None) => None,
    };
    let mut last = None;
    if let Some(stop) = &stop {
        let stopped = picked.stopped(stop.clone())?;
        if law(&stopped) != Some(Stop::LAW) {
            let how = match &stopped.outcome {
                Outcome::Broken(breach) => format!("it breaks {}", breach.law),
                _ => "it ends".to_owned(),
            };
            return Err(format!(
                "the run does not come there: {how} after {} s",
                orloj_invariants::Moment(stopped.virtual_ns)
            ));
        }
        let seen = record(&stopped)?;
        let end = reached(seen, stop);
        last = Some(end);
        if !task.step {
            lines(seen, end);
            state(seen, &task.actor);
        }
    }
    if task.step {
        return steps(&picked, last.unwrap_or(0), &task.actor);
    }
    match stop {
        Some(_) => Ok(HELD),
        None => Err("say where: --at T, --at-event N, --break TEXT, or --step".to_owned()),
    }
}

/// The number of the event at which a run was stopped.
fn reached(seen: &Record, stop: &Stop) -> usize {
    let events = &seen.graph.events;
    let last = events.len().saturating_sub(1);
    match stop {
        Stop::At(at) => events.partition_point(|e| e.at <= *at).saturating_sub(1),
        Stop::Event(event) => (*event as usize).min(last),
        Stop::Text(text) => events.iter().position(|e| e.text.contains(text)).unwrap_or(last),
    }
}

/// The last events up to number `end`.
fn lines(seen: &Record, end: usize) {
    let telling = |id: &usize| seen.graph.events[*id].kind != Kind::Turn;
    let upto = (end + 1).min(seen.graph.events.len());
    let mut shown: Vec<usize> = (0..upto).rev().filter(telling).take(CONTEXT).collect();
    shown.reverse();
    for id in shown {
        let mark = if id == end { "=>" } else { "  " };
        say(&format!("{mark} {id:>7} {}", story::line(&seen.graph, &seen.graph.events[id])));
    }
}

/// Every actor where the run was stopped.
fn state(seen: &Record, actor: &str) {
    let looks: Vec<_> = seen.looks.iter().filter(|l| l.status.name.contains(actor)).collect();
    if looks.is_empty() {
        return say("no such actor is there at this instant");
    }
    say(&format!(
        "\n  {:<8} {:<18} {:>7} {:>5}/{:<6} {:>8} {:>7} {:>10}  {}",
        "host", "actor", "waiting", "most", "room", "handled", "turns", "busy us", "last message"
    ));
    for look in looks {
        let Status { name, depth, depth_max, capacity, handled, turns, busy, last, .. } =
            &look.status;
        let more = extras(&look.status);
        say(&format!(
            "  {:<8} {name:<18} {depth:>7} {depth_max:>5}/{capacity:<6} {handled:>8} {turns:>7} \
             {:>10}  {last}{more}",
            look.host,
            busy.as_micros()
        ));
    }
}

fn extras(status: &Status) -> String {
    let mut more = String::new();
    let mut add = |n: u64, what: &str| {
        if n > 0 {
            more += &format!("; {n} {what}");
        }
    };
    add(u64::from(status.restarts), "restarts");
    add(status.refused, "refused");
    add(status.dropped, "dropped");
    if !status.alive {
        more += "; takes no more";
    }
    more
}

const HELP: &str = "enter, n: next   b: back   /TEXT: next that contains it   s: the actors here   \
                    c: its causes   g N: go to event N   q: quit";

/// Goes through the events of a run as whoever sits there says.
fn steps(picked: &Picked, mut at: usize, actor: &str) -> Result<u8, String> {
    let run = picked.recorded()?;
    let seen = record(&run)?;
    let events = &seen.graph.events;
    let telling = |id: &usize| events[*id].kind != Kind::Turn;
    let show = |id: usize| {
        say(&format!("{id:>7} {}", story::line(&seen.graph, &events[id])));
    };
    say(HELP);
    if events.is_empty() {
        return Ok(HELD);
    }
    at = at.min(events.len() - 1);
    show(at);
    while let Some(line) = machine::ask("> ") {
        let next = match line.trim() {
            "" | "n" => (at + 1..events.len()).find(telling),
            "b" => (0..at).rev().find(telling),
            "q" => return Ok(HELD),
            "s" => {
                state(record(&picked.stopped(Stop::Event(at as u32))?)?, actor);
                continue;
            }
            "c" => {
                seen.graph.causes(at as u32).iter().for_each(|cause| show(*cause as usize));
                continue;
            }
            other => match (other.strip_prefix('/'), other.strip_prefix("g ")) {
                (Some(text), _) => {
                    let has = |id: &usize| story::line(&seen.graph, &events[*id]).contains(text);
                    (at + 1..events.len()).find(has)
                }
                (_, Some(number)) => {
                    number.trim().parse().ok().filter(|number| *number < events.len())
                }
                _ => {
                    say(HELP);
                    continue;
                }
            },
        };
        match next {
            Some(next) => {
                at = next;
                show(at);
            }
            None => say("there is none"),
        }
    }
    Ok(HELD)
}
