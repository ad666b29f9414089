//! What the recorder of a graph is told of the network.

use super::NetEvent;
use crate::{
    graph::{Kind, Packet, Segment},
    world::World,
};

/// Of what is sent, so many bytes are shown.
const SHOWN: usize = 72;

/// Bytes in words: how many, and the beginning.
pub(super) fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { ".." } else { "" };
    format!("{} B: {}{more}", bytes.len(), head.escape_ascii())
}

impl World {
    /// The words for what is on its way.
    fn shown_event(&self, event: NetEvent) -> String {
        match event {
            NetEvent::Bytes { .. } => String::new(),
            NetEvent::Fin { .. } => "end of stream".to_owned(),
            NetEvent::Reset { .. } => "connection reset".to_owned(),
            NetEvent::Room { .. } => "room for more".to_owned(),
            NetEvent::Syn { .. } => "asks to connect".to_owned(),
            NetEvent::DialDone { .. } => "answer to connect".to_owned(),
            NetEvent::DialTimeout { .. } => "gave up connecting".to_owned(),
            NetEvent::Packet { .. } => "datagram".to_owned(),
        }
    }

    /// Something that carries no bytes leaves.
    #[cold]
    pub(super) fn note_word(&mut self, from: u32, to: u32, event: NetEvent) {
        let text = format!("to {}: {}", self.hosts[to as usize].name, self.shown_event(event));
        let kind = match event {
            NetEvent::Syn { .. } => Kind::Connect,
            _ => Kind::Send,
        };
        self.note_sent(kind, from, &text, &[event]);
    }

    /// Bytes leave, in pieces of so many bytes.
    #[cold]
    pub(super) fn note_bytes(&mut self, (from, to): (u32, u32), bytes: &[u8], pieces: &[NetEvent]) {
        let text = format!("to {}: {}", self.hosts[to as usize].name, shown(bytes));
        self.note_sent(Kind::Send, from, &text, pieces);
    }

    fn note_sent(&mut self, kind: Kind, from: u32, text: &str, arrives: &[NetEvent]) {
        let Some(sent) = self.record(kind, from, None, text, None) else { return };
        let Some(tape) = &mut self.trace.tape else { return };
        arrives.iter().for_each(|event| tape.sends(sent, *event));
    }

    /// Something arrives, or would if the link let it.
    #[cold]
    pub(crate) fn note_arrival(&mut self, event: NetEvent) {
        let route = self.route(event);
        if let Some((from, to)) = route
            && self.net.links.disturbed
            && self.net.links.blocked(from, to)
        {
            let text = format!("from {} waits for the link", self.hosts[from as usize].name);
            self.record(Kind::Held, to, None, &text, None);
            return;
        }
        let sent = self.trace.tape.as_mut().and_then(|tape| tape.sent(event));
        let Some((from, to)) = route else {
            if let (NetEvent::DialTimeout { dial, life }, text) = (event, self.shown_event(event))
                && let Some((from, _)) = self.dial_route(dial, life)
            {
                self.record(Kind::Lost, from, None, &text, sent);
            }
            return;
        };
        let bytes = self.arriving(event);
        let what = match &bytes {
            Some(bytes) => shown(bytes),
            None => self.shown_event(event),
        };
        let text = format!("from {}: {what}", self.hosts[from as usize].name);
        let is_there = self.hosts[to as usize].alive && !self.is_severed(event);
        let kind = if is_there { Kind::Deliver } else { Kind::Lost };
        let arrived = self.record(kind, to, None, &text, sent);
        if let (NetEvent::Syn { dial, life }, Some(arrived)) = (event, arrived)
            && let Some(tape) = &mut self.trace.tape
        {
            // Whatever the answer will be, this is what it rests on.
            tape.sends(arrived, NetEvent::DialDone { dial, life });
        }
        if is_there {
            self.note_packet(event, bytes.unwrap_or_default());
        }
    }

    /// Keeps what arrives as a packet, if packets are kept.
    fn note_packet(&mut self, event: NetEvent, bytes: Vec<u8>) {
        if self.trace.tape.as_ref().is_none_or(|tape| !tape.keeps_packets) {
            return;
        }
        let segment = match event {
            NetEvent::Bytes { .. } => Segment::Data,
            NetEvent::Fin { .. } => Segment::Fin,
            NetEvent::Reset { .. } => Segment::Reset,
            NetEvent::Syn { .. } => Segment::Syn,
            NetEvent::DialDone { dial, .. } if self.is_accepted(dial) => Segment::SynAck,
            NetEvent::DialDone { .. } => Segment::Reset,
            NetEvent::Packet { .. } => Segment::Datagram,
            NetEvent::Room { .. } | NetEvent::DialTimeout { .. } => return,
        };
        let Some(((from, from_port), (to, to_port))) = self.ends(event) else { return };
        let (from, to) = (self.address(from, from_port), self.address(to, to_port));
        let at = self.now;
        if let Some(tape) = &mut self.trace.tape {
            tape.packets.push(Packet { at, from, to, segment, bytes });
        }
    }

    /// The hosts and ports between which an event travels.
    fn ends(&self, event: NetEvent) -> Option<((u32, u16), (u32, u16))> {
        match event {
            NetEvent::Bytes { conn, life, side, .. }
            | NetEvent::Fin { conn, life, side }
            | NetEvent::Reset { conn, life, side }
            | NetEvent::Room { conn, life, side } => {
                let (from, to) = self.net.conns.route(conn, life, side)?;
                let ports = self.net.conns.conns[conn as usize].ports;
                Some(((from, ports[1 - side as usize]), (to, ports[side as usize])))
            }
            NetEvent::Syn { dial, .. } => Some(self.dial_ends(dial)),
            NetEvent::DialDone { dial, .. } => {
                let (from, to) = self.dial_ends(dial);
                Some((to, from))
            }
            NetEvent::DialTimeout { .. } => None,
            NetEvent::Packet { slot } => self.packet_ends(slot),
        }
    }

    /// The bytes that arrive with an event.
    fn arriving(&self, event: NetEvent) -> Option<Vec<u8>> {
        match event {
            NetEvent::Bytes { conn, life, len, side } => {
                let pipe = self.net.conns.peek(conn, life, side)?;
                let begin = pipe.head as usize + pipe.readable as usize;
                Some(pipe.bytes.get(begin..begin + len as usize)?.to_vec())
            }
            NetEvent::Packet { slot } => self.packet_bytes(slot).map(<[u8]>::to_vec),
            _ => None,
        }
    }

    fn is_severed(&self, event: NetEvent) -> bool {
        match event {
            NetEvent::Bytes { conn, life, side, .. }
            | NetEvent::Fin { conn, life, side }
            | NetEvent::Reset { conn, life, side }
            | NetEvent::Room { conn, life, side } => {
                self.net.conns.peek(conn, life, side).is_some_and(|pipe| pipe.severed)
            }
            _ => false,
        }
    }
}
