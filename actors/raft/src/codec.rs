//! What openraft has a node keep and send, as bytes. All numbers are little-endian.
//!
//! | what | bytes |
//! |---|---|
//! | log id | `u64` term, `u64` index |
//! | vote | `u64` term, `u64` node, `u8` whether a quorum has granted it |
//! | group of voters | `u8` how many, a `u64` for each |
//! | membership | `u8` groups, these; `u16` nodes, of each `u64` id, name, address |
//! | stored membership | `u8` whether it has a log id, the log id, the membership |
//! | place in the log | `u8` version, `u8` kind, `u64` term, the payload |
//!
//! A string is a `u16` length and UTF-8. What is left over behind any of them makes it senseless.

pub(crate) mod rpc;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use openraft::{
    EntryPayload, Membership, StoredMembership, type_config::alias::LogIdOf,
    vote::leader_id_std::CommittedLeaderId,
};

use crate::{Entry, EntryError, Peer, types::Types};

/// The id of an entry.
pub(crate) type LogId = LogIdOf<Types>;
/// A vote.
pub(crate) type Vote = <Types as openraft::RaftTypeConfig>::Vote;
/// An entry as openraft has it.
pub(crate) type LogEntry = <Types as openraft::RaftTypeConfig>::Entry;
/// Who belongs to the cluster.
pub(crate) type Members = Membership<u64, Peer>;
/// The same, and since when.
pub(crate) type StoredMembers = StoredMembership<CommittedLeaderId<u64>, u64, Peer>;

/// The form that is written.
const VERSION: u8 = 1;

struct Source(Bytes);

impl Source {
    fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes[..].try_into().ok()).map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        let len = self.u16()?;
        let bytes = self.take(usize::from(len))?;
        std::str::from_utf8(&bytes).ok().map(str::to_owned)
    }

    fn log_id(&mut self) -> Option<LogId> {
        let (term, index) = (self.u64()?, self.u64()?);
        Some(LogId::new_term_index(term, index))
    }

    fn members(&mut self) -> Option<Members> {
        let groups = self.u8()?;
        let mut configs = Vec::new();
        for _ in 0..groups {
            let voters = self.u8()?;
            let ids: Option<BTreeSet<u64>> = (0..voters).map(|_| self.u64()).collect();
            configs.push(ids.filter(|ids| ids.len() == usize::from(voters))?);
        }
        let count = self.u16()?;
        let mut nodes = BTreeMap::new();
        for _ in 0..count {
            let id = self.u64()?;
            let peer = Peer { name: self.string()?, address: self.string()? };
            if nodes.insert(id, peer).is_some() {
                return None;
            }
        }
        Members::new(configs, nodes).ok()
    }
}

/// All of `bytes` as what `read` makes of it.
fn whole<T>(bytes: &Bytes, read: impl FnOnce(&mut Source) -> Option<T>) -> Result<T, EntryError> {
    let mut source = Source(bytes.clone());
    let made = read(&mut source).filter(|_| source.0.is_empty());
    made.ok_or(EntryError::Senseless { bytes: bytes.len() })
}

fn put_string(out: &mut BytesMut, string: &str) {
    let len = u16::try_from(string.len()).expect("names and addresses are short");
    out.put_u16_le(len);
    out.put_slice(string.as_bytes());
}

fn put_log_id(out: &mut BytesMut, id: &LogId) {
    out.put_u64_le(id.committed_leader_id().term);
    out.put_u64_le(id.index());
}

fn put_members(out: &mut BytesMut, members: &Members) {
    let few = |count: usize| u8::try_from(count).expect("a cluster is small");
    let groups = members.get_joint_config();
    out.put_u8(few(groups.len()));
    for voters in groups {
        out.put_u8(few(voters.len()));
        voters.iter().for_each(|id| out.put_u64_le(*id));
    }
    out.put_u16_le(u16::try_from(members.nodes().count()).expect("a cluster is small"));
    for (id, peer) in members.nodes() {
        out.put_u64_le(*id);
        put_string(out, &peer.name);
        put_string(out, &peer.address);
    }
}

/// A vote, as bytes.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
    out.freeze()
}

/// A vote out of its bytes.
///
/// # Errors
/// [`EntryError::Senseless`].
pub(crate) fn decode_vote(bytes: &Bytes) -> Result<Vote, EntryError> {
    whole(bytes, |source| {
        let (term, node) = (source.u64()?, source.u64()?);
        Some(match source.flag()? {
            true => Vote::new_committed(term, node),
            false => Vote::new(term, node),
        })
    })
}

/// A log id, as bytes.
pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    put_log_id(&mut out, id);
    out.freeze()
}

/// A log id out of its bytes.
///
/// # Errors
/// [`EntryError::Senseless`].
pub(crate) fn decode_log_id(bytes: &Bytes) -> Result<LogId, EntryError> {
    whole(bytes, Source::log_id)
}

/// Who belongs to the cluster since when, as bytes.
pub(crate) fn encode_stored(stored: &StoredMembers) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(u8::from(stored.log_id().is_some()));
    stored.log_id().iter().for_each(|id| put_log_id(&mut out, id));
    put_members(&mut out, stored.membership());
    out.freeze()
}

