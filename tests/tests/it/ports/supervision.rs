//! Who is restarted, when, how often, and what becomes of the rest.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_kernel::{
    Actor, Addr, Backoff, Context, Dropped, Escalation, Instant, Intensity, JoinHandle, Reply,
    Restart, Shutdown, Stop, Strategy, Supervisor,
};

use super::world::until;

conformance! {
    one: [
        a_failed_child_lives_again_on_the_same_mailbox,
        the_failed_batch_is_lost_and_its_askers_know,
        what_waits_survives_a_restart,
        one_for_one_restarts_it_alone,
        rest_for_one_restarts_those_after_it,
        a_permanent_child_is_restarted_after_any_end,
        a_permanent_child_without_senders_is_not,
        a_transient_child_may_finish,
        a_temporary_child_is_never_restarted,
        a_start_that_fails_counts_as_an_end,
        too_many_restarts_escalate,
        restarts_long_ago_do_not_count,
        a_fatal_end_escalates_at_once,
        a_fatal_end_is_heard_during_a_backoff,
        the_backoff_doubles_up_to_its_limit,
        shutdown_ends_the_children_in_reverse,
        shutdown_does_not_wait_for_a_backoff,
        no_two_lives_overlap,
        children_end_with_their_supervisor,
        a_supervisor_without_children_is_done,
        a_run_that_is_over_leaves_closed_mailboxes,
    ],
    two: [],
}

enum Msg {
    Ping(Reply<u32>),
    End(Stop),
}

/// What happened to the children, in order: `("a", "start")`, `("a", "gone")`.
#[derive(Clone, Default)]
struct Story(Arc<Mutex<Vec<Line>>>);

type Line = (&'static str, &'static str, Instant);

impl Story {
    fn tell(&self, cx: Context, who: &'static str, what: &'static str) {
        self.0.lock().unwrap().push((who, what, cx.now()));
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(who, what, _)| format!("{who} {what}")).collect()
    }

    fn times(&self, who: &str, what: &str) -> Vec<Instant> {
        let story = self.0.lock().unwrap();
        story.iter().filter(|line| (line.0, line.1) == (who, what)).map(|line| line.2).collect()
    }

    fn count(&self, who: &str, what: &str) -> usize {
        self.times(who, what).len()
    }
}

/// A child; it answers a ping with the messages of this life.
struct Child<const NAME: char> {
    cx: Context,
    story: Story,
    pings: u32,
    start: Result<(), Stop>,
}

impl<const N: char> Child<N> {
    const WHO: &'static str = match N {
        'a' => "a",
        'b' => "b",
        _ => "c",
    };

    fn make(cx: Context, story: &Story) -> impl FnMut() -> Self + Send + use<N> {
        let story = story.clone();
        move || Child { cx, story: story.clone(), pings: 0, start: Ok(()) }
    }
}

impl<const N: char> Drop for Child<N> {
    fn drop(&mut self) {
        self.story.tell(self.cx, Self::WHO, "gone");
    }
}

impl<const N: char> Actor for Child<N> {
    type Msg = Msg;
    const NAME: &'static str = Self::WHO;

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        self.story.tell(*cx, Self::WHO, "start");
        self.start.clone()
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, _: &Context) -> Result<(), Stop> {
        for msg in batch.drain(..) {
            match msg {
                Msg::Ping(reply) => {
                    self.pings += 1;
                    reply.send(self.pings);
                }
                Msg::End(stop) => return Err(stop),
            }
        }
        Ok(())
    }
}

fn failed() -> Msg {
    Msg::End(Stop::Failed("on purpose".to_owned()))
}

async fn ping(addr: &Addr<Msg>) -> Result<u32, Dropped> {
    let (reply, answer) = Reply::new();
    addr.send(Msg::Ping(reply)).await.map_err(|_| Dropped)?;
    answer.await
}

fn quick(cx: Context, strategy: Strategy) -> Supervisor {
    let first = Duration::from_millis(1);
    Supervisor::new(cx, strategy).backoff(Backoff { first, max: Duration::from_millis(4) })
}

/// A supervisor at work in a task of its own.
struct Running {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), Escalation>>,
}

