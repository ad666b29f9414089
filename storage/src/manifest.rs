//! The manifest: which database a directory is, and what was fixed when it was made.
//!
//! A FlatBuffer behind its size and before its checksum, twice in the file, so that one bad sector
//! costs nothing. It is replaced by a whole new file: write, sync, rename, sync of the directory.
//! `manifest/generated.rs` is made by `planus rust storage/schemas/manifest.fbs`, without the serde
//! derives and formatted as everything here.

use crc32c::crc32c;
use orloj_kernel::{Context, DiskError, OpenMode, sometimes};
use planus::{Builder, ReadAsRoot};

use crate::{
    Error,
    disk::{read_small, remove_if_there},
    encoding::Reader,
    journal::DatabaseId,
    superblock::FORMAT,
};

#[expect(
    dead_code,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes,
    reason = "generated"
)]
mod generated;

use generated::orloj as table;

/// The file's name.
pub const MANIFEST: &str = "MANIFEST";
/// The name under which its successor is made ready.
const NEW: &str = "MANIFEST.new";
/// Where its second copy stands.
const SECOND_COPY: usize = 4096;
/// The first release that reads the format this release writes.
const READER: &str = "0.1.0";
/// The only hash of contents so far: BLAKE3.
const BLAKE3: u8 = 1;
/// The only codec so far: bytes as they are.
const PLAIN: u8 = 0;

/// The hash of a schema.
pub type SchemaHash = [u8; 32];

/// Which schemas a database was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemas {
    /// Of the manifest.
    pub manifest: SchemaHash,
    /// Of the journal.
    pub wal: SchemaHash,
    /// Of the pages, the superblocks and the value log.
    pub disk: SchemaHash,
    /// Of the protocol, if whoever made the database knew it.
    pub wire: Option<SchemaHash>,
}

impl Schemas {
    /// What this release writes. Storage knows no protocol; `wire` is its caller's.
    pub fn of_this_release(wire: Option<SchemaHash>) -> Schemas {
        let hash = |schema: &[u8]| *blake3::hash(schema).as_bytes();
        Schemas {
            manifest: hash(include_bytes!("../schemas/manifest.fbs")),
            wal: hash(include_bytes!("../schemas/wal.fbs")),
            disk: hash(include_bytes!("../schemas/disk.fbs")),
            wire,
        }
    }
}

/// What a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Counts the manifests of this database, from 1.
    pub generation: u64,
    /// The format it is written in: minor version; the major one is this release's.
    pub minor: u16,
    /// Names the database for ever.
    pub database: DatabaseId,
    /// When it was made, Unix ms.
    pub created_at: u64,
    /// Bytes at which a leaf in memory splits.
    pub page_bytes: u32,
    /// Values above this many bytes go to the value log.
    pub inline_bytes: u32,
    /// What it was written with.
    pub schemas: Schemas,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Neither copy is intact.
    #[error("neither copy of the manifest is intact")]
    Damaged,
    /// A later release wrote it.
    #[error(
        "engine format {major}, this release reads {}: open it with release {reader} or later",
        FORMAT.0
    )]
    Newer {
        /// Its format's major version.
        major: u16,
        /// The first release that reads it.
        reader: String,
    },
    /// It asks for something that this release cannot do.
    #[error("it asks for {what}, which this release does not know")]
    Unknown {
        /// What.
        what: String,
    },
    /// It claims this release's format and was written with another schema.
    #[error("it was written with another {schema}.fbs than format {}.{minor} has", FORMAT.0)]
    Schema {
        /// Which.
        schema: &'static str,
        /// The minor version it claims.
        minor: u16,
    },
}

impl Manifest {
    /// The whole file: both copies.
    pub fn encode(&self) -> Vec<u8> {
        let root = table::Manifest {
            format_major: FORMAT.0,
            format_minor: self.minor,
            reader: READER.to_owned(),
            generation: self.generation,
            database_low: self.database.0 as u64,
            database_high: (self.database.0 >> 64) as u64,
            created_at: self.created_at,
            page_bytes: self.page_bytes,
            inline_bytes: self.inline_bytes,
            content_hash: BLAKE3,
            codec: PLAIN,
            features: 0,
            manifest_schema: self.schemas.manifest.to_vec(),
            wal_schema: self.schemas.wal.to_vec(),
            disk_schema: self.schemas.disk.to_vec(),
            wire_schema: self.schemas.wire.map(|hash| hash.to_vec()),
        };
        frame(&root)
    }

