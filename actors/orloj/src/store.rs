//! Object stores as targets of backups: whatever the crate `object_store` knows, buckets included.
//!
//! The tool is built with directories only (`file://`). A program that builds `object_store` with
//! the feature of its provider gives that store to [`Store::new`], and the result to
//! [`Database::backup`](orloj_storage::Database::backup).

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use orloj_kernel::Io;
use orloj_storage::backup::{Target, TargetError};

/// The objects of a store below a prefix, as a target.
///
/// What it promises of durability is what the store does: providers of buckets answer when an
/// object is safe; of [`object_store::local::LocalFileSystem`] that must be asked for.
#[derive(Clone, Debug)]
pub struct Store {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Store {
    /// The target below `prefix` in `store`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Store {
        Store { store, prefix }
    }

    fn failed(op: &'static str, name: &Path, cause: object_store::Error) -> TargetError {
        TargetError { op, name: name.to_string(), cause: cause.to_string() }
    }
}

impl Target for Store {
    fn put<'a>(&'a self, name: &'a str, bytes: Vec<u8>) -> Io<'a, Result<(), TargetError>> {
        Box::pin(async move {
            let path = self.prefix.clone().join(name);
            let put = self.store.put(&path, bytes.into()).await;
            put.map(|_| ()).map_err(|e| Store::failed("put", &path, e))
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Io<'a, Result<Option<Vec<u8>>, TargetError>> {
        Box::pin(async move {
            let path = self.prefix.clone().join(name);
            let failed = |e| Store::failed("get", &path, e);
            match self.store.get(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                found => {
                    let bytes = found.map_err(failed)?.bytes().await.map_err(failed)?;
                    Ok(Some(bytes.into()))
                }
            }
        })
    }

    fn list(&self) -> Io<'_, Result<Vec<String>, TargetError>> {
        Box::pin(async move {
            let listed = self.store.list_with_delimiter(Some(&self.prefix)).await;
            let listed = listed.map_err(|e| Store::failed("list", &self.prefix, e))?;
            let name =
                |object: &object_store::ObjectMeta| object.location.filename().map(str::to_owned);
            Ok(listed.objects.iter().filter_map(name).collect())
        })
    }
}
