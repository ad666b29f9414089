//! `bisect`: the first commit at which a seed fails.
//!
//! Commits are checked out one after the other into a work tree of their own, whose build is kept
//! from one to the next. A commit that does not build, or does not know the scenario, says nothing.

use orloj_sim::Scheduler;

use super::{
    BROKEN, HELD,
    args::RunArgs,
    checkout::{Checkout, git},
    machine::say,
    pick::Pick,
};

/// What `bisect` takes.
#[derive(Debug, clap::Args)]
pub(super) struct BisectArgs {
    #[command(flatten)]
    pub(super) pick: Pick,
    /// A commit at which the seed holds.
    #[arg(long, value_name = "COMMIT")]
    pub(super) good: String,
    /// A later one at which it fails.
    #[arg(long, value_name = "COMMIT", default_value = "HEAD")]
    pub(super) bad: String,
    /// The profile to build the simulator in.
    #[arg(long, value_name = "PROFILE", default_value = "sim")]
    pub(super) build: String,
}

/// What a commit says of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Holds,
    Fails,
    Nothing,
}

/// Searches the commits between the two.
pub(super) fn run(args: &RunArgs, task: &BisectArgs) -> Result<u8, String> {
    let seed = task.pick.seed.or(args.seed).ok_or("bisect needs a --seed")?;
    let mut flags = vec!["--seed".to_owned(), seed.to_string()];
    let mut flag = |name: &str, value: Option<String>| {
        flags.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    };
    flag("--scenario", args.scenario.clone());
    flag("--mutant", task.pick.mutant.clone());
    let scheduler = task.pick.scheduler;
    flag("--scheduler", (scheduler != Scheduler::default()).then(|| scheduler.to_string()));
    if task.pick.no_faults {
        flags.push("--no-faults".to_owned());
    }
    let range = format!("{}..{}", task.good, task.bad);
    let list = git(&["rev-list", "--reverse", "--first-parent", &range])?;
    let commits: Vec<&str> = list.lines().collect();
    if commits.is_empty() {
        return Err(format!("there is no commit in {range}"));
    }
    say(&format!("{} commits in {range}", commits.len()));
    let checkout = Checkout::of(&task.bad)?;
    let found = first_bad(commits.len(), |number| {
        let says = judge(&checkout, commits[number], &task.build, &flags)?;
        say(&format!("  {} {says:?}", title(&checkout, commits[number])?));
        Ok(says)
    })?;
    match found {
        Found::First(number) => {
            say(&format!("the first commit at which it fails is {}", commits[number]));
            say(&git(&["show", "--stat", "--format=medium", commits[number]])?);
            Ok(HELD)
        }
        Found::OneOf(numbers) => {
            say("it is one of these; those between say nothing");
            for number in numbers {
                say(&format!("  {}", commits[number]));
            }
            Ok(HELD)
        }
        Found::NotThere => {
            say(&format!("it does not fail at {}", task.bad));
            Ok(BROKEN)
        }
    }
}

/// Which commit is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    First(usize),
    /// The first that fails, and those before it that said nothing.
    OneOf(Vec<usize>),
    /// The last does not fail.
    NotThere,
}

/// The first of so many that fails, the one before the first being known to hold.
fn first_bad(
    count: usize,
    mut ask: impl FnMut(usize) -> Result<Says, String>,
) -> Result<Found, String> {
    if ask(count - 1)? != Says::Fails {
        return Ok(Found::NotThere);
    }
    // `good` counts those known to hold, from the beginning; `bad` is known to fail.
    let (mut good, mut bad) = (0, count - 1);
    let mut mute: Vec<usize> = Vec::new();
    loop {
        let open: Vec<usize> = (good..bad).filter(|number| !mute.contains(number)).collect();
        let Some(middle) = open.get(open.len() / 2).copied() else { break };
        match ask(middle)? {
            Says::Holds => good = middle + 1,
            Says::Fails => bad = middle,
            Says::Nothing => mute.push(middle),
        }
    }
    mute.retain(|number| (good..bad).contains(number));
    mute.sort_unstable();
    Ok(match mute.is_empty() {
        true => Found::First(bad),
        false => Found::OneOf(mute.into_iter().chain([bad]).collect()),
    })
}

fn judge(
    checkout: &Checkout,
    commit: &str,
    profile: &str,
    flags: &[String],
) -> Result<Says, String> {
    checkout.git(&["checkout", "--detach", "--quiet", commit])?;
    let Ok(binary) = checkout.build(profile) else { return Ok(Says::Nothing) };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Ok(match checkout.run(&binary, &flags)? {
        Some(0) => Says::Holds,
        Some(1) => Says::Fails,
        _ => Says::Nothing,
    })
}

fn title(checkout: &Checkout, commit: &str) -> Result<String, String> {
    Ok(checkout.git(&["log", "-1", "--format=%h %s", commit])?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method: every history of up to 12 commits with every first bad one, some of them mute.
    #[test]
    fn it_finds_the_first_commit_that_fails_in_few_questions() {
        for count in 1..=12usize {
            for first in 0..count {
                for mute in 0..1usize << count.min(6) {
                    let is_mute = |number: usize| number + 1 < count && mute >> number & 1 == 1;
                    let mut asked = 0;
                    let found = first_bad(count, |number| {
                        asked += 1;
                        Ok(match is_mute(number) {
                            true => Says::Nothing,
                            false if number >= first => Says::Fails,
                            false => Says::Holds,
                        })
                    });
                    let bad = (first..count).find(|number| !is_mute(*number)).unwrap();
                    let mut one_of: Vec<usize> =
                        (0..bad).rev().take_while(|number| is_mute(*number)).collect();
                    one_of.reverse();
                    one_of.push(bad);
                    let want = match one_of.len() {
                        1 => Found::First(bad),
                        _ => Found::OneOf(one_of),
                    };
                    assert_eq!(found, Ok(want), "{count} {first} {mute:b}");
                    if mute == 0 {
                        assert!(asked <= 2 + count.ilog2(), "{count}: {asked}");
                    }
                }
            }
        }
        assert_eq!(first_bad(5, |_| Ok(Says::Holds)), Ok(Found::NotThere));
    }
}
