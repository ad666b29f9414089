//! Connecting and accepting.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use orloj_kernel::{HostKey, Io, Listener, RawListener, Stream};

use super::{NetEvent, stream::SimStream};
use crate::{
    choice::Stream as Choose,
    fault::FaultClass,
    runtime::here,
    task::Wake,
    world::{Event, World, try_with, with},
};

/// A connection attempt on its way.
pub(crate) struct Dial {
    life: u32,
    from: u32,
    local: SocketAddr,
    to: (u32, u16),
    state: DialState,
    waker: Wake,
}

enum DialState {
    Pending,
    /// The other end exists and its answer is under way.
    Accepted(u32, u32),
    Connected(u32, u32),
    Failed(io::ErrorKind),
    Free,
}

/// After this long without an answer an attempt is given up, in nanoseconds.
const DIAL_TIMEOUT_NS: u64 = 20_000_000_000;

pub(crate) struct Listening {
    life: u32,
    host: u32,
    port: u16,
    waiting: VecDeque<(u32, u32, SocketAddr)>,
    waker: Wake,
    open: bool,
}

/// Connections that may wait to be accepted; further ones are refused.
const BACKLOG: usize = 1_024;

impl World {
    fn dial(&mut self, host: u32, addr: &str) -> io::Result<(u32, u32)> {
        let to = self.resolve(host, addr)?;
        let port = self.net.ephemeral(host);
        let local = self.address(host, port);
        let slot = match self.net.dials_free.pop() {
            Some(slot) => slot,
            None => {
                self.net.dials.push(Dial {
                    life: 0,
                    from: 0,
                    local,
                    to,
                    state: DialState::Free,
                    waker: Wake::Nobody,
                });
                u32::try_from(self.net.dials.len() - 1).expect("fewer than 2^32 attempts")
            }
        };
        let dial = &mut self.net.dials[slot as usize];
        (dial.from, dial.local, dial.to, dial.state) = (host, local, to, DialState::Pending);
        let life = dial.life;
        let hang_ppm = self.net.faults.connect_hang_ppm;
        if self.net.faulty && self.choices.chance(Choose::Network, "connect-hang", hang_ppm) {
            self.faults.count(FaultClass::NetConnectHang);
            let at = self.now + DIAL_TIMEOUT_NS;
            self.queue.push(at, Event::Net(NetEvent::DialTimeout { dial: slot, life }));
        } else {
            let at = self.now + self.travel(host, to.0, 0);
            self.queue.push(at, Event::Net(NetEvent::Syn { dial: slot, life }));
        }
        if self.trace.close {
            self.note_word(host, to.0, NetEvent::Syn { dial: slot, life });
        }
        Ok((slot, life))
    }

    fn dial_mut(&mut self, dial: u32, life: u32) -> Option<&mut Dial> {
        self.net.dials.get_mut(dial as usize).filter(|d| d.life == life)
    }

    pub(crate) fn dial_route(&self, dial: u32, life: u32) -> Option<(u32, u32)> {
        let dial = self.net.dials.get(dial as usize).filter(|d| d.life == life)?;
        Some((dial.from, dial.to.0))
    }

    /// The hosts and ports between which an attempt is made.
    pub(super) fn dial_ends(&self, dial: u32) -> ((u32, u16), (u32, u16)) {
        let dial = &self.net.dials[dial as usize];
        ((dial.from, dial.local.port()), dial.to)
    }

    /// Whether the other end has accepted.
    pub(super) fn is_accepted(&self, dial: u32) -> bool {
        matches!(self.net.dials[dial as usize].state, DialState::Accepted(..))
    }

    pub(crate) fn syn_arrives(&mut self, dial: u32, life: u32) {
        let Some(d) = self.dial_mut(dial, life) else { return };
        let (from, local, to) = (d.from, d.local, d.to);
        if !self.hosts[to.0 as usize].alive {
            // Nobody answers. The attempt is repeated, as TCP does, until it is given up.
            let at = self.now + DIAL_TIMEOUT_NS;
            self.queue.push(at, Event::Net(NetEvent::DialTimeout { dial, life }));
            return;
        }
        let listener = self.net.listening.get(&to).copied();
        let full = |w: &World, l: u32| w.net.listeners[l as usize].waiting.len() >= BACKLOG;
        let state = match listener {
            Some(l) if !full(self, l) => {
                let (conn, conn_life) = self.open_conn((from, local.port()), to);
                let listening = &mut self.net.listeners[l as usize];
                listening.waiting.push_back((conn, conn_life, local));
                let wake = listening.waker.take();
                self.wake(wake);
                DialState::Accepted(conn, conn_life)
            }
            _ => DialState::Failed(io::ErrorKind::ConnectionRefused),
        };
        let at = self.now + self.travel(to.0, from, 0);
        self.queue.push(at, Event::Net(NetEvent::DialDone { dial, life }));
        if let Some(d) = self.dial_mut(dial, life) {
            d.state = state;
        }
    }

    pub(crate) fn dial_done(&mut self, dial: u32, life: u32) {
        let Some(d) = self.dial_mut(dial, life) else { return };
        if let DialState::Accepted(conn, conn_life) = d.state {
            d.state = DialState::Connected(conn, conn_life);
        }
        let wake = d.waker.take();
        self.wake(wake);
    }

