use orloj_sim::fault::FaultClass;

use super::*;
use crate::Met;

fn order() -> Order {
    Order { from: 10, until: Some(14), steered: false, mutant: None, audit: 2 }
}

fn parts() -> Vec<Part> {
    vec![Part::new("default", Workload::Node, 10), Part::new("engine", Workload::Engine, 10)]
}

/// A run of a small world: `hit` says how often the first place of each kind was met.
fn run(seed: u64, hit: u64) -> Run {
    let mut run = Run::unended(seed);
    run.outcome = Outcome::Held;
    run.events = 100 + seed;
    run.virtual_ns = 5_000_000;
    run.faults = vec![(FaultClass::HostCrash, hit)];
    run.unfired = vec![FaultClass::HostPause];
    let site = |kind| *sites().iter().find(|site| site.kind == kind).expect("there are some");
    let first = (hit > 0).then_some(77);
    let met = |kind| Met { site: site(kind), passed: 3, hit, first };
    run.met = vec![met(SiteKind::Sometimes), met(SiteKind::Shape)];
    run
}

fn broken(seed: u64, evidence: &str) -> Run {
    let mut run = run(seed, 1);
    run.outcome = Outcome::Broken(Breach {
        law: "acked-is-durable".to_owned(),
        promise: "It stays.".to_owned(),
        evidence: evidence.to_owned(),
        when: 1_000_000,
        also: Vec::new(),
        story: Vec::new(),
        events: Vec::new(),
        backtrace: None,
    });
    run
}

fn all(campaign: &mut Campaign) -> Vec<Job> {
    std::iter::from_fn(|| campaign.begin()).collect()
}

#[test]
fn every_seed_of_every_scenario_is_run_once() {
    let mut campaign = Campaign::new(order(), parts());
    let jobs = all(&mut campaign);
    assert_eq!(jobs.len(), 8);
    assert_eq!(campaign.pending.len(), 8);
    for scenario in ["default", "engine"] {
        let of = jobs.iter().filter(|job| job.scenario == scenario);
        let seeds: Vec<(u64, u64)> = of.map(|job| (job.number, job.seed)).collect();
        assert_eq!(seeds, [(1, 10), (2, 11), (3, 12), (4, 13)]);
    }
}

#[test]
fn a_slow_scenario_gets_the_same_time_and_fewer_seeds() {
    let mut campaign = Campaign::new(Order { until: None, ..order() }, parts());
    for _ in 0..110 {
        let job = campaign.begin().expect("there is no last seed");
        let cost = if job.scenario == "engine" { 100 } else { 10 };
        campaign.add(&job, &run(job.seed, 1), Duration::from_millis(cost));
    }
    let [node, engine] = &campaign.parts[..] else { panic!("there are two") };
    assert!((8..13).contains(&engine.runs), "{} of the slow one", engine.runs);
    assert_eq!(node.runs + engine.runs, 110);
}

#[test]
fn sums_do_not_depend_on_the_order_of_the_ends() {
    let sum = |backwards: bool| {
        let mut campaign = Campaign::new(order(), parts());
        let mut jobs = all(&mut campaign);
        if backwards {
            jobs.reverse();
        }
        for job in &jobs {
            let run = match job.seed {
                11 => broken(11, "SET h1 was lost at 0.1 s"),
                12 => broken(12, "SET c7 was lost at 3.5 s"),
                seed => run(seed, seed % 2),
            };
            campaign.add(job, &run, Duration::from_millis(3));
        }
        campaign
    };
    assert_eq!(sum(false), sum(true));
    let campaign = sum(false);
    assert!(campaign.pending.is_empty());
    let [group] = &campaign.failures[..] else { panic!("{:?}", campaign.failures) };
    assert_eq!((group.count, campaign.failed()), (4, 4));
    assert_eq!((group.example.job.seed, group.example.events), (11, 111));
    assert_eq!((group.first.after, &*group.first.job.scenario), (2, "default"));
    let crash = &campaign.faults["host-crash"];
    assert_eq!((crash.runs, crash.enabled, crash.first.as_ref().unwrap().after), (6, 8, 2));
    assert_eq!((campaign.faults["host-pause"].runs, campaign.faults["host-pause"].enabled), (0, 8));
}

