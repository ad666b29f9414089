//! Node: the wiring of one database, its start and its end.

use std::{fmt, net::SocketAddr, sync::Arc};

use orloj_kernel::{
    Addr, Context, Escalation, JoinHandle, Reply, Restart, Shutdown, Stop, Strategy, Stream,
    Supervisor,
};
use orloj_storage::{Database, Lsn, journal::Recovery};

use crate::{
    NodeConfig, ReplayError, Replayed, Source, StartError, Until,
    board::Board,
    door::Door,
    embedded::Embedded,
    hub::Hub,
    journal::{self, Journal},
    listener::{self, Entrance, Listener, Protocol},
    replay::replay,
    sequencer::{self, Sequencer},
    session::Ports,
    slot::Slot,
    start,
};

/// What a node found when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The last turn that changed the store; 0 for a new one.
    pub turn: u64,
    /// Keys in it.
    pub keys: u64,
    /// The checkpoint it was opened from; 0 is none.
    pub generation: u64,
    /// What the journal's recovery found and did. Empty in memory.
    pub journal: Recovery,
}

/// A running node. Dropping it ends everything at once, as a crash would.
pub struct Node {
    cx: Context,
    config: Arc<NodeConfig>,
    addr: SocketAddr,
    native_addr: Option<SocketAddr>,
    summary: Summary,
    db: Database,
    journal: Addr<journal::Msg>,
    listener: Addr<listener::Msg>,
    ws: Option<SocketAddr>,
    stop: Shutdown,
    supervision: JoinHandle<Result<(), Escalation>>,
    slots: Slots,
    door: Door,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Where actors find their own addresses. Emptied at the end, since each would keep itself alive.
#[derive(Clone)]
struct Slots {
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
        // Before recovery, so that a port in use is known at once. Nobody is let in until it is
        // done.
        let resp = bind(&cx, Protocol::Resp, &config.resp).await?;
        let native = match &config.native {
            Some(native) => Some(bind(&cx, Protocol::Native, native).await?),
            None => None,
        };
        let (addr, native_addr) = (resp.addr, native.as_ref().map(|native| native.addr));
        let json = match &config.ws {
            Some(ws) => Some(bind(&cx, Protocol::Json, ws).await?),
            None => None,
        };
        let ws = json.as_ref().map(|json| json.addr);

        let (tables, summary) = start::open(&cx, &config).await?;
        let db = tables.db();
        if let Some(observer) = &config.observer {
            observer.recovered(&summary);
        }
        let board = Arc::new(Board::new(&cx, &config));
        board.set_port(addr.port());
        board.show_journal(summary.journal.clone());

        let hub = Arc::new(Hub::default());
        let slots = Slots { sequencer: Slot::new(None), listener: Slot::new(None) };
        let mut supervisor = Supervisor::new(cx, Strategy::RestForOne);
        let journal = {
            let (db, hub) = (db.clone(), hub.clone());
            supervisor.child(Restart::Permanent, move || Journal::new(db.clone(), hub.clone()))
        };
        let sequencer = {
            let (tables, own) = (tables.clone(), slots.sequencer.clone());
            let (board, journal, config) = (board.clone(), journal.clone(), config.clone());
            let hub = hub.clone();
            supervisor.child(Restart::Permanent, move || {
                let (tables, own, journal) = (tables.clone(), own.clone(), journal.clone());
                Sequencer::new(&config, tables, own, journal, board.clone(), hub.clone())
            })
        };
        let door = Door {
            cx,
            config: config.clone(),
            board: board.clone(),
            hub,
            tables,
            sequencer: sequencer.clone(),
        };
        let listener = {
            let ports = Ports { cx, config: config.clone(), board, sequencer: sequencer.clone() };
            let (own, door) = (slots.listener.clone(), door.clone());
            let entrances: Vec<Entrance> = [resp].into_iter().chain(native).chain(json).collect();
            supervisor.child(Restart::Permanent, move || {
                Listener::new(ports.clone(), door.clone(), own.clone(), entrances.clone())
            })
        };
        slots.sequencer.put(sequencer);
        slots.listener.put(listener.clone());
        let stop = Shutdown::new();
        let switch = stop.clone();
        let supervision = cx.spawn("supervisor", async move { supervisor.run(&switch).await });
        Ok(Node {
            cx,
            config,
            door,
            addr,
            native_addr,
            summary,
            db,
            journal,
            listener,
            ws,
            stop,
            supervision,
            slots,
        })
    }

