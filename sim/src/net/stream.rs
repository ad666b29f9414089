//! Connections: two ends, each with the bytes that travel towards it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use orloj_kernel::RawStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{NetEvent, WINDOW};
use crate::{
    choice::Stream as Choose,
    fault::FaultClass,
    host::Crash,
    task::Wake,
    world::{Event, World, try_with, with},
};

pub(crate) struct Conn {
    pub(crate) life: u32,
    pub(crate) ends: [End; 2],
    /// Nothing passes any more, and nobody is told.
    severed: bool,
}

pub(crate) struct End {
    pub(crate) host: u32,
    /// The boot of the host that opened it.
    boot: u32,
    port: u16,
    /// Bytes sent to this end: read ones up to `head`, then readable ones, then those on their way.
    bytes: Vec<u8>,
    head: u32,
    readable: u32,
    /// When the last thing sent to this end arrives. Nothing overtakes it.
    last_at: u64,
    reader: Wake,
    /// This end's writer, waiting for room at the other end.
    writer: Wake,
    /// The other end will send no more, and that has been heard here.
    fin: bool,
    reset: bool,
    /// Whether a handle of it exists.
    open: bool,
    /// Whether this end has said that it sends no more.
    shut: bool,
}

impl End {
    fn new(host: u32, boot: u32, port: u16) -> End {
        End {
            host,
            boot,
            port,
            bytes: Vec::new(),
            head: 0,
            readable: 0,
            last_at: 0,
            reader: Wake::Nobody,
            writer: Wake::Nobody,
            fin: false,
            reset: false,
            open: true,
            shut: false,
        }
    }

    fn unread(&self) -> usize {
        self.bytes.len() - self.head as usize
    }
}

