//! Reading and writing pages.

use orloj_kernel::{Context, DiskError, File, OpenMode, mutant, sometimes};

use super::{Bits, DATA_PAGES, Space};
use crate::{
    Corrupt, Error,
    disk::{READS, read_stubbornly},
    error::Range,
    journal::DatabaseId,
    page::{PageFault, PageHeader, PagePtr, UNIT, open, seal},
    tree::Miss,
};

/// Most bytes of pages that are written at once.
const RUN: usize = 1 << 20;

/// The file of pages, open.
#[derive(Debug)]
pub struct Pager {
    cx: Context,
    file: File,
    path: String,
    database: DatabaseId,
    /// Which units are free.
    pub space: Space,
}

impl Pager {
    /// Opens the file in `dir`, making it if it is not there. All of it is free; see
    /// [`Pager::with_space`].
    pub async fn open(cx: Context, dir: &str, database: DatabaseId) -> Result<Pager, DiskError> {
        Pager::open_as(cx, dir, database, OpenMode::Create).await
    }

    /// As [`Pager::open`], for whoever only looks: nothing is made, and nothing can be written.
    pub(crate) async fn open_to_read(
        cx: Context,
        dir: &str,
        database: DatabaseId,
    ) -> Result<Pager, DiskError> {
        Pager::open_as(cx, dir, database, OpenMode::Read).await
    }

    /// As [`Pager::open`], of a file that is there.
    pub(crate) async fn open_to_mend(
        cx: Context,
        dir: &str,
        database: DatabaseId,
    ) -> Result<Pager, DiskError> {
        Pager::open_as(cx, dir, database, OpenMode::Write).await
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    async fn open_as(
        cx: Context,
        dir: &str,
        database: DatabaseId,
        mode: OpenMode,
    ) -> Result<Pager, DiskError> {
        let space = Space::new(Bits::default(), Bits::default(), 0);
        let path = format!("{dir}/{DATA_PAGES}");
        let file = cx.open(&path, mode).await?;
        Ok(Pager { cx, file, path, database, space })
    }

    /// As it is, with other units free.
    pub fn with_space(self, space: Space) -> Pager {
        Pager { space, ..self }
    }

    /// Reads the page that `page` refers to. Nothing is handed out unless its checksum is right and
    /// the one its parent remembers, and its address is as it must be.
    ///
    /// # Errors
    /// [`Error::Disk`] if the device fails, [`Error::Corrupt`] if it gives something else, both
    /// after three attempts. No other page is concerned.
    pub async fn read(&self, page: PagePtr) -> Result<(PageHeader, Vec<u8>), Error> {
        let mut fault = PageFault::Short;
        for attempt in 0..READS {
            let image = read_stubbornly(&self.file, page.offset(), page.size()).await?;
            let opened = match open(&image, self.database, page) {
                Err(fault) if mutant!(self.cx, "pager.sum_is_not_looked_at") => {
                    PageHeader::read(&image).ok_or(fault)
                }
                opened => opened,
            };
            match opened {
                Ok(header) => {
                    sometimes!(self.cx, attempt > 0, "pager: a second reading was right");
                    return Ok((header, image));
                }
                Err(found) => fault = found,
            }
        }
        sometimes!(self.cx, true, "pager: a damaged page was refused");
        Err(self.corrupt(page, fault, None))
    }

    /// The image of a missed page. Whether it fits its place, [`Miss::install`] will say.
    ///
    /// # Errors
    /// As [`Pager::read`], with the keys that cannot be served.
    pub async fn load(&self, miss: &Miss) -> Result<Vec<u8>, Error> {
        match self.read(miss.ptr()).await {
            Ok((_, image)) => Ok(image),
            Err(Error::Corrupt(mut corrupt)) => {
                corrupt.keys = miss.range();
                Err(Error::Corrupt(corrupt))
            }
            Err(error) => Err(error),
        }
    }

    /// The error of a damaged page.
    pub(crate) fn corrupt(&self, page: PagePtr, fault: PageFault, keys: Option<Range>) -> Error {
        let (file, offset, what) = (self.path.clone(), page.offset(), fault.into());
        Error::Corrupt(Box::new(Corrupt { file, offset, what, keys }))
    }

    /// Makes every page written so far survive a power cut.
    ///
    /// # Errors
    /// What the file holds is unknown then, and no checkpoint may rest on it.
    pub async fn sync(&self) -> Result<(), DiskError> {
        self.file.sync().await
    }

    /// Cuts off what is free at the file's end. Returns how many bytes that were.
    pub async fn shrink(&self) -> Result<u64, DiskError> {
        let Some(units) = self.space.shrink() else { return Ok(0) };
        let _over = Cutting(&self.space);
        let (before, after) = (self.file.size().await?, units * UNIT as u64);
        if before <= after {
            return Ok(0);
        }
        self.file.set_len(after).await?;
        Ok(before - after)
    }
}

/// The end of the file is being cut off.
struct Cutting<'a>(&'a Space);

