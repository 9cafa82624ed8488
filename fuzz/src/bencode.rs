//! Any bytes: decoded or refused within bounds; what is canonical is written back the same.

use swarm_core::bencode::{Encoder, KeyOrder, Limits, Value, parse, parse_prefix};

/// One input.
pub fn run(bytes: &[u8]) {
    for limits in [Limits::WIRE, Limits::METAINFO] {
        let Ok((document, rest)) = parse_prefix(bytes, &limits) else { continue };
        let used = bytes.len() - rest.len();
        assert_eq!(document.root().span(), 0..used);
        assert!(parse(&bytes[..used], &limits).is_ok());
        if document.root().check_form() == Ok(KeyOrder::Sorted) {
            let mut encoder = Encoder::new();
            rewrite(document.root(), &mut encoder);
            assert_eq!(encoder.into_bytes(), bytes[..used]);
        }
    }
}

/// Recursion is bounded by the decoder's depth.
fn rewrite(value: Value<'_>, encoder: &mut Encoder) {
    if let Some(int) = value.as_int() {
        encoder.int(int);
    } else if let Some(bytes) = value.as_bytes() {
        encoder.bytes(bytes);
    } else if let Some(list) = value.as_list() {
        encoder.list(|out| list.iter().for_each(|item| rewrite(item, out)));
    } else if let Some(dict) = value.as_dict() {
        encoder.dict(|out| {
            for (key, item) in dict {
                let mut inner = Encoder::new();
                rewrite(item, &mut inner);
                out.raw(key, &inner.into_bytes());
            }
        });
    }
}
