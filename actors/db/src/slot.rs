//! A place where one part of a node leaves something for another.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Room for one thing, shared by its clones.
pub(crate) struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    pub(crate) fn new(content: Option<T>) -> Slot<T> {
        Slot(Arc::new(Mutex::new(content)))
    }

    pub(crate) fn put(&self, content: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(content);
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T: Clone> Slot<T> {
    /// A copy of the content.
    pub(crate) fn get(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(self.0.clone())
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}
