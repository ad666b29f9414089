//! Programs: bytes that are decoded to a *case* of the simulator (what clients do, what strikes and
//! when), which is run and held to every law, the reference model among them.
//!
//! A finding is printed as the text of its case: in a file, `cargo xtask sim replay FILE` runs it
//! and `seeds/` can keep it.

mod bytes;
pub mod commands;
pub mod engine;
pub mod resp;

use std::{fmt::Write, sync::Arc};

use bytes::Luck;
use orloj_scenarios::{Case, Outcome, Setup, run};
use orloj_sim::Scheduler;

/// Steps of all clients, at most: a program is read by people when it has found something.
const STEPS_MAX: usize = 48;
/// Clients, at most.
const CLIENTS_MAX: usize = 4;

/// A case in the making.
struct Program {
    /// The world, as TOML.
    world: String,
    /// Lines of each client.
    clients: Vec<Vec<String>>,
    /// What each asks when everything must work, if anything.
    closing: Option<fn(usize) -> String>,
    /// Tables of strikes.
    strikes: String,
    /// Where the last step stands, for strikes to be anchored to.
    last: Option<(usize, usize)>,
    scheduler: Scheduler,
    seed: u64,
}

impl Program {
    /// With the world that `world` writes, and a schedule.
    fn new(luck: &mut Luck<'_>, world: impl FnOnce(&mut Luck<'_>) -> String) -> Program {
        let all = [Scheduler::Fifo, Scheduler::Random, Scheduler::Random];
        let scheduler = all[luck.below(all.len())];
        let seed = u64::from(luck.byte());
        let clients = vec![Vec::new(); 1 + luck.below(CLIENTS_MAX)];
        let world = world(luck);
        let strikes = String::new();
        Program { world, clients, closing: None, strikes, last: None, scheduler, seed }
    }

    fn steps(&self) -> usize {
        self.clients.iter().map(Vec::len).sum()
    }

    /// Adds a step of a client; `said` is what stands before the colon.
    fn step(&mut self, client: usize, said: &[String], text: &str) {
        let client = client % self.clients.len();
        let said = said.join(", ");
        let colon = if said.is_empty() { "" } else { ": " };
        self.clients[client].push(format!("{said}{colon}{text}"));
        self.last = Some((client, self.clients[client].len()));
    }

    /// Adds a strike at the last step, or at a number of syncs or writes.
    fn strike(&mut self, luck: &mut Luck<'_>) {
        let (kind, at, wait) = (luck.below(8), luck.below(4), luck.byte());
        let after = match (self.last, at) {
            (Some((client, place)), 0 | 1) => {
                format!("c{client} {} {place}", if at == 0 { "sends" } else { "hears" })
            }
            (_, 2) => format!("node syncs {}", 1 + luck.below(24)),
            (_, 3) => format!("node writes {}", 1 + luck.below(48)),
            _ => "start".to_owned(),
        };
        let (how, polls) = match kind {
            0 | 1 => ("power", 0),
            2 => ("process", 0),
            3 => ("stop", 0),
            4 | 5 => ("power-at-await", 1 + luck.below(64)),
            6 => ("process-at-await", 1 + luck.below(64)),
            _ => ("", 0),
        };
        let wait = 1 + u64::from(wait) * u64::from(wait) * 40;
        let table = &mut self.strikes;
        let _ = writeln!(table, "\n[[strike]]\nafter = \"{after}\"\nwait = \"{wait}ns\"");
        let _ = match how {
            "" => writeln!(table, "kind = \"disk-stall\"\nlast = \"8ms\""),
            _ => writeln!(
                table,
                "kind = \"crash\"\nhow = \"{how}\"\npolls = {polls}\ndown = \"2ms\""
            ),
        };
    }

    /// The text of its case.
    fn text(&self) -> String {
        let mut text = String::from("law = \"any\"\n");
        if self.scheduler != Scheduler::Random {
            let _ = writeln!(text, "scheduler = \"{}\"", self.scheduler);
        }
        let seed = self.seed;
        let _ = writeln!(
            text,
            "\n[history]\nscenario = \"program\"\nseed = {seed}\ncommit = \"\"\n\n{}",
            self.world
        );
        for (client, steps) in self.clients.iter().enumerate() {
            text += "\n[[client]]\npatience = \"300ms\"\nops = [\n";
            steps.iter().for_each(|step| text += &format!("    '{step}',\n"));
            text += "]\n";
            if let Some(closing) = self.closing {
                let _ = writeln!(text, "closing = ['{}']", closing(client));
            }
        }
        text + &self.strikes
    }

    /// Runs it and holds it to every law.
    fn judge(self) {
        if self.steps() == 0 {
            return;
        }
        let text = self.text();
        let case = Case::parse("program", &text).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let again = Case::parse("program", &case.write()).expect("what was read is written");
        assert!(again == case, "a case is written as what it is\n{text}");
        let scenario = case.scenario().expect("it was read");
        let scheduler = case.scheduler;
        let setup = Setup { scheduler, case: Some(Arc::new(case)), ..Setup::seed(self.seed) };
        match run(&scenario, setup).outcome {
            Outcome::Held => {}
            Outcome::Broken(breach) => {
                panic!("{}: {}\n{}\n{text}", breach.law, breach.promise, breach.evidence)
            }
            Outcome::DidNotStart(why) => panic!("{why}\n{text}"),
        }
    }
}

/// What disks do to what was not synced, in a share that the bytes say.
fn disk(luck: &mut Luck<'_>) -> String {
    let shares = ["0", "10%", "50%", "100%"];
    let mut text = String::from("[world.disk]\n");
    for name in ["lost-write", "torn", "reorder", "garbage", "lost-name", "lost-rename"] {
        let share = shares[luck.below(shares.len())];
        if share != "0" {
            let _ = writeln!(text, "{name} = \"{share}\"");
        }
    }
    let _ = writeln!(text, "slowness = \"{}\"", [1, 1, 8, 40][luck.below(4)]);
    text
}
