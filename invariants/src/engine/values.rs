//! Values that say of themselves who wrote them, and where.

use super::{KeyspaceId, WriteId};

/// The kind of value by the engine's convention for asserts: any bytes.
const BYTES: u8 = 5;
/// The byte of the kind, and the number of the write.
const HEAD: usize = 9;

/// The value that a write gives a key. Every byte of it is known to whoever knows the three.
///
/// One in sixteen is long, of 2 to 6 KiB, three are of some 350 bytes, the rest are below 150.
pub fn value(write: WriteId, keyspace: KeyspaceId, key: &[u8]) -> Vec<u8> {
    let mut mix = mixed(write as u64 ^ u64::from(keyspace) << 48);
    for byte in key {
        mix = (mix ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix = mixed(mix);
    let len = match mix >> 60 {
        0 => 2_000 + mix as usize % 4_000,
        1..4 => 300 + mix as usize % 100,
        _ => 20 + mix as usize % 120,
    };
    let mut value = Vec::with_capacity(HEAD + len + 8);
    value.push(BYTES);
    value.extend((write as u64).to_le_bytes());
    while value.len() < HEAD + len {
        mix = mixed(mix);
        value.extend(mix.to_le_bytes());
    }
    value.truncate(HEAD + len);
    value
}

/// Which of the first `writes` writes gave this key these bytes, every one of them.
///
/// # Errors
/// In which way none did.
pub fn written_by(
    writes: usize,
    keyspace: KeyspaceId,
    key: &[u8],
    bytes: &[u8],
) -> Result<WriteId, String> {
    let head = bytes.get(1..HEAD).and_then(|head| <[u8; 8]>::try_from(head).ok());
    let number = head.map(u64::from_le_bytes).and_then(|number| usize::try_from(number).ok());
    let Some(write) = number.filter(|write| *write < writes) else {
        return Err(format!("{} bytes that no write has written", bytes.len()));
    };
    let expected = value(write, keyspace, key);
    if bytes == expected {
        return Ok(write);
    }
    let differs = bytes.iter().zip(&expected).position(|(is, should)| is != should);
    let differs = differs.unwrap_or(bytes.len().min(expected.len()));
    Err(format!(
        "{} bytes of which {differs} are as write {write} wrote them, who wrote {} to this key",
        bytes.len(),
        expected.len()
    ))
}

/// SplitMix64 (Steele et al., OOPSLA 2014).
fn mixed(from: u64) -> u64 {
    let mut z = from.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_write_and_its_key() {
        for write in 0..200 {
            let bytes = value(write, 16, b"key");
            assert_eq!(written_by(200, 16, b"key", &bytes), Ok(write));
            assert!(written_by(200, 17, b"key", &bytes).is_err());
            assert!(written_by(200, 16, b"kez", &bytes).is_err());
            assert!(written_by(write, 16, b"key", &bytes).is_err());
            let mut flipped = bytes.clone();
            let at = 9 + write * 7 % (bytes.len() - 9);
            flipped[at] ^= 1 << (write % 8);
            let why = written_by(200, 16, b"key", &flipped);
            assert!(why.is_err_and(|why| why.contains(&format!("of which {at} are"))));
        }
        assert!(written_by(9, 16, b"key", b"short").is_err());
    }
}
