//! The writing end of a journal. One owner, one write at a time.

use std::sync::Arc;

use orloj_kernel::{
    Context, DiskError, DiskErrorKind, File, JoinHandle, OpenMode, buggify, mutant, sometimes,
};

use super::{
    AppendError, DatabaseId, FIRST_FRAME, JournalError, Kind, Lsn, Records, Recovery,
    SegmentHeader,
    frame::{BODY_MAX, Place, SECTOR, encode, frame_size},
    history::History,
    prewrite::{CommitError, Prepared, commit, prepare},
    recover::{self, OnRecord, Origin, Plan, Span},
    segment::{file_name, new_name, number_of},
};
use crate::disk::remove_if_there;

/// The largest write buffer kept for the next frame, in bytes.
const BUFFER_KEPT: usize = 4 << 20;
/// Bytes for records in a first segment on a disk that has no room for a longer one.
const LEAST: u64 = 64 << 10;

/// Where a journal is and how it is cut into files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// The directory of its segments. It exists and is durable.
    pub dir: String,
    /// Bytes of the first segment after an opening. Each further one has four times as many, up to
    /// `segment_bytes`. A multiple of 512, at least 4,096.
    pub first_bytes: u64,
    /// Bytes of a full-grown segment. A multiple of 512, at least `first_bytes`.
    pub segment_bytes: u64,
    /// Bytes of zeros written at a time while a segment is made ready.
    pub step_bytes: usize,
}

impl JournalConfig {
    /// A journal in `dir` with segments of 4, 16 and then 64 MiB.
    pub fn new(dir: impl Into<String>) -> JournalConfig {
        JournalConfig {
            dir: dir.into(),
            first_bytes: 4 << 20,
            segment_bytes: 64 << 20,
            step_bytes: 1 << 20,
        }
    }
}

/// An open journal.
///
/// Records are *written* by [`Log::append`] and *durable* after [`Log::sync`]. Invariant:
/// `durable <= written < next`, and every frame says truly what was durable when it was written.
#[derive(Debug)]
pub struct Log {
    cx: Context,
    config: JournalConfig,
    header: SegmentHeader,
    file: Arc<File>,
    /// Where the next frame goes.
    offset: u64,
    next: Lsn,
    durable: Lsn,
    /// The last thing in the segment says that everything written is durable.
    marked: bool,
    /// The segment's end may hold part of a frame, or a successor that nobody knows of: it must not
    /// be written to again.
    closed: bool,
    /// The highest number a segment was ever given.
    number: u64,
    /// The segments that hold what is needed, oldest first; the last is the one written to.
    segments: Vec<Span>,
    ahead: Option<JoinHandle<Result<Prepared, DiskError>>>,
    buffer: Vec<u8>,
}

impl Log {
    /// Reads the journal in `config.dir`, telling `on_record` every record in order, and goes on
    /// after the last. Makes a journal where there is none. `on_record` answers whether the record
    /// makes sense to it.
    ///
    /// What is returned is durable, the records told included.
    ///
    /// # Errors
    /// [`JournalError`]; the directory is then as it was, but for files that held nothing.
    pub async fn open(
        cx: Context,
        config: JournalConfig,
        on_record: OnRecord<'_>,
    ) -> Result<(Log, Recovery), JournalError> {
        Log::open_from(cx, config, Origin::START, on_record).await
    }

    /// As [`Log::open`], of a journal whose records before `origin.from` are not needed. They are
    /// not told, and their segments are not read where that can be helped.
    ///
    /// # Errors
    /// [`JournalError`]; `Missing` if the journal begins after `origin.from`, and damage if it ends
    /// before that record, for all before it had been synced.
    pub async fn open_from(
        cx: Context,
        config: JournalConfig,
        origin: Origin,
        on_record: OnRecord<'_>,
    ) -> Result<(Log, Recovery), JournalError> {
        let plan = match recover::read(cx, &config.dir, origin, on_record).await? {
            Some(plan) => plan,
            None => fresh(cx, origin.database, Lsn(1)),
        };
        Log::go_on(cx, config, plan).await
    }

