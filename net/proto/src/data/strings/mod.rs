//! Commands on string values.

mod float;
mod lcs;
mod number;
mod range;
mod read;
mod set;

pub(super) use float::incr_by_float;
pub(super) use lcs::lcs;
pub(super) use number::{decr, decr_by, incr, incr_by};
pub(super) use range::{append, get_range, set_range, str_len};
pub(super) use read::{get, get_del, get_ex, get_set, mget};
pub(super) use set::{mset, mset_nx, pset_ex, set, set_ex, set_nx};
