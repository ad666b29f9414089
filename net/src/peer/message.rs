//! Messages out of frames, and into frames.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{CHUNK, Channel, Decoder, Frame, Kind, MESSAGE_MAX, Malformed, WINDOW};

/// After so many frames of other channels one that waits is next.
const PATIENCE: u32 = 8;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub channel: Channel,
    /// What it is.
    pub kind: Kind,
    /// An answer repeats its request's.
    pub tag: u64,
    /// [`MESSAGE_MAX`] bytes at most.
    pub payload: Bytes,
}

impl Message {
    /// One of those that are short and go on the first channel.
    pub fn short(kind: Kind, tag: u64, payload: Bytes) -> Message {
        Message { channel: Channel::Control, kind, tag, payload }
    }
}

/// Puts messages together. One a connection and direction.
#[derive(Debug, Default)]
pub struct Inbox {
    decoder: Decoder,
    /// Of each channel the message of which more is to come.
    begun: [Option<(Kind, u64, BytesMut)>; Channel::ALL.len()],
}

impl Inbox {
    /// See [`Decoder::set_most`].
    pub fn set_most(&mut self, most: usize) {
        self.decoder.set_most(most);
    }

    /// See [`Decoder::missing`].
    pub fn missing(&self, input: &BytesMut) -> usize {
        self.decoder.missing(input)
    }

    /// Takes frames off the front of `input` until a message is whole; `None` when more bytes are
    /// needed.
    ///
    /// # Errors
    /// [`Malformed`]; nothing that follows means anything.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Malformed> {
        while let Some(frame) = self.decoder.decode(input)? {
            if let Some(message) = self.add(frame)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn add(&mut self, frame: Frame) -> Result<Option<Message>, Malformed> {
        let Frame { channel, kind, is_last, tag, payload } = frame;
        let begun = &mut self.begun[usize::from(channel as u8)];
        let (of, its_tag, bytes) = match begun {
            // What is short may come between; it never has a second part.
            _ if !kind.is_free() => {
                return Ok(Some(Message { channel, kind, tag, payload }));
            }
            None if is_last => return Ok(Some(Message { channel, kind, tag, payload })),
            None => begun.insert((kind, tag, BytesMut::new())),
            Some(begun) => begun,
        };
        if (*of, *its_tag) != (kind, tag) {
            return Err(Malformed::Interleaved { channel });
        }
        if bytes.len() + payload.len() > MESSAGE_MAX {
            return Err(Malformed::TooLong);
        }
        bytes.extend_from_slice(&payload);
        if !is_last {
            return Ok(None);
        }
        let whole = begun.take().map(|(_, _, bytes)| bytes.freeze());
        Ok(whole.map(|payload| Message { channel, kind, tag, payload }))
    }
}

/// What a frame that was written belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its channel.
    pub channel: Channel,
    /// What its message is.
    pub kind: Kind,
    /// Its message's tag.
    pub tag: u64,
    /// Whether its message is written in whole.
    pub is_last: bool,
}

/// Messages that wait to be written, and which frame is next. One a connection and direction.
///
/// It is one of the most urgent channel; but a channel that has seen eight frames of others go
/// by is next, so that nothing starves. A message of the first channel so waits for as many
/// frames as there are other channels, at most, and for what is ahead of it there.
#[derive(Debug, Default)]
pub struct Outbox {
    queues: [VecDeque<(Message, usize)>; Channel::ALL.len()],
    /// Of each channel how many frames of others went while it waited.
    passed: [u32; Channel::ALL.len()],
}

impl Outbox {
    /// Puts it behind what waits on its channel.
    ///
    /// # Panics
    /// When it is longer than may be.
    pub fn push(&mut self, message: Message) {
        let most = if message.kind.is_free() { MESSAGE_MAX } else { CHUNK };
        assert!(message.payload.len() <= most, "{} bytes", message.payload.len());
        self.queues[usize::from(message.channel as u8)].push_back((message, 0));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Whether anything waits on a channel.
    pub fn has(&self, channel: Channel) -> bool {
        !self.queues[usize::from(channel as u8)].is_empty()
    }

    /// Appends the next frame to `out`.
    pub fn next(&mut self, out: &mut BytesMut) -> Option<Sent> {
        let waits = |at: &usize| !self.queues[*at].is_empty();
        let first = (0..self.queues.len()).find(waits)?;
        let starved =
            (first + 1..self.queues.len()).filter(waits).find(|at| self.passed[*at] >= PATIENCE);
        let chosen = starved.unwrap_or(first);
        self.passed[chosen] = 0;
        for at in (0..self.queues.len()).filter(|at| *at != chosen) {
            self.passed[at] = if self.queues[at].is_empty() { 0 } else { self.passed[at] + 1 };
        }
        let queue = &mut self.queues[chosen];
        let (message, at) = queue.front_mut()?;
        let Message { channel, kind, tag, .. } = *message;
        let end = message.payload.len().min(*at + CHUNK);
        let is_last = end == message.payload.len();
        let payload = message.payload.slice(*at..end);
        Frame { channel, kind, is_last, tag, payload }.encode(out);
        *at = end;
        if is_last {
            queue.pop_front();
        }
        Some(Sent { channel, kind, tag, is_last })
    }
}

/// The requests of one channel that wait for their answers. Both ends count: the asker so as not to
/// ask for too much, the answerer so as not to be made to hold too much.
#[derive(Debug, Default)]
pub struct Window {
    /// Their bytes, by tag.
    open: BTreeMap<u64, usize>,
    bytes: usize,
}

impl Window {
    /// Whether one more of so many bytes may be under way.
    pub fn has_room(&self, channel: Channel, bytes: usize) -> bool {
        self.open.is_empty() || self.open.len() < channel.credits() && self.bytes + bytes <= WINDOW
    }

    /// One more is under way.
    ///
    /// # Errors
    /// [`Malformed::Window`] when there is no room, [`Malformed::Tag`] when it is there already.
    pub fn open(&mut self, channel: Channel, tag: u64, bytes: usize) -> Result<(), Malformed> {
        if !self.has_room(channel, bytes) {
            return Err(Malformed::Window { channel });
        }
        if self.open.insert(tag, bytes).is_some() {
            return Err(Malformed::Tag { tag });
        }
        self.bytes += bytes;
        Ok(())
    }

    /// It is answered. Whether it was under way.
    pub fn close(&mut self, tag: u64) -> bool {
        let bytes = self.open.remove(&tag);
        self.bytes -= bytes.unwrap_or(0);
        bytes.is_some()
    }
}
