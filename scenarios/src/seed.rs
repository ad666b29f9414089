//! One seed from its plan to its verdict.
//!
//! Chaos first: the node serves its clients while things go wrong. Then quiet: everything is
//! lifted, and after a bounded time all must work. Then the store is read whole, its disk recovered
//! twice, and read whole after each. What everybody saw is then held to the laws.

use std::{sync::Arc, time::Duration};

use orloj_invariants::{About, Moment, Quiet, Violation, judge};
use orloj_kernel::Context;
use orloj_sim::{
    Config, Control, Crash, Detail, Failure, Report, Simulation,
    choice::Choices,
    disk::{DiskFaults, LatencyProfile},
    fault::FaultClass,
};

use crate::{
    Breach, Outcome, Run, Scenario, Setup, account,
    case::{chaos, node_world},
    client::{self, Client, read_all},
    commands, engine,
    nemesis::{self, Victim},
    node::{self, NODE},
    record,
    recorder::{Recorder, now},
    scenario::Plan,
    shapes, story,
};

/// The host from which faults strike and the store is read whole. Nothing strikes it.
pub(crate) const JUDGE: &str = "judge";
/// Requests of each client when everything must work.
pub(crate) const CLOSING: u64 = 5;
/// Longer than any sync of a quiet disk takes, and than the longest wait for one.
pub(crate) const AT_REST: Duration = Duration::from_millis(500);

/// Runs one seed of a scenario.
pub fn run(scenario: &Scenario, setup: Setup) -> Run {
    if scenario.engine.is_some() {
        return engine::run(scenario, setup);
    }
    if scenario.commands.is_some() {
        return commands::run(scenario, setup);
    }
    let seed = setup.seed;
    let ledger = setup.ledger();
    let plan = Arc::new(plan(scenario, &setup));
    ledger.begins(|| node_world(scenario, &plan));
    let told = setup.detail >= Detail::Story;
    let recorder = Recorder::new(plan.durability, told, ledger);
    let mut sim = Simulation::new(Config {
        latency: plan.latency,
        buggify: plan.buggify,
        time_limit: plan.chaos + plan.settle * 4 + Duration::from_secs(60),
        ..setup.config(20_000_000)
    });
    let stop = node::Stop::default();
    let judge_cx = {
        let (plan, recorder, stop) = (plan.clone(), recorder.clone(), stop.clone());
        build(&mut sim, &plan.clone(), move |cx| {
            let config = node::config(&plan, recorder.clone());
            node::process(cx, config, recorder.clone(), stop.clone(), plan.may_refuse, |_| ())
        })
    };
    let ended = sim.run(judge_cx, drive(judge_cx, plan.clone(), recorder.clone(), stop));
    let report = sim.finish();
    let (tally, history) = (recorder.tally(), recorder.history());
    let wanted = |v: &Violation| {
        scenario.laws.as_ref().is_none_or(|laws| laws.iter().any(|law| law == v.law))
    };
    // A world that ended early has no end to judge; what it had shown by then can be judged.
    let early = ended.is_err();
    let violations: Vec<Violation> = judge(&history)
        .into_iter()
        .filter(|v| wanted(v) && !(early && ENDS.contains(&v.law)))
        .collect();
    let (outcome, about) = verdict(ended, violations, &report);
    let run = Run::of(seed, report, outcome, tally).with_shapes(shapes::of_node(&history, &plan));
    run.with_accounts(about, |when, about| account::of_node(&history, when, about))
}

/// What a seed draws, or a case says.
pub(crate) fn plan(scenario: &Scenario, setup: &Setup) -> Plan {
    match &setup.case {
        Some(case) => case.plan(scenario),
        None => scenario.plan(&mut Choices::from_seed(setup.seed), setup.faults),
    }
}

/// Laws about how a run ends.
const ENDS: &[&str] = &["progress", "unknown-resolved", "recovery-idempotent"];

/// Makes the world around the node's process, and returns the context of the judge.
pub(crate) fn build<F: Future<Output = ()> + Send + 'static>(
    sim: &mut Simulation,
    plan: &Plan,
    process: impl Fn(Context) -> F + Send + 'static,
) -> Context {
    sim.host(NODE, process);
    for number in 0..plan.clients.len() as u32 {
        sim.idle_host(&client::host(number));
    }
    let judge_cx = sim.idle_host(JUDGE);
    sim.control(|control| {
        control.set_net_faults(plan.network.clone());
        control.set_disk_faults(NODE, plan.disk);
        control.set_disk_latency(NODE, slowed(plan.slowness));
        nemesis::enable(&plan.strikes);
        let hosts = std::iter::once(NODE.to_owned()).chain((0..).map(client::host));
        for (host, (offset_us, drift_ppb)) in hosts.zip(&plan.clocks) {
            if *offset_us != 0 {
                control.enable(FaultClass::ClockOffset);
                control.jump_clock(&host, *offset_us, FaultClass::ClockOffset);
            }
            if *drift_ppb != 0 {
                control.enable(FaultClass::ClockDrift);
                control.drift_clock(&host, *drift_ppb);
            }
        }
    });
    judge_cx
}

