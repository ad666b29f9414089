//! One script, many legal configurations, one logical hash.
//!
//! A script is what one client asks, in order. Whatever the node is told about caches, pages and
//! checkpoints, however sure its writes are, in whatever form the script comes, one at a time or
//! many at once, over however many starts: every answer and all that is stored in the end is the
//! same (metamorphic testing: Chen, Cheung, Yiu, HKUST-CS98-01, 1998). No model is asked, so what
//! model and node both get wrong in one configuration is found as well.

mod form;
mod script;
mod variant;

use std::time::Duration;

use orloj_db::{Node, NodeConfig};
use orloj_invariants::Request;
use orloj_kernel::Context;
use orloj_net::{
    Answer, Command, Commands, TimeForm, UnixMs,
    envelope::{Call, End, Envelope, Outcome},
};
use orloj_sim::{Config, Simulation};

pub use script::script;
pub use variant::{KNOBS, Variant};

use form::{Asker, Came, Names};
use variant::Restart;

/// What came of a script in one configuration: a line for each answer, and for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(Vec<String>);

impl Account {
    /// The logical hash.
    pub fn hash(&self) -> String {
        blake3::hash(self.0.join("\n").as_bytes()).to_hex()[..16].to_owned()
    }

    /// The first line in which two differ, as either has it.
    pub fn difference(&self, other: &Account) -> Option<(String, String)> {
        let line = |of: &Account, at| of.0.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
        let most = self.0.len().max(other.0.len());
        let at = (0..most).find(|at| self.0.get(*at) != other.0.get(*at))?;
        Some((line(self, at), line(other, at)))
    }
}

/// Two configurations in which a script does not do the same, made small.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed of script and configuration.
    pub seed: u64,
    /// What of the script is needed.
    pub script: Vec<Command>,
    /// What of the configuration is.
    pub variant: Variant,
    /// The first line that differs: as it is in the plainest configuration, and in this.
    pub lines: (String, String),
}

/// Carries out a script in one configuration. `seed` is that of schedule and latencies.
///
/// # Errors
/// What kept it from its end.
pub fn run(
    script: &[Command],
    variant: &Variant,
    seed: u64,
    mutant: Option<&'static str>,
) -> Result<Account, String> {
    let mut sim = Simulation::new(Config {
        buggify: variant.of("buggify") == 1,
        time_limit: Duration::from_secs(600),
        mutant,
        ..Config::seed(seed)
    });
    let cx = sim.idle_host("node");
    let (script, variant) = (script.to_vec(), variant.clone());
    let ended = sim.run(cx, async move { play(cx, &script, &variant).await });
    // What is still under way ends within its world.
    drop(sim.finish());
    match ended {
        Ok(account) => account,
        Err(failure) => Err(format!("{}: {}", failure.law, failure.evidence)),
    }
}

/// Compares `variants` drawn configurations with the plainest one over the script of `seed`.
///
/// # Errors
/// The first that does not do the same, made small.
pub fn compare(
    seed: u64,
    variants: u64,
    mutant: Option<&'static str>,
) -> Result<String, Box<Finding>> {
    let script = script(seed);
    let plain = account(&script, &Variant::plain(), seed, mutant);
    for number in 0..variants {
        let variant = Variant::draw(seed.wrapping_mul(1_000_003).wrapping_add(number));
        if account(&script, &variant, seed, mutant) != plain {
            return Err(Box::new(shrink(seed, script, variant, mutant)));
        }
    }
    Ok(plain.hash())
}

/// What came of it, be it that it did not come to its end.
fn account(
    script: &[Command],
    variant: &Variant,
    seed: u64,
    mutant: Option<&'static str>,
) -> Account {
    run(script, variant, seed, mutant).unwrap_or_else(|why| Account(vec![why]))
}

/// Sets knobs back and takes commands out while there is a difference.
fn shrink(
    seed: u64,
    mut script: Vec<Command>,
    mut variant: Variant,
    mutant: Option<&'static str>,
) -> Finding {
    let differs = |script: &[Command], variant: &Variant| {
        account(script, &Variant::plain(), seed, mutant) != account(script, variant, seed, mutant)
    };
    for (name, values) in KNOBS {
        let plainer = variant.with(name, values[0]);
        if differs(&script, &plainer) {
            variant = plainer;
        }
    }
    let mut run = script.len().div_ceil(2);
    while run > 0 {
        let mut at = 0;
        while at < script.len() {
            let mut smaller = script.clone();
            smaller.drain(at..(at + run).min(script.len()));
            match differs(&smaller, &variant) {
                true => script = smaller,
                false => at += run,
            }
        }
        run /= 2;
    }
    let plain = account(&script, &Variant::plain(), seed, mutant);
    let lines = plain.difference(&account(&script, &variant, seed, mutant));
    Finding { seed, script, variant, lines: lines.unwrap_or_default() }
}

