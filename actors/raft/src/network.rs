//! Network: raft's requests over links.
//!
//! openraft leaves a transport to keep its times itself, to answer a stream's requests in order,
//! and to take a request before it fails one: the pause between two attempts is in there.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, future::BoxFuture, stream::BoxStream};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption, RPCTypes},
    raft::{SnapshotResponse, StreamAppendResult},
    type_config::alias::SnapshotOf,
};
use orloj_kernel::{Answer, Context, Sleep, mutant};
use orloj_net::peer::Channel;

use crate::{
    EntryError, Peer,
    codec::{
        Vote,
        rpc::{
            Append, Appended, Ballot, Candidacy, Part, Transfer, Transferred, decode_appended,
            decode_ballot, decode_transferred, encode_append, encode_candidacy, encode_transfer,
        },
    },
    link::{AskError, Line, Links},
    machine::Image,
    types::Types,
};

/// Bytes of entries in one message, unless one entry alone has more.
const PART: usize = 1 << 20;
/// Messages of one stream that wait for their answers.
const PIPELINE: usize = 16;
/// Between two attempts to reach a peer that is away.
const BACKOFF: Duration = Duration::from_millis(100);

type Fault = RPCError<Types>;
type Waiting = Answer<Result<Bytes, AskError>>;

/// Makes clients for openraft.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    links: Links,
}

impl Network {
    pub(crate) fn new(links: Links) -> Network {
        Network { links }
    }

    fn client(&self, target: u64, peer: &Peer, appends: Channel) -> Client {
        let line = self.links.line(target, peer);
        Client { links: self.links.clone(), line, appends }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Client {
        self.client(target, peer, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Client {
        self.client(target, peer, Channel::Control)
    }
}

/// Asks one peer.
#[derive(Debug)]
pub(crate) struct Client {
    links: Links,
    line: Arc<Line>,
    /// Where appends go: entries have a channel, signs of life another.
    appends: Channel,
}

impl Client {
    fn cx(&self) -> Context {
        self.links.context()
    }

    fn late(&self, action: RPCTypes, option: &RPCOption) -> Fault {
        let (id, target) = (self.links.id(), self.line.id());
        RPCError::Timeout(Timeout { action, id, target, timeout: option.soft_ttl() })
    }

    /// Asks what is short.
    async fn ask<T>(
        &self,
        action: RPCTypes,
        request: Bytes,
        option: &RPCOption,
        decode: fn(&Bytes) -> Result<T, EntryError>,
    ) -> Result<T, Fault> {
        let answer = self.line.ask(Channel::Control, request);
        match self.cx().timeout(option.soft_ttl(), answer).await {
            Err(_) => Err(self.late(action, option)),
            Ok(answered) => read(answered, decode),
        }
    }

    /// A peer that gives its vote has it on its disk.
    fn note(&self, ballot: &Ballot, asked: &Vote) {
        if ballot.is_granted_to(asked) && ballot.vote_granted {
            self.links.promised(self.line.id(), asked.leader_id.term);
        }
    }

    fn stream<S>(&self, input: S, option: RPCOption) -> Pipeline<'_, S> {
        Pipeline {
            client: self,
            idle: self.cx().sleep(option.soft_ttl()),
            option,
            input: Some(input),
            waiting: VecDeque::new(),
            unsent: VecDeque::new(),
            moved: 0,
            is_over: false,
        }
    }
}

fn unreachable(why: impl ToString) -> Fault {
    RPCError::Unreachable(Unreachable::from_string(why))
}

/// What an answer says. Any fault is one after which openraft pauses: those that it repeats at once
/// would keep the node busy with a peer that is away.
fn read<T>(
    answered: Result<Result<Bytes, AskError>, orloj_kernel::Dropped>,
    decode: fn(&Bytes) -> Result<T, EntryError>,
) -> Result<T, Fault> {
    let answer = answered.map_err(unreachable)?.map_err(unreachable)?;
    decode(&answer).map_err(unreachable)
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        append: Append,
        option: RPCOption,
    ) -> Result<Appended, Fault> {
        let entries = append.entries.last().map(|entry| entry.log_id);
        let whole = entries.or(append.prev_log_id);
        let mut pipeline = self.stream(futures_util::stream::iter([append]), option);
        match std::future::poll_fn(|task| Pin::new(&mut pipeline).poll_next(task)).await {
            Some(Ok(Ok(last))) if last != whole => Ok(Appended::PartialSuccess(last)),
            Some(appended) => appended.map(Appended::from),
            None => Err(unreachable("no answer")),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, Fault>>, Fault>>
    where
        S: Stream<Item = Append> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let pipeline: BoxStream<'s, _> = Box::pin(self.stream(input, option));
            Ok(pipeline)
        })
    }

