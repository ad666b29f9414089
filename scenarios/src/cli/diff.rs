//! `diff`: where two runs part.

use super::{
    HELD,
    args::RunArgs,
    machine::say,
    pick::{Picked, law, record},
};
use crate::{compare, story};

/// What `diff` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// A run: [SCENARIO:]SEED[+MUTANT].
    #[arg(value_name = "A")]
    pub(super) first: String,
    /// The one to hold beside it.
    #[arg(value_name = "B")]
    pub(super) second: String,
}

/// Equal events that are shown before the first that differs.
const CONTEXT: usize = 6;
/// Tasks whose first difference is shown.
const TASKS: usize = 16;

/// Runs both and shows the first difference.
pub(super) fn run(args: &RunArgs, task: &DiffArgs) -> Result<u8, String> {
    let picked = [&task.first, &task.second].map(|text| Picked::parse(text, args));
    let [a, b] = picked;
    let (a, b) = (a?.recorded()?, b?.recorded()?);
    for (name, run) in [(&task.first, &a), (&task.second, &b)] {
        let verdict = law(run).map_or("held".to_owned(), |law| format!("BROKEN {law}"));
        let events = record(run)?.graph.events.len();
        say(&format!("{name:<24} {events} events, digest {:016x}: {verdict}", run.trace_hash));
    }
    let (mine, theirs) = (record(&a)?, record(&b)?);
    let Some(parting) = compare::parting(mine, theirs) else {
        say("no event differs");
        return Ok(HELD);
    };
    say(&format!("\nthe first {} events are the same; the last of them", parting.event));
    for id in parting.event.saturating_sub(CONTEXT)..parting.event {
        say(&format!("    {}", story::line(&mine.graph, &mine.graph.events[id])));
    }
    say("the first that differs");
    for (name, line) in [&task.first, &task.second].iter().zip(&parting.lines) {
        let line = line.as_deref().unwrap_or("has ended");
        say(&format!("  {name}\n    {line}"));
    }
    say(&format!("the choice before it\n    {}", parting.choice()));
    say("\nby host and task, the first difference of each");
    let parted = compare::by_task(mine, theirs);
    for parting in parted.iter().take(TASKS) {
        let at = orloj_invariants::Moment(parting.at);
        say(&format!(
            "  {at} s  {} {}: {} events are the same",
            parting.host, parting.task, parting.same
        ));
        for line in &parting.lines {
            say(&format!("      {}", line.as_deref().unwrap_or("does nothing more")));
        }
    }
    if parted.len() > TASKS {
        say(&format!("  and {} more", parted.len() - TASKS));
    }
    Ok(HELD)
}
