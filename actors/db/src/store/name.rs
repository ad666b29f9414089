//! Keys as the engine has them.
//!
//! Clients may call a key anything, the empty string included, which the engine's keys cannot be.
//! Such a key, and each that begins with a zero byte, has a zero byte before it there. So all
//! others are in the tree as they are, and the order of keys is the same.

use std::borrow::Cow;

/// The key in the tree of a client's `key`.
#[inline]
pub(super) fn of(key: &[u8]) -> Cow<'_, [u8]> {
    match key.first() {
        None | Some(0) => Cow::Owned([&[0], key].concat()),
        Some(_) => Cow::Borrowed(key),
    }
}

/// The client's key that is called `name` in the tree.
pub(super) fn client(name: &[u8]) -> &[u8] {
    name.strip_prefix(&[0]).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_like_keys_and_can_be_told_back() {
        let keys: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0a", b"\x01", b"\x01\0", b"a", b"a\0"];
        for (at, key) in keys.iter().enumerate() {
            assert!(!of(key).is_empty());
            assert_eq!(client(&of(key)), *key);
            for later in &keys[at + 1..] {
                assert!(of(key) < of(later), "{key:?} {later:?}");
            }
        }
    }
}
