//! A client of the native protocol, for whoever has a [`Context`]: in a simulation as on a machine.
//!
//! A [`Client`] has a few connections, each shared by all who ask. A request whose fate is unknown
//! is asked again with its id, so what it does happens once; where the caller gave no id, one is
//! drawn. Who waits longer than the deadline is told that the fate is unknown, and may ask again
//! with the same id.
//!
//! Failures are those of the server and, with [`Code::Unavailable`] and a `reason`, those of the
//! way: `connect` no connection came about; `disconnected` it was lost before the request was sent;
//! `unknown_fate` it was lost, or the deadline came, while the request may have been under way. It
//! stays unknown if a later try is refused; the detail `refused` is that refusal's code then.

mod feed;
mod link;
mod subscription;

use core::time::Duration;
use std::fmt;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use orloj_kernel::{Answer, Context, mutant, sometimes};

use crate::{
    Commands,
    envelope::{Code, Envelope, Failure, Finding, Id, Outcome, Question, SessionName},
};
use link::Link;
pub use subscription::Subscription;

/// What a client is told. [`ClientConfig::new`] has the defaults.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where the server's native listener is: `host:port`.
    pub addr: String,
    /// The client's name, which the server may log.
    pub name: String,
    /// If the server asks for one.
    pub password: Option<Bytes>,
    /// Connections; at least 1. Requests of one session share one, and keep their order but for
    /// those that are tried again.
    pub connections: usize,
    /// How long one request may take, with all its tries.
    pub deadline: Duration,
    /// How often a request is tried again after a failure that may pass; 0 is never, and then no id
    /// is drawn either.
    pub retries: u32,
    /// How long to wait before the first retry, at most; each further one doubles it.
    pub backoff: Duration,
    /// Where the doubling ends.
    pub backoff_max: Duration,
    /// How long connecting and greeting may take.
    pub connect_patience: Duration,
    /// After so long a silence the server is asked for a sign of life, and after another the
    /// connection is given up.
    pub silence: Duration,
}

impl ClientConfig {
    /// One connection, 30 seconds for a request, and five retries within them.
    pub fn new(addr: impl Into<String>) -> ClientConfig {
        ClientConfig {
            addr: addr.into(),
            name: concat!("orloj-net ", env!("CARGO_PKG_VERSION")).to_owned(),
            password: None,
            connections: 1,
            deadline: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_millis(20),
            backoff_max: Duration::from_secs(2),
            connect_patience: Duration::from_secs(5),
            silence: Duration::from_secs(30),
        }
    }
}

/// A password stays out of every log.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("addr", &self.addr)
            .field("name", &self.name)
            .field("password", &self.password.is_some())
            .finish_non_exhaustive()
    }
}

/// Commands, questions and subscriptions over a network. Cheap to clone; connections are made when
/// they are needed, and end when the last clone and the last subscription are gone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cx: Context,
    config: ClientConfig,
    links: Mutex<Vec<Option<Arc<Link>>>>,
    next: AtomicUsize,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let links = self.links.get_mut().unwrap_or_else(PoisonError::into_inner);
        links.iter().flatten().for_each(|link| link.leave());
    }
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(cx: Context, mut config: ClientConfig) -> Client {
        config.connections = config.connections.max(1);
        let links = Mutex::new(vec![None; config.connections]);
        Client(Arc::new(Shared { cx, config, links, next: AtomicUsize::new(0) }))
    }

    fn links(&self) -> MutexGuard<'_, Vec<Option<Arc<Link>>>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that works as far as is known, the same for all of a session.
    fn link(&self, session: Option<&SessionName>) -> Arc<Link> {
        let Shared { cx, config, next, .. } = &*self.0;
        let at = match session {
            Some(name) => fnv(name.as_bytes()) as usize,
            None => next.fetch_add(1, Ordering::Relaxed),
        } % config.connections;
        let mut links = self.links();
        match &links[at] {
            Some(link) if !link.is_closed() => link.clone(),
            _ => links[at].insert(Link::open(*cx, config)).clone(),
        }
    }

    /// Asks, and asks again while it may help and there is time.
    async fn insist<T>(
        &self,
        session: Option<&SessionName>,
        repeat: Repeat,
        ask: impl Fn(&Arc<Link>) -> Answer<Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Shared { cx, config, .. } = &*self.0;
        let until = cx.now() + config.deadline;
        let mut tried = 0;
        let mut was_lost = false;
        loop {
            let answer = ask(&self.link(session));
            let result = match cx.timeout(until - cx.now(), answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(unknown("the connection was lost")),
                Err(_) => return Err(unknown("the deadline has come")),
            };
            let Err(failure) = result else { return result };
            let wait = self.wait(tried);
            let is_lost = failure.detail("reason") == Some(UNKNOWN_FATE);
            let is_safe = repeat != Repeat::Never || !is_lost;
            let is_over = tried == config.retries || cx.now() + wait >= until;
            if !may_pass(failure.code) || !is_safe || is_over {
                // A refusal answers one try: one that was lost may still be accepted behind it.
                let is_open = was_lost && !is_lost && repeat == Repeat::Once && !was_done(&failure);
                let is_open = is_open && !mutant!(cx, "client.lost_try_forgotten");
                sometimes!(*cx, is_open, "client: a try was refused after one that was lost");
                return Err(if is_open { open_fate(&failure) } else { failure });
            }
            was_lost |= is_lost;
            tried += 1;
            cx.sleep(wait).await;
        }
    }

    /// Between half of the time of this try and all of it, so that those who failed together do not
    /// come back together.
    fn wait(&self, tried: u32) -> Duration {
        let Shared { cx, config, .. } = &*self.0;
        let doubled = config.backoff.saturating_mul(1 << tried.min(20)).min(config.backoff_max);
        let half = u64::try_from(doubled.as_nanos()).unwrap_or(u64::MAX) / 2;
        Duration::from_nanos(half + cx.below(half + 1))
    }

    fn draw_id(&self) -> Id {
        let cx = &self.0.cx;
        format!("{:016x}{:016x}", cx.entropy(), cx.entropy()).into()
    }
}

