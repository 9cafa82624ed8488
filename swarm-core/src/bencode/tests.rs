//! Tests of the whole module: examples from BEP 3, hostile bytes, round trips.

use super::*;
use proptest::prelude::*;

const SMALL: Limits = Limits { depth: 4, tokens: 8 };

fn reads(bytes: &[u8]) -> Result<(), Error> {
    parse(bytes, &Limits::METAINFO).map(|_| ())
}

fn form(bytes: &[u8]) -> Result<KeyOrder, Error> {
    parse(bytes, &Limits::METAINFO).unwrap().root().check_form()
}

#[test]
fn the_examples_of_bep_3_are_read() {
    let document = parse(b"d3:cow3:moo4:spaml1:a1:bee", &SMALL).unwrap();
    let root = document.root().as_dict().unwrap();
    assert_eq!(root.str(b"cow"), Some("moo"));
    let items: Vec<_> = root.list(b"spam").unwrap().iter().map(|v| v.as_bytes().unwrap()).collect();
    assert_eq!(items, [b"a", b"b"]);
    assert_eq!(parse(b"i-3e", &SMALL).unwrap().root().as_int(), Some(-3));
    assert_eq!(parse(b"0:", &SMALL).unwrap().root().as_bytes(), Some(&b""[..]));
    assert!(parse(b"de", &SMALL).unwrap().root().as_dict().unwrap().iter().next().is_none());
}

#[test]
fn a_value_of_another_kind_is_not_read() {
    let document = parse(b"d1:ai1e1:b1:x1:cle1:ddee", &Limits::WIRE).unwrap();
    let dict = document.root().as_dict().unwrap();
    assert_eq!(dict.int(b"b"), None);
    assert_eq!(dict.bytes(b"a"), None);
    assert!(dict.list(b"d").is_none() && dict.dict(b"c").is_none());
    assert!(dict.list(b"c").is_some() && dict.dict(b"d").is_some());
    assert!(dict.get(b"e").is_none());
}

#[test]
fn a_span_is_the_raw_bytes_of_its_value() {
    let bytes = b"d8:announce3:url4:infod6:lengthi7ee1:zi0ee";
    let document = parse(bytes, &Limits::METAINFO).unwrap();
    let info = document.root().as_dict().unwrap().dict(b"info").unwrap();
    assert_eq!(info.value().raw(), b"d6:lengthi7ee");
    assert_eq!(&bytes[info.value().span()], b"d6:lengthi7ee");
}

#[test]
fn bytes_after_the_value_are_an_error_or_handed_back() {
    assert_eq!(reads(b"i1ei2e"), Err(Error::Trailing { at: 3 }));
    let (document, rest) = parse_prefix(b"d1:pi0eePAYLOAD", &Limits::WIRE).unwrap();
    assert_eq!(rest, b"PAYLOAD");
    assert_eq!(document.root().as_dict().unwrap().int(b"p"), Some(0));
}

