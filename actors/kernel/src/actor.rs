//! State plus one method: given every waiting message, take one turn.

use std::{future::Future, sync::Arc};

use crate::{
    Addr, Context, DiskError, Inspect, Overflow,
    mailbox::{CloseOnDrop, Mailbox},
    mutant,
};

/// Why an actor's life ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Its work is done, or everybody who could write to it is gone.
    #[error("finished")]
    Finished,
    /// It cannot go on from here; a fresh one may.
    #[error("failed: {0}")]
    Failed(String),
    /// Going on would risk a promise already given. The node must stop.
    #[error("fatal: {0}")]
    Fatal(String),
}

impl From<DiskError> for Stop {
    fn from(e: DiskError) -> Stop {
        Stop::Failed(e.to_string())
    }
}

/// A thing that owns its state and is told what to do.
///
/// A turn decides (synchronously), lets effects happen (awaits), and commits (synchronously); state
/// never rests half-changed at an await. An actor has one mailbox and no `select!`.
pub trait Actor: Send + 'static {
    /// A closed enum of everything this actor can be told.
    type Msg: Send + 'static;
    /// Its name in traces, inspection and supervision.
    const NAME: &'static str;
    /// Room for messages.
    const MAILBOX: usize = 1024;
    /// What happens when there is no room.
    const OVERFLOW: Overflow = Overflow::Wait;

    /// Runs before the first turn of every life.
    fn start(&mut self, _cx: &Context) -> impl Future<Output = Result<(), Stop>> + Send {
        async { Ok(()) }
    }

    /// Handles `batch` in order. It is never empty, and must be empty again on return.
    fn turn(
        &mut self,
        batch: &mut Vec<Self::Msg>,
        cx: &Context,
    ) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Runs when nobody is left who could send a message.
    fn finish(&mut self, _cx: &Context) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Asserts the actor's invariant. Called at the end of every turn, in release builds too.
    fn check(&self) {}

    /// A word for a message, for inspection. Never content.
    fn label(_msg: &Self::Msg) -> &'static str {
        "message"
    }
}

/// A mailbox for actors of kind `A`, entered in the host's directory.
pub(crate) fn mailbox<A: Actor>(cx: &Context) -> Arc<Mailbox<A::Msg>> {
    cx.directory().enter(A::NAME, |name| {
        let mailbox = Mailbox::new(name, A::MAILBOX, A::OVERFLOW);
        let inspect: Arc<dyn Inspect> = mailbox.clone();
        (mailbox, Arc::downgrade(&inspect))
    })
}

/// One life of an actor: from its start to the reason of its end.
pub(crate) async fn live<A: Actor>(
    mut actor: A,
    mailbox: Arc<Mailbox<A::Msg>>,
    cx: Context,
) -> Stop {
    if let Err(stop) = actor.start(&cx).await {
        return stop;
    }
    let mut batch = Vec::new();
    loop {
        if !std::future::poll_fn(|task| mailbox.poll_receive(&mut batch, task)).await {
            actor.finish(&cx).await;
            return Stop::Finished;
        }
        if mutant!(cx, "actor.batch_is_cut") {
            batch.truncate(2);
        }
        let handled = batch.len();
        let last = batch.last().map_or("", A::label);
        let begun = cx.now();
        let turn = actor.turn(&mut batch, &cx).await;
        mailbox.turned(handled, cx.now() - begun, last);
        if let Err(stop) = turn {
            return stop;
        }
        assert!(batch.is_empty(), "{}: a turn left {} messages behind", A::NAME, batch.len());
        actor.check();
    }
}

pub(crate) fn start<A: Actor>(cx: Context, actor: A) -> Addr<A::Msg> {
    let mailbox = mailbox::<A>(&cx);
    let addr = mailbox.addr();
    cx.spawn(A::NAME, async move {
        let closing = CloseOnDrop(mailbox);
        let stop = live(actor, closing.0.clone(), cx).await;
        drop(closing);
        if stop != Stop::Finished {
            cx.trace(A::NAME, format_args!("stopped: {stop}"));
        }
    });
    addr
}
