//! Whether requests are served, in three worlds: after all faults, beside faults that stay, and how
//! fast beside them.
//!
//! Nothing bad happens in a world that stands still, so safety is only half. *Quiet*: all faults
//! stop, and everything completes in time. *Frozen*: a minority of faults stays for ever, and the
//! rest must go on; where none could, an excuse is written down, and excuses are counted, lest they
//! hide what they excuse. *Bounded degradation*: with a minority at fault the slow requests are at
//! most so many times slower than without.
//!
//! Sources: TigerBeetle's VOPR (a core without faults must converge); Jepsen's report on
//! TigerBeetle 0.16.11 (one slow replica made every request slow).

/// One request as its client saw it; times in one unit, from one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it is called in words.
    pub name: String,
    /// When it was asked.
    pub asked: u64,
    /// When it was served; `None` if never, or if it was refused.
    pub served: Option<u64>,
}

/// A run whose last part kept a fixed set of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// What the run is called in words.
    pub name: String,
    /// From when on nothing changed any more.
    pub since: u64,
    /// How long a request may take, and the core to become healthy.
    pub bound: u64,
    /// Requests that the core alone can serve.
    pub requests: Vec<Asked>,
    /// Why nobody could have served them, if a check has found a reason.
    pub excuse: Option<String>,
}

/// What a set of frozen runs comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excused {
    /// Runs.
    pub runs: usize,
    /// Of them, those that made no progress and had an excuse, by excuse.
    pub excused: std::collections::BTreeMap<String, usize>,
    /// Runs that had an excuse and made progress all the same: the excuse is too broad.
    pub idle_excuses: usize,
}

/// Quiet: whatever was asked, before or after, is served within `bound` of the later of its asking
/// and `quiet`; and somebody asked once the world had been quiet for `bound`.
///
/// # Errors
/// The first request that was not, in words.
pub fn quiet(requests: &[Asked], quiet: u64, bound: u64) -> Result<(), String> {
    for request in requests {
        in_time(request, quiet, bound)?;
    }
    let calm = quiet.saturating_add(bound);
    if requests.iter().any(|request| request.asked >= calm) {
        return Ok(());
    }
    Err(format!("nobody asked anything from {calm} on"))
}

/// Frozen: each run serves what its core can serve, or is excused, and of a thousand runs at most
/// `excused_max` are.
///
/// # Errors
/// The first run that stands still without an excuse, or that too many have one.
pub fn frozen(runs: &[Frozen], excused_max: usize) -> Result<Excused, String> {
    let mut sum = Excused { runs: runs.len(), ..Excused::default() };
    for run in runs {
        let stands = quiet(&run.requests, run.since, run.bound).err();
        match (stands, &run.excuse) {
            (None, None) => {}
            (None, Some(_)) => sum.idle_excuses += 1,
            (Some(_), Some(excuse)) => *sum.excused.entry(excuse.clone()).or_default() += 1,
            (Some(why), None) => {
                return Err(format!("{}: {why}, and nothing excuses it", run.name));
            }
        }
    }
    let excused: usize = sum.excused.values().sum();
    if excused * 1_000 > excused_max * runs.len() {
        let most = sum.excused.iter().max_by_key(|(_, count)| **count);
        let most = most.map_or("", |(excuse, _)| excuse);
        return Err(format!("{excused} of {} runs are excused, most for: {most}", runs.len()));
    }
    Ok(sum)
}

/// Bounded degradation: the 99th percentile of `faulty` is at most `times` that of `calm`. What was
/// never served is slower than everything.
///
/// # Errors
/// Both percentiles in words; or that there are fewer than 100 requests, of which 99 % say nothing.
pub fn degradation(calm: &[Asked], faulty: &[Asked], times: u64) -> Result<(), String> {
    let (calm, faulty) = (p99(calm)?, p99(faulty)?);
    let (Some(usual), slow) = (calm, faulty) else {
        return Err("one request in a hundred is not served even without faults".to_owned());
    };
    let bound = usual.saturating_mul(times);
    match slow {
        Some(slow) if slow <= bound => Ok(()),
        Some(slow) => {
            Err(format!("99 % are served within {slow}, {usual} without: {bound} is due"))
        }
        None => Err(format!("one in a hundred is never served; {bound} is due")),
    }
}