    /// Makes a journal in `config.dir`, which holds none, whose first record will be `first`: for a
    /// database that was restored.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub async fn create(
        cx: Context,
        config: JournalConfig,
        database: DatabaseId,
        first: Lsn,
    ) -> Result<Log, JournalError> {
        let plan = fresh(cx, Some(database), first);
        Ok(Log::go_on(cx, config, plan).await?.0)
    }

    /// Makes the segment that `plan` goes on in.
    async fn go_on(
        cx: Context,
        config: JournalConfig,
        plan: Plan,
    ) -> Result<(Log, Recovery), JournalError> {
        let Plan { mut header, carried, rubbish, cut, mut segments, report } = plan;
        header.salt = cx.entropy();
        header.capacity = first_size(cx, &config);

        let mut frames = Vec::new();
        let mut next = header.base;
        for (first, records) in &carried {
            let place = Place { salt: header.salt, offset: FIRST_FRAME + frames.len() as u64 };
            let (durable, records) = (header.base.previous(), std::slice::from_ref(records));
            next = encode(&mut frames, place, Kind::Records, *first, durable, records).next();
        }
        sometimes!(cx, !carried.is_empty(), "recovery: an unproven tail was written anew");
        let step = config.step_bytes;
        let make = |size| prepare(cx, config.dir.clone(), header.number, size, step, false);
        let prepared = match make(header.capacity).await {
            // What frees room has to be written down, too.
            Err(e) if e.kind == DiskErrorKind::Full && header.capacity > LEAST => {
                let needed = (FIRST_FRAME + frames.len() as u64).next_multiple_of(SECTOR as u64);
                let prepared = make(needed + LEAST).await?;
                sometimes!(cx, true, "journal: begun in a small segment on a disk nearly full");
                prepared
            }
            prepared => prepared?,
        };
        header.capacity = prepared.size;
        let file = match commit(cx, &config.dir, prepared, &header, &frames).await {
            Ok(file) => file,
            Err(CommitError::Refused(e) | CommitError::Fatal(e)) => return Err(e.into()),
        };
        tidy(cx, &config.dir, &rubbish, cut).await;
        follow(&mut segments, &header);
        let log = Log {
            cx,
            config,
            header,
            file: Arc::new(file),
            offset: FIRST_FRAME + frames.len() as u64,
            next,
            durable: next.previous(),
            marked: carried.is_empty(),
            closed: false,
            number: header.number,
            segments,
            ahead: None,
            buffer: Vec::new(),
        };
        log.check();
        Ok((log, report))
    }

    /// The position of the next record.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// The position up to which everything survives a power cut.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// The database it is the journal of.
    pub fn database(&self) -> DatabaseId {
        self.header.database
    }

    /// Whether [`Log::make_room`] must succeed before anything can be appended.
    pub fn needs_room(&self) -> bool {
        self.closed
    }

    /// Whether the last thing written proves that everything before it was synced.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// Writes `batches` as one frame. They are durable on return if `sync`, and otherwise after the
    /// next [`Log::sync`].
    ///
    /// # Errors
    /// [`AppendError`]. After a refusal the next position is what it was.
    ///
    /// # Panics
    /// When they take more than 2 GiB, or are no records at all.
    pub async fn append(&mut self, batches: &[Records], sync: bool) -> Result<(), AppendError> {
        self.write(Kind::Records, batches, sync).await
    }

    /// Makes everything written survive a power cut.
    ///
    /// # Errors
    /// The journal is dead then, and what its tail holds is unknown.
    pub async fn sync(&mut self) -> Result<(), DiskError> {
        self.file.sync().await?;
        self.durable = self.next.previous();
        Ok(())
    }

    /// As [`Log::sync`], beside further writing: the future to await, and what to hand to
    /// [`Log::synced`] when it succeeds. When it fails the journal is dead.
    pub fn begin_sync(
        &self,
    ) -> (impl Future<Output = Result<(), DiskError>> + Send + 'static, Lsn) {
        let file = self.file.clone();
        (async move { file.sync().await }, self.next.previous())
    }

    /// A sync that was begun when `written` was the last position written has succeeded.
    pub fn synced(&mut self, written: Lsn) {
        self.durable = self.durable.max(written);
        self.check();
    }

    /// Writes down, durably, that everything up to now is durable: damage to it will then be
    /// refused where it could otherwise pass for a torn write. Does nothing when that is known
    /// already.
    ///
    /// # Errors
    /// [`AppendError`], as for records.
    pub async fn mark(&mut self, closing: bool) -> Result<(), AppendError> {
        if self.durable.next() < self.next {
            self.sync().await.map_err(AppendError::Fatal)?;
        }
        if self.closed || (self.marked && !closing) || !self.fits(SECTOR as u64) {
            return Ok(());
        }
        let kind = if closing { Kind::Close } else { Kind::Mark };
        self.write(kind, &[], true).await?;
        self.marked = true;
        Ok(())
    }

    /// Goes on in a new segment, if the disk has room for one.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when it has not; everything is as it was.
    pub async fn make_room(&mut self) -> Result<(), AppendError> {
        self.roll().await
    }

    /// Goes on in a segment of the least size, and gives up the one that was made ready ahead, so
    /// that the journal takes little room once it is trimmed.
    ///
    /// # Errors
    /// [`AppendError`]; when it is refused everything is as it was.
    pub async fn shorten(&mut self) -> Result<(), AppendError> {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
            // Until it is over it may go on with its file.
            let _ = ahead.await;
            let path = format!("{}/{}", self.config.dir, new_name(self.number));
            let removed = remove_if_there(self.cx, &path).await;
            removed.map_err(|cause| AppendError::Refused { cause, definite: true })?;
        }
        let is_long = self.header.capacity > self.config.first_bytes;
        let is_used = self.offset > FIRST_FRAME;
        if !is_long && !is_used {
            return Ok(());
        }
        let size = self.config.first_bytes;
        self.number += 1;
        let (cx, dir, step) = (self.cx, self.config.dir.clone(), self.config.step_bytes);
        let preparing = prepare(cx, dir, self.number, size, step, false);
        self.ahead = Some(self.cx.spawn("prewrite", preparing));
        self.roll().await
    }

    /// The first record that is sure to be in the journal.
    pub fn first(&self) -> Lsn {
        self.segments[0].base
    }

    /// What was written from `from` on until now, to be read again. Nothing of it may be trimmed
    /// meanwhile.
    pub fn history(&self, from: Lsn) -> History {
        History::new(self.cx, &self.config.dir, &self.segments, from, self.next)
    }

    /// Removes the segments in which every record is before `keep`. Returns how many they were.
    ///
    /// Removals need no sync: what a power cut brings back holds nothing that anybody asks for.
    ///
    /// # Errors
    /// Some are removed then, the oldest first, and the rest can be removed later.
    pub async fn trim(&mut self, keep: Lsn) -> Result<usize, DiskError> {
        let Some(oldest) = self.segments.iter().rposition(|s| s.base <= keep) else {
            return Ok(0);
        };
        let oldest = match mutant!(self.cx, "journal.trims_one_too_many") {
            true => (oldest + 1).min(self.segments.len() - 1),
            false => oldest,
        };
        let dir = &self.config.dir;
        let mut numbers: Vec<u64> =
            self.cx.list(dir).await?.iter().filter_map(|e| number_of(&e.name)).collect();
        numbers.retain(|n| *n < self.segments[oldest].number);
        numbers.sort_unstable();
        for number in &numbers {
            remove_if_there(self.cx, &format!("{dir}/{}", file_name(*number))).await?;
            self.segments.retain(|s| s.number > *number);
        }
        sometimes!(self.cx, !numbers.is_empty(), "journal: segments were trimmed");
        Ok(numbers.len())
    }

    async fn write(
        &mut self,
        kind: Kind,
        batches: &[Records],
        sync: bool,
    ) -> Result<(), AppendError> {
        let body: usize = batches.iter().map(Records::len).sum();
        assert!(body <= BODY_MAX, "a frame of {body} bytes");
        let size = frame_size(body) as u64;
        // A frame larger than a whole segment has one to itself, and grows it.
        if self.closed || !self.fits(size) {
            self.roll().await?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let place = Place { salt: self.header.salt, offset: self.offset };
        let head = encode(&mut buffer, place, kind, self.next, self.durable, batches);
        let written = match sync {
            true => self.file.write_sync(self.offset, buffer).await,
            false => self.file.write_at(self.offset, buffer).await,
        };
        match written {
            // One large frame shall not hold its memory for ever.
            Ok(buffer) if buffer.capacity() <= BUFFER_KEPT => self.buffer = buffer,
            Ok(_) => {}
            Err(e) if e.op == "sync" => return Err(AppendError::Fatal(e)),
            Err(cause) => return Err(self.take_back(cause, size).await),
        }
        self.offset += size;
        self.next = head.next();
        self.marked = false;
        if sync {
            self.durable = self.next.previous();
        }
        self.prepare_ahead();
        self.check();
        Ok(())
    }

    /// A write failed: makes sure that no recovery finds what it left behind.
    async fn take_back(&mut self, cause: DiskError, size: u64) -> AppendError {
        sometimes!(self.cx, true, "journal: a write was refused");
        self.closed = true;
        if mutant!(self.cx, "journal.refused_frame_stays") {
            return AppendError::Refused { cause, definite: true };
        }
        let definite = match self.file.write_at(self.offset, vec![0; size as usize]).await {
            Err(_) => false,
            Ok(_) => match self.sync().await {
                Ok(()) => true,
                Err(e) => return AppendError::Fatal(e),
            },
        };
        AppendError::Refused { cause, definite }
    }

    fn fits(&self, size: u64) -> bool {
        self.offset + size <= self.header.capacity
    }

    /// Ends the segment and begins the next one.
    async fn roll(&mut self) -> Result<(), AppendError> {
        self.closed = true;
        if self.durable.next() < self.next {
            self.sync().await.map_err(AppendError::Fatal)?;
        }
        let refused = |cause| AppendError::Refused { cause, definite: true };
        let prepared = match self.ahead.take() {
            Some(ahead) => ahead.await.ok().and_then(Result::ok),
            None => None,
        };
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => self.prepare(false).await.map_err(refused)?,
        };
        let header = SegmentHeader {
            number: prepared.number,
            salt: self.cx.entropy(),
            base: self.next,
            previous: self.header.number,
            previous_end: self.offset,
            capacity: prepared.size,
            ..self.header
        };
        // A segment without records is replaced, not followed.
        let header = match self.next == self.header.base {
            true => SegmentHeader {
                previous: self.header.previous,
                previous_end: self.header.previous_end,
                ..header
            },
            false => header,
        };
        let file = match commit(self.cx, &self.config.dir, prepared, &header, &[]).await {
            Ok(file) => file,
            Err(CommitError::Refused(cause)) => return Err(refused(cause)),
            Err(CommitError::Fatal(cause)) => return Err(AppendError::Fatal(cause)),
        };
        let old = std::mem::replace(&mut self.file, Arc::new(file));
        self.seal(&old, &header).await;
        follow(&mut self.segments, &header);
        self.header = header;
        self.offset = FIRST_FRAME;
        self.marked = true;
        self.closed = false;
        sometimes!(self.cx, true, "journal: a segment followed another");
        self.check();
        Ok(())
    }

    /// Tells the old segment that it has a successor, so that the loss of that file is noticed.
    /// Nothing depends on it, so nothing is done about its failure.
    async fn seal(&mut self, old: &File, new: &SegmentHeader) {
        if new.previous != self.header.number || self.offset != new.previous_end {
            return;
        }
        let mut frame = Vec::new();
        let place = Place { salt: self.header.salt, offset: self.offset };
        encode(&mut frame, place, Kind::Seal, self.next, self.durable, &[]);
        if old.write_at(self.offset, frame).await.is_ok() {
            let _ = old.sync().await;
        }
    }

    fn prepare_ahead(&mut self) {
        if self.ahead.is_none() && self.offset > self.header.capacity / 4 {
            let preparing = self.prepare(true);
            self.ahead = Some(self.cx.spawn("prewrite", preparing));
        }
    }

    fn prepare(
        &mut self,
        pace: bool,
    ) -> impl Future<Output = Result<Prepared, DiskError>> + Send + 'static {
        let config = &self.config;
        self.number += 1;
        let size = match buggify!(self.cx, "journal: a tiny segment") {
            true => 8 * SECTOR as u64,
            false => (self.header.capacity * 4).clamp(config.first_bytes, config.segment_bytes),
        };
        prepare(self.cx, config.dir.clone(), self.number, size, config.step_bytes, pace)
    }

    fn check(&self) {
        assert!(self.durable < self.next, "durable {}, next {}", self.durable, self.next);
        assert!(self.next >= self.header.base, "next {}, {:?}", self.next, self.header);
        assert!(self.offset.is_multiple_of(SECTOR as u64), "a frame at byte {}", self.offset);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

/// Notes that `header` is the newest segment. It replaces one in which there are no records.
fn follow(segments: &mut Vec<Span>, header: &SegmentHeader) {
    segments.retain(|s| s.base < header.base);
    segments.push(Span::of(header));
}

fn fresh(cx: Context, database: Option<DatabaseId>, base: Lsn) -> Plan {
    let draw = || DatabaseId(u128::from(cx.entropy()) << 64 | u128::from(cx.entropy()));
    let database = database.unwrap_or_else(draw);
    let header = SegmentHeader {
        database,
        number: 1,
        salt: 0,
        base,
        previous: 0,
        previous_end: 0,
        capacity: 0,
    };
    let report = Recovery { created: true, ..Recovery::default() };
    let (carried, rubbish, segments) = (Vec::new(), Vec::new(), Vec::new());
    Plan { header, carried, rubbish, cut: None, segments, report }
}

fn first_size(cx: Context, config: &JournalConfig) -> u64 {
    match buggify!(cx, "journal: a tiny first segment") {
        true => 8 * SECTOR as u64,
        false => config.first_bytes,
    }
}

/// Frees what the new segment made superfluous. A failure leaves rubbish, and harms nothing.
async fn tidy(cx: Context, dir: &str, rubbish: &[String], cut: Option<(String, u64)>) {
    for name in rubbish {
        let _ = remove_if_there(cx, &format!("{dir}/{name}")).await;
    }
    if let Some((name, end)) = cut
        && let Ok(file) = cx.open(&format!("{dir}/{name}"), OpenMode::Write).await
        && file.size().await.is_ok_and(|size| size > end)
    {
        let _ = file.set_len(end).await;
    }
}
