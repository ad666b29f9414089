//! Goal: commands inside envelopes keep the rules of their specification, one rule a test. Method:
//! a node in a world without faults (and with restarts where they matter), asked from within.

use std::time::Duration;

use orloj_db::{CommandLimits, Durability, Embedded, Node, NodeConfig};
use orloj_kernel::{Context, Shutdown};
use orloj_net::{
    Answer, Blob, Command, Commands, Condition, Events, Expiry, UnixMs,
    envelope::{
        Call, Code, End, Envelope, Failure, Filter, Finding, Outcome, Question, Safety, Stage,
    },
};
use orloj_sim::{Simulation, testing};

const MS: Duration = Duration::from_millis(1);

/// A node, and what it was told.
struct World {
    cx: Context,
    config: NodeConfig,
    node: Option<Node>,
    commands: Embedded,
}

impl World {
    async fn start(cx: Context, config: NodeConfig) -> World {
        let node = Node::start(config.clone(), cx).await.expect("it starts");
        let commands = node.commands();
        World { cx, config, node: Some(node), commands }
    }

    async fn send(&self, envelope: Envelope) -> Outcome {
        self.commands.send(envelope).await.expect("it is accepted")
    }

    async fn refused(&self, envelope: Envelope) -> Failure {
        self.commands.send(envelope).await.expect_err("it is refused")
    }

    async fn restart(mut self) -> World {
        drop(self.commands);
        self.node.take().expect("it runs").stop().await.expect("it stops");
        World::start(self.cx, self.config).await
    }

    /// As a crash of the process would.
    async fn crash(mut self) -> World {
        drop(self.commands);
        drop(self.node.take());
        self.cx.sleep(50 * MS).await;
        World::start(self.cx, self.config).await
    }

    async fn session(&self, name: &str) {
        let made = self.send(Envelope::new(Call::CreateSession).session(name)).await;
        assert_eq!((made.end, made.session_version), (End::Ok(Answer::Int(0)), Some(0)));
    }
}

fn config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
    config
}

fn world<F: Future<Output = ()> + Send + 'static>(
    config: NodeConfig,
    test: impl FnOnce(World) -> F + Send + 'static,
) {
    testing::on_fresh_thread(move || {
        let mut sim = Simulation::new(testing::config(7));
        let cx = sim.idle_host("node");
        sim.run(cx, async move {
            let world = World::start(cx, config).await;
            test(world).await;
        })
        .expect("no law is broken");
    });
}

fn set(key: &str, value: &str) -> Envelope {
    Envelope::new(Command::Set {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        expiry: Expiry::None,
        condition: None,
        get: false,
    })
}

fn get(key: &str) -> Envelope {
    Envelope::new(Command::Get { key: key.to_owned().into() })
}

fn incr(key: &str) -> Envelope {
    Envelope::new(Command::Incr { key: key.to_owned().into(), by: 1 })
}

fn number(outcome: &Outcome) -> i64 {
    match outcome.end {
        End::Ok(Answer::Int(number)) => number,
        ref other => panic!("no number: {other:?}"),
    }
}

fn code(outcome: &Outcome) -> Code {
    outcome.end.failure().expect("it failed").code
}

#[test]
fn a_retry_gets_the_first_outcome_and_does_nothing() {
    world(config(), async |world| {
        let first = world.send(incr("n").id("a")).await;
        assert_eq!((number(&first), first.replayed), (1, false));
        let again = world.send(incr("n").id("a")).await;
        assert_eq!((number(&again), again.replayed), (1, true));
        let world = world.crash().await;
        let later = world.send(incr("n").id("a")).await;
        assert_eq!((number(&later), later.replayed), (1, true), "after a restart as well");
        assert_eq!(number(&world.send(incr("n").id("b")).await), 2);
        let failure = world.refused(incr("other").id("a")).await;
        assert_eq!(failure.code, Code::Conflict);
        assert_eq!(failure.detail("field"), Some("id"));
    });
}

