//! `costs`: what operations cost, compared exactly with what was agreed to.
//!
//! The figures lie in a file of the repository, so a change of one is a line of a change's diff.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::json;

use super::{
    BROKEN, HELD,
    machine::{self, say},
};
use crate::costs::{self, Cost, FIGURES};

/// What `costs` takes.
#[derive(Debug, clap::Args)]
pub(super) struct CostsArgs {
    /// The figures that were agreed to.
    #[arg(long, value_name = "FILE", default_value = "ci/costs.toml")]
    pub(super) file: PathBuf,
    /// Agree to the figures as they are now: write them into the file.
    #[arg(long)]
    pub(super) accept: bool,
    /// Do every operation again, and fail if anything is counted otherwise.
    #[arg(long)]
    pub(super) twice: bool,
}

/// By operation, by figure; `times` among them.
type Table = BTreeMap<String, BTreeMap<String, u64>>;

const HEAD: &str = "\
# What each operation costs, counted in a calm simulated world; every figure is the sum over
# `times` operations. `cargo xtask costs` compares them exactly, `cargo xtask costs --accept` writes
# this file. Allocations are those of the sim profile under the pinned compiler.
";

/// Runs the task.
pub(super) fn run(json: bool, task: &CostsArgs) -> Result<u8, String> {
    let now = counted()?;
    if task.twice && counted()? != now {
        return Err("the same operations were counted twice, and cost something else".to_owned());
    }
    if task.accept {
        machine::write(&task.file, &text(&now))?;
        say(&format!("{}: {} operations", task.file.display(), now.len()));
        return Ok(HELD);
    }
    let agreed = machine::read(&task.file)
        .map_err(|why| format!("{why}; cargo xtask costs --accept writes it"))?;
    let agreed: Table = toml::from_str(&agreed)
        .map_err(|error| format!("{}: {}", task.file.display(), error.to_string().trim_end()))?;
    let changes = changes(&agreed, &now);
    if json {
        for (name, figures) in &now {
            let same = agreed.get(name) == Some(figures);
            say(&json!({ "operation": name, "same": same, "figures": figures }).to_string());
        }
    } else {
        show(&now);
    }
    if changes.is_empty() {
        return Ok(HELD);
    }
    let head = format!("  {:<36} {:<16} {:>14} {:>14}", "operation", "figure", "agreed", "now");
    let mut text = vec![format!("{} figures differ from what was agreed to", changes.len()), head];
    text.extend(changes);
    text.push("  each is the sum over `times` operations".to_owned());
    text.push("  agree to them: cargo xtask costs --accept".to_owned());
    // Standard output is for the rows, if somebody asked for rows.
    if json {
        machine::complain(&text.join("\n"))
    } else {
        say(&format!("CHANGED  {}", text.join("\n")))
    }
    Ok(BROKEN)
}

fn counted() -> Result<Table, String> {
    // On a thread that has asked for nothing yet.
    let costs = machine::on_fresh_thread(costs::all)??;
    let figures = |cost: &Cost| {
        let named = FIGURES.iter().zip(cost.figures).map(|(name, n)| ((*name).to_owned(), n));
        named.chain([("times".to_owned(), cost.times)]).collect()
    };
    Ok(costs.iter().map(|cost| (cost.name.clone(), figures(cost))).collect())
}

fn text(table: &Table) -> String {
    let mut text = HEAD.to_owned();
    for (name, figures) in table {
        text += &format!("\n[\"{name}\"]\n");
        for figure in ["times"].iter().chain(&FIGURES) {
            let n = figures.get(*figure).copied().unwrap_or_default();
            text += &format!("{figure} = {n}\n");
        }
    }
    text
}

/// What differs, a line each.
fn changes(agreed: &Table, now: &Table) -> Vec<String> {
    let mut names: Vec<&String> = agreed.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let (before, after) = match (agreed.get(name), now.get(name)) {
            (Some(before), Some(after)) => (before, after),
            (Some(_), None) => {
                changes.push(format!("  {name:<36} is not done any more"));
                continue;
            }
            (None, _) => {
                changes.push(format!("  {name:<36} is new"));
                continue;
            }
        };
        let mut figures: Vec<&String> = before.keys().chain(after.keys()).collect();
        figures.sort();
        figures.dedup();
        for figure in figures {
            let (was, is) = (before.get(figure), after.get(figure));
            if was != is {
                let shown = |n: Option<&u64>| n.map_or("none".to_owned(), u64::to_string);
                let (was, is) = (shown(was), shown(is));
                changes.push(format!("  {name:<36} {figure:<16} {was:>14} {is:>14}"));
            }
        }
    }
    changes
}

/// Some figures of each operation, done once.
fn show(now: &Table) {
    let columns = ["messages", "writes", "syncs", "polls", "allocations", "virtual_ns"];
    let head: String = columns.iter().map(|name| format!(" {name:>11}")).collect();
    say(&format!("{:<36}{head}", "one operation"));
    for (name, figures) in now {
        let times = figures.get("times").copied().unwrap_or(1).max(1);
        let each = |figure: &&str| {
            let sum = figures.get(*figure).copied().unwrap_or_default();
            format!(" {:>11.2}", sum as f64 / times as f64)
        };
        let row: String = columns.iter().map(each).collect();
        say(&format!("{name:<36}{row}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, syncs: u64) -> Table {
        let figures = [("syncs".to_owned(), syncs), ("times".to_owned(), 10)];
        [(name.to_owned(), figures.into())].into()
    }

    #[test]
    fn one_sync_more_is_a_change_and_so_is_an_operation_that_comes_or_goes() {
        assert!(changes(&table("put", 10), &table("put", 10)).is_empty());
        let more = changes(&table("put", 10), &table("put", 11));
        assert_eq!(more.len(), 1);
        assert!(more[0].contains("put") && more[0].contains("syncs"), "{}", more[0]);
        assert!(more[0].contains("10") && more[0].ends_with("11"), "{}", more[0]);
        let other = changes(&table("put", 10), &table("get", 10));
        assert!(other[0].contains("is new") && other[1].contains("not done"), "{other:?}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let costs = counted().expect("nothing fails");
        let read: Table = toml::from_str(&text(&costs)).expect("it is TOML");
        assert!(changes(&read, &costs).is_empty());
    }
}
