//! Goal: no journal record of the engine makes its reader panic, whatever it loads, and bytes that
//! are read mean one thing: the same operations are written as the same bytes.
//! Method: the input is a record.

use orloj_storage::{
    page::Claim,
    record::{Op, SCHEMA, ops},
};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(record: &[u8]) {
    let read: Result<Vec<Op<'_>>, _> = ops(record).collect();
    let Ok(read) = read else { return };
    let mut written = Vec::new();
    for (index, op) in read.iter().enumerate() {
        op.write(&mut written, index == 0);
        if let Op::Load { root, units, .. } = op {
            let claim = Claim::decode(units).expect("the operation makes sense");
            assert!(claim.has(root.unit) && claim.encode().len() <= units.len());
            let again = Claim::decode(&claim.encode()).expect("it was one");
            assert_eq!(again.rows(), claim.rows());
            let last = claim.rows().last().map(|(first, count)| first + count);
            assert!(last.is_some_and(|end| end > root.unit && !claim.has(end)));
        }
    }
    // A record without operations is its schema's number alone, which no writer writes.
    assert!(written == record || read.is_empty() && record == [SCHEMA]);
}