fn in_time(request: &Asked, since: u64, bound: u64) -> Result<(), String> {
    let limit = request.asked.max(since).saturating_add(bound);
    let Asked { name, asked, served } = request;
    match served {
        None => Err(format!("{name}, asked at {asked}, is not served")),
        Some(at) if *at > limit => Err(format!("{name}, asked at {asked}, is served at {at}")),
        Some(_) => Ok(()),
    }
}

/// The nearest rank; `None` if that one was never served.
fn p99(requests: &[Asked]) -> Result<Option<u64>, String> {
    if requests.len() < 100 {
        return Err(format!("{} requests say nothing of one in a hundred", requests.len()));
    }
    let took = |r: &Asked| r.served.map_or(u64::MAX, |at| at.saturating_sub(r.asked));
    let mut times: Vec<u64> = requests.iter().map(took).collect();
    times.sort_unstable();
    let slow = times[(times.len() * 99).div_ceil(100) - 1];
    Ok((slow < u64::MAX).then_some(slow))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(asked: u64, served: Option<u64>) -> Asked {
        Asked { name: format!("request {asked}"), asked, served }
    }

    #[test]
    fn a_quiet_world_serves_everything_in_time() {
        let good = [asked(1, Some(109)), asked(101, Some(111)), asked(110, Some(120))];
        assert_eq!(quiet(&good, 100, 10), Ok(()));
        let with = |more: Asked| quiet(&[&good[..], &[more]].concat(), 100, 10);
        assert_eq!(with(asked(2, None)), Err("request 2, asked at 2, is not served".into()));
        let late = Err("request 120, asked at 120, is served at 131".into());
        assert_eq!(with(asked(120, Some(131))), late);
        let nobody = Err("nobody asked anything from 110 on".into());
        assert_eq!(quiet(&good[..2], 100, 10), nobody);
    }

    #[test]
    fn a_frozen_minority_leaves_a_core_that_goes_on_or_an_excuse() {
        let run = |served, excuse: Option<&str>| Frozen {
            name: "seed 7".to_owned(),
            since: 100,
            bound: 10,
            requests: vec![asked(110, served)],
            excuse: excuse.map(str::to_owned),
        };
        let mut runs = vec![run(Some(115), None); 998];
        runs.push(run(None, Some("all copies damaged")));
        runs.push(run(Some(112), Some("all copies damaged")));
        let sum = frozen(&runs, 1).expect("one in a thousand is excused");
        assert_eq!((sum.runs, sum.idle_excuses), (1_000, 1));
        assert_eq!(sum.excused["all copies damaged"], 1);
        runs.push(run(None, Some("all copies damaged")));
        let many = "2 of 1001 runs are excused, most for: all copies damaged";
        assert_eq!(frozen(&runs, 1), Err(many.into()));
        runs.push(run(None, None));
        let still = "seed 7: request 110, asked at 110, is not served, and nothing excuses it";
        assert_eq!(frozen(&runs, 900), Err(still.into()));
    }

    #[test]
    fn a_minority_at_fault_slows_the_slow_ones_only_so_much() {
        let of = |slow: usize, time: Option<u64>| {
            let fast = (0..1_000 - slow).map(|_| asked(5, Some(6)));
            let slow = (0..slow).map(move |_| asked(5, time));
            fast.chain(slow).collect::<Vec<_>>()
        };
        let calm = of(10, Some(900));
        assert_eq!(degradation(&calm, &of(10, None), 3), Ok(()));
        assert_eq!(degradation(&calm, &of(11, Some(8)), 3), Ok(()));
        let slow = Err("99 % are served within 4, 1 without: 3 is due".into());
        assert_eq!(degradation(&calm, &of(11, Some(9)), 3), slow);
        let never = Err("one in a hundred is never served; 3 is due".into());
        assert_eq!(degradation(&calm, &of(11, None), 3), never);
        assert!(degradation(&calm[..99], &calm, 3).is_err());
        assert!(degradation(&of(11, None), &calm, 3).is_err());
    }
}
