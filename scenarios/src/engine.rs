//! A database by itself: one process that opens it, its users as tasks of that process, and a disk
//! on which things go wrong. What the users were told and shown is held to the laws of
//! [`orloj_invariants::engine`].
//!
//! Chaos first, over several lives. Then everything is lifted, and all must work. Then the content
//! is read whole three times with a recovery before each, the files are verified, and a copy of
//! them is opened as a database of its own.

mod client;
mod life;
mod recorder;
mod transactions;
mod upkeep;

use std::{sync::Arc, time::Duration};

use orloj_invariants::{Violation, engine::judge};
use orloj_kernel::Context;
use orloj_sim::{
    Config, Control, Crash, Simulation, choice::Choices, disk::DiskFaults, fault::FaultClass,
};

use crate::{
    Run, Scenario, Setup, account,
    case::{chaos, engine_world},
    nemesis::{self, Victim},
    node::NODE,
    recorder::now,
    scenario::EnginePlan,
    seed::{JUDGE, slowed, verdict},
    shapes,
};

use recorder::{Phase, Recorder};

/// Times that the content is read whole at the end, a recovery before each.
const DUMPS: usize = 3;

/// Runs one seed of a scenario about a database by itself.
pub(crate) fn run(scenario: &Scenario, setup: Setup) -> Run {
    let seed = setup.seed;
    let ledger = setup.ledger();
    let plan = match &setup.case {
        Some(case) => case.engine_plan(scenario),
        None => scenario.engine_plan(&mut Choices::from_seed(seed), setup.faults),
    };
    let plan = Arc::new(plan.expect("the scenario is about a database by itself"));
    ledger.begins(|| engine_world(scenario, &plan));
    let told = setup.detail >= orloj_sim::Detail::Story;
    let recorder = Recorder::new(&plan, told, ledger);
    let mut sim = Simulation::new(Config {
        buggify: plan.buggify,
        time_limit: plan.chaos + plan.settle * 8 + Duration::from_secs(60),
        // A hundred times what a seed needs: whoever spins without an end is found soon.
        ..setup.config(2_000_000 * (1 + plan.chaos.as_secs()))
    });
    let judge_cx = build(&mut sim, &plan, &recorder);
    let ended = sim.run(judge_cx, drive(judge_cx, plan.clone(), recorder.clone()));
    let report = sim.finish();
    let (tally, history) = (recorder.tally(), recorder.history());
    let wanted = |v: &Violation| {
        scenario.laws.as_ref().is_none_or(|laws| laws.iter().any(|law| law == v.law))
    };
    let violations: Vec<Violation> = judge(&history).into_iter().filter(wanted).collect();
    let (outcome, about) = verdict(ended, violations, &report);
    let shapes = shapes::of_engine(&history, &plan);
    let run = Run::of(seed, report, outcome, tally).with_shapes(shapes);
    run.with_accounts(about, |when, about| account::of_engine(&history, when, about))
}

fn build(sim: &mut Simulation, plan: &Arc<EnginePlan>, recorder: &Arc<Recorder>) -> Context {
    {
        let (plan, recorder) = (plan.clone(), recorder.clone());
        sim.host(NODE, move |cx| life::process(cx, plan.clone(), recorder.clone()));
    }
    let judge_cx = sim.idle_host(JUDGE);
    sim.control(|control| {
        control.set_disk_faults(NODE, plan.disk);
        control.set_disk_latency(NODE, slowed(plan.slowness));
        nemesis::enable(&plan.strikes);
        let (offset_us, drift_ppb) = plan.clock;
        if offset_us != 0 {
            control.enable(FaultClass::ClockOffset);
            control.jump_clock(NODE, offset_us, FaultClass::ClockOffset);
        }
        if drift_ppb != 0 {
            control.enable(FaultClass::ClockDrift);
            control.drift_clock(NODE, drift_ppb);
        }
    });
    judge_cx
}

async fn drive(cx: Context, plan: Arc<EnginePlan>, recorder: Arc<Recorder>) {
    cx.spawn("keeper", keep_alive(cx, recorder.clone()));
    let victim: Arc<dyn Victim> = recorder.clone();
    let ledger = recorder.ledger.clone();
    let striking = nemesis::start(cx, 0, &plan.strikes, &victim, &ledger);
    chaos(cx, &ledger, plan.chaos, &striking).await;
    quiet(&recorder);
    if !until(cx, plan.settle, || recorder.is_up()).await {
        return recorder.never_opened(plan.may_refuse);
    }
    // An operation that was caught by a stall ends when that does, whatever is lifted. A disk that
    // was full is asked again every 250 ms, and what it holds up comes to its end.
    let stalled = if plan.disk.stall > 0 { plan.disk.stall_ns.1 } else { 0 };
    cx.sleep(Duration::from_nanos(stalled) + Duration::from_secs(2)).await;
    recorder.enter(Phase::Calm);
    if !until(cx, plan.settle, || recorder.are_clients_done()).await {
        return recorder.never_ended(plan.may_refuse);
    }
    for number in 0..DUMPS {
        let last = number + 1 == DUMPS;
        recorder.enter(if last { Phase::Last } else { Phase::Dump });
        let power = plan.faults && Control.between("last-crash", 0, 1) == 1;
        nemesis::strike_down(&*victim, if power { Crash::Power } else { Crash::Process });
        cx.sleep(Duration::from_millis(10)).await;
        Control.restart(NODE);
        if !until(cx, plan.settle, || recorder.has_dumped(number)).await {
            return recorder.never_opened(plan.may_refuse);
        }
    }
}

/// Lifts every fault, and sees to it that the process is up.
fn quiet(recorder: &Recorder) {
    Control.quiet();
    Control.limit_disk(NODE, None);
    Control.set_disk_read_only(NODE, false);
    // What an honest disk does to unsynced data it may go on doing.
    Control.disk(NODE, |disk, _| disk.set_faults(DiskFaults::HONEST));
    recorder.enter(Phase::Quiet);
    Control.restart(NODE);
}

/// Starts the process again whenever it has ended by itself, as a service manager would.
async fn keep_alive(cx: Context, recorder: Arc<Recorder>) {
    loop {
        cx.sleep(Duration::from_millis(1)).await;
        if recorder.take_ended() {
            let boots = Control.boots(NODE);
            let rest = Control.between("restart-after", 1_000_000, 20_000_000);
            cx.sleep(Duration::from_nanos(rest)).await;
            // Struck and started again meanwhile, it is another process that runs now.
            if Control.boots(NODE) == boots {
                Control.exit(NODE);
                Control.restart(NODE);
            }
        }
    }
}

/// Waits for something for so long; whether it came.
async fn until(cx: Context, longest: Duration, has_come: impl Fn() -> bool) -> bool {
    let limit = now().after(longest);
    while !has_come() {
        if now() >= limit {
            return false;
        }
        cx.sleep(Duration::from_millis(5)).await;
    }
    true
}
