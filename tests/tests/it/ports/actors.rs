//! Actors and their mailboxes: order, room, ends, inspection.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_kernel::{
    Actor, Addr, Answer, Context, Dropped, JoinHandle, Overflow, Reply, SendError, Status, Stop,
};

use super::world::{Flag, until};

conformance! {
    one: [
        an_actor_answers,
        a_turn_gets_all_that_waits,
        the_order_of_a_sender_is_kept,
        many_senders_lose_nothing,
        a_full_mailbox_makes_the_sender_wait,
        a_full_mailbox_refuses,
        a_full_mailbox_drops_the_oldest,
        whoever_gives_up_waiting_is_forgotten,
        room_that_is_not_taken_goes_to_the_next,
        an_ended_actor_takes_no_messages,
        those_who_wait_for_room_learn_of_the_end,
        a_dropped_reply_is_an_error_and_not_a_hang,
        an_answer_nobody_awaits_is_no_error,
        the_last_address_ends_the_actor_after_its_messages,
        an_actor_that_fails_at_its_start_is_closed,
        a_panic_free_end_closes_the_mailbox_of_an_aborted_actor,
        inspection_shows_what_an_actor_is_like,
        namesakes_are_numbered,
        whoever_is_forgotten_leaves_the_directory,
    ],
    two: [each_host_has_its_own_directory, an_address_reaches_another_host],
}

enum Msg {
    /// Keep it.
    Note(u64),
    /// Answer with what was kept, and the batches in which it came.
    Told(Reply<(Vec<u64>, Vec<usize>)>),
    /// Go on only when the answer has come.
    Block(Answer<()>),
    /// Let go of the question.
    Forget(Reply<u64>),
    /// Hand the question to nobody, but later.
    ForgetLater(Reply<u64>),
    /// End so.
    End(Stop),
}

/// What all kinds of test actors do.
#[derive(Default)]
struct Notes {
    kept: Vec<u64>,
    batches: Vec<usize>,
    finished: Flag,
    held: Vec<Reply<u64>>,
}

impl Notes {
    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        self.batches.push(batch.len());
        for msg in batch.drain(..) {
            match msg {
                Msg::Note(n) => self.kept.push(n),
                Msg::Told(reply) => reply.send((self.kept.clone(), self.batches.clone())),
                Msg::Block(gate) => gate.await.expect("the test opens the gate"),
                Msg::Forget(reply) => drop(reply),
                Msg::ForgetLater(reply) => {
                    self.held.push(reply);
                    cx.sleep(Duration::from_millis(2)).await;
                    self.held.clear();
                }
                Msg::End(stop) => return Err(stop),
            }
        }
        Ok(())
    }
}

/// An actor with this name, room and policy that does what [`Notes`] do.
macro_rules! noting {
    ($actor:ident, $name:literal, $room:literal, $overflow:ident) => {
        #[derive(Default)]
        struct $actor(Notes);

        impl Actor for $actor {
            type Msg = Msg;
            const NAME: &'static str = $name;
            const MAILBOX: usize = $room;
            const OVERFLOW: Overflow = Overflow::$overflow;

            async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
                self.0.turn(batch, cx).await
            }

            async fn finish(&mut self, cx: &Context) {
                cx.sleep(Duration::from_millis(1)).await;
                self.0.finished.raise();
            }

            fn label(msg: &Msg) -> &'static str {
                match msg {
                    Msg::Note(_) => "note",
                    Msg::End(_) => "end",
                    _ => "other",
                }
            }
        }
    };
}

noting!(Waits, "waits", 4, Wait);
noting!(Refuses, "refuses", 4, Refuse);
noting!(DropsOldest, "drops-oldest", 4, DropOldest);
noting!(Roomy, "roomy", 100_000, Wait);

async fn told(addr: &Addr<Msg>) -> (Vec<u64>, Vec<usize>) {
    let (reply, answer) = Reply::new();
    addr.send(Msg::Told(reply)).await.expect("the actor lives");
    answer.await.expect("the actor answers")
}

/// Occupies the actor until the answer is given, and returns when it is occupied.
async fn block(cx: Context, addr: &Addr<Msg>) -> Reply<()> {
    let (open, gate) = Reply::new();
    addr.send(Msg::Block(gate)).await.expect("the actor lives");
    until(cx, || addr.depth() == 0).await;
    open
}

