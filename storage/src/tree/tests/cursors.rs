//! Cursors that stand between two versions of one key.

use super::{super::descend::path, *};

/// The leaf in which a version of a key is, or would be.
fn leaf_of(of: &Keyspace, key: &[u8], version: Lsn) -> Arc<super::super::slot::LeafSlot> {
    path(&of.roots().top, Fence { key, version }).1
}

#[test]
fn a_key_is_given_once_though_the_leaves_of_its_versions_merge_in_between() {
    let tree = tree(2048, Durability::InMemory);
    let of = tree.keyspace(NEWEST_ONLY).expect("it is there");
    let all = tree.snapshot();
    let put = |key: &[u8], fill: u8| {
        let put = Op::Put { keyspace: NEWEST_ONLY, key, value: &[fill; 40], deadline: None };
        tree.commit(&[], &[put]).expect("no checks")
    };
    // As long as there is no other key a leaf is split between two versions.
    let mut fill = 0;
    while audit(&of).0 < 2 {
        fill += 1;
        put(b"m", fill);
    }
    put(b"z", 0);
    let newest = tree.snapshot();
    let at = newest.version();
    let expected = walk(&of, b"", None, at, |_| true);
    assert_eq!(expected.len(), 2);

    // The border between the two leaves is one between versions of the key.
    let front = leaf_of(&of, b"m", at);
    let border = front.write().resident().leaf.upper_fence().map(Fence::to_buf);
    let border = border.expect("another leaf is behind it");
    assert_eq!(*border.key, *b"m");
    let back = leaf_of(&of, b"m", border.version);
    assert!(!Arc::ptr_eq(&front, &back));

    let mut cursor = Cursor::new(&of, b"", None, at).expect("it is kept");
    let item = cursor.next().expect("all is in memory").expect("m is there");
    let mut found = vec![(item.key.to_vec(), item.version, item.value.to_vec())];
    // Only two of the versions behind the border stay; so there is room for all in one leaf.
    let _kept = tree.snapshots().at(border.version.previous());
    drop(all);
    for slot in [&front, &back] {
        let mut state = slot.write();
        let Body::Resident(content) = &mut state.body else { panic!("it is in memory") };
        tree.prune(&of, content);
    }
    assert!(tree.merge_small() > 0 && audit(&of).0 == 1, "they have merged");
    let merged = leaf_of(&of, b"m", border.version);
    {
        let mut state = merged.write();
        let leaf = &state.resident().leaf;
        let (behind, _) = leaf.seek(b"m", border.version);
        assert!(leaf.is_same_key(behind), "older versions are there");
    }
    while let Some(item) = cursor.next().expect("all is in memory") {
        found.push((item.key.to_vec(), item.version, item.value.to_vec()));
    }
    assert_eq!(found, expected);
}
