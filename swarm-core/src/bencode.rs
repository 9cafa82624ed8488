//! Bencode with what serde_bencode lacks: bounds on depth and tokens, the byte span of a key,
//! and a check of canonical form.