impl Drop for Cutting<'_> {
    fn drop(&mut self) {
        self.0.was_cut();
    }
}

/// Pages on their way to disk. Neighbours are written together.
#[derive(Debug)]
pub struct Run<'a> {
    pager: &'a Pager,
    generation: u64,
    /// Pages in a row that are not written yet.
    buffer: Vec<u8>,
    /// The unit of the first.
    first: u64,
    written: u64,
}

impl<'a> Run<'a> {
    /// Nothing yet; pages will be of `generation`.
    pub fn new(pager: &'a Pager, generation: u64) -> Run<'a> {
        Run { pager, generation, buffer: Vec::new(), first: 0, written: 0 }
    }

    /// Gives `image` a place, of whole units, and returns the reference to it. It is on its way:
    /// see [`Run::finish`].
    ///
    /// # Errors
    /// Some page was not written. None of this run may be relied upon.
    pub async fn add(&mut self, image: Vec<u8>) -> Result<PagePtr, DiskError> {
        self.add_with(image.len() / UNIT, |place| place.copy_from_slice(&image)).await
    }

    /// As [`Run::add`], of the image that `fill` makes of `units` units of zeros.
    ///
    /// # Errors
    /// As [`Run::add`].
    pub async fn add_with(
        &mut self,
        units: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<PagePtr, DiskError> {
        let count = u16::try_from(units).expect("a page is below 65,536 units");
        let unit = self.pager.space.allocate(count);
        self.place(unit, units, fill).await
    }

    /// As [`Run::add`], at a place that was allocated for it.
    ///
    /// # Errors
    /// As [`Run::add`].
    pub async fn add_at(&mut self, unit: u64, image: Vec<u8>) -> Result<PagePtr, DiskError> {
        self.place(unit, image.len() / UNIT, |place| place.copy_from_slice(&image)).await
    }

    /// As [`Run::add_at`], of the image that `fill` makes of `units` units of zeros.
    ///
    /// # Errors
    /// As [`Run::add`].
    pub async fn place(
        &mut self,
        unit: u64,
        units: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<PagePtr, DiskError> {
        let (start, len) = (self.buffer.len(), units * UNIT);
        let end = self.first + (start / UNIT) as u64;
        if start > 0 && (end != unit || start + len > RUN) {
            self.flush().await?;
        }
        if self.buffer.is_empty() {
            self.first = unit;
            self.buffer.reserve(RUN.max(len));
        }
        let start = self.buffer.len();
        self.buffer.resize(start + len, 0);
        let image = &mut self.buffer[start..];
        fill(image);
        Ok(seal(image, self.pager.database, unit, self.generation))
    }

    /// Writes what is left. Returns the bytes of the whole run.
    ///
    /// # Errors
    /// As [`Run::add`].
    pub async fn finish(mut self) -> Result<u64, DiskError> {
        self.flush().await?;
        Ok(self.written)
    }

    async fn flush(&mut self) -> Result<(), DiskError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.written += buffer.len() as u64;
        self.buffer = self.pager.file.write_at(self.first * UNIT as u64, buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
