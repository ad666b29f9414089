//! The table `[commands]`: clients that ask in envelopes, in the place of those that speak RESP.

use std::time::Duration;

use orloj_sim::choice::Choices;
use serde::Deserialize;

use super::{Count, Share, Size, Span, Time};

/// How clients put commands into envelopes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Commands {
    /// Whether clients are on hosts of their own and speak the native protocol; else they are tasks
    /// of the node's process and use its handle.
    pub network: bool,
    /// Names of sessions that all clients use.
    pub sessions: Span<Count>,
    /// Share of commands on the server's lane.
    pub server: Span<Share>,
    /// Share of commands with an id.
    pub named: Span<Share>,
    /// Share of commands about sessions: making, loading, deleting.
    pub control: Span<Share>,
    /// Share of commands that depend on others.
    pub depends: Span<Share>,
    /// Share of requests that are a circle of commands, each depending on the next.
    pub circles: Span<Share>,
    /// Share of commands of sessions that expect a version.
    pub versioned: Span<Share>,
    /// Share of commands with an idempotency key.
    pub keyed: Span<Share>,
    /// Share of commands with a timeout of their own.
    pub timeouts: Span<Share>,
    /// How long those have.
    pub timeout: Span<Time>,
    /// Share of requests that repeat an earlier one, whether or not it was answered.
    pub retries: Span<Share>,
    /// Share of requests that are questions and cancellations.
    pub questions: Span<Share>,
    /// Share of commands that say themselves how sure they want to be.
    pub overrides: Span<Share>,
    /// Share of commands that break a rule of the envelope.
    pub invalid: Span<Share>,
    /// Subscribers.
    pub followers: Span<Count>,
    /// Commands that may be in flight.
    pub in_flight: Span<Count>,
    /// Requests of one connection that may be under way.
    pub credits: Span<Count>,
    /// Commands of one session in a second; 0 is any number.
    pub rate: Span<Count>,
    /// How long a command waits for another.
    pub dependency_wait: Span<Time>,
    /// How long an idempotency key is known.
    pub key_life: Span<Time>,
    /// What is let go of the history, and hidden in it; absent is nothing.
    pub upkeep: Option<Upkeep>,
    /// Share of commands with an id that are asked for in JSON before, over the network; absent is
    /// none.
    pub json: Option<Span<Share>>,
}

/// What is let go of the history, and hidden in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Upkeep {
    /// What ended longer ago goes.
    pub age: Span<Time>,
    /// The oldest go while there is more.
    pub bytes: Span<Size>,
    /// So many outcomes stay.
    pub outcomes: Span<Count>,
    /// 1 if values are never to be kept.
    pub hidden: Span<Count>,
}

/// What one seed lets go and hides.
#[derive(Clone, Debug)]
pub struct UpkeepPlan {
    /// What ended longer ago goes.
    pub age: Duration,
    /// The oldest go while there is more.
    pub bytes: u64,
    /// So many outcomes are known at least.
    pub outcomes: u64,
    /// Whether values are hidden in the history.
    pub is_hidden: bool,
}

impl Default for Commands {
    fn default() -> Commands {
        Commands {
            network: false,
            sessions: Span::new(1, 4),
            server: Span::new(0, 500_000),
            named: Span::new(500_000, 1_000_000),
            control: Span::new(20_000, 200_000),
            depends: Span::new(0, 500_000),
            circles: Span::new(0, 50_000),
            versioned: Span::new(0, 300_000),
            keyed: Span::new(0, 300_000),
            timeouts: Span::new(0, 300_000),
            timeout: Span::new(1_000_000, 100_000_000),
            retries: Span::new(0, 300_000),
            questions: Span::new(0, 150_000),
            overrides: Span::new(0, 0),
            invalid: Span::new(0, 30_000),
            followers: Span::new(0, 3),
            in_flight: Span::new(4, 100),
            credits: Span::new(256, 256),
            rate: Span::new(0, 0),
            dependency_wait: Span::new(5_000_000, 500_000_000),
            key_life: Span::new(20_000_000, 2_000_000_000),
            upkeep: None,
            json: None,
        }
    }
}

