//! One integration binary: what crosses crate boundaries.
//!
//! Every module is marked as test code by hand, because the lints that spare tests look for
//! that mark and do not know that the whole binary is one.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod e2e;
#[cfg(test)]
#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "elsewhere it is a library")]
#[expect(clippy::cast_possible_truncation, reason = "of numbers made small")]
mod fuzz;
#[cfg(test)]
mod hostile;
#[cfg(test)]
#[cfg(feature = "interop")]
mod interop;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod reliability;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod support;
