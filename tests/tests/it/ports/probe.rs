//! Properties, questions and traces.

use std::sync::atomic::{AtomicU64, Ordering};

use orloj_host::{Host, Options};
use orloj_kernel::{
    Context, SiteKind, always, buggify, clock_bound, mutant, reachable, sites, sometimes,
};
use orloj_sim::{Config, Simulation};

conformance! {
    one: [
        what_holds_is_passed_in_silence,
        nothing_disturbs_a_calm_world,
        every_place_is_known_by_name,
        a_trace_is_built_only_for_a_reader,
    ],
    two: [],
}

async fn what_holds_is_passed_in_silence(cx: Context) {
    let sum: u32 = [1, 1].iter().sum();
    always!(cx, sum == 2, "conformance: sums");
    always!(cx, sum > 1, "conformance: evidence", "never printed {}", 7);
    sometimes!(cx, false, "conformance: never");
    reachable!(cx, "conformance: reached");
    let bound = clock_bound!(cx, "conformance: bound", 5_000_000);
    assert_eq!(bound.as_millis(), 5);
}

async fn nothing_disturbs_a_calm_world(cx: Context) {
    for _ in 0..1_000 {
        assert!(!buggify!(cx, "conformance: rare path"));
        assert!(!mutant!(cx, "conformance-planted"));
    }
}

async fn every_place_is_known_by_name(_: Context) {
    let sites = sites();
    assert!(sites.is_sorted_by_key(|s| (s.kind, s.name, s.file, s.line)));
    for (kind, name) in [
        (SiteKind::Always, "conformance: sums"),
        (SiteKind::Sometimes, "conformance: never"),
        (SiteKind::Reachable, "conformance: reached"),
        (SiteKind::Unreachable, "conformance: not here"),
        (SiteKind::Buggify, "conformance: rare path"),
        (SiteKind::ClockBound(5_000_000), "conformance: bound"),
        (SiteKind::Mutant, "conformance-planted"),
    ] {
        let found = sites.iter().filter(|s| s.kind == kind && s.name == name).count();
        assert_eq!(found, 1, "{kind:?} {name}");
    }
}

async fn a_trace_is_built_only_for_a_reader(cx: Context) {
    struct Costly(AtomicU64);
    impl std::fmt::Display for Costly {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fetch_add(1, Ordering::Relaxed);
            f.write_str("built")
        }
    }
    let costly = Costly(AtomicU64::new(0));
    cx.trace("conformance", format_args!("{costly}"));
    assert_eq!(costly.0.load(Ordering::Relaxed) > 0, cx.traces());
}

async fn breaks_an_unreachable(cx: Context) {
    orloj_kernel::unreachable!(cx, "conformance: not here", "evidence {}", 42);
}

/// A broken property is the end, and it says which, where, and on what evidence.
#[test]
fn a_machine_panics_at_a_broken_property() {
    let cx = Host::new(Options::new("unused")).unwrap().context();
    let broken = std::thread::spawn(move || cx.block_on(breaks_an_unreachable(cx))).join();
    let message = *broken.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("conformance: not here"), "{message}");
    assert!(message.contains("evidence 42") && message.contains("probe.rs"), "{message}");
}

#[test]
fn a_simulation_fails_at_a_broken_property() {
    let mut sim = Simulation::new(Config::seed(7));
    let cx = sim.idle_host("here");
    let failure = sim.run(cx, breaks_an_unreachable(cx)).unwrap_err();
    assert_eq!(failure.law, "conformance: not here");
    assert!(failure.evidence.contains("evidence 42"), "{failure}");
}
