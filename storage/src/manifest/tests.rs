//! Goal: a manifest comes back as it was written, or is refused for what is wrong with it; and when
//! one replaces another, a power cut leaves either.

use orloj_sim::{Config, Control, Crash, Simulation, disk::DiskFaults};

use super::*;

fn manifest(generation: u64) -> Manifest {
    Manifest {
        generation,
        minor: 0,
        database: DatabaseId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        created_at: 5,
        page_bytes: 16 << 10,
        inline_bytes: 2 << 10,
        schemas: Schemas { manifest: [1; 32], wal: [2; 32], disk: [3; 32], wire: Some([4; 32]) },
    }
}

fn raw() -> table::Manifest {
    let file = manifest(1).encode();
    let buffer = intact(&file).expect("it was just written");
    table::ManifestRef::read_as_root(buffer).and_then(TryInto::try_into).expect("a manifest")
}

#[test]
fn golden() {
    let file = manifest(7).encode();
    assert_eq!(file.len(), SECOND_COPY + GOLDEN.len());
    assert_eq!(&file[..GOLDEN.len()], GOLDEN);
    assert_eq!(&file[SECOND_COPY..], GOLDEN);
    assert!(file[GOLDEN.len()..SECOND_COPY].iter().all(|b| *b == 0));
    assert_eq!(Manifest::decode(&file), Ok(manifest(7)));
    let without =
        Manifest { schemas: Schemas { wire: None, ..manifest(7).schemas }, ..manifest(7) };
    assert_eq!(Manifest::decode(&without.encode()), Ok(without));
}

/// Size, FlatBuffer, checksum; read back by FlatBuffers' own reader as well.
const GOLDEN: &[u8] = include_bytes!("golden.bin");

#[test]
fn one_copy_is_enough_and_damage_is_never_read() {
    let file = manifest(7).encode();
    for at in 0..GOLDEN.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        assert_eq!(Manifest::decode(&damaged), Ok(manifest(7)), "byte {at}");
        damaged[SECOND_COPY + at] ^= 1 << (at % 8);
        assert_eq!(Manifest::decode(&damaged), Err(ManifestError::Damaged), "byte {at}");
    }
    for end in 0..GOLDEN.len() {
        assert_eq!(Manifest::decode(&file[..end]), Err(ManifestError::Damaged), "cut at {end}");
    }
}

#[test]
fn a_later_major_is_refused_with_the_release_that_reads_it() {
    let newer = table::Manifest { format_major: 2, reader: "0.9.0".into(), ..raw() };
    let error = Manifest::decode(&frame(&newer)).expect_err("format 2");
    let said = "engine format 2, this release reads 1: open it with release 0.9.0 or later";
    assert_eq!(error.to_string(), said);
    let minor = table::Manifest { format_minor: 3, ..raw() };
    assert_eq!(Manifest::decode(&frame(&minor)), Ok(Manifest { minor: 3, ..manifest(1) }));
}

#[test]
fn what_this_release_cannot_do_is_refused_by_name() {
    for (what, asked) in [
        ("features 4", table::Manifest { features: 4, ..raw() }),
        ("codec 1", table::Manifest { codec: 1, ..raw() }),
        ("content hash 2", table::Manifest { content_hash: 2, ..raw() }),
    ] {
        let unknown = ManifestError::Unknown { what: what.to_owned() };
        assert_eq!(Manifest::decode(&frame(&asked)), Err(unknown));
    }
    let short = table::Manifest { wal_schema: vec![0; 31], ..raw() };
    assert_eq!(Manifest::decode(&frame(&short)), Err(ManifestError::Damaged));
}

#[test]
fn schemas_must_agree_within_a_format() {
    let own = manifest(1).schemas;
    assert_eq!(manifest(1).check_schemas(&own), Ok(()));
    let other = Schemas { disk: [9; 32], ..own };
    let refused = Err(ManifestError::Schema { schema: "disk", minor: 0 });
    assert_eq!(manifest(1).check_schemas(&other), refused);
    let unaware = Schemas { wire: None, ..own };
    assert_eq!(manifest(1).check_schemas(&unaware), Ok(()), "storage alone knows no protocol");
    let later = Manifest { minor: FORMAT.1 + 1, ..manifest(1) };
    assert_eq!(later.check_schemas(&other), Ok(()), "what a later minor adds is not known here");
}

/// Bytes of a struct of a schema.
fn width(schema: &str, of: &str) -> usize {
    let (_, rest) = schema.split_once(&format!("struct {of} {{")).expect("it is declared");
    let (fields, _) = rest.split_once('}').expect("it ends");
    let fields = fields.lines().flat_map(|line| line.split("//").next().unwrap_or("").split(';'));
    fields
        .filter_map(|field| field.split_once(':'))
        .map(|(_, kind)| match kind.trim() {
            "ubyte" => 1,
            "ushort" => 2,
            "uint" => 4,
            "ulong" => 8,
            other => width(schema, other),
        })
        .sum()
}

#[test]
fn the_schemas_are_as_wide_as_what_is_written() {
    let (wal, disk) =
        (include_str!("../../schemas/wal.fbs"), include_str!("../../schemas/disk.fbs"));
    assert_eq!(width(disk, "PagePtr"), crate::page::PTR);
    assert_eq!(width(disk, "PageHeader"), crate::page::PAGE_HEAD);
    assert_eq!(width(disk, "Superblock"), 144);
    assert_eq!(width(disk, "ValueSegmentHead"), 48);
    assert_eq!(width(wal, "SegmentHeader"), 80);
    assert_eq!(width(wal, "FrameHead"), 40);
}

#[test]
fn a_power_cut_leaves_the_old_one_or_the_new_one() {
    let mut seen = [0_u32; 2];
    for seed in 0..40 {
        for polls in 1..40 {
            let mut sim = Simulation::new(Config::seed(seed));
            let calm = sim.idle_host("calm");
            let node = sim.host("node", |cx| async move {
                if read(cx, "db").await.expect("whole") == Some(manifest(1)) {
                    write(cx, "db", &manifest(2)).await.expect("an honest disk");
                }
            });
            let setup = async move {
                node.create_dir("db").await.expect("an honest disk");
                node.sync_dir("").await.expect("an honest disk");
                write(node, "db", &manifest(1)).await.expect("an honest disk");
                Control.set_disk_faults("node", DiskFaults::HONEST);
                Control.exit("node");
                Control.restart("node");
                Control.kill_after_polls("node", polls, Crash::Power);
                calm.sleep(std::time::Duration::from_secs(60)).await;
                Control.crash("node", Crash::Power);
                Control.restart("node");
                let node = Control.context("node");
                let found = read(node, "db").await.expect("one of them is whole");
                found.expect("there is one").generation
            };
            let generation = sim.run(calm, setup).expect("no property is broken");
            seen[generation as usize - 1] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "{seen:?} of each");
}