#[test]
fn an_idempotency_key_is_of_its_scope_and_of_its_time() {
    world(config(), async |world| {
        world.session("s").await;
        let keyed = |id: &str| incr("n").id(id).idempotency_key("k");
        assert_eq!(number(&world.send(keyed("a")).await), 1);
        let again = world.send(keyed("b")).await;
        assert_eq!((number(&again), again.replayed), (1, true));
        let other = world.send(keyed("c").session("s")).await;
        assert_eq!((number(&other), other.replayed), (2, false), "another scope");
        let failure = world.refused(incr("m").idempotency_key("k")).await;
        assert_eq!(
            (failure.code, failure.detail("field")),
            (Code::Conflict, Some("idempotency_key"))
        );
        world.cx.sleep(601_000 * MS).await;
        let late = world.send(keyed("d")).await;
        assert_eq!((number(&late), late.replayed), (3, false), "ten minutes are over");
    });
}

#[test]
fn a_session_has_a_version_without_gaps() {
    world(config(), async |world| {
        let missing = world.send(set("k", "v").session("s")).await;
        assert_eq!(code(&missing), Code::Invalid);
        assert_eq!(missing.end.failure().and_then(|f| f.detail("reason")), Some("unknown_session"));
        world.session("s").await;
        let twice = world.send(Envelope::new(Call::CreateSession).session("s")).await;
        assert_eq!((code(&twice), twice.session_version), (Code::Conflict, Some(0)));
        assert_eq!(world.send(set("k", "v").session("s")).await.session_version, Some(1));
        assert_eq!(world.send(get("k").session("s")).await.session_version, Some(1));
        let failed = world.send(incr("k").session("s")).await;
        assert_eq!((code(&failed), failed.session_version), (Code::Invalid, Some(1)));
        let wrong = world.send(set("k", "w").session("s").if_session_version(0)).await;
        assert_eq!(code(&wrong), Code::VersionMismatch);
        assert_eq!(wrong.end.failure().and_then(|f| f.detail("actual")), Some("1"));
        let right = world.send(set("k", "w").session("s").if_session_version(1)).await;
        assert_eq!(right.session_version, Some(2));
        let world = world.restart().await;
        let loaded = world.send(Envelope::new(Call::LoadSession).session("s")).await;
        assert_eq!(number(&loaded), 2);
        let gone = world.send(Envelope::new(Call::DeleteSession).session("s")).await;
        assert_eq!((gone.end, gone.session_version), (End::Ok(Answer::Ok), None));
        let absent = world.send(get("k").session("s").if_session_version(2)).await;
        assert_eq!(absent.end.failure().and_then(|f| f.detail("actual")), Some("absent"));
        world.session("s").await;
    });
}

#[test]
fn dependencies_are_what_they_are_on_the_turn() {
    world(config(), async |world| {
        world.session("s").await;
        world.session("t").await;
        assert!(world.send(set("k", "v").id("good").session("s")).await.end.is_ok());
        assert!(!world.send(incr("k").id("bad").session("s")).await.end.is_ok());
        assert!(world.send(get("k").id("a").session("t").after("good")).await.end.is_ok());
        let failed = world.send(get("k").id("b").session("t").after("good").after("bad")).await;
        assert_eq!(code(&failed), Code::DependencyFailed);
        assert_eq!(failed.end.failure().and_then(|f| f.detail("on")), Some("bad"));
        let unknown = world.send(get("k").id("c").session("t").after("nobody")).await;
        assert_eq!(code(&unknown), Code::DependencyUnknown);
    });
}

async fn together<const N: usize>(world: &World, commands: [Envelope; N]) -> [Outcome; N] {
    let outcomes = world.commands.send_all(commands.into()).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(|o| o.expect("accepted")).collect();
    outcomes.try_into().expect("one for each")
}

#[test]
fn a_dependency_on_another_lane_is_waited_for() {
    world(config(), async |world| {
        world.session("s").await;
        world.session("t").await;
        let [dependent, behind, first] = together(
            &world,
            [
                get("k").id("a").session("s").after("b"),
                get("k").session("s"),
                set("k", "v").id("b").session("t"),
            ],
        )
        .await;
        assert_eq!(dependent.end, End::Ok(Answer::Bulk(Blob::new(b"v"))));
        assert_eq!(behind.end, dependent.end);
        assert!(first.end.is_ok());
    });
}

