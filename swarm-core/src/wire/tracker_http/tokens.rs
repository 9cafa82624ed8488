//! Bencode as a row of tokens, read where it lies.
//!
//! A reply may be a megabyte from a stranger, and of it a dozen keys matter. Walking tokens
//! needs no tree, no recursion and no memory, so that no reply can exhaust anything.
//!
//! Not here: whether keys are sorted or unique; trackers in the wild do not care.

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A string.
    Bytes(&'a [u8]),
    /// A number.
    Int(i64),
    /// A list begins.
    List,
    /// A dictionary begins.
    Dict,
    /// The innermost list or dictionary ends.
    End,
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a>(&'a [u8]);

impl<'a> Tokens<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next token; `None` at the end and at anything that is no bencode.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let (first, rest) = self.0.split_first()?;
        let (token, rest) = match first {
            b'l' => (Token::List, rest),
            b'd' => (Token::Dict, rest),
            b'e' => (Token::End, rest),
            b'i' => {
                let (number, rest) = split_number(rest, b'e')?;
                (Token::Int(number), rest)
            }
            _ => {
                let (length, rest) = split_number(self.0, b':')?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Token::Bytes(bytes), rest)
            }
        };
        self.0 = rest;
        Some(token)
    }

    /// The next key of the dictionary we are in. `Some(None)` at its end.
    pub(super) fn key(&mut self) -> Option<Option<&'a [u8]>> {
        match self.next()? {
            Token::Bytes(key) => Some(Some(key)),
            Token::End => Some(None),
            Token::Int(_) | Token::List | Token::Dict => None,
        }
    }

    /// Reads the rest of the value whose first token was `first`.
    pub(super) fn finish(&mut self, first: Token<'a>) -> Option<()> {
        let mut depth = 0usize;
        let mut token = first;
        loop {
            match token {
                Token::List | Token::Dict => depth += 1,
                Token::End => depth = depth.checked_sub(1)?,
                Token::Bytes(_) | Token::Int(_) => {}
            }
            if depth == 0 {
                return Some(());
            }
            token = self.next()?;
        }
    }
}

/// A decimal number up to `end`, and what follows it.
fn split_number(bytes: &[u8], end: u8) -> Option<(i64, &[u8])> {
    // No number that fits is longer than this: a missing end costs no scan of the whole reply.
    const DIGITS_MAX: usize = 20;
    let length = bytes.iter().take(DIGITS_MAX + 1).position(|byte| *byte == end)?;
    let (digits, rest) = bytes.split_at_checked(length)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_in_order() {
        let mut tokens = Tokens::new(b"d1:ali-7e3:xyzee");
        let mut seen = Vec::new();
        while let Some(token) = tokens.next() {
            seen.push(token);
        }
        let (a, xyz) = (Token::Bytes(b"a"), Token::Bytes(b"xyz"));
        let expected = [Token::Dict, a, Token::List, Token::Int(-7), xyz, Token::End, Token::End];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_value_is_skipped_whole_however_deep() {
        let deep = [vec![b'l'; 500_000], vec![b'e'; 500_000], b"i1e".to_vec()].concat();
        let mut tokens = Tokens::new(&deep);
        let first = tokens.next().unwrap();
        assert_eq!(tokens.finish(first), Some(()));
        assert_eq!(tokens.next(), Some(Token::Int(1)));
    }

    #[test]
    fn broken_bencode_ends_the_row() {
        for bytes in [&b"5:abc"[..], b"-1:", b"i12", b"ie", b"i999999999999999999999e", b"x", b":"]
        {
            assert_eq!(Tokens::new(bytes).next(), None, "{bytes:?}");
        }
        let mut tokens = Tokens::new(b"lle");
        let first = tokens.next().unwrap();
        assert_eq!(tokens.finish(first), None);
        assert_eq!(Tokens::new(b"").finish(Token::End), None);
    }
}
