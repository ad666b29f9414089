//! Panics of simulated code become failures of the run, with their place and backtrace.

use std::{
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    panic,
    sync::Once,
};

use crate::verdict::Failure;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// While `f` runs, panics on this thread are kept for [`taken`] and printed by nobody.
pub(crate) fn catching<T>(f: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                return before(info);
            }
            let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line()));
            let message = info.payload_as_str().unwrap_or("a value that is no text");
            let evidence = format!("{message}{}", place.unwrap_or_default());
            let backtrace = Some(Backtrace::force_capture().to_string());
            let failure = Failure { law: "panic".to_owned(), evidence, backtrace };
            // The first panic is the cause; later ones come of dropping what it left behind.
            CAUGHT.with_borrow_mut(|caught| {
                caught.get_or_insert(failure);
            });
        }));
    });
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            CATCHING.set(self.0);
        }
    }
    let _restore = Restore(CATCHING.replace(true));
    f()
}

/// The panic that was just caught.
pub(crate) fn taken() -> Failure {
    CAUGHT
        .with_borrow_mut(Option::take)
        .unwrap_or_else(|| Failure::new("panic", "a panic without a message"))
}
