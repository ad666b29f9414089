//! Goal: no bytes make the readers of the tree's pages panic; a page that is read is in order, and
//! is found and written as what it is.
//! Method: the first two bytes choose the kind of page and which parts of its head are put right;
//! the rest is an image. Checksums are judged before these readers, and need none here.

use orloj_storage::page::{Fence, InnerPage, Leaf, PAGE_HEAD, PageHeader, PageType};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some(([flags, count], bytes)) = data.split_first_chunk() else { return };
    let mut image = bytes.to_vec();
    if flags & 1 == 1 {
        image.resize(image.len().max(PAGE_HEAD), 0);
        put_right(&mut image, flags & 2 == 2, *count);
    }
    if let Some(leaf) = Leaf::read(image.clone()) {
        assert_eq!(leaf.entries(0..leaf.count()).count(), leaf.count());
        let prefix = leaf.prefix().to_vec();
        let mut last: Option<Vec<u8>> = None;
        for at in 0..leaf.count() {
            let key = [&prefix[..], leaf.suffix(at)].concat();
            assert!(last.as_ref().is_none_or(|last| *last <= key), "keys in order");
            assert_eq!(leaf.seek(&key, leaf.version(at)), (at, true), "what is there is found");
            last = Some(key);
        }
        let again = Leaf::read(leaf.encode()).expect("what was read can be read again");
        assert!(again.entries(0..again.count()).eq(leaf.entries(0..leaf.count())));
    }
    InnerPage::read(&image, |page| {
        let lower = page.children[0].0;
        assert!(page.upper.is_none_or(|upper| lower < upper));
        assert!(page.children.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let known: Vec<(Fence<'_>, _)> = page.children.clone();
        InnerPage::read(&page.encode(), |again| assert_eq!(again.children, known))
            .expect("what was read can be read again");
    });
}

/// Gives an image a head with which its body is looked at.
fn put_right(image: &mut [u8], is_leaf: bool, count: u8) {
    let Some(read) = PageHeader::read(image) else { return };
    let len = image.len() as u32;
    let header = PageHeader {
        kind: if is_leaf { PageType::Leaf } else { PageType::Inner },
        level: u8::from(!is_leaf),
        len,
        count: read.count.min(u32::from(count)),
        ..read
    };
    header.write(image);
}