fn run(cx: Context, supervisor: Supervisor) -> Running {
    let shutdown = Shutdown::new();
    let switch = shutdown.clone();
    let task = cx.spawn("supervisor", async move { supervisor.run(&switch).await });
    Running { shutdown, task }
}

impl Running {
    async fn stop(self) -> Result<(), Escalation> {
        self.shutdown.begin();
        self.task.await.expect("a supervisor ends with an outcome")
    }

    async fn ended(self) -> Result<(), Escalation> {
        self.task.await.expect("a supervisor ends with an outcome")
    }
}

async fn a_failed_child_lives_again_on_the_same_mailbox(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let addr = supervisor.child(Restart::Transient, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    assert_eq!(ping(&addr).await, Ok(1));
    assert_eq!(ping(&addr).await, Ok(2));
    addr.send(failed()).await.unwrap();
    until(cx, || story.count("a", "start") == 2).await;
    assert_eq!(ping(&addr).await, Ok(1), "a fresh one has counted nothing");
    assert_eq!(cx.directory().find("a").unwrap().restarts, 1);
    running.stop().await.unwrap();
    assert_eq!(story.lines(), ["a start", "a gone", "a start", "a gone"]);
}

async fn the_failed_batch_is_lost_and_its_askers_know(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let addr = supervisor.child(Restart::Transient, Child::<'a'>::make(cx, &story));
    addr.send(failed()).await.unwrap();
    let (reply, answer) = Reply::new();
    addr.send(Msg::Ping(reply)).await.unwrap();
    // Nothing runs before the supervisor does, so both are of one batch.
    let running = run(cx, supervisor);
    assert_eq!(answer.await, Err(Dropped));
    assert_eq!(ping(&addr).await, Ok(1));
    running.stop().await.unwrap();
}

async fn what_waits_survives_a_restart(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne)
        .backoff(Backoff { first: Duration::from_millis(30), max: Duration::from_millis(30) });
    let addr = supervisor.child(Restart::Transient, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    addr.send(failed()).await.unwrap();
    until(cx, || story.count("a", "gone") == 1).await;
    let (reply, answer) = Reply::new();
    addr.send(Msg::Ping(reply)).await.unwrap();
    assert_eq!(answer.await, Ok(1));
    running.stop().await.unwrap();
}

async fn one_for_one_restarts_it_alone(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let c = supervisor.child(Restart::Permanent, Child::<'c'>::make(cx, &story));
    let running = run(cx, supervisor);
    for addr in [&a, &b, &c] {
        assert_eq!(ping(addr).await, Ok(1));
    }
    b.send(failed()).await.unwrap();
    until(cx, || story.count("b", "start") == 2).await;
    assert_eq!(ping(&b).await, Ok(1));
    assert_eq!((ping(&a).await, ping(&c).await), (Ok(2), Ok(2)));
    running.stop().await.unwrap();
}

async fn rest_for_one_restarts_those_after_it(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::RestForOne);
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let c = supervisor.child(Restart::Permanent, Child::<'c'>::make(cx, &story));
    let running = run(cx, supervisor);
    for addr in [&a, &b, &c] {
        assert_eq!(ping(addr).await, Ok(1));
    }
    b.send(failed()).await.unwrap();
    until(cx, || story.count("c", "start") == 2).await;
    assert_eq!((ping(&a).await, ping(&b).await, ping(&c).await), (Ok(2), Ok(1), Ok(1)));
    let lines = story.lines();
    let told = |line: &str| lines.iter().rposition(|l| l == line).expect("it happened");
    assert!(told("c gone") < told("b start"), "{lines:?}");
    running.stop().await.unwrap();
}

async fn a_permanent_child_is_restarted_after_any_end(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let addr = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    addr.send(Msg::End(Stop::Finished)).await.unwrap();
    until(cx, || story.count("a", "start") == 2).await;
    addr.send(failed()).await.unwrap();
    until(cx, || story.count("a", "start") == 3).await;
    assert_eq!(ping(&addr).await, Ok(1));
    running.stop().await.unwrap();
}

async fn a_permanent_child_without_senders_is_not(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    drop(supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story)));
    run(cx, supervisor).ended().await.unwrap();
    assert_eq!(story.lines(), ["a start", "a gone"]);
}

