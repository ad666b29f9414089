//! The inventory as bytes.

use crc32c::crc32c;

use super::super::{BackupError, Flaw, Inventory, Moment, Object, Part};
use crate::{
    Lsn,
    journal::DatabaseId,
    manifest::{Manifest, Schemas},
    page::PagePtr,
    superblock::Superblock,
};

fn object(name: &str, bytes: u64, part: Part) -> Object {
    Object { name: name.to_owned(), bytes, sum: 0x0403_0201, part }
}

fn inventory() -> Inventory {
    let database = DatabaseId(7);
    let page = PagePtr { unit: 1, units: 1, sum: 2, generation: 3 };
    Inventory {
        number: 2,
        taken_at: 3,
        manifest: Manifest {
            generation: 1,
            minor: 0,
            database,
            created_at: 1,
            page_bytes: 16 << 10,
            inline_bytes: 2 << 10,
            schemas: Schemas::of_this_release(None),
        },
        superblock: Superblock {
            database,
            generation: 4,
            lsn: Lsn(10),
            previous_lsn: Lsn(5),
            applied: 0,
            wall_base: 0,
            mono_base: 0,
            clock: 0,
            catalogue: page,
            space: page,
            units: 9,
            value_segment: 2,
            value_end: 300,
        },
        from: Moment { version: Lsn(10), time: 100 },
        to: Moment { version: Lsn(210), time: 200 },
        objects: vec![
            object("1-pages", 300, Part::Pages),
            object("1-values", 200, Part::Values { segment: 1, offset: 0 }),
            object("1-values-more", 7, Part::Values { segment: 1, offset: 200 }),
            object("1-values-2", 7, Part::Values { segment: 2, offset: 0 }),
            object("1-journal", 9, Part::Journal { first: Lsn(11), last: Lsn(209) }),
            object("2-journal", 9, Part::Journal { first: Lsn(210), last: Lsn(210) }),
        ],
    }
}

#[test]
fn golden() {
    let bytes = inventory().encode();
    let word = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
    let head = [10, 100, 210, 200].map(word).concat();
    let head = [&b"orlojbak\x01\0\0\0"[..], &word(2), &word(3), &head].concat();
    assert_eq!(&bytes[..head.len()], head);
    #[rustfmt::skip]
    let end: &[&[u8]] = &[
        &[6],
        &[7], b"1-pages", &[0xac, 2], &[1, 2, 3, 4], &[1],
        &[8], b"1-values", &[0xc8, 1], &[1, 2, 3, 4], &[2, 1, 0],
        &[13], b"1-values-more", &[7], &[1, 2, 3, 4], &[2, 1, 0xc8, 1],
        &[10], b"1-values-2", &[7], &[1, 2, 3, 4], &[2, 2, 0],
        &[9], b"1-journal", &[9], &[1, 2, 3, 4], &[3, 11, 0xd1, 1],
        &[9], b"2-journal", &[9], &[1, 2, 3, 4], &[3, 0xd2, 1, 0xd2, 1],
    ];
    let (body, sum) = bytes.split_at(bytes.len() - 4);
    assert!(body.ends_with(&end.concat()));
    assert_eq!(sum, crc32c(body).to_le_bytes());
    assert_eq!(Inventory::decode("x", &bytes), Ok(inventory()));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(Inventory::decode("x", &damaged), Err(BackupError::damaged("x", Flaw::Sum)));
        assert!(Inventory::decode("x", &bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_later_format_is_told_and_what_does_not_fit_is_refused() {
    let mut later = inventory().encode();
    later[8] = 2;
    let at = later.len() - 4;
    let sum = crc32c(&later[..at]).to_le_bytes();
    later[at..].copy_from_slice(&sum);
    let newer = BackupError::Newer { object: "x".into(), major: 2 };
    assert_eq!(Inventory::decode("x", &later), Err(newer));

    let refused = |change: fn(&mut Inventory)| {
        let mut inventory = inventory();
        change(&mut inventory);
        let misfit = Err(BackupError::damaged("x", Flaw::Misfit));
        assert_eq!(Inventory::decode("x", &inventory.encode()), misfit, "{inventory:?}");
    };
    refused(|i| i.objects.swap(0, 1));
    refused(|i| i.objects.swap(1, 2));
    refused(|i| i.objects.swap(4, 5));
    refused(|i| drop(i.objects.remove(1)));
    refused(|i| drop(i.objects.remove(4)));
    refused(|i| i.objects[0].name = "../elsewhere".into());
    refused(|i| i.superblock.database = DatabaseId(8));
    refused(|i| i.to.version = Lsn(211));
    refused(|i| i.from.version = Lsn(9));
    refused(|i| i.from.time = 201);
}