#[test]
fn a_campaign_goes_on_from_its_file_as_if_it_had_never_stopped() {
    let end = |campaign: &mut Campaign, jobs: Vec<Job>| {
        for job in jobs {
            campaign.add(&job, &run(job.seed, job.seed % 3), Duration::from_millis(job.seed));
        }
    };
    let mut whole = Campaign::new(order(), parts());
    while let Some(job) = whole.begin() {
        end(&mut whole, vec![job]);
    }
    let mut first = Campaign::new(order(), parts());
    let [one, two, _lost] = [(); 3].map(|()| first.begin().expect("there are eight"));
    end(&mut first, vec![two, one]);
    let text = serde_json::to_string(&first).unwrap();
    drop(first);
    let mut second: Campaign = serde_json::from_str(&text).unwrap();
    let pending = second.pending.clone();
    assert_eq!(pending.len(), 1);
    end(&mut second, pending);
    while let Some(job) = second.begin() {
        end(&mut second, vec![job]);
    }
    assert_eq!(second, whole);
}

#[test]
fn a_shape_that_was_never_made_fails_a_campaign_that_had_its_runs() {
    let mut campaign = Campaign::new(order(), parts());
    assert!(campaign.is_well(), "nothing was run yet");
    for job in all(&mut campaign) {
        campaign.add(&job, &run(job.seed, 1), Duration::from_millis(1));
    }
    let starved = campaign.starved();
    assert!(starved.iter().any(|name| name.starts_with("node: ")), "{starved:?}");
    assert!(starved.iter().any(|name| name.starts_with("engine: ")), "{starved:?}");
    assert!(
        !starved.iter().any(|name| name.starts_with("commands: ")),
        "nobody asked in envelopes"
    );
    assert!(!campaign.is_well());
    campaign.order.audit = 5;
    assert!(campaign.is_well(), "four runs of each are too few to judge");
}

#[test]
fn what_took_too_long_and_what_ran_otherwise_elsewhere_are_failures() {
    let mut campaign = Campaign::new(order(), parts());
    let jobs = all(&mut campaign);
    campaign.gave_up(&jobs[0], Duration::from_secs(9));
    campaign.add(&jobs[1], &run(10, 1), Duration::from_millis(1));
    campaign.ran_again(&jobs[1], &run(10, 1), "0000000000000000");
    campaign.ran_again(&jobs[1], &run(10, 1), "feed");
    let laws: Vec<&str> = campaign.failures.iter().map(|group| &*group.law).collect();
    assert_eq!(laws, ["determinism", "timeout"]);
    assert_eq!((campaign.failed(), campaign.rerun), (2, 2));
}

#[test]
fn a_steered_campaign_branches_from_what_was_new_and_half_stays_uniform() {
    let order = Order { steered: true, until: Some(60), ..order() };
    let mut campaign = Campaign::new(order, vec![Part::new("default", Workload::Node, 10)]);
    let mut jobs = Vec::new();
    while let Some(job) = campaign.begin() {
        // Ever more of the same: each power of two is new.
        let times = job.number.pow(2) + job.branches.len() as u64;
        campaign.add(&job, &run(job.seed, times), Duration::from_millis(1));
        jobs.push(job);
    }
    let branched = jobs.iter().filter(|job| !job.branches.is_empty()).count();
    assert_eq!(jobs.len() - branched, 50, "every seed of the range is run plainly");
    assert!((48..=50).contains(&branched), "{branched} of {} are branches", jobs.len());
    assert!(jobs.iter().any(|job| job.branches.len() > 1), "a branch is branched from");
    for job in &jobs {
        let at: Vec<u64> = job.setup(None).forks.iter().map(|fork| fork.at).collect();
        assert!(at.is_sorted() && at.len() == job.branches.len());
    }
}

#[test]
fn the_page_is_whole_and_says_nothing_raw() {
    let mut campaign = Campaign::new(order(), parts());
    for job in all(&mut campaign) {
        let run = broken(job.seed, "SET \"<script>alert(1)</script>\" & more");
        campaign.add(&job, &run, Duration::from_millis(1));
    }
    let page = page(&campaign);
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page refers to {outside}");
    }
    for tag in ["table", "div", "tr", "svg", "dl", "h2", "p", "span"] {
        let count = |text: &str| page.matches(text).count();
        let begun = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
        assert_eq!(begun, count(&format!("</{tag}>")), "{tag}");
    }
    assert!(page.contains("cargo xtask sim --scenario default --seed 10"));
    assert_eq!(campaign.report()["summary"]["failed"], 8);
}
