//! Views of decoded values: small, copyable, borrowing the document.
//!
//! Asking for the wrong kind gives `None`: what a missing or mistyped value means is the
//! caller's decision. When a key is repeated, [`Dict::get`] gives its first value.

use std::ops::Range;

use super::decode::{Document, Token, integer};

/// One value in a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    document: &'a Document<'a>,
    token: usize,
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(Value<'a>);

/// A dictionary.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a>(Value<'a>);

impl<'a> Value<'a> {
    pub(super) const fn new(document: &'a Document<'a>, token: usize) -> Self {
        Self { document, token }
    }

    /// The integer.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self.raw() {
            [b'i', digits @ .., b'e'] => integer(digits),
            _ => None,
        }
    }

    /// The bytes of a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let raw = self.raw();
        if raw.first()?.is_ascii_digit() { after_colon(raw) } else { None }
    }

    /// A string that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The list.
    #[must_use]
    pub fn as_list(&self) -> Option<List<'a>> {
        (self.first_byte() == b'l').then_some(List(*self))
    }

    /// The dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<Dict<'a>> {
        (self.first_byte() == b'd').then_some(Dict(*self))
    }

    /// Where the value's encoding lies in the document's bytes.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        let token = self.token();
        token.start as usize..token.end as usize
    }

    /// The value's encoding, exactly as it came.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.document.bytes.get(self.span()).unwrap_or_default()
    }

    /// This value and every value inside it.
    pub(super) fn subtree(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let document = self.document;
        (self.token..self.token().next as usize).map(move |token| Self::new(document, token))
    }

    fn token(&self) -> Token {
        // A value is only made from the index of a token that exists.
        *self.document.tokens.get(self.token).expect("a value has a token")
    }

    fn first_byte(&self) -> u8 {
        self.raw().first().copied().unwrap_or_default()
    }

    fn children(&self) -> Items<'a> {
        let end = self.token().next as usize;
        Items { document: self.document, token: self.token + 1, end }
    }
}

impl<'a> List<'a> {
    /// The values in order.
    #[must_use]
    pub fn iter(&self) -> Items<'a> {
        self.0.children()
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Value<'a>;
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}

impl<'a> Dict<'a> {
    /// The first value under this key. Takes time in proportion to the number of keys.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Value<'a>> {
        self.iter().find_map(|(found, value)| (found == key).then_some(value))
    }

    /// The integer under this key.
    #[must_use]
    pub fn int(&self, key: &[u8]) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The string under this key.
    #[must_use]
    pub fn bytes(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.get(key)?.as_bytes()
    }

    /// The string under this key, when it is UTF-8.
    #[must_use]
    pub fn str(&self, key: &[u8]) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    /// The list under this key.
    #[must_use]
    pub fn list(&self, key: &[u8]) -> Option<List<'a>> {
        self.get(key)?.as_list()
    }

    /// The dictionary under this key.
    #[must_use]
    pub fn dict(&self, key: &[u8]) -> Option<Self> {
        self.get(key)?.as_dict()
    }

    /// Keys and values in the order in which they came.
    #[must_use]
    pub fn iter(&self) -> Entries<'a> {
        Entries { values: self.0.children(), at: self.0.span().start + 1 }
    }

    /// The dictionary as a value: for its span and raw bytes.
    #[must_use]
    pub const fn value(&self) -> Value<'a> {
        self.0
    }
}

impl<'a> IntoIterator for Dict<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// Iterates over the values of a list.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    document: &'a Document<'a>,
    token: usize,
    end: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.token >= self.end {
            return None;
        }
        let value = Value::new(self.document, self.token);
        self.token = value.token().next as usize;
        Some(value)
    }
}

/// Iterates over the keys and values of a dictionary.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    values: Items<'a>,
    /// Where the next key begins: right after the value before it.
    at: usize,
}

impl<'a> Entries<'a> {
    /// The next key with its length, as it came, and its value.
    pub(super) fn next_raw(&mut self) -> Option<(&'a [u8], Value<'a>)> {
        let value = self.values.next()?;
        let span = value.span();
        let raw_key = value.document.bytes.get(self.at..span.start)?;
        self.at = span.end;
        Some((raw_key, value))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (raw_key, value) = self.next_raw()?;
        Some((after_colon(raw_key)?, value))
    }
}

/// The bytes of an encoded string.
pub(super) fn after_colon(raw: &[u8]) -> Option<&[u8]> {
    let colon = raw.iter().position(|byte| *byte == b':')?;
    raw.get(colon + 1..)
}
