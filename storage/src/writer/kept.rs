//! From where on somebody still needs the journal.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use orloj_kernel::mutant;

use super::{Round, Writer};
use crate::Lsn;

/// Keeps the journal from one version on until it is dropped.
#[derive(Debug)]
pub(crate) struct Kept(Arc<AtomicU64>);

impl Kept {
    /// What is before `from` is not needed any more.
    pub(crate) fn move_to(&self, from: Lsn) {
        self.0.fetch_max(from.0, Relaxed);
    }
}

impl Writer {
    /// Keeps what is left of the journal from `from` on: on return no trim that did not know of it
    /// goes on any more.
    pub(crate) async fn keep(self: &Arc<Self>, from: Lsn) -> Kept {
        let kept = Arc::new(AtomicU64::new(from.0));
        self.kept.lock().expect("nobody panics while holding it").push(Arc::downgrade(&kept));
        // Whoever has the journal has it for himself. That nothing was to be written, or could be,
        // is told to others.
        let _ = self.act(Round::Flush { sync: false }).await;
        Kept(kept)
    }

    /// From where on anybody needs the journal, if a recovery does from `keep` on.
    pub(super) fn needed(&self, keep: Lsn) -> Lsn {
        if mutant!(self.cx, "writer.kept_is_trimmed") {
            return keep;
        }
        let mut kept = self.kept.lock().expect("nobody panics while holding it");
        kept.retain(|kept| kept.strong_count() > 0);
        let kept = kept.iter().filter_map(std::sync::Weak::upgrade);
        kept.map(|kept| Lsn(kept.load(Relaxed))).fold(keep, Lsn::min)
    }
}
