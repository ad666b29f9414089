//! A small program with twelve ways, all planted, in which chance gets past the seed.
//!
//! Players on three hosts ask a dealer on a fourth for cards and rest in between. What they decide
//! comes from their context, as it should, unless a leak is active; then it comes from the process,
//! the machine or the build. A leak is caught when the world traps it, or when the same seed runs
//! differently in another process. The way in which nothing is planted proves that neither cries
//! wolf.

mod ways;

use std::{sync::Arc, time::Duration};

use orloj_kernel::{Actor, Addr, Context, Reply, Stop};
use orloj_sim::Simulation;

use crate::verdict::{Breach, Outcome, Run, Setup, Tally};

/// The scenario's name.
pub const NAME: &str = "leaks";

/// What it shows.
pub const PROMISE: &str =
    "A run depends on its seed and on nothing else, and a leak of chance is noticed.";

/// Every planted leak.
pub fn names() -> Vec<&'static str> {
    crate::verdict::mutants().into_iter().filter(|name| name.starts_with("leak.")).collect()
}

enum Ask {
    Card { wish: u64, reply: Reply<u64> },
}

/// Deals cards, each depending on all before it.
struct Dealer {
    state: u64,
}

impl Actor for Dealer {
    type Msg = Ask;
    const NAME: &'static str = "dealer";

    async fn turn(&mut self, batch: &mut Vec<Ask>, cx: &Context) -> Result<(), Stop> {
        for Ask::Card { wish, reply } in batch.drain(..) {
            self.state = (self.state ^ wish).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            reply.send(self.state);
        }
        cx.sleep(Duration::from_micros(self.state % 50)).await;
        Ok(())
    }
}

const ROUNDS: u64 = 12;

async fn play(dealer: Addr<Ask>, cx: Context) {
    for _ in 0..ROUNDS {
        let wish = ways::decide(&cx).await;
        let (reply, card) = Reply::new();
        if dealer.send(Ask::Card { wish, reply }).await.is_err() {
            return;
        }
        let Ok(card) = card.await else { return };
        cx.trace("player", format_args!("{:?}", ways::Card { card, cx }));
        cx.sleep(Duration::from_micros((card ^ wish) % 2_000)).await;
    }
}

/// Runs one seed.
pub fn run(setup: Setup) -> Run {
    let seed = setup.seed;
    let mut sim = Simulation::new(setup.config(1_000_000_000));
    let players: Arc<[Context]> = ["a", "b", "c"].map(|name| sim.idle_host(name)).into();
    let table = sim.idle_host("table");
    let ended = sim.run(table, async move {
        let dealer = table.start(Dealer { state: table.entropy() });
        let start = |cx: &Context| cx.spawn("player", play(dealer.clone(), *cx));
        let playing: Vec<_> = players.iter().map(start).collect();
        for player in playing {
            // A player that was aborted has nothing to say.
            let _ = player.await;
        }
    });
    let report = sim.finish();
    let outcome = match ended {
        Ok(()) => Outcome::Held,
        Err(failure) => Outcome::Broken(Breach::of(failure, report.virtual_ns)),
    };
    Run::of(seed, report, outcome, Tally::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_leak_a_seed_runs_the_same_twice() {
        let hash = |seed| run(Setup::seed(seed)).trace_hash;
        assert_eq!(hash(7), hash(7));
        assert_ne!(hash(7), hash(8));
    }

    #[test]
    fn there_are_twelve_leaks() {
        assert_eq!(names().len(), 12, "{:?}", names());
    }

    /// The leaks that show within one process.
    #[test]
    fn a_counter_that_outlives_its_run_shows_at_once() {
        let leaky = || run(Setup { mutant: Some("leak.static_counter"), ..Setup::seed(7) });
        assert_ne!(leaky().trace_hash, leaky().trace_hash);
    }

    #[test]
    fn a_draw_inside_debug_shows_when_the_story_is_told() {
        let leaky = |detail| {
            run(Setup { mutant: Some("leak.draw_in_debug"), detail, ..Setup::seed(7) }).trace_hash
        };
        assert_ne!(leaky(orloj_sim::Detail::Hash), leaky(orloj_sim::Detail::Story));
    }
}
