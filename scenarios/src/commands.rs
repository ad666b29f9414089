//! A node whose clients ask in envelopes. What they asked and were told, what subscribers heard and
//! what the node says happened is held to the laws of [`orloj_invariants::commands`].
//!
//! Chaos first, then quiet, as in every scenario about a node. Then everything that can be read is
//! read whole (keys through RESP; sessions and history beside the lanes), and again after two
//! recoveries of the disk.

mod client;
mod door;
mod envelopes;
mod lines;
mod recorder;

use std::{sync::Arc, time::Duration};

use orloj_db::Node;
use orloj_invariants::{Violation, commands::judge};
use orloj_kernel::Context;
use orloj_net::envelope::{Filter, Finding, HistoryPage, Question, SessionState, State};
use orloj_sim::{Config, Control, Crash, Detail, Simulation};

use crate::{
    Run, Scenario, Setup,
    case::{chaos, node_world},
    client::read_all,
    nemesis::{self, Victim},
    node,
    recorder::now,
    scenario::Plan,
    seed::{AT_REST, CLOSING, build, plan, quiet, verdict},
    shapes,
};

use client::Client;
use door::{Door, porter};
use envelopes::Shared;
use recorder::Recorder;

/// How long the judge waits for an answer when nothing is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs one seed of a scenario with commands in envelopes.
pub(crate) fn run(scenario: &Scenario, setup: Setup) -> Run {
    let seed = setup.seed;
    let ledger = setup.ledger();
    let plan = Arc::new(plan(scenario, &setup));
    ledger.begins(|| node_world(scenario, &plan));
    let told = setup.detail >= Detail::Story;
    let recorder = Recorder::new(&plan, told, ledger);
    let mut sim = Simulation::new(Config {
        latency: plan.latency,
        buggify: plan.buggify,
        time_limit: plan.chaos + plan.settle * 4 + Duration::from_secs(60),
        ..setup.config(20_000_000)
    });
    let (stop, door) = (node::Stop::default(), Door::default());
    let judge_cx = {
        let (plan, recorder) = (plan.clone(), recorder.clone());
        let (stop, door) = (stop.clone(), door.clone());
        build(&mut sim, &plan.clone(), move |cx| {
            let config = node::config(&plan, recorder.clone());
            let base = recorder.base.clone();
            let (plan, recorder, door) = (plan.clone(), recorder.clone(), door.clone());
            let may_refuse = plan.may_refuse;
            let meet = move |node: &Node| {
                cx.spawn("porter", porter(cx, node.commands(), plan, recorder, door));
            };
            node::process(cx, config, base, stop.clone(), may_refuse, meet)
        })
    };
    let ended = sim.run(judge_cx, drive(judge_cx, plan.clone(), recorder.clone(), stop, door));
    let report = sim.finish();
    let (tally, history) = (recorder.tally(), recorder.history(&plan));
    let wanted = |v: &Violation| {
        scenario.laws.as_ref().is_none_or(|laws| laws.iter().any(|law| law == v.law))
    };
    // A world that ended early has no end to judge; what it had shown by then can be judged.
    let early = ended.is_err();
    let violations: Vec<Violation> = judge(&history)
        .into_iter()
        .filter(|v| wanted(v) && !(early && ENDS.contains(&v.law)))
        .collect();
    let (outcome, _) = verdict(ended, violations, &report);
    Run::of(seed, report, outcome, tally).with_shapes(shapes::of_commands(&history))
}

/// Laws about how a run ends.
const ENDS: &[&str] = &["progress"];

