//! What every way to the database offers: the embedded library and the client over a network alike.

use crate::envelope::{Envelope, Event, Failure, Finding, Outcome, Question, SessionName};

/// Commands, questions and subscriptions.
///
/// A command whose fate is unknown fails with [`Code::Unavailable`](crate::envelope::Code); asking
/// again with the same id is safe, and tells the outcome if there was one.
pub trait Commands {
    /// What a subscription is.
    type Events: Events;

    /// Has a command carried out, and waits for its outcome.
    ///
    /// # Errors
    /// Why it was not accepted, which left no trace, or that its fate is unknown.
    fn send(&self, envelope: Envelope) -> impl Future<Output = Result<Outcome, Failure>> + Send;

    /// Asks beside the lanes.
    ///
    /// # Errors
    /// Why there is no answer.
    fn ask(&self, question: Question) -> impl Future<Output = Result<Finding, Failure>> + Send;

    /// Follows what happens to the commands of a session, or of all.
    ///
    /// # Errors
    /// Why not.
    fn subscribe(
        &self,
        session: Option<SessionName>,
    ) -> impl Future<Output = Result<Self::Events, Failure>> + Send;
}

/// What happens to commands, in order.
pub trait Events {
    /// The next step of any.
    ///
    /// # Errors
    /// Why there will be no more: who reads too slowly is disconnected with
    /// [`Code::Busy`](crate::envelope::Code).
    fn next(&mut self) -> impl Future<Output = Result<Event, Failure>> + Send;
}