fn reset_error() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl World {
    pub(crate) fn open_conn(&mut self, a: (u32, u16), b: (u32, u16)) -> (u32, u32) {
        let boot = |host: u32| self.hosts[host as usize].boots;
        let ends = [End::new(a.0, boot(a.0), a.1), End::new(b.0, boot(b.0), b.1)];
        if let Some(slot) = self.net.conns_free.pop() {
            let conn = &mut self.net.conns[slot as usize];
            (conn.ends, conn.severed) = (ends, false);
            return (slot, conn.life);
        }
        self.net.conns.push(Conn { life: 0, ends, severed: false });
        (u32::try_from(self.net.conns.len() - 1).expect("fewer than 2^32 connections"), 0)
    }

    fn conn(&mut self, conn: u32, life: u32) -> Option<&mut Conn> {
        self.net.conns.get_mut(conn as usize).filter(|c| c.life == life)
    }

    /// Sends a word without bytes to one end.
    fn notify(&mut self, conn: u32, side: u8, event: NetEvent) {
        let c = &self.net.conns[conn as usize];
        let (from, to) = (c.ends[1 - side as usize].host, c.ends[side as usize].host);
        let at = self.now + self.travel(from, to, 0);
        let end = &mut self.net.conns[conn as usize].ends[side as usize];
        end.last_at = end.last_at.max(at);
        let at = end.last_at;
        self.queue.push(at, Event::Net(event));
    }

    #[inline]
    pub(crate) fn arrive(&mut self, conn: u32, life: u32, len: u32, side: u8) {
        let Some(c) = self.net.conns.get_mut(conn as usize).filter(|c| c.life == life) else {
            return;
        };
        if c.severed {
            return;
        }
        let end = &mut c.ends[side as usize];
        let host = &self.hosts[end.host as usize];
        if !host.alive {
            return;
        }
        if !end.open || host.boots != end.boot {
            // Nobody is there to read it: the machine answers with a reset.
            self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
            return;
        }
        end.readable += len;
        let wake = end.reader.take();
        self.wake(wake);
    }

    pub(crate) fn fin_arrives(&mut self, conn: u32, life: u32, side: u8) {
        let Some(c) = self.conn(conn, life).filter(|c| !c.severed) else { return };
        let end = &mut c.ends[side as usize];
        end.fin = true;
        let wake = end.reader.take();
        self.wake(wake);
    }

    pub(crate) fn reset_arrives(&mut self, conn: u32, life: u32, side: u8) {
        let Some(c) = self.conn(conn, life).filter(|c| !c.severed) else { return };
        let end = &mut c.ends[side as usize];
        end.reset = true;
        let wakes = [end.reader.take(), end.writer.take()];
        wakes.into_iter().for_each(|wake| self.wake(wake));
    }

    pub(crate) fn room_arrives(&mut self, conn: u32, life: u32, side: u8) {
        let Some(c) = self.conn(conn, life).filter(|c| !c.severed) else { return };
        let wake = c.ends[side as usize].writer.take();
        self.wake(wake);
    }

    fn read(&mut self, at: Handle, buf: &mut ReadBuf<'_>, waker: &Waker) -> Poll<io::Result<()>> {
        let Handle { conn, life, side, .. } = at;
        let Some(c) = self.net.conns.get_mut(conn as usize).filter(|c| c.life == life) else {
            return Poll::Ready(Err(reset_error()));
        };
        let end = &mut c.ends[side as usize];
        if end.readable == 0 {
            if end.reset {
                return Poll::Ready(Err(reset_error()));
            }
            if (end.fin && end.unread() == 0) || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            end.reader.set(waker);
            return Poll::Pending;
        }
        let mut n = (end.readable as usize).min(buf.remaining());
        if self.net.faulty && n > 1 {
            let ppm = self.net.faults.slow_reader_ppm;
            if self.choices.chance(Choose::Network, "slow-reader", ppm) {
                self.faults.count(FaultClass::NetSlowReader);
                n = self.choices.between(Choose::Network, "slow-reader-bytes", 1, n.min(16) as u64)
                    as usize;
            }
        }
        let head = end.head as usize;
        buf.put_slice(&end.bytes[head..head + n]);
        end.head += n as u32;
        end.readable -= n as u32;
        if end.head as usize == end.bytes.len() {
            end.bytes.clear();
            end.head = 0;
        } else if end.head as usize > WINDOW {
            end.bytes.drain(..end.head as usize);
            end.head = 0;
        }
        let peer = &c.ends[1 - side as usize];
        if !matches!(peer.writer, Wake::Nobody) {
            let side = 1 - side;
            self.notify(conn, side, NetEvent::Room { conn, life, side });
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, at: Handle, buf: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let Handle { conn, life, side, .. } = at;
        let Some(c) = self.net.conns.get_mut(conn as usize).filter(|c| c.life == life) else {
            return Poll::Ready(Err(reset_error()));
        };
        let [a, b] = &mut c.ends;
        let (me, peer) = if side == 0 { (a, b) } else { (b, a) };
        if me.reset {
            return Poll::Ready(Err(reset_error()));
        }
        if me.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW.saturating_sub(peer.unread());
        if room == 0 && !buf.is_empty() {
            me.writer.set(waker);
            return Poll::Pending;
        }
        let mut n = buf.len().min(room);
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        let (from, to) = (me.host, peer.host);
        let mut pieces = 1;
        if self.net.faulty {
            match self.write_fault(at, n) {
                WriteFault::None => {}
                WriteFault::Part(part) => n = part,
                WriteFault::Pieces(k) => pieces = k,
                WriteFault::Gone => return Poll::Ready(Err(reset_error())),
            }
        }
        let peer = &mut self.net.conns[conn as usize].ends[1 - side as usize];
        peer.bytes.extend_from_slice(&buf[..n]);
        let mut sent = 0;
        for piece in 1..=pieces {
            let upto = n * piece / pieces;
            let len = (upto - sent) as u32;
            sent = upto;
            let at = self.now + self.travel(from, to, len as usize);
            let peer = &mut self.net.conns[conn as usize].ends[1 - side as usize];
            peer.last_at = peer.last_at.max(at);
            let at = peer.last_at;
            self.queue.push(at, Event::Net(NetEvent::Bytes { conn, life, len, side: 1 - side }));
        }
        Poll::Ready(Ok(n))
    }

    #[cold]
    fn write_fault(&mut self, at: Handle, n: usize) -> WriteFault {
        let Handle { conn, life, side, .. } = at;
        let f = &self.net.faults;
        let (reset, half, part, pieces) =
            (f.reset_ppm, f.half_open_ppm, f.partial_write_ppm, f.partial_frame_ppm);
        if self.choices.chance(Choose::Network, "reset", reset) {
            self.faults.count(FaultClass::NetReset);
            self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
            self.net.conns[conn as usize].ends[side as usize].reset = true;
            return WriteFault::Gone;
        }
        if self.choices.chance(Choose::Network, "half-open", half) {
            self.faults.count(FaultClass::NetHalfOpen);
            let c = &mut self.net.conns[conn as usize];
            c.severed = true;
            c.ends[side as usize].reset = true;
            return WriteFault::Gone;
        }
        if n > 1 && self.choices.chance(Choose::Network, "partial-write", part) {
            self.faults.count(FaultClass::NetPartialWrite);
            let n = self.choices.between(Choose::Network, "partial-write-bytes", 1, n as u64 - 1);
            return WriteFault::Part(n as usize);
        }
        if n > 1 && self.choices.chance(Choose::Network, "partial-frame", pieces) {
            self.faults.count(FaultClass::NetPartialFrame);
            let k = self.choices.between(Choose::Network, "pieces", 2, n.min(8) as u64);
            return WriteFault::Pieces(k as usize);
        }
        WriteFault::None
    }

    fn shut(&mut self, at: Handle) {
        let Handle { conn, life, side, .. } = at;
        let Some(c) = self.conn(conn, life) else { return };
        let end = &mut c.ends[side as usize];
        if !end.shut && !end.reset {
            end.shut = true;
            self.notify(conn, 1 - side, NetEvent::Fin { conn, life, side: 1 - side });
        }
    }

    /// A handle was dropped: a regular end, or a reset if bytes were left unread.
    fn close(&mut self, at: Handle) {
        let Handle { conn, life, side, .. } = at;
        let Some(c) = self.conn(conn, life) else { return };
        let end = &mut c.ends[side as usize];
        if !end.open {
            return;
        }
        end.open = false;
        if end.readable > 0 && !end.reset {
            self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
        } else {
            self.shut(at);
        }
        let c = &mut self.net.conns[conn as usize];
        if c.ends.iter().all(|e| !e.open) {
            self.free_conn(conn);
        }
    }

    fn free_conn(&mut self, conn: u32) {
        let c = &mut self.net.conns[conn as usize];
        c.life = c.life.wrapping_add(1);
        for end in &mut c.ends {
            end.bytes = Vec::new();
        }
        self.net.conns_free.push(conn);
    }

    pub(crate) fn crash_connections(&mut self, host: u32, how: Crash) {
        for conn in 0..self.net.conns.len() as u32 {
            let c = &mut self.net.conns[conn as usize];
            let life = c.life;
            for side in [0u8, 1] {
                let end = &mut self.net.conns[conn as usize].ends[side as usize];
                if end.host != host || !end.open {
                    continue;
                }
                end.open = false;
                if how == Crash::Process {
                    self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
                }
                if self.net.conns[conn as usize].ends.iter().all(|e| !e.open) {
                    self.free_conn(conn);
                    break;
                }
            }
        }
    }

    /// Lets every connection that was silently lost end with a reset, as keep-alives would in time.
    pub(crate) fn notice_lost_connections(&mut self) {
        for conn in 0..self.net.conns.len() as u32 {
            let c = &self.net.conns[conn as usize];
            let life = c.life;
            for side in [0u8, 1] {
                let c = &self.net.conns[conn as usize];
                let (end, peer) = (&c.ends[side as usize], &c.ends[1 - side as usize]);
                let peer_host = &self.hosts[peer.host as usize];
                let peer_gone = !peer.open && (!peer_host.alive || peer_host.boots != peer.boot);
                if end.open && (c.severed || peer_gone) {
                    self.net.conns[conn as usize].severed = false;
                    self.reset_arrives(conn, life, side);
                }
            }
        }
    }

    /// Resets every connection between two hosts. Returns how many there were.
    pub(crate) fn reset_between(&mut self, a: u32, b: u32) -> usize {
        let mut count = 0;
        for conn in 0..self.net.conns.len() as u32 {
            let c = &self.net.conns[conn as usize];
            let hosts = [c.ends[0].host, c.ends[1].host];
            if (hosts == [a, b] || hosts == [b, a]) && c.ends.iter().any(|e| e.open) {
                let life = c.life;
                self.reset_arrives(conn, life, 0);
                self.reset_arrives(conn, life, 1);
                self.faults.count(FaultClass::NetReset);
                count += 1;
            }
        }
        count
    }
}

enum WriteFault {
    None,
    Part(usize),
    Pieces(usize),
    Gone,
}

#[derive(Clone, Copy)]
struct Handle {
    world: u32,
    conn: u32,
    life: u32,
    side: u8,
}

/// One end of a connection, by number.
pub(crate) struct SimStream(Handle);

impl SimStream {
    pub(crate) fn new(world: u32, conn: u32, life: u32, side: u8) -> SimStream {
        SimStream(Handle { world, conn, life, side })
    }

    fn addr(&self, side: u8) -> io::Result<SocketAddr> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        with(|w| {
            let end = &w.conn(self.0.conn, self.0.life).ok_or_else(gone)?.ends[side as usize];
            let (host, port) = (end.host, end.port);
            Ok(w.address(host, port))
        })
    }
}

impl RawStream for SimStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addr(1 - self.0.side)
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addr(self.0.side)
    }
}

impl AsyncRead for SimStream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with(|w| w.read(self.0, buf, cx.waker()))
    }
}

impl AsyncWrite for SimStream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        with(|w| w.write(self.0, buf, cx.waker()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        with(|w| w.shut(self.0));
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        try_with(self.0.world, |w| w.close(self.0));
    }
}
