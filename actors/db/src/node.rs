//! Node: the wiring of one database, its start and its end.

use std::{fmt, net::SocketAddr, sync::Arc};

use orloj_kernel::{
    Addr, Context, Escalation, JoinHandle, RawLock, Reply, Restart, Shutdown, Stop, Strategy,
    Supervisor,
};
use orloj_storage::{Lsn, journal::Recovery};

use crate::{
    Durability, NodeConfig, StartError,
    board::Board,
    journal::{self, Journal},
    listener::{self, Listener},
    sequencer::{self, Sequencer},
    session::Ports,
    slot::Slot,
    start::{self, Opening},
};

/// What a node found when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The version of the store; 0 for an empty one.
    pub version: Lsn,
    /// Keys in it.
    pub keys: u64,
    /// What the journal's recovery found and did. Empty in [`Durability::InMemory`].
    pub journal: Recovery,
}

/// A running node. Dropping it ends everything at once, as a crash would.
pub struct Node {
    cx: Context,
    config: Arc<NodeConfig>,
    addr: SocketAddr,
    summary: Summary,
    journal: Option<Addr<journal::Msg>>,
    listener: Addr<listener::Msg>,
    stop: Shutdown,
    supervision: JoinHandle<Result<(), Escalation>>,
    slots: Slots,
    _lock: Option<Box<dyn RawLock>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Where actors find their own addresses. Emptied at the end, since each would keep itself alive.
#[derive(Clone)]
struct Slots {
    journal: Slot<Addr<journal::Msg>>,
    sequencer: Slot<Addr<sequencer::Msg>>,
    listener: Slot<Addr<listener::Msg>>,
}

impl Node {
    /// Recovers the database and serves it. On return clients can connect.
    ///
    /// # Errors
    /// [`StartError`], one line with cause and remedy; nothing was served then.
    pub async fn start(config: NodeConfig, cx: Context) -> Result<Node, StartError> {
        let config = Arc::new(config);
        let journalled = config.durability != Durability::InMemory;
        let lock = match journalled {
            true => Some(start::enter(&cx, &config).await?),
            false => {
                start::leave_alone(&cx, &config).await?;
                None
            }
        };
        // Before recovery, so that a port in use is known at once. Nobody is let in until it is
        // done.
        let listen = |e| StartError::of_listen(&config.resp, e);
        let bound = cx.listen(&config.resp).await.map_err(listen)?;
        let addr = bound.local_addr().map_err(listen)?;

        let opening = Opening::new(config.clone());
        let summary = match journalled {
            true => opening.open(&cx).await?,
            false => Summary::default(),
        };
        if let (false, Some(observer)) = (journalled, &config.observer) {
            observer.recovered(&summary);
        }
        let board = Arc::new(Board::new(&cx, &config));
        board.set_port(addr.port());

        let slots = Slots {
            journal: Slot::new(None),
            sequencer: Slot::new(None),
            listener: Slot::new(None),
        };
        let mut supervisor = Supervisor::new(cx, Strategy::RestForOne);
        let journal = journalled.then(|| {
            let (opening, own) = (opening.clone(), slots.journal.clone());
            let (board, durability) = (board.clone(), config.durability);
            let make =
                move || Journal::new(opening.clone(), own.clone(), board.clone(), durability);
            supervisor.child(Restart::Permanent, make)
        });
        let sequencer = {
            let (opening, own) = (opening.clone(), slots.sequencer.clone());
            let (board, journal, config) = (board.clone(), journal.clone(), config.clone());
            supervisor.child(Restart::Permanent, move || {
                Sequencer::new(
                    opening.clone(),
                    own.clone(),
                    journal.clone(),
                    board.clone(),
                    config.durability,
                    config.observer.clone(),
                )
            })
        };
        let listener = {
            let ports = Ports { cx, config: config.clone(), board, sequencer: sequencer.clone() };
            let (own, bound) = (slots.listener.clone(), Slot::new(Some(bound)));
            let at = Slot::new(Some(addr));
            supervisor.child(Restart::Permanent, move || {
                Listener::new(ports.clone(), own.clone(), bound.clone(), at.clone())
            })
        };
        journal.iter().for_each(|addr| slots.journal.put(addr.clone()));
        slots.sequencer.put(sequencer);
        slots.listener.put(listener.clone());
        let stop = Shutdown::new();
        let switch = stop.clone();
        let supervision = cx.spawn("supervisor", async move { supervisor.run(&switch).await });
        Ok(Node {
            cx,
            config,
            addr,
            summary,
            journal,
            listener,
            stop,
            supervision,
            slots,
            _lock: lock,
        })
    }

    /// Where RESP clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What recovery found.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Serves until `shutdown` begins, then drains: lets nobody in, answers what was received,
    /// closes the connections and the journal.
    ///
    /// # Errors
    /// [`Escalation`] when a part of the node has ended for good: what it promised can no longer be
    /// kept, and a new start has to find out what the disk holds.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Escalation> {
        let ended = {
            let mut wait = std::pin::pin!(shutdown.wait());
            let supervision = &mut self.supervision;
            std::future::poll_fn(|task| {
                if let std::task::Poll::Ready(ended) =
                    std::pin::Pin::new(&mut *supervision).poll(task)
                {
                    return std::task::Poll::Ready(Some(ended));
                }
                wait.as_mut().poll(task).map(|()| None)
            })
            .await
        };
        match ended {
            Some(Ok(outcome)) => outcome,
            Some(Err(lost)) => {
                let stop = Stop::Failed(lost.to_string());
                Err(Escalation { child: "supervisor", stop })
            }
            None => {
                self.drain().await;
                self.stop.begin();
                // The lock goes when nothing writes any more.
                (&mut self.supervision).await.unwrap_or(Ok(()))
            }
        }
    }

    /// As [`Node::run`] with a shutdown that has begun.
    pub async fn stop(self) -> Result<(), Escalation> {
        let now = Shutdown::new();
        now.begin();
        self.run(&now).await
    }

    async fn drain(&self) {
        let (reply, drained) = Reply::new();
        if self.listener.send(listener::Msg::Drain(reply)).await.is_ok() {
            // Those who have not left by then are cut off.
            let _ = self.cx.timeout(self.config.drain_patience, drained).await;
        }
        if let Some(journal) = &self.journal {
            let (reply, closed) = Reply::new();
            if journal.send(journal::Msg::Close(reply)).await.is_ok() {
                // If it cannot close it stops, and the next start finds what it wrote.
                let _ = closed.await;
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.begin();
        self.slots.journal.take();
        self.slots.sequencer.take();
        self.slots.listener.take();
    }
}
