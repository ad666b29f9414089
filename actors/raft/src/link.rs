//! Links: the connections between the nodes of a cluster.
//!
//! A node dials each of the others. It asks on the connections it has dialled and answers on those
//! it has accepted, so there are two between any two nodes and nobody has to agree which counts.
//! A [`Line`] is the asking end: it dials again, for ever, and fails at once what is asked while
//! there is no hope. [`Links::serve`] is the answering end. The bytes are `orloj_net::peer`'s.
//!
//! Whoever hears nothing for a second lets go, so an open end without another is noticed; the
//! dialler asks for a sign of life whenever it is quiet.

mod door;
mod line;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use orloj_kernel::{Context, JoinHandle, Listener, mutant};
use orloj_net::peer::{Channel, Hello, Member, Position, Reception, Refusal, Welcome};

pub(crate) use line::{AskError, Line, LineStatus};

use crate::Peer;

/// Between two looks at whether there is life.
const TICK: Duration = Duration::from_millis(250);
/// So many looks in a row that find none are the end of a connection.
const SILENT_TICKS: u32 = 4;
/// What connecting and greeting may take whoever dials,
const DIAL_PATIENCE: Duration = Duration::from_secs(1);
/// and how long whoever accepts waits for a hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to connect, at first and at most. A cluster that was cut in two is whole
/// again after this and [`DIAL_PATIENCE`].
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The same after a refusal, which passes only when people do something.
const REFUSED_BACKOFF: Duration = Duration::from_secs(5);

/// What a peer asks.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Whose hello was believed.
    pub(crate) from: u64,
    /// Where it came in.
    pub(crate) channel: Channel,
    pub(crate) payload: Bytes,
}

/// Answers what peers ask, or says why there is no answer.
///
/// It is called in the order of the requests of a channel, and what it returns is polled in that
/// order at first.
pub(crate) type Handler =
    Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// What a node's own disk says of it: the greatest term in which it has voted, and its last entry.
/// Asked before each hello, since a hello that says less than others remember is refused.
pub(crate) type Disk = Arc<dyn Fn() -> (u64, Option<Position>) + Send + Sync>;

/// A task that ends with whoever holds it.
struct Leased(JoinHandle<()>);

impl Drop for Leased {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A node's connections to all others. Clones share them; they end with the last.
#[derive(Clone)]
pub(crate) struct Links(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    lines: Mutex<BTreeMap<u64, (Arc<Line>, Leased)>>,
}

/// What all connections of a node share.
struct Node {
    cx: Context,
    disk: Disk,
    own: Mutex<Own>,
}

struct Own {
    reception: Reception,
    /// Who is connected, with which incarnation, how often.
    connected: BTreeMap<u64, (u64, u32)>,
}

impl Node {
    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hello(&self, to: u64) -> Hello {
        let (term, last) = (self.disk)();
        self.own().reception.hello(to, term, last)
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Links")
    }
}

impl Links {
    /// None yet. Peers are judged by `reception`.
    pub(crate) fn new(cx: Context, reception: Reception, disk: Disk) -> Links {
        let own = Own { reception, connected: BTreeMap::new() };
        let node = Arc::new(Node { cx, disk, own: Mutex::new(own) });
        Links(Arc::new(Inner { node, lines: Mutex::new(BTreeMap::new()) }))
    }

    pub(crate) fn context(&self) -> Context {
        self.0.node.cx
    }

    /// The node's own id.
    pub(crate) fn id(&self) -> u64 {
        self.0.node.own().reception.id
    }

    /// The line to a peer; it is dialled from the first time on that anybody asks for it.
    pub(crate) fn line(&self, id: u64, peer: &Peer) -> Arc<Line> {
        let mut lines = self.lines();
        if let Some((line, _)) = lines.get(&id)
            && line.address() == peer.address
        {
            return line.clone();
        }
        let node = self.0.node.clone();
        let line = Arc::new(Line::new(id, peer.address.clone()));
        let task = node.cx.spawn("line", line::keep(node.clone(), line.clone()));
        if let Some((old, _)) = lines.insert(id, (line.clone(), Leased(task))) {
            old.end("the peer has moved");
        }
        line
    }

    /// Who belongs to the cluster from now on, by id with their names, and who did. Lines to
    /// others end; what is known of those who stay is kept.
    pub(crate) fn set_members(&self, members: &BTreeMap<u64, String>, removed: BTreeSet<u64>) {
        {
            let mut own = self.0.node.own();
            let known = std::mem::take(&mut own.reception.members);
            let member = |(id, name): (&u64, &String)| {
                let term = known.get(id).map_or(0, |member| member.term);
                (*id, Member { name: name.clone(), term })
            };
            own.reception.members = members.iter().map(member).collect();
            own.reception.removed = removed;
        }
        let gone: Vec<_> = self.lines().extract_if(.., |id, _| !members.contains_key(id)).collect();
        gone.iter().for_each(|(_, (line, _))| line.end("the peer is no member any more"));
    }

    /// A peer has made a promise in `term`, on its disk: should it ever say that it knows less, it
    /// has forgotten, and is not listened to.
    pub(crate) fn promised(&self, id: u64, term: u64) {
        if let Some(member) = self.0.node.own().reception.members.get_mut(&id) {
            member.term = member.term.max(term);
        }
    }

    /// How all lines are, by the peers' ids.
    pub(crate) fn status(&self) -> BTreeMap<u64, LineStatus> {
        self.lines().iter().map(|(id, (line, _))| (*id, line.status())).collect()
    }

    /// Lets peers in and has `handler` answer them, for as long as it is polled.
    pub(crate) async fn serve(&self, listener: Listener, handler: Handler) {
        door::accept(self, listener, handler).await;
    }

    /// Whether whoever said hello is listened to, or why not. If so it is connected, until
    /// [`Links::left`].
    fn judge(&self, hello: &Hello) -> Result<Welcome, Refusal> {
        let mut own = self.0.node.own();
        let connected = own.connected.get(&hello.id).map(|(incarnation, _)| *incarnation);
        let trusts = mutant!(self.context(), "cluster.hello_trusts_id");
        let meant = if trusts { own.reception.id } else { hello.to };
        let said = Hello { to: meant, ..hello.clone() };
        let welcome = own.reception.judge(&said, connected.filter(|_| !trusts))?;
        if let Some(member) = own.reception.members.get_mut(&hello.id) {
            member.term = member.term.max(hello.term);
        }
        own.connected.entry(hello.id).or_insert((hello.incarnation, 0)).1 += 1;
        Ok(welcome)
    }

    /// A connection of that peer is over.
    fn left(&self, id: u64) {
        let mut own = self.0.node.own();
        if let Some((_, count)) = own.connected.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                own.connected.remove(&id);
            }
        }
    }

    /// A peer is alive: whoever waits to dial it need not.
    fn seen(&self, id: u64) {
        if let Some((line, _)) = self.lines().get(&id) {
            line.hurry();
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, (Arc<Line>, Leased)>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lines = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        lines.values().for_each(|(line, _)| line.end("the node stops"));
    }
}

#[cfg(test)]
pub(crate) mod tests;
