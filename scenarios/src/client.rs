//! A client: connects, asks in batches, reads what comes back, and tells the recorder all of it.
//!
//! It never repeats a request whose outcome it does not know. A connection that ends, or a reply
//! that takes too long, leaves every request that still waited unknown.

mod connection;
pub(crate) mod wire;

use std::{sync::Arc, time::Duration};

use orloj_invariants::{Entry, Loss, OpId, Request};
use orloj_kernel::Context;
use orloj_net::{Answer, Command, TimeForm, UnixMs};
use orloj_sim::{Control, choice::Stream};

use crate::{
    case::{self, Ledger, Step},
    recorder::Recorder,
    scenario::{ClientPlan, WorkloadPlan},
    workload::Workload,
};
use connection::Connection;

/// One client.
pub(crate) struct Client {
    cx: Context,
    number: u32,
    plan: ClientPlan,
    workload: Workload,
    recorder: Arc<Recorder>,
    /// Connections made so far.
    connections: u32,
    stream: Stream,
    ledger: Arc<Ledger>,
    /// How long it has rested since its last batch.
    rested: u64,
}

/// How long a client of a case rests before it tries to connect again.
const RECONNECT: Duration = Duration::from_millis(5);

/// The host of a client.
pub(crate) fn host(number: u32) -> String {
    format!("c{number}")
}

impl Client {
    pub(crate) fn new(
        cx: Context,
        number: u32,
        plan: ClientPlan,
        workload: WorkloadPlan,
        recorder: Arc<Recorder>,
    ) -> Client {
        // The node is host 0, and clients follow.
        let stream = Stream::Host(number + 1);
        let workload = Workload::new(number, stream, workload);
        let ledger = recorder.ledger();
        Client { cx, number, plan, workload, recorder, connections: 0, stream, ledger, rested: 0 }
    }

    fn between(&self, site: &'static str, low: u64, high: u64) -> u64 {
        Control.choose(|choices| choices.between(self.stream, site, low, high))
    }

    fn chance(&self, site: &'static str, ppm: u32) -> bool {
        Control.choose(|choices| choices.chance(self.stream, site, ppm))
    }

    async fn connect(&mut self, patience: Duration) -> Option<Connection> {
        let number = self.connections;
        let connecting = Connection::open(self.cx, self.number, number, &self.recorder);
        let mut connection = self.cx.timeout(patience, connecting).await.ok()?.ok()?;
        self.connections += 1;
        let greets = self.plan.resp3 || (!self.ledger.plays() && self.chance("hello", 500_000));
        if greets {
            connection.greet(self.plan.resp3);
        }
        Some(connection)
    }

    /// Asks until its requests are spent or the chaos is over.
    pub(crate) async fn roam(mut self, until_ns: u64) -> Client {
        if self.ledger.plays() {
            self.play().await;
            return self;
        }
        let mut left = self.plan.requests;
        let over = || Control.now().0 >= until_ns;
        while left > 0 && !over() {
            let Some(mut connection) = self.connect(self.plan.patience).await else {
                let rest = self.between("reconnect-after", 1_000_000, 50_000_000);
                self.cx.sleep(Duration::from_nanos(rest)).await;
                continue;
            };
            let mut carried = 0;
            while left > 0 && !over() {
                let wanted = self.between("batch", 1, self.plan.pipeline).min(left);
                left -= wanted;
                carried += wanted;
                if self.batch(&mut connection, wanted).await.is_err() {
                    break;
                }
                let max = self.plan.per_connection;
                if max > 0 && carried >= max {
                    self.ledger.amends(self.number, |step| step.leave = true);
                    connection.leave(Loss::Closed);
                    break;
                }
                self.think().await;
            }
        }
        self
    }

    /// Does what a case says, and connects again as often as it takes.
    async fn play(&mut self) {
        let mut kept: Option<Connection> = None;
        loop {
            let batch = self.ledger.batch(self.number);
            let Some((_, last)) = batch.last().cloned() else { return };
            self.cx.sleep(Duration::from_nanos(batch[0].1.after)).await;
            let mut connection = loop {
                match kept.take() {
                    Some(connection) => break connection,
                    None => kept = self.connect(self.plan.patience).await,
                }
                if kept.is_none() {
                    if self.recorder.is_calm_or_halted() {
                        return;
                    }
                    self.cx.sleep(RECONNECT).await;
                }
            };
            for (_, step) in &batch {
                self.say(&mut connection, step);
            }
            let done = self.exchange(&mut connection, last.walk_away, last.keep as usize).await;
            if done.is_ok() && last.leave {
                connection.leave(Loss::Closed);
            } else if done.is_ok() {
                kept = Some(connection);
            }
        }
    }

    /// Puts the request that a step is into the output.
    fn say(&self, connection: &mut Connection, step: &Step) {
        let wall = UnixMs(self.cx.wall().millis());
        match case::read(&step.text, wall) {
            Ok(words) => {
                let mut request = words.request;
                let mut resumes = None;
                if let (true, Request::Store(Command::Scan { after, .. })) =
                    (words.resumes, &mut request)
                {
                    (resumes, *after) = connection.scan().unzip();
                }
                connection.ask(request, resumes);
            }
            Err(why) => panic!("a case says what cannot be asked: {why}"),
        }
    }

    /// The next request of the workload, written down and put into the output.
    fn ask(&mut self, connection: &mut Connection, with: bool, closing: bool) {
        let wall = UnixMs(self.cx.wall().millis());
        let ask = self.workload.next(wall, connection.scan());
        let after = std::mem::take(&mut self.rested);
        self.ledger.notes(self.number, || Step {
            text: case::spell(&ask.request, wall),
            after,
            with,
            closing,
            ..Step::default()
        });
        connection.ask(ask.request, ask.resumes);
    }

