//! `list`: every scenario, explained.

use serde_json::json;

use super::{HELD, args::RunArgs, machine::say};
use crate::{leaks, scenario};

pub(super) fn run(args: &RunArgs) -> Result<u8, String> {
    for listing in scenario::list() {
        let found = scenario::find(listing.name).map_err(|error| error.to_string())?;
        // The comment at the head of the file is its explanation.
        let head = listing.text.lines().take_while(|line| line.starts_with('#'));
        let about: Vec<&str> = head.map(|line| line.trim_start_matches('#').trim()).collect();
        show(args, listing.name, &found.promise, &about.join(" "));
    }
    let about =
        "Not a scenario of the database: twelve planted leaks of chance, for check-determinism.";
    show(args, leaks::NAME, leaks::PROMISE, about);
    Ok(HELD)
}

fn show(args: &RunArgs, name: &str, promise: &str, about: &str) {
    if args.json {
        say(&json!({ "scenario": name, "promise": promise, "about": about }).to_string());
        return;
    }
    say(name);
    for text in [promise, about] {
        wrap(text).iter().for_each(|line| say(&format!("    {line}")));
    }
    say("");
}

/// Cuts a text into lines of at most 90 columns.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 90 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