async fn an_actor_answers(cx: Context) {
    let addr = cx.start(Waits::default());
    addr.send(Msg::Note(7)).await.unwrap();
    assert_eq!(told(&addr).await.0, [7]);
    assert_eq!(format!("{addr:?}"), "Addr(waits)");
}

async fn a_turn_gets_all_that_waits(cx: Context) {
    let addr = cx.start(Roomy::default());
    let open = block(cx, &addr).await;
    for n in 0..100 {
        addr.try_send(Msg::Note(n)).unwrap();
    }
    assert_eq!(addr.depth(), 100);
    open.send(());
    until(cx, || addr.depth() == 0).await;
    let (kept, batches) = told(&addr).await;
    assert_eq!(kept, (0..100).collect::<Vec<_>>());
    assert_eq!(batches[..2], [1, 100]);
}

async fn the_order_of_a_sender_is_kept(cx: Context) {
    let addr = cx.start(Waits::default());
    let senders: Vec<_> = (0..4_u64)
        .map(|sender| {
            let addr = addr.clone();
            cx.spawn("sender", async move {
                for n in 0..200 {
                    addr.send(Msg::Note(sender * 1_000 + n)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let (kept, _) = told(&addr).await;
    assert_eq!(kept.len(), 800);
    for sender in 0..4 {
        let own: Vec<u64> = kept.iter().copied().filter(|n| n / 1_000 == sender).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

async fn many_senders_lose_nothing(cx: Context) {
    let addr = cx.start(Waits::default());
    let senders: Vec<_> = (0..500)
        .map(|n| {
            let addr = addr.clone();
            cx.spawn("sender", async move { addr.send(Msg::Note(n)).await.is_ok() })
        })
        .collect();
    for sender in senders {
        assert!(sender.await.unwrap());
    }
    let mut kept = told(&addr).await.0;
    kept.sort_unstable();
    assert_eq!(kept, (0..500).collect::<Vec<_>>());
    let status = status(cx, "waits");
    assert!(status.depth_max <= 4, "{status:?}");
}

async fn a_full_mailbox_makes_the_sender_wait(cx: Context) {
    let addr = cx.start(Waits::default());
    let open = block(cx, &addr).await;
    for n in 0..4 {
        addr.send(Msg::Note(n)).await.unwrap();
    }
    assert!(matches!(addr.try_send(Msg::Note(99)), Err(SendError::Full(Msg::Note(99)))));
    let sent = Flag::default();
    let (raise, late) = (sent.clone(), addr.clone());
    let sender = cx.spawn("late", async move {
        late.send(Msg::Note(4)).await.unwrap();
        raise.raise();
    });
    cx.sleep(Duration::from_millis(5)).await;
    assert!(!sent.is_up());
    open.send(());
    sender.await.unwrap();
    assert_eq!(told(&addr).await.0, [0, 1, 2, 3, 4]);
}

async fn a_full_mailbox_refuses(cx: Context) {
    let addr = cx.start(Refuses::default());
    let open = block(cx, &addr).await;
    for n in 0..4 {
        addr.send(Msg::Note(n)).await.unwrap();
    }
    assert!(matches!(addr.send(Msg::Note(4)).await, Err(SendError::Full(Msg::Note(4)))));
    assert!(matches!(addr.try_send(Msg::Note(5)), Err(SendError::Full(Msg::Note(5)))));
    assert_eq!(status(cx, "refuses").refused, 2);
    open.send(());
    until(cx, || addr.depth() == 0).await;
    assert_eq!(told(&addr).await.0, [0, 1, 2, 3]);
}

async fn a_full_mailbox_drops_the_oldest(cx: Context) {
    let addr = cx.start(DropsOldest::default());
    let open = block(cx, &addr).await;
    let (question, asked) = Reply::new();
    addr.try_send(Msg::Forget(question)).unwrap();
    for n in 0..6 {
        addr.try_send(Msg::Note(n)).unwrap();
    }
    assert_eq!(asked.await, Err(Dropped), "the oldest was the question");
    let status = status(cx, "drops-oldest");
    assert_eq!((status.dropped, status.depth), (3, 4));
    open.send(());
    until(cx, || addr.depth() == 0).await;
    assert_eq!(told(&addr).await.0, [2, 3, 4, 5]);
}

async fn whoever_gives_up_waiting_is_forgotten(cx: Context) {
    let addr = cx.start(Waits::default());
    let open = block(cx, &addr).await;
    for n in 0..4 {
        addr.send(Msg::Note(n)).await.unwrap();
    }
    for _ in 0..10 {
        let late = cx.timeout(Duration::from_millis(1), addr.send(Msg::Note(99))).await;
        assert!(late.is_err());
    }
    open.send(());
    addr.send(Msg::Note(4)).await.unwrap();
    assert_eq!(told(&addr).await.0, [0, 1, 2, 3, 4]);
}

/// Those who are offered room give up at that moment, and others wait behind them.
async fn room_that_is_not_taken_goes_to_the_next(cx: Context) {
    let addr = cx.start(Waits::default());
    for round in 0..20 {
        let open = block(cx, &addr).await;
        for n in 0..4 {
            addr.send(Msg::Note(n)).await.unwrap();
        }
        let senders: Vec<_> = (0..12)
            .map(|n| {
                let addr = addr.clone();
                cx.spawn("sender", async move { addr.send(Msg::Note(n)).await.is_ok() })
            })
            .collect();
        cx.sleep(Duration::from_millis(round % 2)).await;
        open.send(());
        for _ in 0..round % 3 {
            cx.yield_now().await;
        }
        senders[..6].iter().for_each(JoinHandle::abort);
        for (n, sender) in senders.into_iter().enumerate() {
            let sent = sender.await;
            assert!(n < 6 || sent == Ok(true), "sender {n} in round {round}: {sent:?}");
        }
    }
}

async fn an_ended_actor_takes_no_messages(cx: Context) {
    let addr = cx.start(Waits::default());
    assert!(!addr.is_closed());
    addr.send(Msg::End(Stop::Finished)).await.unwrap();
    until(cx, || addr.is_closed()).await;
    assert!(matches!(addr.try_send(Msg::Note(1)), Err(SendError::Closed(Msg::Note(1)))));
    assert!(matches!(addr.send(Msg::Note(2)).await, Err(SendError::Closed(Msg::Note(2)))));
    assert!(!status(cx, "waits").alive);
}

async fn those_who_wait_for_room_learn_of_the_end(cx: Context) {
    let addr = cx.start(Waits::default());
    let open = block(cx, &addr).await;
    addr.send(Msg::End(Stop::Failed("on purpose".to_owned()))).await.unwrap();
    let (question, asked) = Reply::new();
    addr.send(Msg::Forget(question)).await.unwrap();
    for n in 0..2 {
        addr.send(Msg::Note(n)).await.unwrap();
    }
    let late = addr.clone();
    let sender = cx.spawn("late", async move {
        for n in 0.. {
            if late.send(Msg::Note(n)).await.is_err() {
                break;
            }
        }
    });
    cx.sleep(Duration::from_millis(2)).await;
    open.send(());
    sender.await.unwrap();
    assert_eq!(asked.await, Err(Dropped));
}

async fn a_dropped_reply_is_an_error_and_not_a_hang(cx: Context) {
    let addr = cx.start(Waits::default());
    let (reply, answer) = Reply::new();
    addr.send(Msg::Forget(reply)).await.unwrap();
    assert_eq!(answer.await, Err(Dropped));
    let (reply, answer) = Reply::new();
    addr.send(Msg::ForgetLater(reply)).await.unwrap();
    assert_eq!(answer.await, Err(Dropped));
}

async fn an_answer_nobody_awaits_is_no_error(_: Context) {
    let (reply, answer) = Reply::new();
    assert!(!reply.is_abandoned());
    drop(answer);
    assert!(reply.is_abandoned());
    reply.send(7);
}

async fn the_last_address_ends_the_actor_after_its_messages(cx: Context) {
    let actor = Roomy::default();
    let finished = actor.0.finished.clone();
    let addr = cx.start(actor);
    let open = block(cx, &addr).await;
    let other = addr.clone();
    let (reply, answer) = Reply::new();
    for n in 0..10 {
        addr.send(Msg::Note(n)).await.unwrap();
    }
    other.send(Msg::Told(reply)).await.unwrap();
    drop(addr);
    assert!(!other.is_closed());
    drop(other);
    assert!(!finished.is_up());
    open.send(());
    assert_eq!(answer.await.unwrap().0.len(), 10);
    until(cx, || finished.is_up()).await;
}

struct NeverStarts;

impl Actor for NeverStarts {
    type Msg = Reply<()>;
    const NAME: &'static str = "never-starts";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        cx.sleep(Duration::from_millis(2)).await;
        Err(Stop::Failed("on purpose".to_owned()))
    }

    async fn turn(&mut self, _: &mut Vec<Reply<()>>, _: &Context) -> Result<(), Stop> {
        panic!("it never starts");
    }
}

async fn an_actor_that_fails_at_its_start_is_closed(cx: Context) {
    let addr = cx.start(NeverStarts);
    let (reply, answer) = Reply::new();
    addr.send(reply).await.unwrap();
    assert_eq!(answer.await, Err(Dropped));
    until(cx, || addr.is_closed()).await;
}

/// An actor that runs inside a task that is aborted: nobody may wait for it for ever.
async fn a_panic_free_end_closes_the_mailbox_of_an_aborted_actor(cx: Context) {
    let slot: Arc<Mutex<Option<Addr<Msg>>>> = Arc::default();
    let keep = slot.clone();
    let shutdown = orloj_kernel::Shutdown::new();
    let task = cx.spawn("part", async move {
        let mut supervisor = orloj_kernel::Supervisor::new(cx, orloj_kernel::Strategy::OneForOne);
        let addr = supervisor.child(orloj_kernel::Restart::Permanent, Waits::default);
        *keep.lock().unwrap() = Some(addr);
        supervisor.run(&shutdown).await
    });
    until(cx, || slot.lock().unwrap().is_some()).await;
    let addr = slot.lock().unwrap().clone().expect("put in by the task");
    assert_eq!(told(&addr).await.0, [0_u64; 0]);
    let open = block(cx, &addr).await;
    let (reply, answer) = Reply::new();
    addr.send(Msg::ForgetLater(reply)).await.unwrap();
    task.abort();
    assert_eq!(answer.await, Err(Dropped));
    assert!(addr.is_closed());
    until(cx, || open.is_abandoned()).await;
}

fn status(cx: Context, name: &str) -> Status {
    cx.directory().find(name).unwrap_or_else(|| panic!("{name} is in the directory"))
}

async fn inspection_shows_what_an_actor_is_like(cx: Context) {
    let addr = cx.start(Waits::default());
    let new = status(cx, "waits");
    assert_eq!((new.depth, new.capacity, new.handled, new.turns), (0, 4, 0, 0));
    assert!(new.alive);
    let open = block(cx, &addr).await;
    for n in 0..3 {
        addr.send(Msg::Note(n)).await.unwrap();
    }
    assert_eq!(status(cx, "waits").depth, 3);
    cx.sleep(Duration::from_millis(5)).await;
    open.send(());
    until(cx, || status(cx, "waits").handled == 4).await;
    let busy = status(cx, "waits");
    assert_eq!((busy.depth, busy.depth_max, busy.turns, busy.last), (0, 3, 2, "note"));
    assert_eq!((busy.restarts, busy.refused, busy.dropped), (0, 0, 0));
    assert!(busy.busy >= Duration::from_millis(5), "{busy:?}");
    assert_eq!(cx.directory().list(), [busy]);
}

async fn namesakes_are_numbered(cx: Context) {
    let addrs: Vec<_> = (0..4).map(|_| cx.start(Waits::default())).collect();
    let names: Vec<String> = cx.directory().list().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["waits", "waits-2", "waits-3", "waits-4"]);
    drop(addrs);
}

async fn whoever_is_forgotten_leaves_the_directory(cx: Context) {
    let addr = cx.start(Waits::default());
    let other = cx.start(Roomy::default());
    drop(addr);
    until(cx, || cx.directory().find("waits").is_none()).await;
    assert_eq!(cx.directory().list().len(), 1);
    assert!(format!("{:?}", cx.directory()).contains("roomy"));
    let again = cx.start(Waits::default());
    assert_eq!(format!("{again:?}"), "Addr(waits)");
    drop(other);
}

async fn each_host_has_its_own_directory(here: Context, there: Context) {
    let a = here.start(Waits::default());
    let b = there.start(Waits::default());
    assert_eq!(format!("{a:?} {b:?}"), "Addr(waits) Addr(waits)");
    assert_eq!((here.directory().list().len(), there.directory().list().len()), (1, 1));
}

async fn an_address_reaches_another_host(here: Context, there: Context) {
    let addr = there.start(Waits::default());
    addr.send(Msg::Note(1)).await.unwrap();
    assert_eq!(told(&addr).await.0, [1]);
    assert!(here.directory().find("waits").is_none());
}