    /// Reads it from the bytes of its file, from whichever copy is intact.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(file: &[u8]) -> Result<Manifest, ManifestError> {
        let copies = [file, file.get(SECOND_COPY..).unwrap_or_default()];
        let buffer = copies.into_iter().find_map(intact).ok_or(ManifestError::Damaged)?;
        let damaged = |_: planus::Error| ManifestError::Damaged;
        let root = table::ManifestRef::read_as_root(buffer).map_err(damaged)?;
        let major = root.format_major().map_err(damaged)?;
        if major != FORMAT.0 {
            let reader = root.reader().map_err(damaged)?.to_owned();
            return Err(ManifestError::Newer { major, reader });
        }
        let root = table::Manifest::try_from(root).map_err(damaged)?;
        let asked = [
            ("features", root.features, 0),
            ("codec", root.codec.into(), PLAIN.into()),
            ("content hash", root.content_hash.into(), BLAKE3.into()),
        ];
        if let Some((name, value, _)) = asked.into_iter().find(|(_, value, known)| value != known) {
            return Err(ManifestError::Unknown { what: format!("{name} {value}") });
        }
        let hash = |bytes: &[u8]| SchemaHash::try_from(bytes).map_err(|_| ManifestError::Damaged);
        Ok(Manifest {
            generation: root.generation,
            minor: root.format_minor,
            database: DatabaseId(
                u128::from(root.database_high) << 64 | u128::from(root.database_low),
            ),
            created_at: root.created_at,
            page_bytes: root.page_bytes,
            inline_bytes: root.inline_bytes,
            schemas: Schemas {
                manifest: hash(&root.manifest_schema)?,
                wal: hash(&root.wal_schema)?,
                disk: hash(&root.disk_schema)?,
                wire: root.wire_schema.as_deref().map(hash).transpose()?,
            },
        })
    }

    /// Makes sure that it was written with the schemas of its format. Those of a later minor
    /// version are not known here; what it adds may be left unread.
    ///
    /// # Errors
    /// [`ManifestError::Schema`].
    pub fn check_schemas(&self, own: &Schemas) -> Result<(), ManifestError> {
        let (theirs, minor) = (&self.schemas, self.minor);
        let wire = theirs.wire.zip(own.wire);
        let pairs = [
            ("manifest", theirs.manifest == own.manifest),
            ("wal", theirs.wal == own.wal),
            ("disk", theirs.disk == own.disk),
            ("wire", wire.is_none_or(|(theirs, own)| theirs == own)),
        ];
        match pairs.into_iter().find(|(_, equal)| !equal) {
            Some((schema, _)) if minor <= FORMAT.1 => Err(ManifestError::Schema { schema, minor }),
            _ => Ok(()),
        }
    }
}

/// Both copies of `root`.
fn frame(root: &table::Manifest) -> Vec<u8> {
    let mut builder = Builder::new();
    let buffer = builder.finish(root, None);
    let mut file = Vec::with_capacity(2 * SECOND_COPY);
    file.extend_from_slice(&(buffer.len() as u32).to_le_bytes());
    file.extend_from_slice(buffer);
    let sum = crc32c(&file);
    file.extend_from_slice(&sum.to_le_bytes());
    assert!(file.len() <= SECOND_COPY, "a manifest of {} bytes", file.len());
    let len = file.len();
    file.resize(SECOND_COPY, 0);
    file.extend_from_within(..len);
    file
}

/// The FlatBuffer at the beginning of `copy`, if its checksum is right.
fn intact(copy: &[u8]) -> Option<&[u8]> {
    let len = Reader(copy).u32()? as usize;
    let covered = copy.get(..len.checked_add(4)?)?;
    let sum = Reader(&copy[covered.len()..]).u32()?;
    (sum == crc32c(covered)).then(|| &covered[4..])
}

/// Reads the manifest of `dir`; `None` if there is none.
///
/// # Errors
/// [`Error::Manifest`] and [`Error::Disk`].
pub async fn read(cx: Context, dir: &str) -> Result<Option<Manifest>, Error> {
    let path = format!("{dir}/{MANIFEST}");
    let found = read_small(cx, &path, 2 * SECOND_COPY, Manifest::decode).await?;
    found.transpose().map_err(|cause| Error::Manifest { dir: dir.to_owned(), cause })
}

/// Makes `manifest` the one of `dir`. It survives a power cut on return, and until then the old
/// one does.
///
/// # Errors
/// The old one is still in force, unless syncing the directory failed: then it is either of them.
pub async fn write(cx: Context, dir: &str, manifest: &Manifest) -> Result<(), DiskError> {
    let (new, path) = (format!("{dir}/{NEW}"), format!("{dir}/{MANIFEST}"));
    remove_if_there(cx, &new).await?;
    let file = cx.open(&new, OpenMode::CreateNew).await?;
    let done = async {
        file.write_sync(0, manifest.encode()).await?;
        cx.rename(&new, &path).await
    };
    if let Err(e) = done.await {
        sometimes!(cx, true, "manifest: it could not be replaced");
        let _ = cx.remove(&new).await;
        return Err(e);
    }
    cx.sync_dir(dir).await
}

#[cfg(test)]
mod tests;
