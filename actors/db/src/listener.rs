//! Listener: lets clients in, knows which are there, and sees them out.

use std::{
    collections::BTreeMap, net::SocketAddr, sync::Arc, sync::atomic::Ordering, time::Duration,
};

use orloj_kernel::{Actor, Addr, Context, Reply, Stop, Stream, mutant, sometimes};
use tokio::io::AsyncWriteExt;

use crate::{
    door::Door,
    json,
    leased::Leased,
    native,
    session::{self, Bell, Ports},
    slot::Slot,
    start::StartError,
};

/// How long accepting rests after an error, which is a passing shortage or one bad connection.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// How long a client that is turned away may take to hear why.
const TURN_AWAY: Duration = Duration::from_millis(200);
/// What it hears, in Redis's words.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RESP.
    Resp,
    /// The native protocol.
    Native,
    /// JSON, by WebSocket or a line each.
    Json,
}

impl Protocol {
    /// The flag that says where.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Resp => "resp",
            Protocol::Native => "native",
            Protocol::Json => "ws",
        }
    }
}

/// An address where clients are let in.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) protocol: Protocol,
    /// The socket that the node's own start has bound already.
    pub(crate) bound: Slot<orloj_kernel::Listener>,
    /// The address to bind again in a later life.
    pub(crate) addr: SocketAddr,
}

/// What the listener can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Somebody connected.
    Arrived(Protocol, Stream, SocketAddr),
    /// A stream of the node's owner is to be served as lines of JSON; answered at its end.
    Attach(Stream, Reply<()>),
    /// A connection has ended.
    Left(u64),
    /// Let nobody in any more, and answer when everybody has left.
    Drain(Reply<()>),
}

pub(crate) struct Listener {
    ports: Ports,
    door: Door,
    own: Slot<Addr<Msg>>,
    entrances: Vec<Entrance>,
    accepting: Vec<Leased<()>>,
    connections: BTreeMap<u64, (Arc<Bell>, Leased<()>)>,
    drained: Option<Reply<()>>,
}

impl Listener {
    pub(crate) fn new(
        ports: Ports,
        door: Door,
        own: Slot<Addr<Msg>>,
        entrances: Vec<Entrance>,
    ) -> Listener {
        let (accepting, connections) = (Vec::new(), BTreeMap::new());
        Listener { ports, door, own, entrances, accepting, connections, drained: None }
    }

    fn arrived(&mut self, protocol: Protocol, stream: Stream, peer: SocketAddr, own: &Addr<Msg>) {
        let Ports { cx, board, config, .. } = &self.ports;
        let cx = *cx;
        if self.connections.len() as u64 >= board.max_clients() {
            sometimes!(cx, true, "listener: a client too many was turned away");
            cx.spawn("turn-away", async move {
                let goodbye = async {
                    let mut stream = stream;
                    let text = match protocol {
                        Protocol::Resp => TOO_MANY.to_vec(),
                        Protocol::Native => native::too_many(),
                        Protocol::Json => return json::turn_away(stream).await,
                    };
                    stream.write_all(&text).await?;
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
        let (own, heard) = (own.clone(), bell.clone());
        // The listener may have ended; then it counts nobody.
        let task = match protocol {
            Protocol::Resp => {
                let session = session::Connection::new(self.ports.clone(), stream, id, heard);
                cx.spawn("session", async move {
                    session.serve().await;
                    let _ = own.send(Msg::Left(id)).await;
                })
            }
            Protocol::Native => {
                let connection = native::Connection::new(self.door.clone(), stream, id, heard);
                cx.spawn("native", async move {
                    connection.serve().await;
                    let _ = own.send(Msg::Left(id)).await;
                })
            }
            Protocol::Json => {
                let (door, wire) = (self.door.clone(), json::wire(true));
                let connection = json::Connection::new(door, stream, wire, id, heard);
                cx.spawn("json", async move {
                    connection.serve().await;
                    let _ = own.send(Msg::Left(id)).await;
                })
            }
        };
        self.connections.insert(id, (bell, Leased(task)));
    }

    fn attached(&mut self, stream: Stream, end: Reply<()>, own: &Addr<Msg>) {
        let id = self.ports.board.connected();
        let bell = Arc::new(Bell::default());
        let (door, wire, own) = (self.door.clone(), json::wire(false), own.clone());
        let connection = json::Connection::new(door, stream, wire, id, bell.clone());
        let task = self.ports.cx.spawn("json", async move {
            connection.serve().await;
            end.send(());
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

async fn accept(
    cx: Context,
    protocol: Protocol,
    mut listener: orloj_kernel::Listener,
    own: Addr<Msg>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if own.send(Msg::Arrived(protocol, stream, peer)).await.is_err() {
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
        let own = self.own.get().ok_or_else(|| Stop::Failed("not started by a node".to_owned()))?;
        for Entrance { protocol, bound, addr } in &self.entrances {
            let listener = match bound.take() {
                Some(bound) => bound,
                None => {
                    let addr = addr.to_string();
                    let bound = cx.listen(&addr).await;
                    bound.map_err(|e| {
                        Stop::Failed(StartError::of_listen(protocol.name(), &addr, e).to_string())
                    })?
                }
            };
            let task = accept(*cx, *protocol, listener, own.clone());
            self.accepting.push(Leased(cx.spawn("accept", task)));
        }
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, _cx: &Context) -> Result<(), Stop> {
        let Some(own) = self.own.get() else {
            batch.clear();
            return Ok(());
        };
        for msg in batch.drain(..) {
            match msg {
                Msg::Arrived(protocol, stream, peer) if self.drained.is_none() => {
                    self.arrived(protocol, stream, peer, &own);
                }
                // Accepted before the drain began and never served.
                Msg::Arrived(..) => {}
                Msg::Attach(stream, end) if self.drained.is_none() => {
                    self.attached(stream, end, &own);
                }
                Msg::Attach(_, end) => end.send(()),
                Msg::Left(_) if mutant!(self.ports.cx, "listener.nobody_leaves") => {}
                Msg::Left(id) => drop(self.connections.remove(&id)),
                Msg::Drain(reply) => {
                    self.accepting.clear();
                    self.connections.values().for_each(|(bell, _)| bell.ring());
                    self.drained = Some(reply);
                }
            }
        }
        self.settle();
        Ok(())
    }

    fn check(&self) {
        assert!(self.drained.is_none() || self.accepting.is_empty());
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Arrived(..) => "arrived",
            Msg::Attach(..) => "attach",
            Msg::Left(_) => "left",
            Msg::Drain(_) => "drain",
        }
    }
}
