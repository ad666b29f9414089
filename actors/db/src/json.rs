//! Clients that speak JSON: the listener that lets them in.
//!
//! The conversation with one is in [`conversation`]; what JSON says, and how a stream is cut into
//! texts, is in `net`.

mod conversation;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use orloj_kernel::{Actor, Addr, Context, Reply, Stop, Stream};
use orloj_net::{
    envelope::{Code, Failure, MESSAGE_MAX},
    json,
    wire::Wire,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{door::Door, leased::Leased, session::Bell, slot::Slot, start::StartError};
use conversation::Conversation;

/// How long accepting rests after an error, which is a passing shortage or one bad connection.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// How long a client that is turned away may take to say how it speaks, and to hear why.
const TURN_AWAY: Duration = Duration::from_millis(200);

/// What the listener can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Somebody connected.
    Arrived(Stream),
    /// A stream that was not accepted here is to be served as lines; answered at its end.
    Attach(Stream, Reply<()>),
    /// A conversation has ended.
    Left(u64),
    /// Let nobody in any more, and answer when everybody has left.
    Drain(Reply<()>),
}

/// Lets clients in, knows which are there, and sees them out.
pub(crate) struct Listener {
    door: Door,
    own: Slot<Addr<Msg>>,
    /// The socket that the node's own start has bound already.
    bound: Slot<orloj_kernel::Listener>,
    /// The address to bind again in a later life; none if no clients are let in.
    addr: Slot<SocketAddr>,
    accepting: Option<Leased<()>>,
    clients: BTreeMap<u64, (Arc<Bell>, Leased<()>)>,
    drained: Option<Reply<()>>,
}

impl Listener {
    pub(crate) fn new(
        door: Door,
        own: Slot<Addr<Msg>>,
        bound: Slot<orloj_kernel::Listener>,
        addr: Slot<SocketAddr>,
    ) -> Listener {
        let clients = BTreeMap::new();
        Listener { door, own, bound, addr, accepting: None, clients, drained: None }
    }

    fn arrived(&mut self, stream: Stream, own: &Addr<Msg>) {
        let cx = self.door.cx;
        if self.clients.len() as u64 >= self.door.board.max_clients() {
            cx.spawn("turn-away", async move {
                // It is turned away whether it hears so or not.
                let _ = cx.timeout(TURN_AWAY, turn_away(stream)).await;
            });
            return;
        }
        self.serve(stream, Wire::new(MESSAGE_MAX), None, own);
    }

    fn serve(&mut self, stream: Stream, wire: Wire, end: Option<Reply<()>>, own: &Addr<Msg>) {
        let cx = self.door.cx;
        let id = self.door.board.connected();
        let bell = Arc::new(Bell::default());
        let conversation = Conversation::new(self.door.clone(), stream, wire, id, bell.clone());
        let own = own.clone();
        let task = cx.spawn("conversation", async move {
            conversation.hold().await;
            if let Some(end) = end {
                end.send(());
            }
            // The listener may have ended; then it counts nobody.
            let _ = own.send(Msg::Left(id)).await;
        });
        self.clients.insert(id, (bell, Leased(task)));
    }
}

async fn turn_away(mut stream: Stream) -> std::io::Result<()> {
    let (mut wire, mut out) = (Wire::new(MESSAGE_MAX), Vec::new());
    let mut first = [0; 1];
    let read = stream.read(&mut first).await?;
    wire.feed(&first[..read]);
    let failure = Failure::new(Code::Busy, "too many clients are connected; try again later")
        .with("reason", "max_clients");
    wire.turn_away(&json::refusal(None, None, &failure).to_string(), &mut out);
    stream.write_all(&out).await?;
    stream.shutdown().await
}

async fn accept(cx: Context, mut listener: orloj_kernel::Listener, own: Addr<Msg>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if own.send(Msg::Arrived(stream)).await.is_err() {
                    return;
                }
            }
            Err(e) => {
                cx.trace("json", format_args!("accept: {e}"));
                cx.sleep(AFTER_ERROR).await;
            }
        }
    }
}

impl Actor for Listener {
    type Msg = Msg;
    const NAME: &'static str = "json-listener";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let listener = match (self.bound.take(), self.addr.get()) {
            (Some(bound), _) => bound,
            (None, None) => return Ok(()),
            (None, Some(addr)) => {
                let addr = addr.to_string();
                let refused = |e| StartError::of_listen("ws", &addr, e).to_string();
                cx.listen(&addr).await.map_err(|e| Stop::Failed(refused(e)))?
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
                // Accepted before the drain began and never served.
                Msg::Arrived(_) if self.drained.is_some() => {}
                Msg::Arrived(stream) => self.arrived(stream, &own),
                Msg::Attach(_, end) if self.drained.is_some() => end.send(()),
                Msg::Attach(stream, end) => {
                    self.serve(stream, Wire::lines(MESSAGE_MAX), Some(end), &own);
                }
                Msg::Left(id) => drop(self.clients.remove(&id)),
                Msg::Drain(reply) => {
                    self.accepting = None;
                    self.clients.values().for_each(|(bell, _)| bell.ring());
                    self.drained = Some(reply);
                }
            }
        }
        if self.clients.is_empty()
            && let Some(reply) = self.drained.take()
        {
            reply.send(());
        }
        Ok(())
    }

    fn check(&self) {
        assert!(self.drained.is_none() || self.accepting.is_none());
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Arrived(_) => "arrived",
            Msg::Attach(..) => "attach",
            Msg::Left(_) => "left",
            Msg::Drain(_) => "drain",
        }
    }
}
