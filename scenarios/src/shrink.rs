//! Making a case smaller while the same law is broken.
