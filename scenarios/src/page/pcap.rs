//! The network traffic of a run as a capture, for Wireshark and its kin.
//!
//! The format is pcapng (draft-ietf-opsawg-pcapng). The simulated network moves bytes and not
//! frames, so Ethernet, IPv4, TCP and UDP headers are made up around what arrived: a stream's
//! packets are in order, numbered and checksummed as TCP's would be, and acknowledge what had
//! arrived the other way. What never arrived is not there.

use std::{collections::BTreeMap, net::SocketAddr};

use orloj_sim::graph::{Packet, Segment};

/// 2026-01-01 00:00:00 UTC in nanoseconds: when every simulation begins.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;
/// Bytes of a stream in one packet: an IPv4 packet holds 65,535 with its headers.
const CHUNK: usize = 32 << 10;
/// The first sequence number of every direction.
const FIRST: u32 = 1_000;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;

/// The capture file.
pub fn render(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    // Section header: byte order, version 1.0, length unknown.
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend([0xff; 8]);
    block(&mut out, 0x0a0d_0d0a, &section);
    // Interface: Ethernet, no limit; option 9 (resolution): 10^-9 s; end of options.
    block(&mut out, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    let mut streams = Streams::default();
    for packet in packets {
        for frame in streams.frames(packet) {
            let at = EPOCH_NS + packet.at;
            let len = frame.len() as u32;
            let mut body = 0u32.to_le_bytes().to_vec();
            body.extend(((at >> 32) as u32).to_le_bytes());
            body.extend((at as u32).to_le_bytes());
            body.extend(len.to_le_bytes());
            body.extend(len.to_le_bytes());
            body.extend(&frame);
            body.resize(body.len().next_multiple_of(4), 0);
            block(&mut out, 6, &body);
        }
    }
    out
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = (body.len() as u32 + 12).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(len);
    out.extend(body);
    out.extend(len);
}

/// The next sequence number of each direction of each connection.
#[derive(Default)]
struct Streams(BTreeMap<(SocketAddr, SocketAddr), u32>);

impl Streams {
    fn frames(&mut self, packet: &Packet) -> Vec<Vec<u8>> {
        let (from, to) = (packet.from, packet.to);
        match packet.segment {
            Segment::Datagram => vec![udp(packet)],
            Segment::Syn => {
                self.0.insert((from, to), FIRST);
                self.0.remove(&(to, from));
                vec![self.tcp(from, to, SYN, &[])]
            }
            Segment::SynAck => vec![self.tcp(from, to, SYN | ACK, &[])],
            Segment::Reset => vec![self.tcp(from, to, RST | ACK, &[])],
            Segment::Fin => vec![self.tcp(from, to, FIN | ACK, &[])],
            Segment::Data => {
                let chunks = packet.bytes.chunks(CHUNK);
                chunks.map(|bytes| self.tcp(from, to, PSH | ACK, bytes)).collect()
            }
        }
    }

    fn tcp(&mut self, from: SocketAddr, to: SocketAddr, flags: u8, bytes: &[u8]) -> Vec<u8> {
        let acknowledged = self.0.get(&(to, from)).copied().unwrap_or(0);
        let next = self.0.entry((from, to)).or_insert(FIRST);
        let number = *next;
        *next = next.wrapping_add(bytes.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
        let mut segment = Vec::with_capacity(20 + bytes.len());
        segment.extend(from.port().to_be_bytes());
        segment.extend(to.port().to_be_bytes());
        segment.extend(number.to_be_bytes());
        let ack = if flags & ACK != 0 { acknowledged } else { 0 };
        segment.extend(ack.to_be_bytes());
        segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(bytes);
        let sum = checksum(&[&pseudo(from, to, 6, segment.len()), &segment]);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        ethernet(from, to, 6, &segment)
    }
}

fn udp(packet: &Packet) -> Vec<u8> {
    let mut segment = Vec::with_capacity(8 + packet.bytes.len());
    segment.extend(packet.from.port().to_be_bytes());
    segment.extend(packet.to.port().to_be_bytes());
    segment.extend((8 + packet.bytes.len() as u16).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(&packet.bytes);
    let sum = checksum(&[&pseudo(packet.from, packet.to, 17, segment.len()), &segment]);
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    ethernet(packet.from, packet.to, 17, &segment)
}

fn octets(address: SocketAddr) -> [u8; 4] {
    match address {
        SocketAddr::V4(v4) => v4.ip().octets(),
        SocketAddr::V6(_) => [0; 4],
    }
}

/// What of the addresses goes into a checksum (RFC 9293, section 3.1).
fn pseudo(from: SocketAddr, to: SocketAddr, protocol: u8, len: usize) -> Vec<u8> {
    let [high, low] = (len as u16).to_be_bytes();
    [&octets(from)[..], &octets(to)[..], &[0, protocol, high, low]].concat()
}

/// The Internet checksum (RFC 1071) of parts, of which all but the last have even lengths.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

fn ethernet(from: SocketAddr, to: SocketAddr, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(34 + segment.len());
    // Locally administered addresses that end in those of the network layer.
    frame.extend([2, 0]);
    frame.extend(octets(to));
    frame.extend([2, 0]);
    frame.extend(octets(from));
    frame.extend([8, 0]);
    let total = (20 + segment.len() as u16).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    header.extend(octets(from));
    header.extend(octets(to));
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend(segment);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_numbered_and_every_sum_is_right() {
        let a: SocketAddr = "10.0.0.1:50000".parse().unwrap();
        let b: SocketAddr = "10.0.0.2:6379".parse().unwrap();
        let packet = |from, to, segment, bytes: &[u8]| Packet {
            at: 7,
            from,
            to,
            segment,
            bytes: bytes.to_vec(),
        };
        let mut streams = Streams::default();
        let mut frames = Vec::new();
        for p in [
            packet(a, b, Segment::Syn, b""),
            packet(b, a, Segment::SynAck, b""),
            packet(a, b, Segment::Data, b"odd"),
            packet(b, a, Segment::Data, &vec![1; CHUNK + 1]),
            packet(a, b, Segment::Fin, b""),
        ] {
            frames.extend(streams.frames(&p));
        }
        let number =
            |frame: &[u8], at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        let numbers: Vec<(u32, u32)> =
            frames.iter().map(|f| (number(f, 38), number(f, 42))).collect();
        let chunk = FIRST + 1 + CHUNK as u32;
        let want =
            [(1000, 0), (1000, 1001), (1001, 1001), (1001, 1004), (chunk, 1004), (1004, chunk + 1)];
        assert_eq!(numbers, want);
        for frame in frames {
            // A sum over what holds its own complement is zero.
            assert_eq!(checksum(&[&frame[14..34]]), 0);
            let segment = &frame[34..];
            let (from, to) = (&frame[26..30], &frame[30..34]);
            let len = (segment.len() as u16).to_be_bytes();
            let pseudo = [from, to, &[0, 6, len[0], len[1]]].concat();
            assert_eq!(checksum(&[&pseudo, segment]), 0);
        }
    }
}
