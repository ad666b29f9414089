//! A history of 100,000 operations over 100 keys, and what it costs to check it.

use std::time::Duration;

use anyhow::{Result, ensure};
use orloj_invariants::checkers::{
    linearizability::{Budget, Call, Verdict, linearizable_by},
    models::{Kv, KvOp},
};
use rustix::time::{ClockId, clock_gettime};

/// Operations of a history.
const OPS: usize = 100_000;

/// One row: who many clients ask at a time, of so many keys, and how many answers in a thousand are
/// lost.
pub(crate) fn row(clients: u32, keys: u64, lost: u64) -> Result<String> {
    let mut calls = history(clients, keys, lost);
    let (good, steps) = check(&calls, |verdict| matches!(verdict, Verdict::Holds(_)))?;
    // The last read of some key sees what was never there.
    let mut reads = calls.iter_mut().rev().filter(|call| call.output.is_some());
    let read = reads.find(|call| matches!(call.input, KvOp::Get(_)));
    read.expect("somebody read").output = Some(Some("nobody's".to_owned()));
    let (bad, _) = check(&calls, |verdict| !matches!(verdict, Verdict::Holds(_)))?;
    Ok(format!(
        "{clients} clients, {keys} keys, {lost} of 1000 answers lost: holds in {:.2} s of CPU \
         ({steps} steps), one read spoilt {:.2} s",
        good.as_secs_f64(),
        bad.as_secs_f64()
    ))
}

fn check(
    calls: &[Call<KvOp, Option<String>>],
    is_right: impl Fn(&Verdict) -> bool,
) -> Result<(Duration, u64)> {
    let mut budget = Budget(1_000_000_000);
    let before = budget.0;
    let start = cpu_time();
    let verdict = linearizable_by(&Kv, calls, KvOp::key, &mut budget);
    let cost = cpu_time() - start;
    ensure!(is_right(&verdict), "{verdict:?}");
    Ok((cost, before - budget.0))
}

/// Clients of a correct store of texts, half of them read. At each moment one of them asks, or the
/// store does what was asked, or one hears.
fn history(clients: u32, keys: u64, lost: u64) -> Vec<Call<KvOp, Option<String>>> {
    let mut mix = 1_u64;
    let mut below = |bound: u64| {
        mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (mix >> 33) % bound
    };
    let mut store = vec![None::<String>; keys as usize];
    let mut calls = Vec::with_capacity(OPS);
    let mut open: Vec<(usize, usize, Option<Option<String>>)> = Vec::new();
    let (mut now, mut process) = (0, clients);
    let mut free: Vec<u32> = (0..clients).collect();
    while calls.len() < OPS || !open.is_empty() {
        now += 1;
        if let Some(who) = free.pop().filter(|_| calls.len() < OPS) {
            let key = below(keys) as usize;
            let (name, text) = (format!("k{key}"), format!("v{}", calls.len()));
            let input = match below(8) {
                0 => KvOp::Append(name, "+".to_owned()),
                1 => KvOp::Delete(name),
                2 | 3 => KvOp::Put(name, text),
                _ => KvOp::Get(name),
            };
            open.push((calls.len(), key, None));
            calls.push(Call { process: who, input, called: now, answered: None, output: None });
            continue;
        }
        if open.is_empty() {
            continue;
        }
        let one = below(open.len() as u64) as usize;
        let (at, key, heard) = &mut open[one];
        if heard.is_none() {
            let held = &mut store[*key];
            *heard = Some(match &calls[*at].input {
                KvOp::Get(_) => held.clone(),
                KvOp::Put(_, text) => {
                    *held = Some(text.clone());
                    None
                }
                KvOp::Append(_, more) => {
                    held.get_or_insert_default().push_str(more);
                    None
                }
                KvOp::Delete(_) => {
                    *held = None;
                    None
                }
            });
            continue;
        }
        let (at, _, heard) = open.swap_remove(one);
        if below(1_000) < lost {
            free.push(process);
            process += 1;
        } else {
            free.push(calls[at].process);
            (calls[at].answered, calls[at].output) = (Some(now), heard);
        }
    }
    calls
}

/// CPU time of the process.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
