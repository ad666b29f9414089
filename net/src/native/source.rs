//! Where words are read from: one table, and how much may still be taken out of it.

use std::sync::Arc;

use bytes::Bytes;
use planus::{ReadAsRoot, errors::ErrorKind};

use crate::envelope::{Code, Failure, MESSAGE_MAX};

/// What an item of a list counts for, in bytes, beside its own.
const ITEM: usize = 8;

/// Why a table gives no message.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is no table: the stream cannot be trusted.
    Table,
    /// It asks for what cannot be had; the next frame may be better.
    Refused(Failure),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault::Refused(failure)
    }
}

impl From<planus::Error> for Fault {
    fn from(error: planus::Error) -> Fault {
        match error.error_kind {
            ErrorKind::UnknownUnionTag { tag } => {
                let said = "a command, or an answer, of a type nobody knows";
                Failure::new(Code::UnknownCommand, said).with("tag", tag.to_string()).into()
            }
            _ => Fault::Table,
        }
    }
}

/// A frame's table. Parts of it may be named more than once, so what is taken out is counted: no
/// table is worth more than a longest one that names each part once.
pub(super) struct Source<'a> {
    table: &'a Bytes,
    left: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(table: &'a Bytes) -> Source<'a> {
        Source { table, left: MESSAGE_MAX }
    }

    pub(super) fn root<T: ReadAsRoot<'a>>(&self) -> Result<T, Fault> {
        Ok(T::read_as_root(self.table)?)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Failure::new(Code::TooLarge, "longer than what is taken")
                .with("max_bytes", MESSAGE_MAX.to_string())
        })?;
        Ok(())
    }

    /// A byte string, without copying it.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<Bytes, Fault> {
        self.take(bytes.len())?;
        Ok(self.table.slice_ref(bytes))
    }

    /// A byte string that has to be there.
    pub(super) fn field(
        &mut self,
        name: &'static str,
        bytes: Option<&[u8]>,
    ) -> Result<Bytes, Fault> {
        let bytes = bytes.ok_or_else(|| Failure::invalid(name, "is required"))?;
        self.bytes(bytes)
    }

    /// A text that may be absent.
    pub(super) fn name(&mut self, text: Option<&str>) -> Result<Option<Arc<str>>, Fault> {
        text.map(|text| self.text(text).map(Arc::from)).transpose()
    }

    /// A text; an absent one is empty.
    pub(super) fn string(&mut self, text: Option<&str>) -> Result<String, Fault> {
        text.map_or(Ok(String::new()), |text| self.text(text).map(String::from))
    }

    fn text<'b>(&mut self, text: &'b str) -> Result<&'b str, Fault> {
        self.take(text.len())?;
        Ok(text)
    }

    /// Every item of a list; an absent one is empty.
    pub(super) fn list<I, T>(
        &mut self,
        items: Option<I>,
        mut read: impl FnMut(&mut Self, I::Item) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let Some(items) = items.map(I::into_iter) else { return Ok(Vec::new()) };
        self.take(items.len().saturating_mul(ITEM))?;
        items.map(|item| read(self, item)).collect()
    }

    /// Every text of a list.
    pub(super) fn names<'b, I>(&mut self, items: Option<I>) -> Result<Vec<Arc<str>>, Fault>
    where
        I: IntoIterator<Item = planus::Result<&'b str>>,
        I::IntoIter: ExactSizeIterator,
    {
        self.list(items, |from, text| Ok(from.text(text?)?.into()))
    }
}
