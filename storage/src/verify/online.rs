//! Walking one generation of an open database, beside its writers.

use super::{OnProgress, Report, Source};
use crate::{Database, Error, superblock::Found};

impl Database {
    /// As [`Offline::verify`](super::Offline::verify), of a database that is open: it walks the
    /// newest generation, which is kept until it is done, the values that it refers to, and the
    /// journal behind it. Writers go on. The generation before, and its superblock, are not looked
    /// at. In memory there is nothing to be walked.
    ///
    /// # Errors
    /// As offline.
    pub async fn verify(&self, progress: OnProgress<'_>) -> Result<Report, Error> {
        self.check_open()?;
        let Some(engine) = self.engine() else { return Ok(Report::default()) };
        let hold = engine.hold();
        let newest = hold.as_ref().map(|hold| *hold.superblock());
        let source = Source {
            cx: engine.cx,
            dir: engine.options.dir.clone(),
            manifest: &engine.manifest,
            found: Found { newest, ..Found::default() },
            pager: Some(&engine.pager),
            values: &engine.values,
            online: Some(engine),
        };
        source.verify(progress).await
    }
}
