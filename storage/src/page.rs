//! Pages: the units of the tree as bytes, what vouches for them, and what refers to them.
//!
//! Nothing here does I/O or waits. `docs/src/engine-format.md` has the layout byte by byte.

mod claim;
mod entry;
pub(crate) mod fence;
mod header;
mod inner;
mod leaf;
mod ptr;

pub use claim::Claim;
pub use entry::{ENTRY_HEAD, Entry, Held, Slot, VALUE_POINTER, ValuePointer};
pub use fence::{Fence, FenceBuf, NEWEST};
pub use header::{PAGE_HEAD, PageFault, PageHeader, PageType, open, seal};
pub use inner::InnerPage;
pub use leaf::{Filling, Leaf, Plain};
pub use ptr::{PTR, PagePtr, UNIT, UNITS_MAX};