#[test]
fn a_dependency_on_the_same_lane_fails_at_once_and_the_lane_goes_on() {
    world(config(), async |world| {
        world.session("s").await;
        let [dependent, behind] = together(
            &world,
            [get("k").id("a").session("s").after("b"), set("k", "v").id("b").session("s")],
        )
        .await;
        assert_eq!(code(&dependent), Code::DependencyFailed);
        let failure = dependent.end.failure().expect("it failed");
        assert_eq!(failure.detail("reason"), Some("same_lane"));
        assert!(behind.end.is_ok());
    });
}

#[test]
fn the_youngest_of_a_circle_fails() {
    world(config(), async |world| {
        for name in ["s", "t", "u"] {
            world.session(name).await;
        }
        let [a, b] = together(
            &world,
            [get("k").id("a").session("s").after("b"), get("k").id("b").session("t").after("a")],
        )
        .await;
        assert_eq!((code(&a), code(&b)), (Code::DependencyFailed, Code::DependencyCycle));
        let cycle = b.end.failure().and_then(|f| f.detail("cycle"));
        assert_eq!(cycle, Some("b -> a"));
        // One that goes through what is queued behind others.
        let [c, d, e, f] = together(
            &world,
            [
                get("k").id("c").session("s").after("f"),
                get("k").id("d").session("t").after("e"),
                get("k").id("e").session("s"),
                get("k").id("f").session("t"),
            ],
        )
        .await;
        assert_eq!(code(&f), Code::DependencyCycle);
        assert_eq!(code(&c), Code::DependencyFailed);
        assert!(d.end.is_ok() && e.end.is_ok());
    });
}

#[test]
fn questions_find_what_has_been() {
    world(config(), async |world| {
        world.session("s").await;
        for n in 0..5 {
            let id = format!("c{n}");
            assert!(world.send(incr("n").id(id).session("s")).await.end.is_ok());
        }
        assert!(!world.send(incr("s").id("anon")).await.replayed);
        let history =
            async |filter: Filter| match world.commands.ask(Question::History(filter)).await {
                Ok(Finding::History(page)) => page,
                other => panic!("no history: {other:?}"),
            };
        let of_s = Filter { session: Some("s".into()), ..Filter::default() };
        let page = history(of_s.clone()).await;
        let ids: Vec<_> = page.commands.iter().map(|c| c.causes.id.to_string()).collect();
        assert_eq!(ids[..5], ["c4", "c3", "c2", "c1", "c0"]);
        assert_eq!((page.commands.len(), page.truncated), (6, false));
        let first = history(Filter { limit: 2, ..of_s.clone() }).await;
        assert!(first.truncated);
        let next = history(Filter { limit: 2, cursor: first.cursor, ..of_s }).await;
        let ids: Vec<_> = next.commands.iter().map(|c| c.causes.id.to_string()).collect();
        assert_eq!(ids, ["c2", "c1"]);
        let one = history(Filter { id: Some("c3".into()), ..Filter::default() }).await;
        assert_eq!(one.commands.len(), 1);
        assert_eq!(one.commands[0].lane_sequence, 3 + 3 * 3 + 1);
        let all = history(Filter { outcome: Some("ok".into()), ..Filter::default() }).await;
        assert_eq!(all.commands.len(), 7);
        let none = Filter { to: Some(UnixMs(1)), ..Filter::default() };
        assert_eq!(history(none).await.commands, []);
        match world.commands.ask(Question::Outcome("c2".into())).await {
            Ok(Finding::Outcome(Some(outcome))) => assert_eq!(number(&outcome), 3),
            other => panic!("no outcome: {other:?}"),
        }
        let unknown = world.commands.ask(Question::Outcome("nobody".into())).await;
        assert_eq!(unknown.expect_err("unknown").detail("reason"), Some("unknown_id"));
        match world.commands.ask(Question::Sessions { after: None, limit: 10 }).await {
            Ok(Finding::Sessions(sessions, false)) => {
                assert_eq!((sessions.len(), sessions[0].version), (1, 5));
            }
            other => panic!("no sessions: {other:?}"),
        }
        match world.commands.ask(Question::Health).await {
            Ok(Finding::Health(health)) => assert!(health.is_ready && !health.is_read_only),
            other => panic!("no health: {other:?}"),
        }
    });
}