    async fn think(&mut self) {
        let mut rest = 0;
        if self.chance("thinks", 500_000) {
            rest = self.between("think", self.plan.think.low, self.plan.think.high);
        }
        if let Some(ttl) = self.workload.waits() {
            rest = rest.max(ttl);
        }
        self.rested = rest;
        self.cx.sleep(Duration::from_nanos(rest)).await;
    }

    /// Sends some requests at once and reads replies, perhaps not all of them yet.
    async fn batch(&mut self, connection: &mut Connection, wanted: u64) -> Result<(), ()> {
        for place in 0..wanted {
            self.ask(connection, place > 0, false);
        }
        let walks = self.chance("walk-away", self.plan.walk_away_ppm).then_some(1_000_000);
        // Some of the replies may wait until the next batch is out.
        let keep = match walks.is_none() && self.chance("overlap", 300_000) {
            true => self.between("overlap-by", 0, wanted),
            false => 0,
        };
        self.ledger.amends(self.number, |step| (step.walk_away, step.keep) = (walks, keep));
        self.exchange(connection, walks, keep as usize).await
    }

    /// Sends what is in the output and reads replies, unless the client walks away.
    async fn exchange(
        &self,
        connection: &mut Connection,
        walk_away: Option<u64>,
        keep: usize,
    ) -> Result<(), ()> {
        if let Some(after) = walk_away {
            // What was sent may be carried out; nobody will hear of it.
            let _ = self.cx.timeout(Duration::from_nanos(after), connection.send()).await;
            connection.leave(Loss::Closed);
            return Err(());
        }
        let patience = self.plan.patience;
        let heard = match self.plan.slow {
            false => self.cx.timeout(patience, connection.hear(keep)).await,
            true => self.cx.timeout(patience, self.hear_slowly(connection, keep)).await,
        };
        match heard {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) => {
                connection.leave(Loss::Closed);
                Err(())
            }
            Err(_) => {
                connection.leave(Loss::TimedOut);
                Err(())
            }
        }
    }

    /// Sends everything before it reads anything, and then reads little at a time.
    async fn hear_slowly(&self, connection: &mut Connection, keep: usize) -> Result<(), ()> {
        connection.send().await?;
        while connection.waits() > keep {
            let rest = self.between("slow-rest", 100_000, 20_000_000);
            self.cx.sleep(Duration::from_nanos(rest)).await;
            let bytes = self.between("slow-bytes", 1, 4 << 10) as usize;
            connection.read_some(bytes).await?;
        }
        Ok(())
    }

    /// Asks some more, one at a time, when everything must work.
    pub(crate) async fn close(mut self, requests: u64) {
        let patience = self.plan.patience;
        let plays = self.ledger.plays();
        let Some(mut connection) = self.connect(patience).await else { return };
        for number in 0.. {
            match self.ledger.next(self.number, true) {
                Some((_, step)) => {
                    self.cx.sleep(Duration::from_nanos(step.after)).await;
                    self.say(&mut connection, &step);
                }
                None if plays || number == requests => return,
                None => self.ask(&mut connection, false, true),
            }
            if !matches!(self.cx.timeout(patience, connection.hear(0)).await, Ok(Ok(()))) {
                connection.leave(Loss::TimedOut);
                return;
            }
        }
    }
}

/// Reads the whole store through the front door, and gives up when something goes wrong.
pub(crate) async fn read_all(
    cx: Context,
    number: u32,
    connections: &mut u32,
    recorder: &Arc<Recorder>,
) -> Option<Vec<Entry>> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let connecting = Connection::open(cx, number, *connections, recorder);
    let mut connection = cx.timeout(PATIENCE, connecting).await.ok()?.ok()?;
    *connections += 1;
    let mut keys = Vec::new();
    let mut resumes: Option<OpId> = None;
    loop {
        let after = connection.scan().map(|(_, cursor)| cursor);
        let page = Command::Scan { after, pattern: None, count: 7 };
        let answer = one(cx, PATIENCE, &mut connection, page, resumes).await?;
        let Answer::Page { keys: more, .. } = answer else { return None };
        keys.extend(more);
        match connection.scan() {
            Some((op, _)) => resumes = Some(op),
            None => break,
        }
    }
    let mut entries = Vec::new();
    for key in keys {
        let get = Command::Get { key: key.clone() };
        let ttl = Command::Ttl { key: key.clone(), form: TimeForm::UnixMillis };
        let value = one(cx, PATIENCE, &mut connection, get, None).await?;
        let deadline = one(cx, PATIENCE, &mut connection, ttl, None).await?;
        // A key that expired in between is not there, and nothing is wrong.
        if let (Answer::Bulk(value), Answer::Int(ms)) = (value, deadline)
            && ms != -2
        {
            let deadline = u64::try_from(ms).ok().map(UnixMs);
            entries.push(Entry { key, value: value.into(), deadline });
        }
    }
    Some(entries)
}

/// Asks one thing and waits for the answer.
async fn one(
    cx: Context,
    patience: Duration,
    connection: &mut Connection,
    command: Command,
    resumes: Option<OpId>,
) -> Option<Answer> {
    connection.ask(Request::Store(command), resumes);
    match cx.timeout(patience, connection.hear(0)).await {
        Ok(Ok(())) => connection.last(),
        Ok(Err(())) | Err(_) => {
            connection.leave(Loss::TimedOut);
            None
        }
    }
}
