//! `fork`: the same past, other futures.

use orloj_sim::Fork;

use super::{
    BROKEN, HELD,
    args::RunArgs,
    machine::say,
    pick::{self, Pick, Picked, checked, instant, law, record},
};
use crate::compare;

/// What `fork` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ForkArgs {
    #[command(flatten)]
    pub(super) pick: Pick,
    /// Until when the past is kept, such as 1.25s or 300ms.
    #[arg(long, value_name = "T", value_parser = instant)]
    pub(super) at: u64,
    /// How many futures: seeds 1 to K of what is chosen from there on.
    #[arg(long, value_name = "K", default_value_t = 8, conflicts_with = "future")]
    pub(super) futures: u64,
    /// This future alone.
    #[arg(long, value_name = "SEED")]
    pub(super) future: Option<u64>,
}

/// Runs the futures and says how each ends.
pub(super) fn run(args: &RunArgs, task: &ForkArgs) -> Result<u8, String> {
    let picked = task.pick.find(args)?;
    let first = picked.recorded()?;
    let verdict = |law: Option<&str>| law.map_or("held".to_owned(), |law| format!("BROKEN {law}"));
    say(&format!("{} as it is: {}", picked.flags(), verdict(law(&first))));
    let futures = task.future.map_or(1..=task.futures, |one| one..=one);
    let (mut count, mut broken) = (0, 0);
    for seed in futures {
        let fork = Some(Fork { at: task.at, seed });
        let run = checked(Picked { fork, ..picked.clone() }.recorded()?)?;
        count += 1;
        broken += u64::from(law(&run).is_some());
        let parting = compare::parting(record(&first)?, pick::record(&run)?);
        let parts = parting.map_or("the same to its end".to_owned(), |parting| {
            format!("parts at {} s", orloj_invariants::Moment(parting.at))
        });
        say(&format!("  future {seed:<6} {:<32} {parts}", verdict(law(&run))));
    }
    say(&format!("{broken} of {count} futures break a promise"));
    Ok(if broken == 0 { HELD } else { BROKEN })
}
