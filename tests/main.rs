//! One integration binary: what crosses crate boundaries.

#[test]
fn the_tree_builds() {}