async fn a_transient_child_may_finish(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let addr = supervisor.child(Restart::Transient, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    addr.send(Msg::End(Stop::Finished)).await.unwrap();
    running.ended().await.unwrap();
    assert!(addr.is_closed());
    assert_eq!(story.lines(), ["a start", "a gone"]);
}

async fn a_temporary_child_is_never_restarted(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let a = supervisor.child(Restart::Temporary, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let running = run(cx, supervisor);
    a.send(failed()).await.unwrap();
    until(cx, || a.is_closed()).await;
    assert_eq!(ping(&a).await, Err(Dropped));
    assert_eq!(ping(&b).await, Ok(1));
    running.stop().await.unwrap();
    assert_eq!(story.count("a", "start"), 1);
}

async fn a_start_that_fails_counts_as_an_end(cx: Context) {
    let story = Story::default();
    let mut lives = 0;
    let mut make = Child::<'a'>::make(cx, &story);
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let addr = supervisor.child(Restart::Transient, move || {
        lives += 1;
        let start = if lives < 3 { Err(Stop::Failed("too early".to_owned())) } else { Ok(()) };
        let mut child = make();
        child.start = start;
        child
    });
    let running = run(cx, supervisor);
    assert_eq!(ping(&addr).await, Ok(1));
    assert_eq!(story.count("a", "start"), 3);
    running.stop().await.unwrap();
}

async fn too_many_restarts_escalate(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne)
        .intensity(Intensity { restarts: 2, within: Duration::from_secs(500) });
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let running = run(cx, supervisor);
    for life in 1..=3 {
        until(cx, || story.count("a", "start") == life).await;
        a.send(failed()).await.unwrap();
    }
    let escalation = running.ended().await.unwrap_err();
    let stop = Stop::Failed("on purpose".to_owned());
    assert_eq!(escalation, Escalation { child: "a", stop });
    assert!(a.is_closed() && b.is_closed());
    assert_eq!((story.count("a", "start"), story.count("b", "gone")), (3, 1));
}

async fn restarts_long_ago_do_not_count(cx: Context) {
    let story = Story::default();
    let within = Duration::from_millis(20);
    let mut supervisor =
        quick(cx, Strategy::OneForOne).intensity(Intensity { restarts: 1, within });
    let addr = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    for life in 1..=4 {
        until(cx, || story.count("a", "start") == life).await;
        cx.sleep(within + Duration::from_millis(5)).await;
        addr.send(failed()).await.unwrap();
    }
    until(cx, || story.count("a", "start") == 5).await;
    assert_eq!(ping(&addr).await, Ok(1));
    running.stop().await.unwrap();
}

async fn a_fatal_end_escalates_at_once(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Temporary, Child::<'b'>::make(cx, &story));
    let running = run(cx, supervisor);
    assert_eq!(ping(&a).await, Ok(1));
    let stop = Stop::Fatal("the disk lies".to_owned());
    b.send(Msg::End(stop.clone())).await.unwrap();
    let escalation = running.ended().await.unwrap_err();
    assert_eq!(escalation.to_string(), "b ended the node: fatal: the disk lies");
    assert_eq!(escalation, Escalation { child: "b", stop });
    assert_eq!((story.count("a", "start"), story.count("a", "gone")), (1, 1));
}

async fn a_fatal_end_is_heard_during_a_backoff(cx: Context) {
    let story = Story::default();
    let long = Duration::from_secs(1_000);
    let mut supervisor =
        Supervisor::new(cx, Strategy::RestForOne).backoff(Backoff { first: long, max: long });
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let running = run(cx, supervisor);
    b.send(failed()).await.unwrap();
    until(cx, || story.count("b", "gone") == 1).await;
    let begun = cx.now();
    a.send(Msg::End(Stop::Fatal("now".to_owned()))).await.unwrap();
    assert_eq!(running.ended().await.unwrap_err().child, "a");
    assert!(cx.now() - begun < long / 2);
}

