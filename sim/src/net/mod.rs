//! The simulated network: byte streams, listeners, datagrams, and links between hosts that
//! misbehave.

mod conn;
mod datagram;
mod dial;
mod link;
mod notes;
mod stream;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::{
    choice::Stream as Choose,
    fault::FaultClass,
    host::Crash,
    world::{Event, World},
};

pub(crate) use datagram::bind;
pub(crate) use dial::{connect, listen};
pub use link::{Latency, LinkFault, NetFaults};

/// Something that reaches a host over the network. `life` tells a slot's tenants apart; `side` is
/// the end of a connection that it reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetEvent {
    Bytes { conn: u32, life: u32, len: u32, side: u8 },
    Fin { conn: u32, life: u32, side: u8 },
    Reset { conn: u32, life: u32, side: u8 },
    Room { conn: u32, life: u32, side: u8 },
    Syn { dial: u32, life: u32 },
    DialDone { dial: u32, life: u32 },
    DialTimeout { dial: u32, life: u32 },
    Packet { slot: u32 },
}

impl NetEvent {
    /// What of it goes into the trace hash.
    #[inline]
    pub(crate) fn word(self) -> u64 {
        let (kind, slot, more) = match self {
            NetEvent::Bytes { conn, len, side, .. } => (10 + u64::from(side), conn, len),
            NetEvent::Fin { conn, side, .. } => (12 + u64::from(side), conn, 0),
            NetEvent::Reset { conn, side, .. } => (14 + u64::from(side), conn, 0),
            NetEvent::Room { conn, side, .. } => (16 + u64::from(side), conn, 0),
            NetEvent::Syn { dial, .. } => (18, dial, 0),
            NetEvent::DialDone { dial, .. } => (19, dial, 0),
            NetEvent::DialTimeout { dial, .. } => (20, dial, 0),
            NetEvent::Packet { slot } => (21, slot, 0),
        };
        kind << 58 ^ u64::from(more) << 32 ^ u64::from(slot)
    }
}

/// Everything of the network.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) conns: conn::Conns,
    pub(crate) dials: Vec<dial::Dial>,
    pub(crate) dials_free: Vec<u32>,
    pub(crate) listeners: Vec<dial::Listening>,
    pub(crate) listening: BTreeMap<(u32, u16), u32>,
    pub(crate) sockets: Vec<datagram::Socket>,
    pub(crate) bound: BTreeMap<(u32, u16), u32>,
    pub(crate) packets: Vec<Option<datagram::Packet>>,
    pub(crate) packets_free: Vec<u32>,
    next_port: Vec<u16>,
    pub(crate) latency: Latency,
    pub(crate) faults: NetFaults,
    /// Whether any fault of [`NetFaults`] can strike: the one branch when none can.
    pub(crate) faulty: bool,
    pub(crate) links: link::Links,
}

/// Bytes a connection holds on their way and unread, per direction.
pub(crate) const WINDOW: usize = 64 * 1024;

/// What a hop within one host takes.
const LOOPBACK_NS: u64 = 5_000;

impl Net {
    pub(crate) fn add_host(&mut self) {
        self.next_port.push(49_152);
        self.links.add_host();
    }

    pub(crate) fn set_faults(&mut self, faults: NetFaults) {
        self.faulty = faults != NetFaults::default();
        self.faults = faults;
    }

    fn ephemeral(&mut self, host: u32) -> u16 {
        let next = &mut self.next_port[host as usize];
        loop {
            let port = *next;
            *next = if port == u16::MAX { 49_152 } else { port + 1 };
            if !self.listening.contains_key(&(host, port))
                && !self.bound.contains_key(&(host, port))
            {
                return port;
            }
        }
    }
}

impl World {
    /// How long `bytes` take from one host to another, stalls and slow links included.
    #[inline(always)]
    pub(crate) fn travel(&mut self, from: u32, to: u32, bytes: usize) -> u64 {
        if from == to {
            return LOOPBACK_NS;
        }
        let delay = match self.net.latency {
            Latency::Fixed(ns) => ns,
            latency => latency.draw(&mut self.choices),
        };
        if self.net.faulty || self.net.links.disturbed {
            return self.hinder(delay, from, to, bytes);
        }
        delay
    }

    /// What becomes of a delay where something may be wrong.
    #[cold]
    fn hinder(&mut self, mut delay: u64, from: u32, to: u32, bytes: usize) -> u64 {
        if self.net.faulty {
            if self.choices.chance(Choose::Network, "slow-tail", self.net.faults.slow_tail_ppm) {
                self.faults.count(FaultClass::NetSlowTail);
                delay = delay.saturating_mul(100);
            }
            if self.choices.chance(Choose::Network, "stall", self.net.faults.stall_ppm) {
                self.faults.count(FaultClass::NetStall);
                let mean = self.net.faults.stall_mean_ns;
                delay += self.choices.exponential(Choose::Network, "stall-length", mean);
            }
        }
        if self.net.links.disturbed {
            delay += self.net.links.extra(from, to, self.now, bytes, &mut self.faults);
        }
        delay
    }

