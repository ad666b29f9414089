//! Pages on disk: where they lie, and how they get there and back.

mod bits;
mod file;
mod space;

pub use bits::Bits;
pub use file::{Pager, Run};
pub use space::Space;

/// The file of all pages.
pub const DATA_PAGES: &str = "data.pages";
