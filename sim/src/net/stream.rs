//! Connections: two ends, each with the bytes that travel towards it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use orloj_kernel::{RawStream, mutant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    NetEvent, WINDOW,
    conn::{Conn, Pipe},
};
use crate::{
    choice::Stream as Choose,
    fault::FaultClass,
    host::Crash,
    task::Wake,
    world::{Event, World, try_with, with},
};

fn reset_error() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl World {
    pub(crate) fn open_conn(&mut self, a: (u32, u16), b: (u32, u16)) -> (u32, u32) {
        let boots = [a.0, b.0].map(|host| self.hosts[host as usize].boots);
        let new = Conn { ports: [a.1, b.1], boots };
        let conns = &mut self.net.conns;
        let (conn, life) = if let Some(slot) = conns.free.pop() {
            conns.conns[slot as usize] = new;
            (slot, conns.to(slot, 0).life)
        } else {
            conns.conns.push(new);
            for _ in 0..2 {
                conns.pipes.push(Pipe::new(0, 0, 0));
            }
            (u32::try_from(conns.conns.len() - 1).expect("fewer than 2^32 connections"), 0)
        };
        *conns.to(conn, 0) = Pipe::new(life, b.0, a.0);
        *conns.to(conn, 1) = Pipe::new(life, a.0, b.0);
        (conn, life)
    }

    /// Sends a word without bytes to one end.
    fn notify(&mut self, conn: u32, side: u8, event: NetEvent) {
        let pipe = self.net.conns.to(conn, side);
        let (from, to) = (pipe.from, pipe.to);
        let at = self.now + self.travel(from, to, 0);
        let pipe = self.net.conns.to(conn, side);
        pipe.last_at = pipe.last_at.max(at);
        let at = pipe.last_at;
        self.queue.push(at, Event::Net(event));
        if self.trace.close {
            self.note_word(from, to, event);
        }
    }

    #[inline]
    pub(crate) fn arrive(&mut self, conn: u32, life: u32, len: u32, side: u8) {
        let Some(pipe) = self.net.conns.pipe(conn, life, side) else { return };
        if pipe.severed {
            return;
        }
        if !pipe.open {
            // Nobody is there to read it: a machine that is up answers with a reset.
            if self.hosts[pipe.to as usize].alive {
                self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
            }
            return;
        }
        pipe.readable += len;
        let wake = pipe.reader.take();
        self.wake(wake);
    }

    pub(crate) fn fin_arrives(&mut self, conn: u32, life: u32, side: u8) {
        let pipe = self.net.conns.pipe(conn, life, side);
        let Some(pipe) = pipe.filter(|p| !p.severed) else { return };
        pipe.fin = true;
        let wake = pipe.reader.take();
        self.wake(wake);
    }

    pub(crate) fn reset_arrives(&mut self, conn: u32, life: u32, side: u8) {
        let conns = &mut self.net.conns;
        if conns.pipe(conn, life, side).is_none_or(|p| p.severed) {
            return;
        }
        conns.reset(conn, side);
        let reader = conns.to(conn, side).reader.take();
        let writer = conns.to(conn, 1 - side).writer.take();
        self.wake(reader);
        self.wake(writer);
    }

    /// The end `side` may write again.
    pub(crate) fn room_arrives(&mut self, conn: u32, life: u32, side: u8) {
        let pipe = self.net.conns.pipe(conn, life, 1 - side);
        let Some(pipe) = pipe.filter(|p| !p.severed) else { return };
        let wake = pipe.writer.take();
        self.wake(wake);
    }

    fn read(&mut self, h: Handle, buf: &mut ReadBuf<'_>, waker: &Waker) -> Poll<io::Result<()>> {
        let Handle { conn, life, side, .. } = h;
        let Some(pipe) = self.net.conns.pipe(conn, life, side) else {
            return Poll::Ready(Err(reset_error()));
        };
        if pipe.readable == 0 {
            if pipe.reader_reset {
                return Poll::Ready(Err(reset_error()));
            }
            if (pipe.fin && pipe.unread() == 0) || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            pipe.reader.set(waker);
            return Poll::Pending;
        }
        let mut n = (pipe.readable as usize).min(buf.remaining());
        if self.net.faulty && n > 1 {
            let ppm = self.net.faults.slow_reader_ppm;
            if self.choices.chance(Choose::Network, "slow-reader", ppm) {
                self.faults.count(FaultClass::NetSlowReader);
                n = self.choices.between(Choose::Network, "slow-reader-bytes", 1, n.min(16) as u64)
                    as usize;
            }
        }
        let head = pipe.head as usize;
        buf.put_slice(&pipe.bytes[head..head + n]);
        pipe.head += n as u32;
        pipe.readable -= n as u32;
        if pipe.head as usize == pipe.bytes.len() {
            pipe.bytes.clear();
            pipe.head = 0;
        } else if pipe.head as usize > WINDOW {
            pipe.bytes.drain(..pipe.head as usize);
            pipe.head = 0;
        }
        if !matches!(pipe.writer, Wake::Nobody) {
            let side = 1 - side;
            self.notify(conn, side, NetEvent::Room { conn, life, side });
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, h: Handle, buf: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let Handle { conn, life, side, .. } = h;
        let Some(pipe) = self.net.conns.pipe(conn, life, 1 - side) else {
            return Poll::Ready(Err(reset_error()));
        };
        if pipe.writer_reset {
            return Poll::Ready(Err(reset_error()));
        }
        if pipe.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW.saturating_sub(pipe.unread());
        if room == 0 && !buf.is_empty() {
            pipe.writer.set(waker);
            return Poll::Pending;
        }
        let mut n = buf.len().min(room);
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        let (from, to) = (pipe.from, pipe.to);
        let mut pieces = 1;
        if self.net.faulty {
            match self.write_fault(h, n) {
                WriteFault::None => {}
                WriteFault::Part(part) => n = part,
                WriteFault::Pieces(k) => pieces = k,
                WriteFault::Gone => return Poll::Ready(Err(reset_error())),
            }
        }
        self.net.conns.to(conn, 1 - side).bytes.extend_from_slice(&buf[..n]);
        if self.net.faulty && mutant!(self, "runtime.pieces_arrive_reversed") && pieces > 1 {
            let bytes = &mut self.net.conns.to(conn, 1 - side).bytes;
            let first = bytes.len() - n;
            bytes[first..].rotate_left(n / pieces);
        }
        let mut sent = 0;
        // Not in the usual case: the division alone would be a tenth of what sending costs.
        for piece in 1..pieces {
            let upto = n * piece / pieces;
            self.depart(h, from, to, upto - sent);
            sent = upto;
        }
        self.depart(h, from, to, n - sent);
        if self.trace.close {
            self.note_write(h, (from, to), &buf[..n], pieces);
        }
        Poll::Ready(Ok(n))
    }

    #[cold]
    fn note_write(&mut self, h: Handle, route: (u32, u32), bytes: &[u8], pieces: usize) {
        let Handle { conn, life, side, .. } = h;
        let upto = |piece: usize| bytes.len() * piece / pieces;
        let piece = |piece: usize| {
            let len = (upto(piece + 1) - upto(piece)) as u32;
            NetEvent::Bytes { conn, life, len, side: 1 - side }
        };
        let pieces: Vec<NetEvent> = (0..pieces).map(piece).collect();
        self.note_bytes(route, bytes, &pieces);
    }

    /// Lets the next `len` bytes of what was written travel.
    #[inline]
    fn depart(&mut self, h: Handle, from: u32, to: u32, len: usize) {
        self.counts.sends(len);
        let at = self.now + self.travel(from, to, len);
        let Handle { conn, life, side, .. } = h;
        let pipe = self.net.conns.to(conn, 1 - side);
        pipe.last_at = pipe.last_at.max(at);
        let at = pipe.last_at;
        let len = len as u32;
        self.queue.push(at, Event::Net(NetEvent::Bytes { conn, life, len, side: 1 - side }));
    }

    #[cold]
    fn write_fault(&mut self, h: Handle, n: usize) -> WriteFault {
        let Handle { conn, life, side, .. } = h;
        let f = &self.net.faults;
        let (reset, half, part, pieces) =
            (f.reset_ppm, f.half_open_ppm, f.partial_write_ppm, f.partial_frame_ppm);
        if self.choices.chance(Choose::Network, "reset", reset) {
            self.faults.count(FaultClass::NetReset);
            self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
            self.net.conns.reset(conn, side);
            return WriteFault::Gone;
        }
        if self.choices.chance(Choose::Network, "half-open", half) {
            self.faults.count(FaultClass::NetHalfOpen);
            self.net.conns.both(conn).iter_mut().for_each(|p| p.severed = true);
            self.net.conns.reset(conn, side);
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

    fn shut(&mut self, h: Handle) {
        let Handle { conn, life, side, .. } = h;
        let Some(pipe) = self.net.conns.pipe(conn, life, 1 - side) else { return };
        if !pipe.shut && !pipe.writer_reset {
            pipe.shut = true;
            self.notify(conn, 1 - side, NetEvent::Fin { conn, life, side: 1 - side });
        }
    }

    /// A handle was dropped: a regular end, or a reset if bytes were left unread.
    fn close(&mut self, h: Handle) {
        let Handle { conn, life, side, .. } = h;
        let Some(pipe) = self.net.conns.pipe(conn, life, side) else { return };
        if !pipe.open {
            return;
        }
        pipe.open = false;
        if pipe.readable > 0 && !pipe.reader_reset {
            self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
        } else {
            self.shut(h);
        }
        self.net.conns.free_unused(conn);
    }

    pub(crate) fn crash_connections(&mut self, host: u32, how: Crash) {
        for conn in 0..self.net.conns.count() {
            for side in [0u8, 1] {
                let pipe = self.net.conns.to(conn, side);
                if pipe.to != host || !pipe.open {
                    continue;
                }
                pipe.open = false;
                let life = pipe.life;
                if how == Crash::Process {
                    self.notify(conn, 1 - side, NetEvent::Reset { conn, life, side: 1 - side });
                }
                self.net.conns.free_unused(conn);
            }
        }
    }

    /// Lets every connection that was silently lost end with a reset, as keep-alives would in time.
    pub(crate) fn notice_lost_connections(&mut self) {
        for conn in 0..self.net.conns.count() {
            for side in [0u8, 1] {
                let boot = self.net.conns.conns[conn as usize].boots[1 - side as usize];
                let peer_open = self.net.conns.to(conn, 1 - side).open;
                let pipe = self.net.conns.to(conn, side);
                let (open, life, severed) = (pipe.open, pipe.life, pipe.severed);
                let peer = &self.hosts[pipe.from as usize];
                let peer_gone = !peer_open && (!peer.alive || peer.boots != boot);
                if open && (severed || peer_gone) {
                    self.net.conns.both(conn).iter_mut().for_each(|p| p.severed = false);
                    self.reset_arrives(conn, life, side);
                }
            }
        }
    }

    /// Resets every connection between two hosts. Returns how many there were.
    pub(crate) fn reset_between(&mut self, a: u32, b: u32) -> usize {
        let mut count = 0;
        for conn in 0..self.net.conns.count() {
            let pipe = self.net.conns.to(conn, 0);
            let (hosts, life) = ([pipe.from, pipe.to], pipe.life);
            let open = self.net.conns.both(conn).iter().any(|p| p.open);
            if (hosts == [a, b] || hosts == [b, a]) && open {
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
            let Handle { conn, life, .. } = self.0;
            let host = w.net.conns.pipe(conn, life, side).ok_or_else(gone)?.to;
            let port = w.net.conns.conns[conn as usize].ports[side as usize];
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
