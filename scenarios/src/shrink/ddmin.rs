//! Delta debugging: the least of many things of which something still follows.

/// Takes away of `items` what can go. `first` says which of some candidates, each a part of the
/// items in their order, still fails, the first that does; it is asked in batches so that they can
/// be tried side by side. Chunks of half the items are tried first, then of a quarter, and single
/// ones until none of them can go: the result is 1-minimal, unless `is_over` ended it.
pub fn minimise<T: Clone>(
    mut items: Vec<T>,
    batch: usize,
    mut first: impl FnMut(&[Vec<T>]) -> Option<usize>,
    is_over: impl Fn() -> bool,
) -> Vec<T> {
    if items.is_empty() || first(&[Vec::new()]).is_some() {
        return Vec::new();
    }
    let mut chunk = items.len().div_ceil(2);
    loop {
        let mut removed = false;
        let mut at = 0;
        while at < items.len() && !is_over() {
            let starts: Vec<usize> = (at..items.len()).step_by(chunk).take(batch.max(1)).collect();
            let without = |start: &usize| {
                let end = (start + chunk).min(items.len());
                [&items[..*start], &items[end..]].concat()
            };
            let candidates: Vec<Vec<T>> = starts.iter().map(without).collect();
            match first(&candidates) {
                Some(found) => {
                    items = candidates[found].clone();
                    at = starts[found];
                    removed = true;
                }
                None => at = starts[starts.len() - 1] + chunk,
            }
        }
        if is_over() || items.is_empty() {
            return items;
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2).min(items.len()).max(1);
        } else if !removed {
            return items;
        }
    }
}
