//! What an error of the operating system means to a caller of the disk port.

use std::io;

use orloj_kernel::DiskErrorKind;

/// The kind of an error that `path` or a file of this machine gave.
pub(super) fn kind(error: io::Error) -> DiskErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => DiskErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => DiskErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::ReadOnly,
        io::ErrorKind::PermissionDenied => DiskErrorKind::Denied,
        io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::DirectoryNotEmpty
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => DiskErrorKind::BadPath,
        _ => DiskErrorKind::Io(error.raw_os_error().unwrap_or(0)),
    }
}