#[test]
fn followers_are_told_every_step_in_order() {
    world(config(), async |world| {
        let mut all = world.commands.subscribe(None).await.expect("followed");
        let mut of_t = world.commands.subscribe(Some("t".into())).await.expect("followed");
        world.session("s").await;
        world.session("t").await;
        world.send(incr("n").id("a").session("s")).await;
        world.send(incr("n").id("a").session("s")).await;
        let mut seen = Vec::new();
        for _ in 0..10 {
            let event = all.next().await.expect("told");
            let replayed = matches!(&event.stage, Stage::Finished(outcome) if outcome.replayed);
            seen.push((event.stage.name(), event.lane_sequence, replayed));
        }
        let steps = ["command_accepted", "command_started", "command_finished"];
        let whole = |from: u64| steps.into_iter().zip(from..).map(|(s, n)| (s, n, false));
        let mut wanted: Vec<_> = whole(1).chain(whole(1)).chain(whole(4)).collect();
        wanted.push(("command_finished", 6, true));
        assert_eq!(seen, wanted);
        assert_eq!(of_t.next().await.expect("told").causes.session, Some("t".into()));
    });
}

#[test]
fn too_much_is_refused_and_the_control_plane_stays_open() {
    let mut config = config();
    config.commands.session_rate = 3;
    world(config, async |world| {
        world.session("s").await;
        for _ in 0..3 {
            assert!(world.send(incr("n").session("s")).await.end.is_ok());
        }
        let failure = world.refused(incr("n").session("s")).await;
        assert_eq!(failure.code, Code::RateLimited);
        assert!(failure.detail("retry_after_ms").is_some());
        let gone = world.send(Envelope::new(Call::DeleteSession).session("s")).await;
        assert!(gone.end.is_ok());
        world.cx.sleep(1_000 * MS).await;
        assert!(world.send(get("n")).await.end.is_ok());
    });
}

#[test]
fn every_mode_of_safety_answers() {
    for durability in [Durability::Strict, Durability::Buffered, Durability::InMemory] {
        let mut config = config();
        config.durability = durability;
        world(config, async move |world| {
            for safety in Safety::ALL {
                let envelope = Envelope { durability: Some(safety), ..incr("n") };
                match durability == Durability::InMemory && safety > Safety::InMemory {
                    true => assert_eq!(world.refused(envelope).await.code, Code::Invalid),
                    false => assert!(world.send(envelope).await.end.is_ok()),
                }
            }
        });
    }
}

#[test]
fn a_broken_rule_leaves_no_trace() {
    world(config(), async |world| {
        let failure = world.refused(get("k").id("anon:1")).await;
        assert_eq!(failure.code, Code::Invalid);
        let conditional = Envelope::new(Command::Set {
            key: "k".into(),
            value: "v".into(),
            expiry: Expiry::None,
            condition: Some(Condition::Present),
            get: false,
        });
        assert_eq!(world.send(conditional).await.end, End::Ok(Answer::Nil));
        match world.commands.ask(Question::History(Filter::default())).await {
            Ok(Finding::History(page)) => {
                assert_eq!(page.commands.len(), 1);
                assert_eq!(&*page.commands[0].causes.id, "anon:1");
            }
            other => panic!("no history: {other:?}"),
        }
        world
            .node
            .expect("runs")
            .run(&{
                let shutdown = Shutdown::new();
                shutdown.begin();
                shutdown
            })
            .await
            .expect("it stops");
        let late = world.commands.send(get("k")).await.expect_err("it has stopped");
        assert_eq!(late.code, Code::ShuttingDown);
    });
}
