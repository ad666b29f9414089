//! The way from clients to the node's own handle, which lives and dies with the node's process.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use orloj_db::Embedded;
use orloj_kernel::{Context, Reply, sometimes};
use orloj_net::{
    Commands, Events,
    envelope::{Envelope, Failure, Finding, Outcome, Question, SessionName},
};
use orloj_sim::Control;

use super::{envelopes::session_name, every_command, recorder::Recorder};
use crate::scenario::Plan;

/// What becomes of several commands.
type Answers = Vec<Result<Outcome, Failure>>;

/// Something to ask the node.
enum Call {
    Send(Vec<Envelope>, Reply<Answers>),
    Ask(Question, Reply<Result<Finding, Failure>>),
}

#[derive(Default)]
struct Inner {
    calls: VecDeque<Call>,
    waker: Option<Waker>,
}

/// Where clients leave what they ask. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Door(Arc<Mutex<Inner>>);

impl Door {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, call: Call) {
        let mut inner = self.inner();
        inner.calls.push_back(call);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Has commands carried out, sent together and in order. `None`: the node died.
    pub(super) async fn send(&self, envelopes: Vec<Envelope>) -> Option<Answers> {
        let (reply, answer) = Reply::new();
        self.push(Call::Send(envelopes, reply));
        answer.await.ok()
    }

    /// Asks beside the lanes. `None`: the node died.
    pub(super) async fn ask(&self, question: Question) -> Option<Result<Finding, Failure>> {
        let (reply, answer) = Reply::new();
        self.push(Call::Ask(question, reply));
        answer.await.ok()
    }

    async fn next(&self) -> Call {
        poll_fn(|task| {
            let mut inner = self.inner();
            match inner.calls.pop_front() {
                Some(call) => Poll::Ready(call),
                None => {
                    inner.waker = Some(task.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Carries what clients ask to the node and the answers back, as long as the process lives. Whoever
/// asked the process before it died hears nothing.
pub(super) async fn porter(
    cx: Context,
    handle: Embedded,
    plan: Arc<Plan>,
    recorder: Arc<Recorder>,
    door: Door,
) {
    let forgotten = std::mem::take(&mut door.inner().calls);
    drop(forgotten);
    let within = plan.commands.as_ref().filter(|commands| !commands.network);
    let (followers, sessions) = within.map_or((0, 1), |c| (c.followers, c.sessions));
    for number in 0..followers {
        // The first follows everybody.
        let one = (number > 0).then(|| session_name(Control.between("follow", 0, sessions - 1)));
        cx.spawn("follower", follow(cx, handle.clone(), one, recorder.clone()));
    }
    if plan.commands.as_ref().is_some_and(|commands| commands.upkeep.is_some()) {
        cx.spawn("inspector", inspect(cx, handle.clone(), recorder.clone()));
    }
    loop {
        let call = door.next().await;
        let handle = handle.clone();
        cx.spawn("porter", async move {
            match call {
                Call::Send(envelopes, reply) => reply.send(handle.send_all(envelopes).await),
                Call::Ask(question, reply) => reply.send(handle.ask(question).await),
            }
        });
    }
}

/// Reads every command again and again while old ones are let go, as long as the process lives.
async fn inspect(cx: Context, handle: Embedded, recorder: Arc<Recorder>) {
    let ask = async |question| handle.ask(question).await.ok();
    loop {
        let rest = Control.between("inspect-after", 1_000_000, 100_000_000);
        cx.sleep(Duration::from_nanos(rest)).await;
        let Some(before) = every_command(ask).await else { continue };
        let rest = Control.between("inspect-again", 1_000_000, 200_000_000);
        cx.sleep(Duration::from_nanos(rest)).await;
        if let Some(after) = every_command(ask).await {
            recorder.kept(before, after);
        }
    }
}

/// Records what happens to the commands of a session, or of all, as long as it is told.
pub(super) async fn follow(
    cx: Context,
    handle: impl Commands,
    session: Option<SessionName>,
    recorder: Arc<Recorder>,
) {
    let Ok(mut events) = handle.subscribe(session.clone()).await else { return };
    let place = recorder.joins(session);
    while let Ok(event) = events.next().await {
        sometimes!(cx, true, "commands: a subscriber heard of a step");
        recorder.follows(place, event);
    }
}
