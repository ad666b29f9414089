//! Door: the answering end of links.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, Stream},
};
use orloj_kernel::{Listener, Stream as Bytestream, sometimes};
use orloj_net::peer::{
    Channel, Hello, Kind, MESSAGE_MAX, Malformed, Message, Reason, Refusal, Window,
};

use super::{
    Call, HELLO_PATIENCE, Handler, Leased, Links,
    wire::{Lost, Wire},
};

/// How long accepting rests after an error, which is a passing shortage or one bad connection.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// How long somebody who is refused may take to hear why.
const TURN_AWAY: Duration = Duration::from_millis(200);
/// How many may be connected at once, with those who have not said hello. A cluster has far fewer.
const CONNECTIONS_MAX: usize = 256;

pub(super) async fn accept(links: &Links, mut listener: Listener, handler: Handler) {
    let cx = links.context();
    let mut tasks: BTreeMap<u64, Leased> = BTreeMap::new();
    let ended = Arc::new(Mutex::new(Vec::new()));
    for number in 0_u64.. {
        let accepted = listener.accept().await;
        let gone = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
        gone.iter().for_each(|number| drop(tasks.remove(number)));
        let stream = match accepted {
            Ok((stream, _)) if tasks.len() < CONNECTIONS_MAX => stream,
            Ok(_) => continue,
            Err(e) => {
                cx.trace("link", format_args!("accept: {e}"));
                cx.sleep(AFTER_ERROR).await;
                continue;
            }
        };
        // It holds none of the lines: they end with the node.
        let (links, handler, ended) = (links.clone(), handler.clone(), ended.clone());
        let task = cx.spawn("peer", async move {
            let lost = answer(&links, stream, handler).await;
            links.context().trace("link", format_args!("a peer has gone: {lost}"));
            ended.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        });
        tasks.insert(number, Leased(task));
    }
}

async fn answer(links: &Links, stream: Bytestream, handler: Handler) -> String {
    let cx = links.context();
    let mut wire = Wire::new(cx, stream);
    let greeted = match cx.timeout(HELLO_PATIENCE, greet(links, &mut wire)).await {
        Ok(greeted) => greeted,
        Err(_) => Err(Refused::Told(not_peer("no hello"))),
    };
    let id = match greeted {
        Ok(id) => id,
        Err(Refused::Gone(lost)) => return lost.to_string(),
        Err(Refused::Told(refusal)) => {
            sometimes!(cx, true, "link: somebody is refused");
            wire.outbox.push(Message::short(Kind::Refused, 0, refusal.encode()));
            // It is refused whether it hears so or not.
            let _ = cx.timeout(TURN_AWAY, wire.close()).await;
            return refusal.to_string();
        }
    };
    let _present = Present { links, id };
    links.seen(id);
    let mut answering = Answering {
        wire,
        id,
        handler,
        windows: Default::default(),
        calls: FuturesUnordered::new(),
        owes_pong: false,
    };
    let lost = std::future::poll_fn(|task| answering.poll(task)).await;
    let is_malformed = matches!(lost, Lost::Malformed(_));
    sometimes!(cx, is_malformed, "link: a request is malformed");
    lost.to_string()
}

/// Why a peer is not let in.
enum Refused {
    Gone(Lost),
    Told(Refusal),
}

fn not_peer(text: &str) -> Refusal {
    Refusal { reason: Reason::NotPeer, text: text.to_owned() }
}

/// Whose hello it is. It counts as connected then.
async fn greet(links: &Links, wire: &mut Wire) -> Result<u64, Refused> {
    let hello = match wire.receive().await {
        Ok(Message { kind: Kind::Hello, payload, .. }) => Hello::decode(&payload),
        Ok(_) => return Err(Refused::Told(not_peer("something else than hello"))),
        Err(Lost::Malformed(malformed)) => {
            return Err(Refused::Told(not_peer(&malformed.to_string())));
        }
        Err(gone) => return Err(Refused::Gone(gone)),
    };
    let hello = hello.map_err(|e| Refused::Told(not_peer(&e.to_string())))?;
    let welcome = links.judge(&hello).map_err(Refused::Told)?;
    wire.greeted();
    wire.outbox.push(Message::short(Kind::Welcome, 0, welcome.encode()));
    Ok(hello.id)
}

/// A peer that is connected.
struct Present<'a> {
    links: &'a Links,
    id: u64,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.links.left(self.id);
    }
}

/// What a call came to, and of which request.
type Done = (Channel, u64, Result<Bytes, String>);

struct Answering {
    wire: Wire,
    id: u64,
    handler: Handler,
    windows: [Window; Channel::ALL.len()],
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    /// A pong waits to be written: one is enough, however often it is asked for.
    owes_pong: bool,
}

impl Answering {
    /// Ready when it is over.
    fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<Lost> {
        self.poll_on(task).map(|Err(lost)| lost)
    }

    fn poll_on(&mut self, task: &mut task::Context<'_>) -> Poll<Result<Infallible, Lost>> {
        self.wire.begin_poll();
        while let Poll::Ready(message) = self.wire.poll_message(task) {
            self.take(message?)?;
        }
        while let Poll::Ready(quiet) = self.wire.poll_tick(task) {
            quiet?;
        }
        while let Poll::Ready(Some((channel, tag, answer))) =
            Pin::new(&mut self.calls).poll_next(task)
        {
            let (kind, payload) = match answer {
                Ok(answer) if answer.len() <= MESSAGE_MAX => (Kind::Answer, answer),
                Ok(_) => (Kind::Failed, Bytes::from_static(b"the answer is too long")),
                Err(why) => (Kind::Failed, why.into()),
            };
            self.wire.outbox.push(Message { channel, kind, tag, payload });
        }
        loop {
            match std::task::ready!(self.wire.poll_write(task))? {
                None => return Poll::Pending,
                Some(sent) if sent.kind == Kind::Pong => self.owes_pong = false,
                // Only now, so that nobody has answers pile up here by not reading them.
                Some(sent) if sent.is_last => {
                    self.windows[usize::from(sent.channel as u8)].close(sent.tag);
                }
                Some(_) => {}
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<(), Lost> {
        let Message { channel, kind, tag, payload } = message;
        match kind {
            Kind::Ping if self.owes_pong => {}
            Kind::Ping => {
                self.owes_pong = true;
                self.wire.outbox.push(Message::short(Kind::Pong, tag, Bytes::new()));
            }
            Kind::Request => {
                self.windows[usize::from(channel as u8)].open(channel, tag, payload.len())?;
                let call = (self.handler)(Call { from: self.id, channel, payload });
                self.calls.push(Box::pin(async move { (channel, tag, call.await) }));
            }
            kind => return Err(Malformed::Kind { kind: kind as u8 }.into()),
        }
        Ok(())
    }
}
