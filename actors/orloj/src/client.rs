//! A client of the native protocol for programs that wait: every call returns when there is an
//! answer.
//!
//! It is [`orloj_net::client::Client`] on a runtime of its own, one for all clients of a process.
//! Code that is asynchronous takes that one, with a context. No call here may be made from within a
//! task of a runtime.

use std::sync::{Mutex, PoisonError};

use orloj_host::{Host, Options, StartError, Workers};
use orloj_kernel::Context;
pub use orloj_net::client::ClientConfig;
use orloj_net::{
    Commands, Events,
    client::{Client as Asynchronous, Subscription},
    envelope::{Envelope, Event, Failure, Finding, Outcome, Question, SessionName},
};

/// A host lives as long as the process; so there is one.
static HOST: Mutex<Option<Host>> = Mutex::new(None);

fn context() -> Result<Context, StartError> {
    let mut host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    let host = match *host {
        Some(host) => host,
        // A worker beside whoever waits, so that signs of life are given while nobody does.
        None => {
            *host.insert(Host::new(Options { workers: Workers::Many(1), ..Options::new(".") })?)
        }
    };
    Ok(host.context())
}

/// Commands, questions and subscriptions over a network. Cheap to clone, and may be used by several
/// threads at once.
#[derive(Clone, Debug)]
pub struct Client {
    cx: Context,
    client: Asynchronous,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`StartError`] when the process may not have another thread or event loop.
    pub fn new(config: ClientConfig) -> Result<Client, StartError> {
        let cx = context()?;
        Ok(Client { cx, client: Asynchronous::new(cx, config) })
    }

    /// Has a command carried out, and waits for its outcome.
    ///
    /// # Errors
    /// As [`Commands::send`].
    pub fn send(&self, envelope: Envelope) -> Result<Outcome, Failure> {
        self.cx.block_on(self.client.send(envelope))
    }

    /// Asks beside the lanes.
    ///
    /// # Errors
    /// As [`Commands::ask`].
    pub fn ask(&self, question: Question) -> Result<Finding, Failure> {
        self.cx.block_on(self.client.ask(question))
    }

    /// Follows what happens to the commands of a session, or of all.
    ///
    /// # Errors
    /// As [`Commands::subscribe`].
    pub fn subscribe(&self, session: Option<SessionName>) -> Result<Following, Failure> {
        let subscription = self.cx.block_on(self.client.subscribe(session))?;
        Ok(Following { cx: self.cx, subscription })
    }
}

/// Events as they come. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Following {
    cx: Context,
    subscription: Subscription,
}

impl Following {
    /// Waits for the next event.
    ///
    /// # Errors
    /// Why there will be no more; or, with `reason` `gap`, that some may be missing before the
    /// next.
    pub fn next_event(&mut self) -> Result<Event, Failure> {
        self.cx.block_on(self.subscription.next())
    }
}
