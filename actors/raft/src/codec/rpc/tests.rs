use openraft::EntryPayload;

use super::*;
use crate::{Entry, Kind, codec::LogEntry};

fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

fn entries(indexes: std::ops::Range<u64>, bytes: usize) -> Vec<LogEntry> {
    let payload = |index| match index % 3 {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Entry::bare(Kind::Epoch)),
        _ => EntryPayload::Normal(Entry::data(index, vec![7; bytes].into())),
    };
    indexes.map(|index| LogEntry { log_id: id(3, index), payload: payload(index) }).collect()
}

fn append(prev: Option<LogId>, entries: Vec<LogEntry>) -> Append {
    Append {
        vote: Vote::new_committed(4, 2),
        prev_log_id: prev,
        entries,
        leader_commit: Some(id(3, 9)),
    }
}

/// The one message that a short append is.
fn alone(append: &Append) -> Bytes {
    let mut parts = encode_append(append, usize::MAX);
    assert_eq!(parts.len(), 1);
    parts.remove(0).0
}

fn requests() -> Vec<Bytes> {
    let mut candidacy = Candidacy::new(Vote::new(5, 3), Some(id(4, 8)));
    candidacy.leadership_transfer = true;
    vec![
        alone(&append(None, entries(0..5, 10))),
        alone(&append(Some(id(2, 9)), Vec::new())),
        encode_candidacy(&candidacy, false),
        encode_candidacy(&Candidacy::new(Vote::new(5, 3), None), true),
        encode_transfer(&Transfer::new(Vote::new_committed(4, 2), 3, Some(id(4, 8)))),
    ]
}

#[test]
fn the_bytes_are_these_for_ever() {
    let vote = b"\x05\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0";
    let last = b"\x01\x04\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0";
    let candidacy = [&b"\x02\x01\0\0\0"[..], vote, last, b"\x01"].concat();
    assert_eq!(&requests()[2][..], candidacy);
    let pre = [&b"\x03\x01\0\0\0"[..], vote, b"\0\0"].concat();
    assert_eq!(&requests()[3][..], pre);
    let leader = b"\x04\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01";
    let transfer = [&b"\x04\x01\0\0\0"[..], leader, b"\x03\0\0\0\0\0\0\0", last].concat();
    assert_eq!(&requests()[4][..], transfer);
    let blank = append(Some(id(3, 8)), entries(9..10, 0));
    let golden = [
        &b"\x01\x01\0\0\0"[..],
        leader,
        b"\x01\x03\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0",
        b"\x01\x03\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0",
        b"\x01\0\0\0\x09\0\0\0\0\0\0\0\x0a\0\0\0\x01\0\x03\0\0\0\0\0\0\0",
    ];
    assert_eq!(&alone(&blank)[..], golden.concat());
    assert_eq!(&encode_appended(&Appended::Success)[..], b"\0");
    let ballot = Ballot::new(Vote::new(5, 3), Some(id(4, 8)), true);
    assert_eq!(&encode_ballot(&ballot)[..], [&vote[..], b"\x01", last].concat());
}

#[test]
fn what_was_asked_is_heard() {
    let heard = |bytes: &Bytes| decode_request(bytes).unwrap();
    for asked in [append(None, entries(0..5, 10)), append(Some(id(2, 9)), Vec::new())] {
        let Request::Append(heard) = heard(&alone(&asked)) else { panic!("an append") };
        assert_eq!((heard.vote, heard.prev_log_id), (asked.vote, asked.prev_log_id));
        assert_eq!((heard.entries, heard.leader_commit), (asked.entries, asked.leader_commit));
    }
    let requests = requests();
    let Request::Vote(vote) = heard(&requests[2]) else { panic!("a vote") };
    assert!(vote.leadership_transfer && vote.last_log_id == Some(id(4, 8)));
    assert!(matches!(heard(&requests[3]), Request::PreVote(vote) if vote.vote == Vote::new(5, 3)));
    let Request::Transfer(transfer) = heard(&requests[4]) else { panic!("a transfer") };
    assert_eq!((*transfer.to_node_id(), transfer.last_log_id()), (3, Some(&id(4, 8))));
    let askers: Vec<u64> = requests.iter().map(|bytes| heard(bytes).asker()).collect();
    assert_eq!(askers, [2, 2, 3, 3, 2]);
}

#[test]
fn what_was_answered_is_heard() {
    let vote = Vote::new_committed(7, 1);
    for appended in [
        Appended::Success,
        Appended::PartialSuccess(None),
        Appended::PartialSuccess(Some(id(1, 2))),
        Appended::Conflict,
        Appended::HigherVote(vote),
    ] {
        let bytes = encode_appended(&appended);
        assert_eq!(decode_appended(&bytes), Ok(appended));
        (0..bytes.len()).for_each(|len| assert!(decode_appended(&bytes.slice(..len)).is_err()));
    }
    for ballot in [Ballot::new(vote, None, false), Ballot::new(vote, Some(id(2, 3)), true)] {
        let bytes = encode_ballot(&ballot);
        assert_eq!(decode_ballot(&bytes), Ok(ballot));
        (0..bytes.len()).for_each(|len| assert!(decode_ballot(&bytes.slice(..len)).is_err()));
    }
    for transferred in [
        Ok(()),
        Err(TransferLeaderError::VoteChanged { expected: vote, actual: Vote::new(8, 2) }),
        Err(TransferLeaderError::LogNotFlushed { expected: Some(id(1, 1)), actual: None }),
    ] {
        let bytes = encode_transferred(&transferred);
        assert_eq!(decode_transferred(&bytes), Ok(transferred));
    }
}

#[test]
fn what_is_cut_or_longer_or_of_another_group_is_refused() {
    for bytes in requests() {
        for len in 0..bytes.len() {
            assert!(decode_request(&bytes.slice(..len)).is_err(), "cut to {len}");
        }
        assert!(decode_request(&[&bytes[..], b"x"].concat().into()).is_err());
        let mut other = bytes.to_vec();
        other[1] = 2;
        assert!(decode_request(&other.into()).is_err());
    }
    // Entries that do not follow each other.
    let gap = append(Some(id(2, 1)), entries(3..5, 1));
    assert!(decode_request(&alone(&gap)).is_err());
    let last = append(Some(id(2, u64::MAX)), Vec::new());
    assert!(decode_request(&alone(&last)).is_ok());
}

#[test]
fn a_long_append_goes_in_parts_that_follow_each_other() {
    let whole = append(Some(id(3, 4)), entries(5..40, 1_000));
    let parts = encode_append(&whole, 4_000);
    assert!(parts.len() > 3);
    let (mut prev, mut all) = (whole.prev_log_id, Vec::new());
    for (at, (bytes, part)) in parts.iter().enumerate() {
        assert!(bytes.len() <= 4_000);
        let Ok(Request::Append(append)) = decode_request(bytes) else { panic!("an append") };
        assert_eq!((append.prev_log_id, part.prev), (prev, prev));
        assert_eq!((append.vote, append.leader_commit), (whole.vote, whole.leader_commit));
        all.extend(append.entries);
        prev = all.last().map(|entry: &LogEntry| entry.log_id);
        assert_eq!((part.last, part.is_end), (prev, at + 1 == parts.len()));
    }
    assert_eq!(all, whole.entries);
    // One entry alone goes, however long it is.
    let one = append(None, entries(0..3, 10_000));
    let lengths: Vec<usize> = encode_append(&one, 200).iter().map(|(it, _)| it.len()).collect();
    assert!(lengths.len() == 2 && lengths[0] < 200 && lengths[1] > 10_000, "{lengths:?}");
}