/// What one seed puts into envelopes. Shares are in parts per million.
#[derive(Clone, Debug)]
pub struct CommandsPlan {
    /// Whether clients speak the native protocol.
    pub network: bool,
    /// Names of sessions.
    pub sessions: u64,
    /// On the server's lane.
    pub server_ppm: u32,
    /// With an id.
    pub named_ppm: u32,
    /// About sessions.
    pub control_ppm: u32,
    /// That depend on others.
    pub depends_ppm: u32,
    /// Circles.
    pub circles_ppm: u32,
    /// That expect a version.
    pub versioned_ppm: u32,
    /// With an idempotency key.
    pub keyed_ppm: u32,
    /// With a timeout.
    pub timeouts_ppm: u32,
    /// How long those have.
    pub timeout: Span<Time>,
    /// Repetitions.
    pub retries_ppm: u32,
    /// Questions and cancellations.
    pub questions_ppm: u32,
    /// That say how sure they want to be.
    pub overrides_ppm: u32,
    /// That break a rule.
    pub invalid_ppm: u32,
    /// Subscribers.
    pub followers: u64,
    /// Commands that may be in flight.
    pub in_flight: usize,
    /// Requests of one connection that may be under way.
    pub credits: u32,
    /// Commands of one session in a second.
    pub rate: u64,
    /// How long a command waits for another.
    pub dependency_wait: Duration,
    /// How long an idempotency key is known.
    pub key_life: Duration,
    /// What is let go and hidden.
    pub upkeep: Option<UpkeepPlan>,
    /// Asked for in JSON before.
    pub json_ppm: Option<u32>,
}

impl Commands {
    pub(super) fn plan(&self, choices: &mut Choices) -> CommandsPlan {
        CommandsPlan {
            network: self.network,
            sessions: self.sessions.draw(choices, "sessions").max(1),
            server_ppm: self.server.draw_ppm(choices, "server"),
            named_ppm: self.named.draw_ppm(choices, "named"),
            control_ppm: self.control.draw_ppm(choices, "control"),
            depends_ppm: self.depends.draw_ppm(choices, "depends"),
            circles_ppm: self.circles.draw_ppm(choices, "circles"),
            versioned_ppm: self.versioned.draw_ppm(choices, "versioned"),
            keyed_ppm: self.keyed.draw_ppm(choices, "keyed"),
            timeouts_ppm: self.timeouts.draw_ppm(choices, "timeouts"),
            timeout: self.timeout,
            retries_ppm: self.retries.draw_ppm(choices, "retries"),
            questions_ppm: self.questions.draw_ppm(choices, "questions"),
            overrides_ppm: self.overrides.draw_ppm(choices, "overrides"),
            invalid_ppm: self.invalid.draw_ppm(choices, "invalid"),
            followers: self.followers.draw(choices, "followers"),
            in_flight: self.in_flight.draw(choices, "in-flight") as usize,
            credits: self.credits.draw(choices, "credits") as u32,
            rate: self.rate.draw(choices, "rate"),
            // The node counts whole milliseconds.
            dependency_wait: millis(self.dependency_wait.draw(choices, "dependency-wait")),
            key_life: millis(self.key_life.draw(choices, "key-life")),
            upkeep: self.upkeep.as_ref().map(|upkeep| upkeep.plan(choices)),
            json_ppm: self.json.map(|json| json.draw_ppm(choices, "json")),
        }
    }
}

impl Upkeep {
    fn plan(&self, choices: &mut Choices) -> UpkeepPlan {
        UpkeepPlan {
            age: millis(self.age.draw(choices, "history-age")),
            bytes: self.bytes.draw(choices, "history-bytes"),
            outcomes: self.outcomes.draw(choices, "history-outcomes"),
            is_hidden: self.hidden.draw(choices, "hidden") == 1,
        }
    }
}

fn millis(ns: u64) -> Duration {
    Duration::from_millis((ns / 1_000_000).max(1))
}
