//! The two worlds in which a body runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use orloj_host::{Host, Options, Workers};
use orloj_kernel::Context;
use orloj_sim::{Config, Simulation};

/// A body that takes longer has hung. Generous, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Each simulated seed is another schedule.
const SEEDS: u64 = 12;

/// Runs `body` on a machine: on one worker and on several.
pub(super) fn one_machine<F>(body: impl Fn(Context) -> F + Sync)
where
    F: Future<Output = ()> + Send,
{
    on_machine(|cx, _| body(cx));
}

/// Runs `body` with two hosts of one machine, which differ in all but network and threads.
pub(super) fn two_on_a_machine<F>(body: impl Fn(Context, Context) -> F + Sync)
where
    F: Future<Output = ()> + Send,
{
    on_machine(body);
}

fn on_machine<F>(body: impl Fn(Context, Context) -> F + Sync)
where
    F: Future<Output = ()> + Send,
{
    for workers in [Workers::One, Workers::Many(2)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = Options { workers, ..Options::new(dir.path().join("here")) };
        let host = Host::new(options).expect("a runtime starts");
        let there = host.neighbour(dir.path().join("there")).expect("an absolute root").context();
        let cx = host.context();
        cx.block_on(async {
            cx.create_dir("").await.expect("the root can be made");
            there.create_dir("").await.expect("the root can be made");
            let done = cx.timeout(PATIENCE, body(cx, there)).await;
            assert!(done.is_ok(), "{workers:?}: still not done after {PATIENCE:?}");
        });
    }
}

/// Runs `body` in simulations that differ in their seed.
pub(super) fn one_simulated<F>(body: impl Fn(Context) -> F + Sync)
where
    F: Future<Output = ()> + Send + 'static,
{
    two_simulated(|cx, _| body(cx));
}

/// Runs `body` with two simulated hosts, in simulations that differ in their seed.
pub(super) fn two_simulated<F>(body: impl Fn(Context, Context) -> F + Sync)
where
    F: Future<Output = ()> + Send + 'static,
{
    for seed in 0..SEEDS {
        // A thread of its own, so that nothing thread-local leaks from seed to seed.
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let mut sim = Simulation::new(Config::seed(seed));
                let here = sim.idle_host("here");
                let there = sim.idle_host("there");
                let body = body(here, there);
                let outcome = sim
                    .run(here, async move { here.timeout(Duration::from_secs(3600), body).await });
                let report = sim.finish();
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => panic!("seed {seed}: still not done after an hour"),
                    Err(failure) => panic!(
                        "seed {seed}: {failure} {}\n{:#?}",
                        failure.backtrace.as_deref().unwrap_or_default(),
                        report.story.last()
                    ),
                }
            });
            if let Err(panic) = run.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// An address of this machine, with any port, that no other test uses: a port that was free a
/// moment ago is still free there.
pub(super) fn own_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(256) + NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, a, b, c] = (number % 0xff_fffe + 1).to_be_bytes();
    format!("127.{a}.{b}.{c}:0")
}

/// Tells whether something was dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(super) fn is_up(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Goes up when what it returns is dropped.
    pub(super) fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

#[derive(Debug)]
pub(super) struct OnDrop(Flag);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// Waits until `holds`, which some other task brings about.
pub(super) async fn until(cx: Context, mut holds: impl FnMut() -> bool) {
    while !holds() {
        cx.sleep(Duration::from_millis(1)).await;
    }
}