impl Commands for Client {
    type Events = Subscription;

    async fn send(&self, mut envelope: Envelope) -> Result<Outcome, Failure> {
        let is_read_only = envelope.call.class().is_read_only;
        if envelope.id.is_none() && !is_read_only && self.0.config.retries > 0 {
            envelope.id = Some(self.draw_id());
        }
        let repeat = match (&envelope.id, &envelope.idempotency_key) {
            (None, None) if is_read_only => Repeat::Freely,
            (None, _) if !is_read_only => Repeat::Never,
            _ => Repeat::Once,
        };
        let session = envelope.session.clone();
        let ask = |link: &Arc<Link>| {
            let mut envelope = envelope.clone();
            if mutant!(self.0.cx, "client.each_try_has_an_id") && envelope.id.is_some() {
                envelope.id = Some(self.draw_id());
            }
            link.request(envelope)
        };
        self.insist(session.as_ref(), repeat, ask).await
    }

    async fn ask(&self, question: Question) -> Result<Finding, Failure> {
        // A second one finds nothing to cancel.
        let is_cancel = matches!(question, Question::Cancel(_));
        let repeat = if is_cancel { Repeat::Never } else { Repeat::Freely };
        self.insist(None, repeat, |link| link.question(question.clone())).await
    }

    async fn subscribe(&self, session: Option<SessionName>) -> Result<Subscription, Failure> {
        Subscription::open(self.clone(), session).await
    }
}

/// Whether a request may be asked again after a try that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// It might be done twice.
    Never,
    /// It happens once, by its id or key.
    Once,
    /// It changes nothing.
    Freely,
}

/// The reason of a failure that leaves open what became of the request.
const UNKNOWN_FATE: &str = "unknown_fate";

fn unknown(why: &str) -> Failure {
    let text = format!("{why}: what became of the request is not known; ask again with its id");
    Failure::new(Code::Unavailable, text).with("reason", UNKNOWN_FATE)
}

/// What is told of a command of which one try was lost and a later one refused with `refusal`.
fn open_fate(refusal: &Failure) -> Failure {
    let why = format!("a try was lost, and a later one refused ({})", refusal.message);
    unknown(&why).with("refused", refusal.code.name())
}

/// Of all refusals one says that the command was done: its answer alone fits no frame.
fn was_done(refusal: &Failure) -> bool {
    refusal.code == Code::TooLarge && refusal.detail("reason") == Some("frame")
}

fn may_pass(code: Code) -> bool {
    use Code::{Busy, NotLeader, RateLimited, ShuttingDown, Unavailable};
    matches!(code, Unavailable | Busy | RateLimited | NotLeader | ShuttingDown)
}

/// FNV-1a, 64 bits: the same session has the same connection wherever the client runs.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
