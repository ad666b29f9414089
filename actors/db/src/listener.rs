//! Listener: lets clients in, knows which are there, and sees them out.

use std::{
    collections::BTreeMap, net::SocketAddr, sync::Arc, sync::atomic::Ordering, time::Duration,
};

use orloj_kernel::{Actor, Addr, Context, Reply, Stop, Stream, sometimes};
use tokio::io::AsyncWriteExt;

use crate::{
    leased::Leased,
    session::{Bell, Connection, Ports},
    slot::Slot,
    start::StartError,
};

/// How long accepting rests after an error, which is a passing shortage or one bad connection.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// How long a client that is turned away may take to hear why.
const TURN_AWAY: Duration = Duration::from_millis(200);
/// What it hears, in Redis's words.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// What the listener can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Somebody connected.
    Arrived(Stream, SocketAddr),
    /// A connection has ended.
    Left(u64),
    /// Let nobody in any more, and answer when everybody has left.
    Drain(Reply<()>),
}

pub(crate) struct Listener {
    ports: Ports,
    own: Slot<Addr<Msg>>,
    /// The socket that the node's own start has bound already.
    bound: Slot<orloj_kernel::Listener>,
    /// The address to bind again in a later life.
    addr: Slot<SocketAddr>,
    accepting: Option<Leased<()>>,
    connections: BTreeMap<u64, (Arc<Bell>, Leased<()>)>,
    drained: Option<Reply<()>>,
}

impl Listener {
    pub(crate) fn new(
        ports: Ports,
        own: Slot<Addr<Msg>>,
        bound: Slot<orloj_kernel::Listener>,
        addr: Slot<SocketAddr>,
    ) -> Listener {
        let connections = BTreeMap::new();
        Listener { ports, own, bound, addr, accepting: None, connections, drained: None }
    }

    fn arrived(&mut self, stream: Stream, peer: SocketAddr, own: &Addr<Msg>) {
        let Ports { cx, board, config, .. } = &self.ports;
        let cx = *cx;
        if self.connections.len() as u64 >= board.max_clients() {
            sometimes!(cx, true, "listener: a client too many was turned away");
            cx.spawn("turn-away", async move {
                let mut stream = stream;
                let goodbye = async {
                    stream.write_all(TOO_MANY).await?;
                    stream.shutdown().await
                };
                // It is turned away whether it hears so or not.
                let _ = cx.timeout(TURN_AWAY, goodbye).await;
            });
            return;
        }
        let id = board.connected();
        if let Some(observer) = &config.observer {
            observer.connected(id, peer);
        }
        let bell = Arc::new(Bell::default());
        let connection = Connection::new(self.ports.clone(), stream, id, bell.clone());
        let own = own.clone();
        let task = cx.spawn("session", async move {
            connection.serve().await;
            // The listener may have ended; then it counts nobody.
            let _ = own.send(Msg::Left(id)).await;
        });
        self.connections.insert(id, (bell, Leased(task)));
    }

    fn settle(&mut self) {
        let count = self.connections.len() as u64;
        self.ports.board.connections.store(count, Ordering::Relaxed);
        if count == 0
            && let Some(reply) = self.drained.take()
        {
            reply.send(());
        }
    }
}

async fn accept(cx: Context, mut listener: orloj_kernel::Listener, own: Addr<Msg>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if own.send(Msg::Arrived(stream, peer)).await.is_err() {
                    return;
                }
            }
            Err(e) => {
                cx.trace("listener", format_args!("accept: {e}"));
                cx.sleep(AFTER_ERROR).await;
            }
        }
    }
}

impl Actor for Listener {
    type Msg = Msg;
    const NAME: &'static str = "listener";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let listener = match (self.bound.take(), self.addr.get()) {
            (Some(bound), _) => bound,
            (None, addr) => {
                let addr = addr.map_or(self.ports.config.resp.clone(), |addr| addr.to_string());
                let bound = cx.listen(&addr).await;
                bound.map_err(|e| {
                    Stop::Failed(StartError::of_listen("--resp", &addr, e).to_string())
                })?
            }
        };
        let own = self.own.get().ok_or_else(|| Stop::Failed("not started by a node".to_owned()))?;
        self.accepting = Some(Leased(cx.spawn("accept", accept(*cx, listener, own))));
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, _cx: &Context) -> Result<(), Stop> {
        let Some(own) = self.own.get() else {
            batch.clear();
            return Ok(());
        };
        for msg in batch.drain(..) {
            match msg {
                Msg::Arrived(stream, peer) if self.drained.is_none() => {
                    self.arrived(stream, peer, &own);
                }
                // Accepted before the drain began and never served.
                Msg::Arrived(..) => {}
                Msg::Left(id) => drop(self.connections.remove(&id)),
                Msg::Drain(reply) => {
                    self.accepting = None;
                    self.connections.values().for_each(|(bell, _)| bell.ring());
                    self.drained = Some(reply);
                }
            }
        }
        self.settle();
        Ok(())
    }

    fn check(&self) {
        assert!(self.drained.is_none() || self.accepting.is_none());
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Arrived(..) => "arrived",
            Msg::Left(_) => "left",
            Msg::Drain(_) => "drain",
        }
    }
}
