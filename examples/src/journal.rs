//! Records that survive: a file that only grows.

use orloj_kernel::{Context, DiskError, File, OpenMode, mutant};

/// Records of `N` words each, with a checksum behind every one.
#[derive(Debug)]
pub struct Journal<const N: usize> {
    file: File,
    /// Bytes that hold whole records.
    end: u64,
}

/// FNV-1a over the bytes of the words. Words of zeros do not have the checksum zero.
fn checksum(words: &[u64]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl<const N: usize> Journal<N> {
    /// Bytes of a record.
    const RECORD: usize = 8 * (N + 1);

    /// Opens the journal `name` in the host's root, making both, and returns what it holds.
    ///
    /// A record that is torn ends it: neither it nor anything behind it was ever acknowledged.
    pub async fn open(cx: &Context, name: &str) -> Result<(Journal<N>, Vec<[u64; N]>), DiskError> {
        cx.create_dir("").await?;
        let file = cx.open(name, OpenMode::Create).await?;
        cx.sync_dir("").await?;
        let mut bytes = file.read_at(0, file.size().await? as usize).await?;
        let records = bytes.chunks_exact(Self::RECORD).map_while(|bytes| decode(cx, bytes));
        let records: Vec<[u64; N]> = records.collect();
        // Behind the torn record may lie whole ones of the same write; the next append would bring
        // them back to life.
        bytes.truncate(records.len() * Self::RECORD);
        let end = bytes.len() as u64;
        file.set_len(end).await?;
        // What was read may stand in the page cache alone: the process before this one died between
        // its write and its sync, or the sync failed. Before anybody is shown it, it must be safe.
        if !mutant!(cx, "journal-trusts-the-cache") {
            file.write_sync(0, bytes).await?;
        }
        Ok((Journal { file, end }, records))
    }

    /// Appends `records`, all in one write and one sync. Once it returns, they survive.
    ///
    /// # Errors
    /// Whether they survive is unknown then, and the journal must be opened again.
    pub async fn append(&mut self, records: &[[u64; N]]) -> Result<(), DiskError> {
        let mut bytes = Vec::with_capacity(records.len() * Self::RECORD);
        for record in records {
            bytes.extend(record.iter().flat_map(|word| word.to_le_bytes()));
            bytes.extend(checksum(record).to_le_bytes());
        }
        let end = self.end + bytes.len() as u64;
        self.file.write_sync(self.end, bytes).await?;
        self.end = end;
        Ok(())
    }
}

fn decode<const N: usize>(cx: &Context, bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("chunks of eight bytes")));
    let record = std::array::from_fn(|_| words.next().expect("a record has all its words"));
    let whole = words.next() == Some(checksum(&record));
    (whole || mutant!(cx, "journal-believes-anything")).then_some(record)
}
