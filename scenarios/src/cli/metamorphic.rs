//! `metamorphic`: one script under many legal configurations.

use serde_json::json;

use super::{
    BROKEN, HELD,
    args::{MetamorphicArgs, RunArgs},
    machine::{self, say},
    program,
};
use crate::metamorphic::{Finding, compare, show as show_command};

/// Scripts of a run that is not told how many.
const SCRIPTS: u64 = 20;

/// Runs the task.
pub(super) fn run(args: &RunArgs, task: &MetamorphicArgs) -> Result<u8, String> {
    let mutant = program::mutant(task.mutant.as_deref().or(args.mutant.as_deref()))?;
    let seeds = match (args.seed, &args.seeds) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => seeds.clone(),
        (None, None) => 0..SCRIPTS,
    };
    let jobs = args.jobs.unwrap_or_else(machine::cores);
    let count = seeds.end - seeds.start;
    let mut found: Option<(u64, Box<Finding>)> = None;
    let mut failed: Option<String> = None;
    let mut done = 0;
    let compared = |seed| {
        let compared = machine::on_fresh_thread(|| compare(seed, task.variants, mutant));
        (seed, compared)
    };
    machine::side_by_side(jobs, seeds, compared, |(seed, compared)| {
        done += 1;
        match compared {
            Ok(Ok(hash)) => {
                if args.json {
                    say(&json!({ "seed": seed, "same": true, "hash": hash }).to_string());
                }
            }
            Ok(Err(finding)) => found = Some((seed, finding)),
            Err(why) => failed = Some(why),
        }
        found.is_none() && failed.is_none()
    });
    match (found, failed) {
        (Some((seed, finding)), _) => {
            show(args, seed, &finding);
            Ok(BROKEN)
        }
        (None, Some(why)) => Err(why),
        (None, None) => {
            if !args.json {
                let each = task.variants;
                say(&format!("{done} of {count} scripts: one hash each in {each} configurations"));
            }
            Ok(HELD)
        }
    }
}

fn show(args: &RunArgs, seed: u64, finding: &Finding) {
    let script: Vec<String> = finding.script.iter().map(show_command).collect();
    let (plain, other) = &finding.lines;
    let variant = finding.variant.to_string();
    if args.json {
        let said = json!({
            "seed": seed, "same": false, "variant": variant,
            "script": script, "plain": plain, "other": other,
        });
        say(&said.to_string());
        return;
    }
    say(&format!("BROKEN  one script, two histories                  seed {seed}\n"));
    say(&format!("  configuration  {variant}"));
    script.iter().for_each(|line| say(&format!("    {}", short(line))));
    say(&format!("  plain          {}\n  there          {}\n", short(plain), short(other)));
    say(&format!("  again          cargo xtask sim metamorphic --seeds {seed}..{}", seed + 1));
}

/// What fits a screen of it.
fn short(line: &str) -> String {
    const MOST: usize = 160;
    match line.chars().count() {
        ..=MOST => line.to_owned(),
        _ => line.chars().take(MOST).chain("...".chars()).collect(),
    }
}
