//! What an error of the operating system means to a caller of the disk port.

use std::io;

use orloj_kernel::DiskErrorKind;

/// What went wrong with a name.
pub(super) fn of_path(error: io::Error) -> DiskErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => DiskErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => DiskErrorKind::AlreadyExists,
        io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::DirectoryNotEmpty
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput => DiskErrorKind::BadPath,
        _ => of_file(error),
    }
}

/// What went wrong with an open file.
pub(super) fn of_file(error: io::Error) -> DiskErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::ReadOnly,
        io::ErrorKind::PermissionDenied => DiskErrorKind::Denied,
        _ => DiskErrorKind::Io(error.raw_os_error().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_meaning_of_its_place() {
        let path = |number| of_path(io::Error::from_raw_os_error(number));
        let file = |number| of_file(io::Error::from_raw_os_error(number));
        for (number, of_path, of_file) in [
            (libc::ENOENT, DiskErrorKind::NotFound, DiskErrorKind::Io(libc::ENOENT)),
            (libc::EEXIST, DiskErrorKind::AlreadyExists, DiskErrorKind::Io(libc::EEXIST)),
            (libc::EISDIR, DiskErrorKind::BadPath, DiskErrorKind::Io(libc::EISDIR)),
            (libc::ENOTDIR, DiskErrorKind::BadPath, DiskErrorKind::Io(libc::ENOTDIR)),
            (libc::ENOTEMPTY, DiskErrorKind::BadPath, DiskErrorKind::Io(libc::ENOTEMPTY)),
            (libc::ENAMETOOLONG, DiskErrorKind::BadPath, DiskErrorKind::Io(libc::ENAMETOOLONG)),
            (libc::EINVAL, DiskErrorKind::BadPath, DiskErrorKind::Io(libc::EINVAL)),
            (libc::ENOSPC, DiskErrorKind::Full, DiskErrorKind::Full),
            (libc::EDQUOT, DiskErrorKind::Full, DiskErrorKind::Full),
            (libc::EROFS, DiskErrorKind::ReadOnly, DiskErrorKind::ReadOnly),
            (libc::EACCES, DiskErrorKind::Denied, DiskErrorKind::Denied),
            (libc::EPERM, DiskErrorKind::Denied, DiskErrorKind::Denied),
            (libc::EIO, DiskErrorKind::Io(libc::EIO), DiskErrorKind::Io(libc::EIO)),
            (libc::EFBIG, DiskErrorKind::Io(libc::EFBIG), DiskErrorKind::Io(libc::EFBIG)),
        ] {
            assert_eq!((path(number), file(number)), (of_path, of_file), "error {number}");
        }
    }
}