async fn play(cx: Context, script: &[Command], variant: &Variant) -> Result<Account, String> {
    let config = variant.config();
    let restarts = variant.restarts();
    let mut names = Names::default();
    let mut lines = Vec::new();
    let mut node = start(cx, &config).await?;
    let mut asker = Asker::new(cx, variant, &node, &mut names).await?;
    let batch = usize::try_from(variant.of("batch")).unwrap_or(usize::MAX).clamp(1, 1_000);
    let mut done = 0;
    // Never two lives in one batch.
    let parts = script.len().div_ceil(1 + restarts.len()).max(1);
    for (number, part) in script.chunks(parts).enumerate() {
        if number > 0
            && let Some(how) = restarts.get(number - 1)
        {
            drop(asker);
            node = restart(cx, node, &config, *how).await?;
            asker = Asker::new(cx, variant, &node, &mut names).await?;
        }
        for commands in part.chunks(batch) {
            let answers = asker.ask(commands, &mut names).await?;
            for (command, answer) in commands.iter().zip(answers) {
                lines.push(format!("{done} {}: {}", show(command), normal(answer)));
                done += 1;
            }
        }
    }
    drop(asker);
    if let Some(how) = restarts.first() {
        node = restart(cx, node, &config, *how).await?;
    }
    lines.extend(state(&node).await?);
    node.stop().await.map_err(|why| why.to_string())?;
    Ok(Account(lines))
}

async fn start(cx: Context, config: &NodeConfig) -> Result<Node, String> {
    Node::start(config.clone(), cx).await.map_err(|why| format!("it does not start: {why}"))
}

async fn restart(
    cx: Context,
    node: Node,
    config: &NodeConfig,
    how: Restart,
) -> Result<Node, String> {
    match how {
        Restart::InOrder => node.stop().await.map_err(|why| why.to_string())?,
        // Its process ends where it stands.
        Restart::Dropped => drop(node),
    }
    cx.sleep(Duration::from_millis(50)).await;
    start(cx, config).await
}

/// Everything that is stored, a line a key.
async fn state(node: &Node) -> Result<Vec<String>, String> {
    let door = node.commands();
    let ask = async |command: Command| match door.send(Envelope::new(Call::Data(command))).await {
        Ok(Outcome { end: End::Ok(answer), .. }) => Ok(answer),
        other => Err(format!("the store cannot be read: {other:?}")),
    };
    let shown = |answer| normal(Came::End(End::Ok(answer)));
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        match ask(Command::Scan { after, pattern: None, count: 7 }).await? {
            Answer::Page { next, keys: more } => {
                keys.extend(more);
                after = next;
            }
            other => return Err(format!("no page: {other:?}")),
        }
        if after.is_none() {
            break;
        }
    }
    let mut lines = vec![format!("keys: {}", shown(ask(Command::DbSize).await?))];
    for key in keys {
        let value = ask(Command::Get { key: key.clone() }).await?;
        let form = TimeForm::UnixMillis;
        let until = ask(Command::Ttl { key: key.clone(), form }).await?;
        let (value, until) = (shown(value), shown(until));
        lines.push(format!("key {}: {value} until {until}", key.escape_ascii()));
    }
    Ok(lines)
}

/// A command as one types it; moments count from 1970.
pub fn show(command: &Command) -> String {
    crate::case::spell(&Request::Store(command.clone()), UnixMs(0))
}

/// An answer in the one form to which those of all protocols come down.
fn normal(came: Came) -> String {
    let end = match came {
        Came::Json(answer) => return form::of_json(&answer),
        Came::End(End::Ok(Answer::Error(refusal))) => End::Failed((&refusal).into()),
        Came::End(end) => end,
    };
    let outcome = Outcome { end, session_version: None, replayed: false };
    form::of_json(&orloj_net::json::answer(None, None, &Ok(outcome)))
}
