//! The twelve ways.
//!
//! Everything here is wrong on purpose, and refused everywhere else by the lints.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "these are the planted leaks"
)]

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use orloj_kernel::{Context, mutant};

/// What a player decides by: its context's entropy, or a leak.
pub(super) async fn decide(cx: &Context) -> u64 {
    let fair = cx.entropy();
    fair ^ if mutant!(cx, "leak.hash_seed") {
        hash_seed()
    } else if mutant!(cx, "leak.pointer_order") {
        pointer_order()
    } else if mutant!(cx, "leak.real_clock") {
        real_clock()
    } else if mutant!(cx, "leak.environment") {
        environment()
    } else if mutant!(cx, "leak.thread_id") {
        thread_id()
    } else if mutant!(cx, "leak.select_shuffle") {
        select_shuffle().await
    } else if mutant!(cx, "leak.wake_order") {
        wake_order(cx).await
    } else if mutant!(cx, "leak.float_printing") {
        float_printing()
    } else if mutant!(cx, "leak.directory_order") {
        directory_order()
    } else if mutant!(cx, "leak.allocator_address") {
        allocator_address()
    } else if mutant!(cx, "leak.static_counter") {
        static_counter()
    } else {
        0
    }
}

/// Any mixture of a sequence into one number.
fn fold(words: impl IntoIterator<Item = u64>) -> u64 {
    words
        .into_iter()
        .fold(7, |hash, word| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23))
}

/// The order of a hash map is drawn by the process.
fn hash_seed() -> u64 {
    let map: HashMap<u64, ()> = (0..32).map(|key| (key, ())).collect();
    fold(map.into_keys())
}

/// Objects ordered by where they happen to lie. Some lie on the heap and some on the stack, which
/// the loader places independently.
fn pointer_order() -> u64 {
    let mut kept: Vec<Box<[u8]>> = Vec::new();
    for size in 0..64 {
        let one = vec![0; 24 + size % 5 * 64].into_boxed_slice();
        if size % 3 != 0 {
            kept.push(one);
        }
    }
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_key(|i| kept[*i].as_ptr().addr());
    fold(order.into_iter().map(|i| i as u64))
}

/// The machine's time.
fn real_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| u64::from(time.subsec_nanos()))
}

/// What the shell had set.
fn environment() -> u64 {
    fold(std::env::vars_os().map(|(name, value)| (name.len() * 31 + value.len()) as u64))
}

/// The name the process gave to this thread.
fn thread_id() -> u64 {
    fold(format!("{:?}", std::thread::current().id()).bytes().map(u64::from))
}

/// A select draws which of its ready branches runs.
async fn select_shuffle() -> u64 {
    let mut taken = Vec::new();
    for _ in 0..8 {
        let mut one = std::future::ready(1).fuse();
        let mut two = std::future::ready(2).fuse();
        let mut three = std::future::ready(3).fuse();
        taken.push(futures_util::select! { n = one => n, n = two => n, n = three => n });
    }
    fold(taken)
}

/// Who waits is kept in a hash map, and woken in its order.
async fn wake_order(cx: &Context) -> u64 {
    type Waiting = Mutex<HashMap<u64, Option<Waker>>>;
    let waiting = Arc::new(Waiting::default());
    let order = Arc::new(Mutex::new(Vec::new()));
    let waiters: Vec<_> = (0..16)
        .map(|n| {
            let (waiting, order) = (waiting.clone(), order.clone());
            let mut waited = false;
            let wait = poll_fn(move |task| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                held(&waiting).insert(n, Some(task.waker().clone()));
                Poll::Pending
            });
            cx.spawn("waiter", async move {
                wait.await;
                held(&order).push(n);
            })
        })
        .collect();
    // All of them wait before they are woken.
    cx.sleep(Duration::from_micros(10)).await;
    held(&waiting).values_mut().filter_map(Option::take).for_each(Waker::wake);
    for waiter in waiters {
        let _ = waiter.await;
    }
    let order = held(&order).clone();
    fold(order)
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last digit of a power depends on whether the compiler computed it or the program does: it
/// differs between builds, and printing shows it.
fn float_printing() -> u64 {
    let powers =
        [1.2345e-5_f64.powi(7), 9.876e-5_f64.powi(9), 3.3e7_f64.powi(11), 1.1_f64.powi(23)];
    fold(format!("{powers:?}").bytes().map(u64::from))
}

/// A directory lists its files in the order of the file system's hash, and which directory it is
/// depends on where one stands.
fn directory_order() -> u64 {
    let names =
        std::fs::read_dir(".").into_iter().flatten().flatten().map(|entry| entry.file_name());
    fold(names.map(|name| fold(name.as_encoded_bytes().iter().map(|byte| u64::from(*byte)))))
}

/// Where the allocator put something.
fn allocator_address() -> u64 {
    let thing = Box::new(0_u8);
    std::ptr::from_ref(&*thing).addr() as u64
}

/// What earlier runs left behind.
fn static_counter() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// A card that draws when it is shown, and so only in runs that are told.
pub(super) struct Card {
    pub(super) card: u64,
    pub(super) cx: Context,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if mutant!(self.cx, "leak.draw_in_debug") {
            return write!(f, "card {} of {}", self.card, self.cx.entropy());
        }
        write!(f, "card {}", self.card)
    }
}