async fn the_backoff_doubles_up_to_its_limit(cx: Context) {
    let story = Story::default();
    let (first, max) = (Duration::from_millis(10), Duration::from_millis(25));
    let mut supervisor = Supervisor::new(cx, Strategy::OneForOne)
        .backoff(Backoff { first, max })
        .intensity(Intensity { restarts: 10, within: Duration::from_secs(500) });
    let addr = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    for life in 1..=5 {
        until(cx, || story.count("a", "start") == life).await;
        addr.send(failed()).await.unwrap();
    }
    until(cx, || story.count("a", "start") == 6).await;
    let (ends, starts) = (story.times("a", "gone"), story.times("a", "start"));
    let waits: Vec<Duration> = ends.iter().zip(&starts[1..]).map(|(e, s)| *s - *e).collect();
    for (wait, least) in waits.iter().zip([10, 20, 25, 25, 25]) {
        assert!(*wait >= Duration::from_millis(least), "{waits:?}");
    }
    running.stop().await.unwrap();
}

async fn shutdown_ends_the_children_in_reverse(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let c = supervisor.child(Restart::Permanent, Child::<'c'>::make(cx, &story));
    let running = run(cx, supervisor);
    for addr in [&a, &b, &c] {
        assert_eq!(ping(addr).await, Ok(1));
    }
    running.stop().await.unwrap();
    let gone: Vec<String> =
        story.lines().into_iter().filter(|line| line.ends_with("gone")).collect();
    assert_eq!(gone, ["c gone", "b gone", "a gone"]);
}

async fn shutdown_does_not_wait_for_a_backoff(cx: Context) {
    let story = Story::default();
    let long = Duration::from_secs(1_000);
    let mut supervisor =
        Supervisor::new(cx, Strategy::OneForOne).backoff(Backoff { first: long, max: long });
    let addr = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    addr.send(failed()).await.unwrap();
    until(cx, || story.count("a", "gone") == 1).await;
    let begun = cx.now();
    running.stop().await.unwrap();
    assert!(cx.now() - begun < long / 2);
}

async fn no_two_lives_overlap(cx: Context) {
    let story = Story::default();
    let none = Backoff { first: Duration::ZERO, max: Duration::ZERO };
    let mut supervisor = Supervisor::new(cx, Strategy::RestForOne)
        .backoff(none)
        .intensity(Intensity { restarts: 1_000, within: Duration::from_secs(500) });
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    let running = run(cx, supervisor);
    for _ in 0..50 {
        a.send(failed()).await.unwrap();
        cx.yield_now().await;
    }
    assert!(ping(&a).await.is_ok() || ping(&a).await.is_ok());
    running.stop().await.unwrap();
    drop(b);
    for who in ["a", "b"] {
        let own: Vec<String> =
            story.lines().into_iter().filter(|line| line.starts_with(who)).collect();
        let alive = |line: &String| if line.ends_with("start") { 1 } else { -1 };
        let living = own.iter().map(alive).scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        });
        // A life that is aborted before its start is gone without having begun.
        assert!(living.into_iter().all(|n| n <= 1), "{own:?}");
    }
}

async fn children_end_with_their_supervisor(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let addr = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let running = run(cx, supervisor);
    assert_eq!(ping(&addr).await, Ok(1));
    running.task.abort();
    until(cx, || story.count("a", "gone") == 1).await;
    assert_eq!(ping(&addr).await, Err(Dropped));
}

async fn a_supervisor_without_children_is_done(cx: Context) {
    run(cx, Supervisor::new(cx, Strategy::RestForOne)).ended().await.unwrap();
}

async fn a_run_that_is_over_leaves_closed_mailboxes(cx: Context) {
    let story = Story::default();
    let mut supervisor = quick(cx, Strategy::OneForOne);
    let a = supervisor.child(Restart::Permanent, Child::<'a'>::make(cx, &story));
    let b = supervisor.child(Restart::Permanent, Child::<'b'>::make(cx, &story));
    assert!(format!("{supervisor:?}").contains("[\"a\", \"b\"]"));
    run(cx, supervisor).stop().await.unwrap();
    assert!(a.is_closed() && b.is_closed());

    let mut never_run = quick(cx, Strategy::OneForOne);
    let addr = never_run.child(Restart::Permanent, Child::<'c'>::make(cx, &story));
    drop(never_run);
    assert_eq!(ping(&addr).await, Err(Dropped));
}
