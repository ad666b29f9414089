//! What peers ask of this node's raft.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::{Raft, storage::RaftStateMachine};

use crate::{
    codec::rpc::{Request, decode_request, encode_appended, encode_ballot, encode_transferred},
    link::{Call, Handler},
    types::Types,
};

/// Has `raft` answer. There is no answer to what makes no sense, to what is asked in another
/// node's name, or from a raft that has stopped.
pub(crate) fn by<SM: RaftStateMachine<Types>>(raft: Raft<Types, SM>) -> Handler {
    Arc::new(move |call| -> BoxFuture<'static, Result<Bytes, String>> {
        let raft = raft.clone();
        Box::pin(async move { answer(&raft, &call).await })
    })
}

async fn answer<SM: RaftStateMachine<Types>>(
    raft: &Raft<Types, SM>,
    call: &Call,
) -> Result<Bytes, String> {
    let request = decode_request(&call.payload).map_err(|e| e.to_string())?;
    let asker = request.asker();
    if asker != call.from {
        return Err(format!("node {} asks in the name of node {asker}", call.from));
    }
    match request {
        Request::Append(append) => {
            let appended = raft.append_entries(append).await;
            appended.map(|appended| encode_appended(&appended)).map_err(|e| e.to_string())
        }
        Request::Vote(candidacy) => {
            let ballot = raft.vote(candidacy).await;
            ballot.map(|ballot| encode_ballot(&ballot)).map_err(|e| e.to_string())
        }
        Request::PreVote(candidacy) => {
            let ballot = raft.pre_vote(candidacy).await;
            ballot.map(|ballot| encode_ballot(&ballot)).map_err(|e| e.to_string())
        }
        Request::Transfer(transfer) => {
            let transferred = raft.handle_transfer_leader(transfer).await;
            transferred.map(|it| encode_transferred(&it)).map_err(|e| e.to_string())
        }
    }
}
