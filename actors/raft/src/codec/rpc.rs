//! What nodes ask each other for raft's sake, as the payloads of requests and answers.
//!
//! A request is `u8` what is asked, `u32` the group, and:
//!
//! | what | bytes |
//! |---|---|
//! | 1 append | vote, the entry before, the last committed, `u32` how many entries; of each `u64` |
//! | | index, `u32` length, its place in the log |
//! | 2 vote, 3 pre-vote | vote, last entry, `u8` whether the leader wishes it |
//! | 4 transfer | vote, `u64` to whom, last entry |
//!
//! Of the entries named here each is `u8` whether there is one, and its id. An answer is:
//!
//! | to | bytes |
//! |---|---|
//! | append | `u8` 0 done; 1 done up to, an entry; 2 conflict; 3 a greater vote, that vote |
//! | vote, pre-vote | vote, `u8` whether it is granted, last entry |
//! | transfer | `u8` 0 done; 1 another vote: the expected and the actual; 2 the log is behind: |
//! | | the expected last entry and the actual |

use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::{
    LogId, Source, Vote, decode_place, decode_vote, encode_place, encode_vote, put_log_id, whole,
};
use crate::{EntryError, types::Types};

pub(crate) type Append = AppendEntriesRequest<Types>;
pub(crate) type Appended = AppendEntriesResponse<Types>;
pub(crate) type Candidacy = VoteRequest<Types>;
pub(crate) type Ballot = VoteResponse<Types>;
pub(crate) type Transfer = TransferLeaderRequest<Types>;
pub(crate) type Transferred = TransferLeaderResponse<Types>;

/// The one group of replicas that there is.
const GROUP: u32 = 1;

/// What a node asks.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Append(Append),
    Vote(Candidacy),
    PreVote(Candidacy),
    Transfer(Transfer),
}

impl Request {
    /// In whose name it is asked: a candidate's, or a leader's.
    pub(crate) fn asker(&self) -> u64 {
        let vote = match self {
            Request::Append(append) => &append.vote,
            Request::Vote(candidacy) | Request::PreVote(candidacy) => &candidacy.vote,
            Request::Transfer(transfer) => transfer.from_leader(),
        };
        vote.leader_id.voted_for
    }
}

/// A part of what an append brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The entry before it.
    pub(crate) prev: Option<LogId>,
    /// The last entry when it is done.
    pub(crate) last: Option<LogId>,
    /// Whether the append is done with it.
    pub(crate) is_end: bool,
}

fn head(what: u8) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(what);
    out.put_u32_le(GROUP);
    out
}

fn put_entry(out: &mut BytesMut, id: Option<&LogId>) {
    out.put_u8(u8::from(id.is_some()));
    id.into_iter().for_each(|id| put_log_id(out, id));
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_slice(&encode_vote(vote));
}

impl Source {
    fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes[..].try_into().ok()).map(u32::from_le_bytes)
    }

    fn vote(&mut self) -> Option<Vote> {
        self.take(17).and_then(|bytes| decode_vote(&bytes).ok())
    }

    fn entry(&mut self) -> Option<Option<LogId>> {
        match self.flag()? {
            true => self.log_id().map(Some),
            false => Some(None),
        }
    }

    fn candidacy(&mut self) -> Option<Candidacy> {
        let mut candidacy = Candidacy::new(self.vote()?, self.entry()?);
        candidacy.leadership_transfer = self.flag()?;
        Some(candidacy)
    }
}

/// An append, as one or more that are to be done in order: each of `most` bytes, unless one entry
/// alone has more.
pub(crate) fn encode_append(append: &Append, most: usize) -> Vec<(Bytes, Part)> {
    let mut parts = Vec::new();
    let mut prev = append.prev_log_id;
    let mut entries = append.entries.iter().map(|entry| (entry.log_id, encode_place(entry)));
    let mut next = entries.next();
    loop {
        let mut out = head(1);
        put_vote(&mut out, &append.vote);
        put_entry(&mut out, prev.as_ref());
        put_entry(&mut out, append.leader_commit.as_ref());
        let at = out.len();
        out.put_u32_le(0);
        let (mut count, mut last) = (0_u32, prev);
        while let Some((id, place)) =
            next.take_if(|(_, place)| count == 0 || out.len() + 12 + place.len() <= most)
        {
            out.reserve(12 + place.len());
            out.put_u64_le(id.index());
            out.put_u32_le(u32::try_from(place.len()).expect("an entry has 64 MiB at most"));
            out.put_slice(&place);
            (count, last) = (count + 1, Some(id));
            next = entries.next();
        }
        out[at..at + 4].copy_from_slice(&count.to_le_bytes());
        let is_end = next.is_none();
        parts.push((out.freeze(), Part { prev, last, is_end }));
        prev = last;
        if is_end {
            return parts;
        }
    }
}