    pub(crate) fn net_event(&mut self, event: NetEvent) {
        if self.net.links.disturbed && self.hold(event) {
            return;
        }
        match event {
            NetEvent::Bytes { conn, life, len, side } => self.arrive(conn, life, len, side),
            NetEvent::Fin { conn, life, side } => self.fin_arrives(conn, life, side),
            NetEvent::Reset { conn, life, side } => self.reset_arrives(conn, life, side),
            NetEvent::Room { conn, life, side } => self.room_arrives(conn, life, side),
            NetEvent::Syn { dial, life } => self.syn_arrives(dial, life),
            NetEvent::DialDone { dial, life } => self.dial_done(dial, life),
            NetEvent::DialTimeout { dial, life } => self.dial_timeout(dial, life),
            NetEvent::Packet { slot } => self.packet_arrives(slot),
        }
    }

    /// Keeps what would cross a blocked link until the link is healed. Datagrams are lost instead.
    fn hold(&mut self, event: NetEvent) -> bool {
        let Some((from, to)) = self.route(event) else { return false };
        if !self.net.links.blocked(from, to) {
            return false;
        }
        self.net.links.struck(from, to, &mut self.faults);
        match event {
            NetEvent::Packet { slot } => drop(self.take_packet(slot)),
            event => self.net.links.held.push((from, to, event)),
        }
        true
    }

    /// From which host to which an event travels, if it still matters to anybody.
    fn route(&self, event: NetEvent) -> Option<(u32, u32)> {
        match event {
            NetEvent::Bytes { conn, life, side, .. }
            | NetEvent::Fin { conn, life, side }
            | NetEvent::Reset { conn, life, side }
            | NetEvent::Room { conn, life, side } => self.net.conns.route(conn, life, side),
            NetEvent::Syn { dial, life } => self.dial_route(dial, life),
            NetEvent::DialDone { dial, life } => {
                self.dial_route(dial, life).map(|(from, to)| (to, from))
            }
            NetEvent::DialTimeout { .. } => None,
            NetEvent::Packet { slot } => self.packet_route(slot),
        }
    }

    /// Sends what was held for links that are open again.
    pub(crate) fn release_held(&mut self) {
        let held = std::mem::take(&mut self.net.links.held);
        for (from, to, event) in held {
            if self.net.links.blocked(from, to) {
                self.net.links.held.push((from, to, event));
            } else {
                let at = self.now + self.travel(from, to, 0);
                self.queue.push(at, Event::Net(event));
            }
        }
    }

    /// What the network sees of a host that goes down.
    pub(crate) fn net_crash(&mut self, host: u32, how: Crash) {
        self.crash_connections(host, how);
        self.crash_sockets(host);
    }

    /// The host and port of `host:port`, as seen from `from`.
    fn resolve(&self, from: u32, addr: &str) -> io::Result<(u32, u16)> {
        let bad =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("`{addr}` is not HOST:PORT"));
        let (name, port) = addr.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let host = match name.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || ip.is_unspecified() => Some(from),
            Ok(ip) => self.host_at(ip),
            Err(_) if name == "localhost" => Some(from),
            Err(_) => self.host_named(name),
        };
        let unknown =
            || io::Error::new(io::ErrorKind::NotFound, format!("no host is called `{name}`"));
        Ok((host.ok_or_else(unknown)?, port))
    }

    /// As [`World::resolve`], for an address to listen at: it must be one's own.
    fn resolve_own(&self, host: u32, addr: &str) -> io::Result<u16> {
        let foreign = || {
            let text = format!("`{addr}` belongs to another host");
            io::Error::new(io::ErrorKind::AddrNotAvailable, text)
        };
        match self.resolve(host, addr) {
            Ok((owner, port)) if owner == host => Ok(port),
            // An address of nobody is somebody else's too; a name of nobody is no address.
            Ok(_) => Err(foreign()),
            Err(_) if addr.parse::<SocketAddr>().is_ok() => Err(foreign()),
            Err(unknown) => Err(unknown),
        }
    }

    fn host_at(&self, ip: IpAddr) -> Option<u32> {
        let IpAddr::V4(ip) = ip else { return None };
        let [a, b, high, low] = ip.octets();
        let id = u32::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        (a == 10 && b == 0 && (id as usize) < self.hosts.len()).then_some(id)
    }

    fn address(&self, host: u32, port: u16) -> SocketAddr {
        let ip =
            self.hosts.get(host as usize).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |h| h.address);
        SocketAddr::new(ip, port)
    }
}