    async fn vote(&mut self, candidacy: Candidacy, option: RPCOption) -> Result<Ballot, Fault> {
        let request = encode_candidacy(&candidacy, false);
        let ballot = self.ask(RPCTypes::Vote, request, &option, decode_ballot).await?;
        self.note(&ballot, &candidacy.vote);
        Ok(ballot)
    }

    async fn pre_vote(&mut self, candidacy: Candidacy, option: RPCOption) -> Result<Ballot, Fault> {
        if mutant!(self.cx(), "cluster.pre_vote_grants") {
            return Ok(Ballot::new(candidacy.vote, None, true));
        }
        let request = encode_candidacy(&candidacy, true);
        self.ask(RPCTypes::Vote, request, &option, decode_ballot).await
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: SnapshotOf<Types, Image>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        // No log is purged, so nobody needs one.
        Err(StreamingError::Unreachable(Unreachable::from_string("snapshots are not sent yet")))
    }

    async fn transfer_leader(
        &mut self,
        transfer: Transfer,
        option: RPCOption,
    ) -> Result<Transferred, Fault> {
        let request = encode_transfer(&transfer);
        self.ask(RPCTypes::TransferLeader, request, &option, decode_transferred).await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

/// Appends of one stream, several of them under way. Answers come in their order; after the first
/// that is no success there are no more.
struct Pipeline<'s, S> {
    client: &'s Client,
    option: RPCOption,
    /// `None` as soon as it has ended.
    input: Option<S>,
    waiting: VecDeque<(Waiting, Part)>,
    /// Parts of the last append that was taken.
    unsent: VecDeque<(Bytes, Part)>,
    /// Runs while something waits, and anew whenever the line has moved.
    idle: Sleep,
    moved: u64,
    is_over: bool,
}

impl<S: Stream<Item = Append> + Unpin> Stream for Pipeline<'_, S> {
    type Item = Result<StreamAppendResult<Types>, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        loop {
            this.fill(task);
            let Some((answer, part)) = this.waiting.front_mut() else {
                let is_ended = this.input.is_none();
                return if is_ended { Poll::Ready(None) } else { Poll::Pending };
            };
            let part = *part;
            let Poll::Ready(answered) = Pin::new(answer).poll(task) else { break };
            this.waiting.pop_front();
            this.rest();
            let result = match read(answered, decode_appended) {
                // Nothing goes before the first entry, so nothing can be in conflict with it.
                Ok(Appended::Conflict) if part.prev.is_none() => {
                    Err(unreachable("a conflict with nothing"))
                }
                Ok(appended) => Ok(appended.into_stream_result(part.prev, part.last)),
                Err(fault) => Err(fault),
            };
            this.is_over = !matches!(&result, Ok(Ok(last)) if *last == part.last);
            if this.is_over || part.is_end {
                return Poll::Ready(Some(result));
            }
        }
        while Pin::new(&mut this.idle).poll(task).is_ready() {
            if this.rest() {
                continue;
            }
            this.is_over = true;
            return Poll::Ready(Some(Err(this.client.late(RPCTypes::AppendEntries, &this.option))));
        }
        Poll::Pending
    }
}

impl<S: Stream<Item = Append> + Unpin> Pipeline<'_, S> {
    /// Takes and sends what there is and may be under way.
    fn fill(&mut self, task: &mut Task<'_>) {
        while self.waiting.len() < PIPELINE {
            if let Some((request, part)) = self.unsent.pop_front() {
                if self.waiting.is_empty() {
                    self.rest();
                }
                let answer = self.client.line.ask(self.client.appends, request);
                self.waiting.push_back((answer, part));
                continue;
            }
            let Some(input) = &mut self.input else { return };
            match Pin::new(input).poll_next(task) {
                Poll::Ready(Some(append)) => self.unsent = encode_append(&append, PART).into(),
                Poll::Ready(None) => self.input = None,
                Poll::Pending => return,
            }
        }
    }

    /// Begins to wait anew. Whether the line has moved since the last time.
    fn rest(&mut self) -> bool {
        let moved = self.client.line.moved(self.client.appends);
        let has_moved = moved != std::mem::replace(&mut self.moved, moved);
        self.idle.reset(self.client.cx().now() + self.option.soft_ttl());
        has_moved
    }
}

#[cfg(test)]
mod tests;