async fn drive(
    cx: Context,
    plan: Arc<Plan>,
    recorder: Arc<Recorder>,
    stop: node::Stop,
    door: Door,
) {
    let base = recorder.base.clone();
    cx.spawn("keeper", node::keep_alive(cx, base.clone()));
    let victim: Arc<dyn Victim> = Arc::new(node::Struck { recorder: base.clone(), stop });
    let ledger = base.ledger();
    let clients = plan.clients.len() as u32;
    let striking = nemesis::start(cx, clients, &plan.strikes, &victim, &ledger);
    let chaos_ends = now().after(plan.chaos);
    let shared = Arc::new(Shared::default());
    let mut roaming = Vec::new();
    for number in 0..plan.clients.len() as u32 {
        let home = Control.context(&crate::client::host(number));
        let client = Client::new(home, number, &plan, &shared, &recorder, &door);
        roaming.push((home, home.spawn("client", client.roam(chaos_ends.0))));
    }
    chaos(cx, &ledger, plan.chaos, &striking).await;
    quiet(&plan, &base, &*victim);
    let calm = now().after(plan.settle);
    node::until_up(cx, &base, calm).await;
    let mut clients = Vec::new();
    for (home, roaming) in roaming {
        clients.extend(roaming.await.ok().map(|client| (home, client)));
    }
    cx.sleep(Duration::from_nanos(calm.0.saturating_sub(now().0))).await;
    if base.halt().is_some() {
        return;
    }
    let closing: Vec<_> =
        clients.into_iter().map(|(cx, c)| cx.spawn("client", c.close(CLOSING))).collect();
    for client in closing {
        // A client that could not go on has left that in the history.
        let _ = client.await;
    }
    dumps(cx, &plan, &recorder, &*victim, &door).await;
}

/// Reads everything, recovers the disk, reads it again, and so once more.
async fn dumps(
    cx: Context,
    plan: &Plan,
    recorder: &Arc<Recorder>,
    victim: &dyn Victim,
    door: &Door,
) {
    let number = plan.clients.len() as u32;
    let mut connections = 0;
    for recoveries in 0..3 {
        let limit = now().after(plan.settle);
        if !node::until_up(cx, &recorder.base, limit).await {
            return;
        }
        // What a recovery makes of commands in flight is made in the first turn.
        cx.sleep(AT_REST).await;
        let base = &recorder.base;
        let Some(entries) = read_all(cx, number, &mut connections, base).await else { return };
        let Some((sessions, commands)) = read_beside(cx, door).await else { return };
        base.dumps(recoveries, entries);
        recorder.dumps(sessions, commands);
        if recoveries == 2 {
            return;
        }
        cx.sleep(AT_REST).await;
        if !plan.faults {
            victim.ask_to_stop();
            cx.sleep(AT_REST).await;
            continue;
        }
        let power = Control.between("last-crash", 0, 1) == 1;
        nemesis::strike_down(victim, if power { Crash::Power } else { Crash::Process });
        cx.sleep(Duration::from_millis(10)).await;
        nemesis::start_again(victim);
    }
}

type Beside = (Vec<SessionState>, Vec<State>);

/// Every session and every command, page by page.
async fn read_beside(cx: Context, door: &Door) -> Option<Beside> {
    let ask = async |question| cx.timeout(PATIENCE, door.ask(question)).await.ok()??.ok();
    let (mut sessions, mut commands): Beside = (Vec::new(), Vec::new());
    loop {
        let after = sessions.last().map(|last| last.name.clone());
        match ask(Question::Sessions { after, limit: 2 }).await? {
            Finding::Sessions(page, more) => {
                sessions.extend(page);
                if !more {
                    break;
                }
            }
            _ => return None,
        }
    }
    commands.extend(every_command(ask).await?);
    Some((sessions, commands))
}

/// Every command, newest first, page by page.
async fn every_command<F: Future<Output = Option<Finding>>>(
    ask: impl Fn(Question) -> F,
) -> Option<Vec<State>> {
    let mut commands = Vec::new();
    let mut filter = Filter { limit: 50, ..Filter::default() };
    loop {
        match ask(Question::History(filter.clone())).await? {
            Finding::History(HistoryPage { commands: page, cursor, .. }) => {
                commands.extend(page);
                match cursor {
                    Some(_) => filter.cursor = cursor,
                    None => return Some(commands),
                }
            }
            _ => return None,
        }
    }
}