/// Who belongs to the cluster since when, out of its bytes.
///
/// # Errors
/// [`EntryError::Senseless`].
pub(crate) fn decode_stored(bytes: &Bytes) -> Result<StoredMembers, EntryError> {
    whole(bytes, |source| {
        let id = match source.flag()? {
            true => Some(source.log_id()?),
            false => None,
        };
        Some(StoredMembers::new(id, source.members()?))
    })
}

/// What lies in the log at an entry's index.
pub(crate) fn encode_place(entry: &LogEntry) -> Bytes {
    let mut out = BytesMut::new();
    let head = |out: &mut BytesMut, kind: u8| {
        out.put_u8(VERSION);
        out.put_u8(kind);
        out.put_u64_le(entry.log_id.committed_leader_id().term);
    };
    match &entry.payload {
        EntryPayload::Blank => head(&mut out, 0),
        EntryPayload::Normal(ours) => {
            head(&mut out, 1);
            out.put_slice(&ours.encode());
        }
        EntryPayload::Membership(members) => {
            head(&mut out, 2);
            put_members(&mut out, members);
        }
    }
    out.freeze()
}

/// The entry at `index`, out of what lies there.
///
/// # Errors
/// [`EntryError`].
pub(crate) fn decode_place(index: u64, bytes: &Bytes) -> Result<LogEntry, EntryError> {
    let senseless = EntryError::Senseless { bytes: bytes.len() };
    let mut source = Source(bytes.clone());
    let head = source.u8().zip(source.u8()).zip(source.u64());
    let ((version, kind), term) = head.ok_or(senseless)?;
    let payload = match (version, kind) {
        (VERSION, 0) if source.0.is_empty() => EntryPayload::Blank,
        (VERSION, 1) => EntryPayload::Normal(Entry::decode(&source.0)?),
        (VERSION, 2) => EntryPayload::Membership(whole(&source.0, Source::members)?),
        (VERSION | 0, _) => return Err(senseless),
        (version, _) => return Err(EntryError::Newer { version }),
    };
    Ok(LogEntry { log_id: LogId::new_term_index(term, index), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn members(groups: &[&[u64]]) -> Members {
        let configs = groups.iter().map(|ids| ids.iter().copied().collect()).collect();
        let ids: BTreeSet<u64> = groups.iter().copied().flatten().copied().collect();
        let peer = |id| Peer { name: format!("n{id}"), address: format!("h{id}:1") };
        let nodes: BTreeMap<u64, Peer> = ids.into_iter().map(|id| (id, peer(id))).collect();
        Members::new(configs, nodes).unwrap()
    }

    fn entries() -> Vec<LogEntry> {
        let of = |index, payload| LogEntry { log_id: LogId::new_term_index(3, index), payload };
        vec![
            of(0, EntryPayload::Membership(members(&[&[1, 2, 3]]))),
            of(1, EntryPayload::Membership(members(&[&[1, 2, 3], &[2, 3, 4]]))),
            of(2, EntryPayload::Blank),
            of(3, EntryPayload::Normal(Entry::bare(Kind::Epoch))),
            of(4, EntryPayload::Normal(Entry::data(9, Bytes::from_static(b"effects")))),
        ]
    }

    #[test]
    fn the_bytes_are_these_for_ever() {
        let vote = Vote::new_committed(5, 2);
        assert_eq!(&encode_vote(&vote)[..], b"\x05\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
        let id = LogId::new_term_index(3, 258);
        assert_eq!(&encode_log_id(&id)[..], b"\x03\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0");
        let stored = StoredMembers::new(None, members(&[&[1]]));
        let bytes = b"\0\x01\x01\x01\0\0\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0\0\x02\0n1\x04\0h1:1";
        assert_eq!(&encode_stored(&stored)[..], bytes);
        let epoch = &entries()[3];
        let bytes = b"\x01\x01\x03\0\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\0";
        assert_eq!(&encode_place(epoch)[..], bytes);
    }

    #[test]
    fn what_was_written_is_read() {
        for vote in [Vote::new(1, 2), Vote::new_committed(u64::MAX, 7)] {
            assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote));
        }
        let id = LogId::new_term_index(8, u64::MAX);
        assert_eq!(decode_log_id(&encode_log_id(&id)), Ok(id));
        for at in [None, Some(id)] {
            let stored = StoredMembers::new(at, members(&[&[1, 2, 3], &[3]]));
            assert_eq!(decode_stored(&encode_stored(&stored)), Ok(stored));
        }
        for entry in entries() {
            let index = entry.log_id.index();
            assert_eq!(decode_place(index, &encode_place(&entry)), Ok(entry));
        }
    }

    #[test]
    fn what_is_cut_or_longer_is_refused() {
        for entry in entries() {
            let bytes = encode_place(&entry);
            let is_open =
                matches!(&entry.payload, EntryPayload::Normal(ours) if !ours.record.is_empty());
            for len in 0..bytes.len() {
                let cut = decode_place(0, &bytes.slice(..len));
                // A record has no length of its own: pages and frames are checked as a whole.
                assert!(cut.is_err() || is_open && len > 20, "{entry:?} cut to {len}");
            }
            let longer = [&bytes[..], b"x"].concat();
            assert_eq!(decode_place(0, &longer.into()).is_err(), !is_open);
        }
        let newer = decode_place(0, &Bytes::from_static(b"\x02\0\0\0\0\0\0\0\0\0"));
        assert_eq!(newer, Err(EntryError::Newer { version: 2 }));
    }
}