#[test]
fn broken_bytes_are_refused() {
    for (bytes, error) in [
        (&b""[..], Error::Truncated),
        (b"e", Error::Unexpected { at: 0 }),
        (b"x", Error::Unexpected { at: 0 }),
        (b"l", Error::Truncated),
        (b"d1:a", Error::Truncated),
        (b"d1:ae", Error::Unexpected { at: 4 }),
        (b"di1ei2ee", Error::Unexpected { at: 1 }),
        (b"5:abcd", Error::Truncated),
        (b"5", Error::Truncated),
        (b"5x", Error::Unexpected { at: 1 }),
        (b":", Error::Unexpected { at: 0 }),
        (b"-1:a", Error::Unexpected { at: 0 }),
        (b"d:i1ee", Error::Unexpected { at: 1 }),
        (b"18446744073709551617:a", Error::Truncated),
        (b"99999999999999999999999999:a", Error::Truncated),
        (b"i", Error::Truncated),
        (b"i12", Error::Truncated),
        (b"ie", Error::Integer { at: 0 }),
        (b"i-e", Error::Integer { at: 0 }),
        (b"i--1e", Error::Integer { at: 0 }),
        (b"i+1e", Error::Integer { at: 0 }),
        (b"i1 e", Error::Integer { at: 0 }),
        (b"i9223372036854775808e", Error::Integer { at: 0 }),
        (b"i-9223372036854775809e", Error::Integer { at: 0 }),
    ] {
        assert_eq!(reads(bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_whole_range_of_64_bits_is_read() {
    let least = parse(b"i-9223372036854775808e", &SMALL).unwrap().root().as_int();
    let most = parse(b"i9223372036854775807e", &SMALL).unwrap().root().as_int();
    assert_eq!((least, most), (Some(i64::MIN), Some(i64::MAX)));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    for limits in [Limits::METAINFO, Limits::WIRE] {
        assert!(parse(&nested(limits.depth), &limits).is_ok());
        let error = parse(&nested(limits.depth + 1), &limits).unwrap_err();
        assert_eq!(error, Error::TooDeep { limit: limits.depth });
    }
    assert_eq!((Limits::METAINFO.depth, Limits::WIRE.depth), (64, 16));
    let open = vec![b'd'; 30 << 20];
    assert_eq!(reads(&open), Err(Error::Unexpected { at: 1 }));
    let open = b"d0:".repeat(10 << 20);
    assert_eq!(reads(&open), Err(Error::TooDeep { limit: 64 }));
}

#[test]
fn the_number_of_values_is_bounded() {
    let many = |count: usize| [&b"l"[..], &b"le".repeat(count - 1), b"e"].concat();
    for limits in [Limits::METAINFO, Limits::WIRE] {
        assert!(parse(&many(limits.tokens), &limits).is_ok());
        let error = parse(&many(limits.tokens + 1), &limits).unwrap_err();
        assert_eq!(error, Error::TooManyTokens { limit: limits.tokens });
    }
    assert_eq!((Limits::METAINFO.tokens, Limits::WIRE.tokens), (2_000_000, 20_000));
    assert_eq!(size_of::<decode::Token>(), 12, "the memory a token costs is part of the bound");
}

#[test]
fn numbers_that_could_be_written_shorter_are_found() {
    for bytes in [&b"i-0e"[..], b"i00e", b"i01e", b"i-01e", b"04:spam", b"d01:ai1ee", b"l00:e"] {
        assert!(reads(bytes).is_ok(), "the decoder is tolerant");
        assert!(matches!(form(bytes), Err(Error::NumberForm { .. })), "{}", bytes.escape_ascii());
    }
    for bytes in [&b"i0e"[..], b"i-1e", b"0:", b"d0:0:e", b"10:0123456789", b"i10e"] {
        assert_eq!(form(bytes), Ok(KeyOrder::Sorted));
    }
}

#[test]
fn repeated_keys_are_refused_and_unsorted_ones_told() {
    assert_eq!(form(b"d1:ai1e1:ai2ee"), Err(Error::RepeatedKey { at: 0 }));
    assert_eq!(form(b"d1:ai1e1:bi1e1:ai2ee"), Err(Error::RepeatedKey { at: 0 }));
    assert_eq!(form(b"ld1:bi1e1:ai2eee"), Ok(KeyOrder::Unsorted));
    assert_eq!(form(b"d1:ai1e2:aai1e1:bi2ee"), Ok(KeyOrder::Sorted));
    let document = parse(b"d1:ai1e1:ai2ee", &SMALL).unwrap();
    assert_eq!(document.root().as_dict().unwrap().int(b"a"), Some(1), "the first one counts");
}

#[test]
fn the_encoder_sorts_keys_and_keeps_the_last_of_a_repeated_one() {
    let bytes = encode_dict(|dict| {
        dict.dict("z", |inner| {
            inner.int("b", -1);
            inner.bytes("a", b"x");
        });
        dict.list("m", |list| {
            list.int(0);
            list.raw(b"le");
        });
        dict.int("z", 1);
        dict.raw("a", b"de");
        dict.int("m", 2);
        dict.int("m", 3);
    });
    assert_eq!(bytes, b"d1:ade1:mi3e1:zi1ee");
}

#[derive(Clone, Debug)]
enum Node {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(std::collections::BTreeMap<Vec<u8>, Self>),
}

impl Node {
    fn write(&self, encoder: &mut Encoder) {
        match self {
            Self::Int(value) => encoder.int(*value),
            Self::Bytes(value) => encoder.bytes(value),
            Self::List(items) => encoder.list(|list| items.iter().for_each(|i| i.write(list))),
            Self::Dict(entries) => encoder.dict(|dict| {
                // Written backwards: the encoder has to sort.
                for (key, value) in entries.iter().rev() {
                    let mut inner = Encoder::new();
                    value.write(&mut inner);
                    dict.raw(key, &inner.into_bytes());
                }
            }),
        }
    }

    fn equals(&self, value: Value<'_>) -> bool {
        match self {
            Self::Int(int) => value.as_int() == Some(*int),
            Self::Bytes(bytes) => value.as_bytes() == Some(bytes),
            Self::List(items) => value.as_list().is_some_and(|list| {
                list.iter().count() == items.len()
                    && list.iter().zip(items).all(|(value, item)| item.equals(value))
            }),
            Self::Dict(entries) => value.as_dict().is_some_and(|dict| {
                dict.iter().count() == entries.len()
                    && dict
                        .iter()
                        .zip(entries)
                        .all(|((found, value), (key, item))| found == key && item.equals(value))
            }),
        }
    }
}

fn node() -> impl Strategy<Value = Node> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..8);
    let leaf = prop_oneof![any::<i64>().prop_map(Node::Int), bytes().prop_map(Node::Bytes)];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Node::List),
            prop::collection::btree_map(bytes(), inner, 0..6).prop_map(Node::Dict),
        ]
    })
}

