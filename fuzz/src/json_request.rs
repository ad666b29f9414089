//! Goal: no text makes the reader of JSON requests panic; what is read is written as a text that
//! means the same; a refusal repeats no more of a client's words than its limits say.
//! Method: the input is a request.

use orloj_net::{
    json::{self, Ask},
    resp::Limits,
};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(text: &[u8]) {
    match json::decode(text) {
        Ok(message) => {
            let written = json::encode(&message);
            assert!(!written.contains('\n'), "a request is one line: {written}");
            let read = json::decode(written.as_bytes()).expect("what was read can be read again");
            assert!(read == message, "{text:?} is not {written}");
            if let Ask::Command(envelope) = message.ask {
                let _ = envelope.validate(&Limits::default());
            }
        }
        Err(refused) => {
            let said =
                json::refusal(refused.request.as_ref(), refused.id.as_ref(), &refused.failure);
            assert!(!said.to_string().contains('\n'));
            assert!(refused.failure.message.len() < 1_000, "{}", refused.failure.message);
        }
    }
}
