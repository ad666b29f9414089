//! Tasks of the kernel on tokio: their ambient context, and the table by which they are aborted.

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use orloj_kernel::{Context, HostKey, Spawner, Task, TaskKey, with_ambient};
use tokio::task::AbortHandle;

use crate::machine::Machine;

impl Spawner for Machine {
    fn spawn(&self, host: HostKey, _: &'static str, task: Task) -> TaskKey {
        let machine = self.leaked();
        let key = self.tasks.reserve();
        let context = Context::new(machine, host);
        let hosted = Hosted { task: Some(task), context, tasks: &machine.tasks, key };
        let handle = self.tokio.spawn(hosted).abort_handle();
        self.tasks.arm(key, handle);
        key
    }

    fn abort(&self, task: TaskKey) {
        if let Some(handle) = self.tasks.handle(task) {
            handle.abort();
        }
    }

    fn block_on(&self, host: HostKey, future: Pin<&mut dyn Future<Output = ()>>) {
        let context = Context::new(self.leaked(), host);
        let mut future = future;
        self.tokio.block_on(std::future::poll_fn(move |cx| {
            with_ambient(context, || future.as_mut().poll(cx))
        }));
    }
}

/// A task that runs, and is dropped, with its context ambient.
struct Hosted {
    task: Option<Task>,
    context: Context,
    tasks: &'static Tasks,
    key: TaskKey,
}

impl Future for Hosted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let context = self.context;
        with_ambient(context, || match &mut self.task {
            Some(task) => task.as_mut().poll(cx),
            None => Poll::Ready(()),
        })
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let task = self.task.take();
        with_ambient(self.context, || drop(task));
        self.tasks.release(self.key);
    }
}

/// The living tasks. A key names a slot and which of its tenants is meant, so a key that outlives
/// its task aborts nobody else.
#[derive(Default)]
pub(crate) struct Tasks(Mutex<Table>);

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    tenant: u32,
    handle: Option<AbortHandle>,
}

fn key(index: u32, tenant: u32) -> TaskKey {
    TaskKey(u64::from(tenant) << 32 | u64::from(index))
}

fn parts(key: TaskKey) -> (usize, u32) {
    (key.0 as u32 as usize, (key.0 >> 32) as u32)
}

impl Tasks {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self) -> TaskKey {
        let mut table = self.table();
        match table.free.pop() {
            Some(index) => key(index, table.slots[index as usize].tenant),
            None => {
                let index = u32::try_from(table.slots.len()).expect("fewer than 2^32 living tasks");
                table.slots.push(Slot::default());
                key(index, 0)
            }
        }
    }

    /// Notes how to abort the task, unless it has ended on another thread meanwhile.
    fn arm(&self, key: TaskKey, handle: AbortHandle) {
        let (index, tenant) = parts(key);
        let mut table = self.table();
        let slot = &mut table.slots[index];
        if slot.tenant == tenant {
            slot.handle = Some(handle);
        }
    }

    fn handle(&self, key: TaskKey) -> Option<AbortHandle> {
        let (index, tenant) = parts(key);
        let table = self.table();
        let slot = table.slots.get(index)?;
        slot.handle.clone().filter(|_| slot.tenant == tenant)
    }

    fn release(&self, key: TaskKey) {
        let (index, tenant) = parts(key);
        let handle = {
            let mut table = self.table();
            let slot = &mut table.slots[index];
            assert_eq!(slot.tenant, tenant, "a task ends once");
            slot.tenant = tenant.wrapping_add(1);
            let handle = slot.handle.take();
            table.free.push(index as u32);
            handle
        };
        drop(handle);
    }

    #[cfg(test)]
    fn living(&self) -> usize {
        let table = self.table();
        table.slots.len() - table.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_reused_under_another_key() {
        let tasks = Tasks::default();
        let first = tasks.reserve();
        tasks.release(first);
        let second = tasks.reserve();
        assert_ne!(first, second);
        assert_eq!(parts(first).0, parts(second).0);
        assert_eq!(tasks.living(), 1);
        assert!(tasks.handle(first).is_none());
    }
}
