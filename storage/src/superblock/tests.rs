//! Goal: a superblock comes back as it was written or not at all, and the newest one wins.

mod files;

use super::*;

const ME: DatabaseId = DatabaseId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);

fn generation(generation: u64) -> Superblock {
    Superblock {
        database: ME,
        generation,
        lsn: Lsn(generation * 10),
        previous_lsn: Lsn(generation * 10 - 10),
        applied: 1,
        wall_base: 2,
        mono_base: 3,
        clock: 4,
        catalogue: PagePtr { unit: 5, units: 6, sum: 7, generation: 8 },
        space: PagePtr { unit: 9, units: 10, sum: 11, generation: 12 },
        units: 13,
        value_segment: 14,
        value_end: 15,
    }
}

#[test]
fn golden() {
    #[rustfmt::skip]
    let golden: &[u8] = &[
        b'o', b'r', b'l', b'o', b'j', b's', b'u', b'p', 1, 0, 0, 0, 0, 0, 0, 0,
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        3, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0,
        20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
        4, 0, 0, 0, 0, 0, 0, 0,
        5, 0, 0, 0, 0, 0, 6, 0, 7, 0, 0, 0, 8, 0, 0, 0,
        9, 0, 0, 0, 0, 0, 10, 0, 11, 0, 0, 0, 12, 0, 0, 0,
        13, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0,
    ];
    let file = generation(3).encode();
    assert_eq!(file.len(), SECOND_COPY + SUPERBLOCK);
    assert_eq!(&file[..golden.len()], golden);
    assert!(file[golden.len()..SUM].iter().all(|b| *b == 0));
    assert_eq!(file[..SUPERBLOCK], file[SECOND_COPY..]);
    assert_eq!(Superblock::decode(&file), Ok(generation(3)));
}

#[test]
fn one_copy_is_enough_and_damage_is_never_read() {
    let file = generation(3).encode();
    for at in 0..SUPERBLOCK {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert_eq!(Superblock::decode(&damaged), Ok(generation(3)), "byte {at}");
        damaged[SECOND_COPY + at] ^= 1;
        assert_eq!(Superblock::decode(&damaged), Err(SuperblockError::Damaged), "byte {at}");
    }
    for end in 0..SUPERBLOCK {
        assert_eq!(Superblock::decode(&file[..end]), Err(SuperblockError::Damaged));
    }
}

#[test]
fn the_newest_intact_one_wins() {
    let choice = |a: Option<&[u8]>, b: Option<&[u8]>| {
        choose(ME, a.map(Superblock::decode), b.map(Superblock::decode)).expect("not newer")
    };
    let found = |newest: Option<u64>, other: Option<u64>, damaged: &[Side]| Found {
        newest: newest.map(generation),
        other: other.map(generation),
        damaged: damaged.to_vec(),
    };
    let (a, b, next) = (generation(5).encode(), generation(4).encode(), generation(6).encode());
    assert_eq!(choice(Some(&a), Some(&b)), found(Some(5), Some(4), &[]));
    assert_eq!(choice(Some(&a), Some(&next)), found(Some(6), Some(5), &[]));
    assert_eq!(choice(Some(&a[..300]), Some(&b)), found(Some(4), None, &[Side::A]), "torn");
    assert_eq!(choice(None, Some(&b)), found(Some(4), None, &[]));
    assert_eq!(choice(None, None), found(None, None, &[]));
    assert_eq!(choice(Some(&b), None), found(None, None, &[Side::A]), "even ones go to B");
    let other = choose(DatabaseId(1), Some(Ok(generation(5))), Some(Ok(generation(4))));
    assert_eq!(other, Ok(found(None, None, &[Side::A, Side::B])), "another database's");
}

#[test]
fn a_later_format_is_refused_whatever_the_other_file_holds() {
    let mut newer = generation(5).encode();
    newer.truncate(SUPERBLOCK);
    newer[8] = 2;
    let sum = crc32c(&newer[..SUM]);
    newer[SUM..].copy_from_slice(&sum.to_le_bytes());
    let refused = choose(ME, Some(Superblock::decode(&newer)), Some(Ok(generation(4))));
    assert_eq!(refused, Err(SuperblockError::Newer { major: 2 }));
}
