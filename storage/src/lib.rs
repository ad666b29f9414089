//! Bytes that survive a crash: journal records, segments, recovery.
