//! Datagrams: lost, doubled, overtaken and damaged on their way.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use orloj_kernel::{Datagram, HostKey, RawDatagram};
use tokio::io::ReadBuf;

use super::NetEvent;
use crate::{
    choice::Stream as Choose,
    fault::FaultClass,
    runtime::here,
    task::Wake,
    world::{Event, World, try_with, with},
};

pub(crate) struct Socket {
    host: u32,
    port: u16,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    reader: Wake,
    open: bool,
}

pub(crate) struct Packet {
    from: (u32, SocketAddr),
    to: (u32, u16),
    bytes: Vec<u8>,
}

/// Datagrams that may wait at a socket; further ones are dropped, as a machine does.
const INBOX: usize = 1_024;

/// How much later a datagram comes that is to be overtaken, in nanoseconds.
const OVERTAKEN_NS: u64 = 20_000_000;

impl World {
    fn send(&mut self, slot: u32, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let socket = &self.net.sockets[slot as usize];
        if bytes.len() > Datagram::MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "datagram too long"));
        }
        let from = (socket.host, self.address(socket.host, socket.port));
        let host = if to.ip().is_loopback() { Some(from.0) } else { self.host_at(to.ip()) };
        let Some(host) = host else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        self.counts.sends(bytes.len());
        let mut copies = 1;
        let mut later = 0;
        let mut bytes = bytes.to_vec();
        if self.net.faulty {
            let f = self.net.faults.clone();
            if self.choices.chance(Choose::Network, "datagram-loss", f.loss_ppm) {
                self.faults.count(FaultClass::DatagramLoss);
                return Ok(());
            }
            if self.choices.chance(Choose::Network, "datagram-duplicate", f.duplicate_ppm) {
                self.faults.count(FaultClass::DatagramDuplicate);
                copies = 2;
            }
            if self.choices.chance(Choose::Network, "datagram-reorder", f.reorder_ppm) {
                self.faults.count(FaultClass::DatagramReorder);
                later = self.choices.between(Choose::Network, "overtaken-by", 1, OVERTAKEN_NS);
            }
            let corrupt = !bytes.is_empty()
                && self.choices.chance(Choose::Network, "datagram-corrupt", f.corrupt_ppm);
            if corrupt {
                self.faults.count(FaultClass::DatagramCorrupt);
                let bit = self.choices.draw(Choose::Network, "corrupt-bit", bytes.len() as u64 * 8)
                    as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        for _ in 0..copies {
            let at = self.now + later + self.travel(from.0, host, bytes.len());
            let packet = Packet { from, to: (host, to.port()), bytes: bytes.clone() };
            let slot = match self.net.packets_free.pop() {
                Some(slot) => {
                    self.net.packets[slot as usize] = Some(packet);
                    slot
                }
                None => {
                    self.net.packets.push(Some(packet));
                    u32::try_from(self.net.packets.len() - 1).expect("fewer than 2^32 datagrams")
                }
            };
            let event = NetEvent::Packet { slot };
            self.queue.push(at, Event::Net(event));
            if self.trace.close {
                self.note_bytes((from.0, host), &bytes, &[event]);
            }
        }
        Ok(())
    }

    pub(crate) fn packet_route(&self, slot: u32) -> Option<(u32, u32)> {
        let packet = self.net.packets[slot as usize].as_ref()?;
        Some((packet.from.0, packet.to.0))
    }

    /// The hosts and ports between which a datagram travels.
    pub(super) fn packet_ends(&self, slot: u32) -> Option<((u32, u16), (u32, u16))> {
        let packet = self.net.packets[slot as usize].as_ref()?;
        Some(((packet.from.0, packet.from.1.port()), packet.to))
    }

    pub(super) fn packet_bytes(&self, slot: u32) -> Option<&[u8]> {
        self.net.packets[slot as usize].as_ref().map(|packet| &*packet.bytes)
    }

    pub(crate) fn take_packet(&mut self, slot: u32) -> Option<Packet> {
        self.net.packets_free.push(slot);
        self.net.packets[slot as usize].take()
    }

    pub(crate) fn packet_arrives(&mut self, slot: u32) {
        let Some(packet) = self.take_packet(slot) else { return };
        let Some(socket) = self.net.bound.get(&packet.to) else { return };
        let socket = &mut self.net.sockets[*socket as usize];
        if socket.inbox.len() < INBOX {
            socket.inbox.push_back((packet.from.1, packet.bytes));
            let wake = socket.reader.take();
            self.wake(wake);
        }
    }

    pub(crate) fn crash_datagrams(&mut self, host: u32) {
        let bound = std::mem::take(&mut self.net.bound);
        let (gone, kept) = bound.into_iter().partition(|((h, _), _)| *h == host);
        self.net.bound = kept;
        for (_, slot) in gone {
            self.net.sockets[slot as usize].open = false;
        }
    }
}

struct SimDatagram {
    world: u32,
    slot: u32,
}

pub(crate) fn bind(host: HostKey, addr: &str) -> io::Result<Datagram> {
    with(|w| {
        let id = here(w, host);
        let mut port = w.resolve_own(id, addr)?;
        if port == 0 {
            port = w.net.ephemeral(id);
        }
        if w.net.bound.contains_key(&(id, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let slot = u32::try_from(w.net.sockets.len()).expect("fewer than 2^32 sockets");
        let inbox = VecDeque::new();
        w.net.sockets.push(Socket { host: id, port, inbox, reader: Wake::Nobody, open: true });
        w.net.bound.insert((id, port), slot);
        Ok(Datagram::new(SimDatagram { world: w.id, slot }))
    })
}

impl RawDatagram for SimDatagram {
    fn poll_send(&self, _: &mut Context<'_>, to: SocketAddr, bytes: &[u8]) -> Poll<io::Result<()>> {
        Poll::Ready(with(|w| w.send(self.slot, to, bytes)))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        with(|w| {
            let socket = &mut w.net.sockets[self.slot as usize];
            let Some((from, bytes)) = socket.inbox.pop_front() else {
                socket.reader.set(cx.waker());
                return Poll::Pending;
            };
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..n]);
            Poll::Ready(Ok(from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        with(|w| {
            let socket = &w.net.sockets[self.slot as usize];
            Ok(w.address(socket.host, socket.port))
        })
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        try_with(self.world, |w| {
            let socket = &mut w.net.sockets[self.slot as usize];
            if std::mem::take(&mut socket.open) {
                let key = (socket.host, socket.port);
                socket.inbox.clear();
                w.net.bound.remove(&key);
            }
        });
    }
}
