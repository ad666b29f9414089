//! A task that ends with whoever holds it.

use orloj_kernel::JoinHandle;

/// Dropping it ends the task.
#[derive(Debug)]
pub(crate) struct Leased<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Leased<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
