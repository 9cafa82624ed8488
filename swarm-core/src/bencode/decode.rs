//! Bytes to tokens: one pass, one explicit stack.
//!
//! A token is a value's span and where the token after its whole subtree is. Keys have no
//! token: a key lies between the end of the value before and the start of its own.
//!
//! Not here: reading values out of tokens (see `value`), canonical form (see `form`).

use super::{Error, Limits, Value};

/// Decoded bencode: the bytes and a flat list of the values in them.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) tokens: Vec<Token>,
}

/// One value. What kind it is, its first byte says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Offset of its first byte.
    pub(super) start: u32,
    /// Offset after its last byte.
    pub(super) end: u32,
    /// Index of the first token that is neither this one nor inside it.
    pub(super) next: u32,
}

/// Decodes bytes that are exactly one value.
///
/// # Errors
/// When they are not, or a limit is passed.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, Error> {
    let (document, rest) = parse_prefix(bytes, limits)?;
    if rest.is_empty() {
        Ok(document)
    } else {
        Err(Error::Trailing { at: bytes.len() - rest.len() })
    }
}

/// Decodes the value that the bytes begin with, and gives back the bytes after it, as a
/// metadata message has them (BEP 9).
///
/// # Errors
/// When they begin with no value, or a limit is passed.
pub fn parse_prefix<'a>(
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<(Document<'a>, &'a [u8]), Error> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Error::TooLong { length: bytes.len() });
    }
    let mut decoder = Decoder { bytes, at: 0, tokens: Vec::new(), open: Vec::new(), limits };
    decoder.run()?;
    let Decoder { at, tokens, .. } = decoder;
    let rest = bytes.get(at..).unwrap_or_default();
    Ok((Document { bytes, tokens }, rest))
}

impl Document<'_> {
    /// The outermost value.
    #[must_use]
    pub const fn root(&self) -> Value<'_> {
        Value::new(self, 0)
    }
}

struct Decoder<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    /// Tokens of the lists and dictionaries that are still open, outermost first.
    open: Vec<Open>,
    limits: &'l Limits,
}

#[derive(Clone, Copy)]
struct Open {
    token: usize,
    dict: bool,
}

impl Decoder<'_, '_> {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            match self.open.last() {
                Some(_) if self.peek()? == b'e' => self.close(),
                Some(Open { dict: true, .. }) => {
                    self.string()?;
                    self.value()?;
                }
                _ => self.value()?,
            }
            if self.open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes a whole string or integer, or the first byte of a list or dictionary.
    fn value(&mut self) -> Result<(), Error> {
        if self.tokens.len() >= self.limits.tokens {
            return Err(Error::TooManyTokens { limit: self.limits.tokens });
        }
        let start = self.at;
        let token = self.tokens.len();
        match self.peek()? {
            b'i' => self.integer()?,
            b'0'..=b'9' => self.string()?,
            first @ (b'l' | b'd') => {
                if self.open.len() >= self.limits.depth {
                    return Err(Error::TooDeep { limit: self.limits.depth });
                }
                self.at += 1;
                self.open.push(Open { token, dict: first == b'd' });
            }
            _ => return Err(Error::Unexpected { at: start }),
        }
        self.tokens.push(Token {
            start: short(start),
            end: short(self.at),
            next: short(token + 1),
        });
        Ok(())
    }

    fn close(&mut self) {
        self.at += 1;
        let next = short(self.tokens.len());
        let token = self.open.pop().and_then(|open| self.tokens.get_mut(open.token));
        if let Some(token) = token {
            token.end = short(self.at);
            token.next = next;
        }
    }

    fn integer(&mut self) -> Result<(), Error> {
        let start = self.at;
        let rest = self.bytes.get(start + 1..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'e').ok_or(Error::Truncated)?;
        let digits = rest.get(..length).unwrap_or_default();
        integer(digits).ok_or(Error::Integer { at: start })?;
        self.at = start + length + 2;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        let mut length = 0usize;
        let start = self.at;
        loop {
            match self.peek()? {
                digit @ b'0'..=b'9' => {
                    length = length.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
                }
                b':' if self.at > start => break,
                _ => return Err(Error::Unexpected { at: self.at }),
            }
            self.at += 1;
        }
        self.at += 1;
        if length > self.bytes.len() - self.at {
            return Err(Error::Truncated);
        }
        self.at += length;
        Ok(())
    }

    fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or(Error::Truncated)
    }
}

/// Reads decimal digits with an optional minus; leading zeros and `-0` pass.
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |value, byte| {
        let digit = i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        let value = value.checked_mul(10)?;
        if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
    })
}

/// Offsets and token counts never pass the input's length, which was checked to fit.
fn short(offset: usize) -> u32 {
    u32::try_from(offset).expect("the input's length fits 32 bits")
}