/// Bytes that are often nearly bencode.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"dlei0123:-ax"[..]), 0..40)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_is_canonical(node in node()) {
        let mut encoder = Encoder::new();
        node.write(&mut encoder);
        let bytes = encoder.into_bytes();
        let document = parse(&bytes, &Limits::METAINFO).unwrap();
        prop_assert!(node.equals(document.root()));
        prop_assert_eq!(document.root().check_form(), Ok(KeyOrder::Sorted));
    }

    #[test]
    fn an_independent_reader_takes_what_we_write_for_the_same(node in node()) {
        let mut encoder = Encoder::new();
        node.write(&mut encoder);
        let bytes = encoder.into_bytes();
        let theirs: serde_bencode::value::Value = serde_bencode::from_bytes(&bytes).unwrap();
        prop_assert_eq!(serde_bencode::to_bytes(&theirs).unwrap(), bytes);
    }

    #[test]
    fn canonical_bytes_are_written_back_as_they_were(bytes in almost()) {
        if let Ok(document) = parse(&bytes, &Limits::METAINFO)
            && document.root().check_form() == Ok(KeyOrder::Sorted)
        {
            let mut encoder = Encoder::new();
            rewrite(document.root(), &mut encoder);
            prop_assert_eq!(encoder.into_bytes(), bytes);
        }
    }

    #[test]
    fn spans_nest_and_stay_inside_the_bytes(bytes in almost()) {
        if let Ok((document, rest)) = parse_prefix(&bytes, &Limits::WIRE) {
            prop_assert_eq!(document.root().span(), 0..bytes.len() - rest.len());
            for value in document.root().subtree() {
                let span = value.span();
                prop_assert!(span.start < span.end && span.end <= bytes.len());
                prop_assert!(parse(value.raw(), &Limits::WIRE).is_ok());
                for (_, child) in value.as_dict().iter().flat_map(|dict| dict.iter()) {
                    prop_assert!(span.start < child.span().start && child.span().end < span.end);
                }
            }
        }
    }

    #[test]
    fn a_cut_value_is_never_read(node in node(), cut in any::<prop::sample::Index>()) {
        let mut encoder = Encoder::new();
        node.write(&mut encoder);
        let bytes = encoder.into_bytes();
        let cut = cut.index(bytes.len());
        prop_assert_eq!(reads(&bytes[..cut]), Err(Error::Truncated));
    }
}

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