/// Asks for a vote, or whether it would be given.
pub(crate) fn encode_candidacy(candidacy: &Candidacy, is_pre: bool) -> Bytes {
    let mut out = head(if is_pre { 3 } else { 2 });
    put_vote(&mut out, &candidacy.vote);
    put_entry(&mut out, candidacy.last_log_id.as_ref());
    out.put_u8(u8::from(candidacy.leadership_transfer));
    out.freeze()
}

/// Says that somebody else is to lead.
pub(crate) fn encode_transfer(transfer: &Transfer) -> Bytes {
    let mut out = head(4);
    put_vote(&mut out, transfer.from_leader());
    out.put_u64_le(*transfer.to_node_id());
    put_entry(&mut out, transfer.last_log_id());
    out.freeze()
}

/// A request out of its bytes.
///
/// # Errors
/// [`EntryError`].
pub(crate) fn decode_request(bytes: &Bytes) -> Result<Request, EntryError> {
    let senseless = EntryError::Senseless { bytes: bytes.len() };
    let mut source = Source(bytes.clone());
    match source.u8().zip(source.u32()).ok_or(senseless)? {
        (1, GROUP) => decode_append(source, senseless).map(Request::Append),
        (2, GROUP) => whole(&source.0, Source::candidacy).map(Request::Vote),
        (3, GROUP) => whole(&source.0, Source::candidacy).map(Request::PreVote),
        (4, GROUP) => whole(&source.0, |source| {
            let (vote, to) = (source.vote()?, source.u64()?);
            Some(Request::Transfer(Transfer::new(vote, to, source.entry()?)))
        }),
        _ => Err(senseless),
    }
}

fn decode_append(mut source: Source, senseless: EntryError) -> Result<Append, EntryError> {
    let source = &mut source;
    let head = (|| Some((source.vote()?, source.entry()?, source.entry()?, source.u32()?)))();
    let (vote, prev_log_id, leader_commit, count) = head.ok_or(senseless)?;
    let mut entries = Vec::new();
    // openraft takes it for granted that they follow each other.
    let mut next = prev_log_id.map_or(Some(0), |id| id.index().checked_add(1));
    for _ in 0..count {
        let place = (|| {
            let (index, len) = (source.u64()?, source.u32()?);
            Some((index, source.take(len as usize)?))
        })();
        let (index, place) = place.filter(|(index, _)| Some(*index) == next).ok_or(senseless)?;
        entries.push(decode_place(index, &place)?);
        next = index.checked_add(1);
    }
    match source.0.is_empty() {
        true => Ok(Append { vote, prev_log_id, entries, leader_commit }),
        false => Err(senseless),
    }
}

/// The answer to an append, as bytes.
pub(crate) fn encode_appended(appended: &Appended) -> Bytes {
    let mut out = BytesMut::new();
    match appended {
        Appended::Success => out.put_u8(0),
        Appended::PartialSuccess(last) => {
            out.put_u8(1);
            put_entry(&mut out, last.as_ref());
        }
        Appended::Conflict => out.put_u8(2),
        Appended::HigherVote(vote) => {
            out.put_u8(3);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

/// The answer to an append out of its bytes.
///
/// # Errors
/// [`EntryError::Senseless`].
pub(crate) fn decode_appended(bytes: &Bytes) -> Result<Appended, EntryError> {
    whole(bytes, |source| {
        Some(match source.u8()? {
            0 => Appended::Success,
            1 => Appended::PartialSuccess(source.entry()?),
            2 => Appended::Conflict,
            3 => Appended::HigherVote(source.vote()?),
            _ => return None,
        })
    })
}

/// The answer to a candidate, as bytes.
pub(crate) fn encode_ballot(ballot: &Ballot) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, &ballot.vote);
    out.put_u8(u8::from(ballot.vote_granted));
    put_entry(&mut out, ballot.last_log_id.as_ref());
    out.freeze()
}

/// The answer to a candidate out of its bytes.
///
/// # Errors
/// [`EntryError::Senseless`].
pub(crate) fn decode_ballot(bytes: &Bytes) -> Result<Ballot, EntryError> {
    whole(bytes, |source| {
        let (vote, is_granted) = (source.vote()?, source.flag()?);
        Some(Ballot::new(vote, source.entry()?, is_granted))
    })
}

/// The answer to a leader that hands over, as bytes.
pub(crate) fn encode_transferred(transferred: &Transferred) -> Bytes {
    let mut out = BytesMut::new();
    match transferred {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            put_entry(&mut out, expected.as_ref());
            put_entry(&mut out, actual.as_ref());
        }
    }
    out.freeze()
}

/// The answer to a leader that hands over, out of its bytes.
///
/// # Errors
/// [`EntryError::Senseless`].
pub(crate) fn decode_transferred(bytes: &Bytes) -> Result<Transferred, EntryError> {
    whole(bytes, |source| {
        Some(match source.u8()? {
            0 => Ok(()),
            1 => {
                let (expected, actual) = (source.vote()?, source.vote()?);
                Err(TransferLeaderError::VoteChanged { expected, actual })
            }
            2 => {
                let (expected, actual) = (source.entry()?, source.entry()?);
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests;