/// A solid-state disk, so many times slower.
pub(crate) fn slowed(times: u64) -> LatencyProfile {
    let fast = LatencyProfile::SOLID_STATE;
    let slow = |(least, most): (u64, u64)| (least * times, most * times);
    LatencyProfile {
        read: slow(fast.read),
        write: slow(fast.write),
        sync: slow(fast.sync),
        name: slow(fast.name),
        per_kib: fast.per_kib * times,
    }
}

async fn drive(cx: Context, plan: Arc<Plan>, recorder: Arc<Recorder>, stop: node::Stop) {
    cx.spawn("keeper", node::keep_alive(cx, recorder.clone()));
    let victim: Arc<dyn Victim> =
        Arc::new(node::Struck { recorder: recorder.clone(), stop: stop.clone() });
    let ledger = recorder.ledger();
    let clients = plan.clients.len() as u32;
    let striking = nemesis::start(cx, clients, &plan.strikes, &victim, &ledger);
    let chaos_ends = now().after(plan.chaos);
    let mut roaming = Vec::new();
    for (number, habits) in (0..).zip(&plan.clients) {
        let home = Control.context(&client::host(number));
        let client =
            Client::new(home, number, habits.clone(), plan.workload.clone(), recorder.clone());
        roaming.push((home, home.spawn("client", client.roam(chaos_ends.0))));
    }
    chaos(cx, &ledger, plan.chaos, &striking).await;
    quiet(&plan, &recorder, &*victim);
    let calm = now().after(plan.settle);
    node::until_up(cx, &recorder, calm).await;
    let mut clients = Vec::new();
    for (home, roaming) in roaming {
        clients.extend(roaming.await.ok().map(|client| (home, client)));
    }
    cx.sleep(Duration::from_nanos(calm.0.saturating_sub(now().0))).await;
    if recorder.halt().is_some() {
        return;
    }
    let closing: Vec<_> =
        clients.into_iter().map(|(cx, c)| cx.spawn("client", c.close(CLOSING))).collect();
    for client in closing {
        // A client that could not go on has left that in the history.
        let _ = client.await;
    }
    dumps(cx, &plan, &recorder, &*victim).await;
}

/// Lifts every fault and sees to it that the node is up.
pub(crate) fn quiet(plan: &Plan, recorder: &Recorder, victim: &dyn Victim) {
    Control.quiet();
    Control.limit_disk(NODE, None);
    // What an honest disk does to unsynced data it may go on doing.
    Control.disk(NODE, |disk, _| disk.set_faults(DiskFaults::HONEST));
    nemesis::start_again(victim);
    recorder.quiet(Quiet { began: now(), bound: plan.settle });
}

/// Reads the store, recovers its disk, reads it again, and so once more.
async fn dumps(cx: Context, plan: &Plan, recorder: &Arc<Recorder>, victim: &dyn Victim) {
    let number = plan.clients.len() as u32;
    let mut connections = 0;
    for recoveries in 0..3 {
        let limit = now().after(plan.settle);
        if !node::until_up(cx, recorder, limit).await {
            return;
        }
        let Some(entries) = read_all(cx, number, &mut connections, recorder).await else { return };
        recorder.dumps(recoveries, entries);
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

/// How a run ended, and what a law that it broke is about.
pub(crate) fn verdict(
    ended: Result<(), Failure>,
    violations: Vec<Violation>,
    report: &Report,
) -> (Outcome, Option<(Moment, About)>) {
    let mut names = violations.iter().map(|v| v.law);
    let (mut breach, when, about) = match ended {
        Err(failure) => {
            let mut breach = Breach::of(failure, report.virtual_ns);
            breach.also = names.collect();
            (breach, Moment(report.virtual_ns), About::default())
        }
        Ok(()) => {
            names.next();
            let also = names.collect();
            let Some(v) = violations.into_iter().next() else { return (Outcome::Held, None) };
            let breach = Breach {
                law: v.law.to_owned(),
                promise: v.promise.to_owned(),
                evidence: v.evidence,
                when: v.when.0,
                also,
                story: Vec::new(),
                events: Vec::new(),
                backtrace: None,
            };
            (breach, v.when, v.about)
        }
    };
    if let Some(graph) = &report.graph {
        breach.events = record::roots(graph, when, &about);
        breach.story = story::choose(graph, &breach.events, when, &about);
    }
    (Outcome::Broken(breach), Some((when, about)))
}