    pub(crate) fn dial_timeout(&mut self, dial: u32, life: u32) {
        let Some(d) = self.dial_mut(dial, life) else { return };
        if matches!(d.state, DialState::Pending) {
            d.state = DialState::Failed(io::ErrorKind::TimedOut);
            let wake = d.waker.take();
            self.wake(wake);
        }
    }

    fn poll_dial(&mut self, dial: u32, life: u32, cx: &Context<'_>) -> Poll<io::Result<SimStream>> {
        let id = self.id;
        let Some(d) = self.dial_mut(dial, life) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let done = match d.state {
            DialState::Connected(conn, conn_life) => Ok(SimStream::new(id, conn, conn_life, 0)),
            DialState::Failed(kind) => Err(kind.into()),
            _ => {
                d.waker.set(cx.waker());
                return Poll::Pending;
            }
        };
        d.state = DialState::Free;
        Poll::Ready(done)
    }

    /// Forgets an attempt. A connection that nobody took up is closed: it is handed back to be
    /// dropped.
    fn end_dial(&mut self, dial: u32, life: u32) -> Option<SimStream> {
        let id = self.id;
        let d = self.dial_mut(dial, life)?;
        let orphan = match d.state {
            DialState::Accepted(conn, conn_life) | DialState::Connected(conn, conn_life) => {
                Some(SimStream::new(id, conn, conn_life, 0))
            }
            _ => None,
        };
        d.life = d.life.wrapping_add(1);
        d.state = DialState::Free;
        d.waker = Wake::Nobody;
        self.net.dials_free.push(dial);
        orphan
    }

    pub(crate) fn crash_sockets(&mut self, host: u32) {
        let gone: Vec<u32> = self
            .net
            .listening
            .iter()
            .filter(|((h, _), _)| *h == host)
            .map(|(_, slot)| *slot)
            .collect();
        for slot in gone {
            let life = self.net.listeners[slot as usize].life;
            // Their connections were crashed already.
            for stream in self.close_listener(slot, life) {
                self.debris.push(Box::new(stream));
                self.interrupted = true;
            }
        }
        self.crash_datagrams(host);
    }

    /// Stops listening; connections that nobody accepted are handed back to be dropped.
    fn close_listener(&mut self, slot: u32, life: u32) -> Vec<SimStream> {
        let id = self.id;
        let listening = &mut self.net.listeners[slot as usize];
        if listening.life != life || !listening.open {
            return Vec::new();
        }
        listening.open = false;
        let key = (listening.host, listening.port);
        let waiting = std::mem::take(&mut listening.waiting);
        self.net.listening.remove(&key);
        waiting.into_iter().map(|(conn, life, _)| SimStream::new(id, conn, life, 1)).collect()
    }
}

struct Dialling {
    world: u32,
    dial: u32,
    life: u32,
}

impl Drop for Dialling {
    fn drop(&mut self) {
        let orphan = try_with(self.world, |w| w.end_dial(self.dial, self.life));
        drop(orphan);
    }
}

pub(crate) fn connect(host: HostKey, addr: &str) -> Io<'static, io::Result<Stream>> {
    let dialling = with(|w| {
        let id = here(w, host);
        let (dial, life) = w.dial(id, addr)?;
        Ok::<_, io::Error>(Dialling { world: w.id, dial, life })
    });
    Box::pin(async move {
        let dialling = dialling?;
        let Dialling { dial, life, .. } = dialling;
        let stream = std::future::poll_fn(|cx| with(|w| w.poll_dial(dial, life, cx))).await?;
        Ok(Stream::new(stream))
    })
}

struct SimListener {
    world: u32,
    slot: u32,
    life: u32,
}

pub(crate) fn listen(host: HostKey, addr: &str) -> io::Result<Listener> {
    with(|w| {
        let id = here(w, host);
        let mut port = w.resolve_own(id, addr)?;
        if port == 0 {
            port = w.net.ephemeral(id);
        }
        if w.net.listening.contains_key(&(id, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let slot = u32::try_from(w.net.listeners.len()).expect("fewer than 2^32 listeners");
        w.net.listeners.push(Listening {
            life: 0,
            host: id,
            port,
            waiting: VecDeque::new(),
            waker: Wake::Nobody,
            open: true,
        });
        w.net.listening.insert((id, port), slot);
        Ok(Listener::new(SimListener { world: w.id, slot, life: 0 }))
    })
}

impl RawListener for SimListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        with(|w| {
            let world = w.id;
            let listening = &mut w.net.listeners[self.slot as usize];
            if !listening.open {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            let Some((conn, life, peer)) = listening.waiting.pop_front() else {
                listening.waker.set(cx.waker());
                return Poll::Pending;
            };
            Poll::Ready(Ok((Stream::new(SimStream::new(world, conn, life, 1)), peer)))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        with(|w| {
            let listening = &w.net.listeners[self.slot as usize];
            Ok(w.address(listening.host, listening.port))
        })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let unaccepted = try_with(self.world, |w| w.close_listener(self.slot, self.life));
        drop(unaccepted);
    }
}
