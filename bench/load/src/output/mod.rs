//! Results in the forms that people and programs read.

pub(crate) mod files;
pub(crate) mod progress;
pub(crate) mod text;