    /// Where RESP clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where clients of the native protocol connect, if anywhere.
    pub fn native_addr(&self) -> Option<SocketAddr> {
        self.native_addr
    }

    /// Where clients connect that speak JSON.
    pub fn ws(&self) -> Option<SocketAddr> {
        self.ws
    }

    /// Serves a client that speaks JSON a line each on a stream of one's own, to its end: the
    /// stream's, or the node's.
    pub fn attach(&self, stream: Stream) -> impl Future<Output = ()> + Send + 'static {
        let (reply, ended) = Reply::new();
        let listener = self.listener.clone();
        async move {
            if listener.send(listener::Msg::Attach(stream, reply)).await.is_ok() {
                let _ = ended.await;
            }
        }
    }

    /// Commands from within the process. Whoever holds them does not keep the node alive.
    pub fn commands(&self) -> Embedded {
        Embedded::new(self.door.clone())
    }

    /// Carries out again, in memory and beside the node, what is durable now of the journal behind
    /// the newest checkpoint. `None` for a database in memory, which has no journal.
    ///
    /// # Errors
    /// See [`replay`](crate::replay()).
    pub async fn replay(
        &self,
        until: &Until,
        progress: &mut (dyn FnMut(Lsn, Lsn) + Send),
    ) -> Result<Option<Replayed>, ReplayError> {
        let Some(past) = self.db.past().await? else { return Ok(None) };
        let mut source = Source::Database(Box::new(past));
        replay(&self.cx, &mut source, until, progress).await.map(Some)
    }

    /// What recovery found.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Serves until `shutdown` begins, then drains: lets nobody in, answers what was received,
    /// closes the connections and the database.
    ///
    /// # Errors
    /// [`Escalation`] when a part of the node has ended for good: what it promised can no longer be
    /// kept, and a new start has to find out what the disk holds.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Escalation> {
        let ended = {
            let mut wait = std::pin::pin!(shutdown.wait());
            let mut halt = std::pin::pin!(self.db.ended());
            let supervision = &mut self.supervision;
            std::future::poll_fn(|task| {
                if let std::task::Poll::Ready(ended) =
                    std::pin::Pin::new(&mut *supervision).poll(task)
                {
                    return std::task::Poll::Ready(Some(ended));
                }
                // Also if nobody writes: a new start finds out what the disk holds.
                if let std::task::Poll::Ready(error) = halt.as_mut().poll(task) {
                    let stop = journal::fatal(&error);
                    let ended = Err(Escalation { child: "storage", stop });
                    return std::task::Poll::Ready(Some(Ok(ended)));
                }
                wait.as_mut().poll(task).map(|()| None)
            })
            .await
        };
        let outcome = match ended {
            Some(Ok(outcome)) => outcome,
            Some(Err(lost)) => {
                let stop = Stop::Failed(lost.to_string());
                Err(Escalation { child: "supervisor", stop })
            }
            None => {
                self.drain().await;
                self.stop.begin();
                (&mut self.supervision).await.unwrap_or(Ok(()))
            }
        };
        // What cannot be written now is in the journal, and the next start finds it.
        if let Err(error) = self.db.clone().close().await {
            self.cx.trace("node", format_args!("closed with: {error}"));
        }
        outcome
    }

    /// As [`Node::run`] with a shutdown that has begun.
    pub async fn stop(self) -> Result<(), Escalation> {
        let now = Shutdown::new();
        now.begin();
        self.run(&now).await
    }

    async fn drain(&self) {
        self.door.board.stop();
        let (reply, drained) = Reply::new();
        if self.listener.send(listener::Msg::Drain(reply)).await.is_ok() {
            // Those who have not left by then are cut off.
            let _ = self.cx.timeout(self.config.drain_patience, drained).await;
        }
        let (reply, flushed) = Reply::new();
        if self.journal.send(journal::Msg::Flush(reply)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

async fn bind(cx: &Context, protocol: Protocol, addr: &str) -> Result<Entrance, StartError> {
    let listen = |e| StartError::of_listen(protocol.name(), addr, e);
    let bound = cx.listen(addr).await.map_err(listen)?;
    let addr = bound.local_addr().map_err(listen)?;
    Ok(Entrance { protocol, bound: Slot::new(Some(bound)), addr })
}

impl Drop for Node {
    fn drop(&mut self) {
        self.door.hub.end();
        self.stop.begin();
        self.slots.sequencer.take();
        self.slots.listener.take();
    }
}
