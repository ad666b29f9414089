//! How user bytes look in a log: present, measured, unreadable.

use std::fmt;

/// Shows a key as its length and a 32-bit fingerprint: enough to follow one key through a trace,
/// not enough to read it. `<5B #4f9f2cab>`
pub struct HiddenKey<'a>(pub &'a [u8]);

/// Shows a value as its length alone. `<32B>`
pub struct HiddenValue<'a>(pub &'a [u8]);

impl fmt::Debug for HiddenKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}B #{:08x}>", self.0.len(), fingerprint(self.0))
    }
}

impl fmt::Debug for HiddenValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}B>", self.0.len())
    }
}

/// FNV-1a, 32 bits: fixed by its definition, so a trace reads the same on every machine.
fn fingerprint(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
