//! The questions of one connection that have no finding yet.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use orloj_net::envelope::{Failure, Finding};

/// Most at a time.
const MOST: usize = 16;

type Asked = Pin<Box<dyn Future<Output = Result<Finding, Failure>> + Send>>;

#[derive(Default)]
pub(super) struct Questions(Vec<(u64, Asked)>);

impl Questions {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(
        &mut self,
        tag: u64,
        asked: impl Future<Output = Result<Finding, Failure>> + Send + 'static,
    ) {
        self.0.push((tag, Box::pin(asked)));
    }

    /// Those that are answered now.
    pub(super) fn poll(&mut self, task: &mut Context<'_>) -> Vec<(u64, Result<Finding, Failure>)> {
        let mut found = Vec::new();
        self.0.retain_mut(|(tag, asked)| match asked.as_mut().poll(task) {
            Poll::Ready(finding) => {
                found.push((*tag, finding));
                false
            }
            Poll::Pending => true,
        });
        found
    }
}
