// ANCHOR: actor
use orloj_kernel::{Actor, Context, DiskError, File, OpenMode, Reply, Stop};

/// Everything the dispenser can be told.
pub enum Msg {
    /// Give out the next ticket.
    Take { reply: Reply<u64> },
}

/// Gives out tickets. The file has one byte for each, so its length is all there is to know.
#[derive(Default)]
pub struct Dispenser {
    given: u64,
    file: Option<File>,
}

// ANCHOR: open
/// Opens the file, and says how many tickets were given.
async fn open(cx: &Context) -> Result<(File, u64), DiskError> {
    let file = cx.open("tickets", OpenMode::Create).await?;
    let given = file.size().await?;
    Ok((file, given))
}
// ANCHOR_END: open

impl Actor for Dispenser {
    type Msg = Msg;
    const NAME: &'static str = "dispenser";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let (file, given) = open(cx).await?;
        cx.trace(Self::NAME, format_args!("{given} tickets were given before"));
        (self.file, self.given) = (Some(file), given);
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        let file = self.file.as_ref().expect("start opened it");
        for Msg::Take { reply } in batch.drain(..) {
            file.write_at(self.given, vec![b'x']).await?;
            file.sync().await?;
            self.given += 1;
            cx.trace(Self::NAME, format_args!("gives ticket {}", self.given));
            reply.send(self.given);
        }
        Ok(())
    }
}
// ANCHOR_END: actor

// ANCHOR: test
#[cfg(test)]
mod tests {
    use super::{Dispenser, Msg};
    use orloj_kernel::{Addr, Context, Reply, always};
    use orloj_sim::{Control, Crash};
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
    use std::time::Duration;

    /// Takes tickets until the dispenser is gone. `last` is the last one it was given.
    async fn customer(cx: Context, dispenser: Addr<Msg>, last: Arc<AtomicU64>) {
        loop {
            let (reply, answer) = Reply::new();
            if dispenser.send(Msg::Take { reply }).await.is_err() {
                return;
            }
            let Ok(ticket) = answer.await else { return };
            let before = last.swap(ticket, Ordering::Relaxed);
            always!(cx, ticket > before, "tickets-are-unique", "{ticket} came after {before}");
            cx.sleep(Duration::from_millis(1)).await;
        }
    }

    #[orloj_sim::test]
    // ANCHOR_END: test
    #[should_panic(expected = "tickets-are-unique: 1 came after")]
    // ANCHOR: body
    async fn tickets_are_unique(test: Context) {
        Control.idle_host("kiosk");
        let last = Arc::new(AtomicU64::new(0));
        for _ in 0..5 {
            let kiosk = Control.context("kiosk");
            let dispenser = kiosk.start(Dispenser::default());
            kiosk.spawn("customer", customer(kiosk, dispenser, last.clone()));
            test.sleep(Duration::from_millis(Control.between("life", 1, 20))).await;
            Control.crash("kiosk", Crash::Power);
            Control.restart("kiosk");
        }
    }
}
// ANCHOR_END: body
