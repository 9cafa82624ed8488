//! Whether a value is written in the one form BEP 3 allows.
//!
//! Two programs that read `info` differently would disagree about the same hash, so what
//! can be read in two ways (a repeated key, `-0`, leading zeros) is refused there. Keys
//! out of order can be read in one way only; the caller may warn and go on.

use super::Error;
use super::value::{Dict, Value, after_colon};

/// Whether every dictionary has its keys in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// As BEP 3 asks.
    Sorted,
    /// At least one key is out of order.
    Unsorted,
}

impl Value<'_> {
    /// Checks this value and all values inside it.
    ///
    /// # Errors
    /// [`Error::NumberForm`] and [`Error::RepeatedKey`].
    pub fn check_form(&self) -> Result<KeyOrder, Error> {
        let mut order = KeyOrder::Sorted;
        for value in self.subtree() {
            let raw = value.raw();
            let canonical = match raw {
                [b'i', b'0', b'e'] => true,
                [b'i', b'0', ..] | [b'i', b'-', b'0', ..] => false,
                _ => has_plain_length(raw),
            };
            if !canonical {
                return Err(Error::NumberForm { at: value.span().start });
            }
            if let Some(dict) = value.as_dict()
                && check_keys(dict)? == KeyOrder::Unsorted
            {
                order = KeyOrder::Unsorted;
            }
        }
        Ok(order)
    }
}

/// Whether a string's length has no leading zero; true for anything else.
fn has_plain_length(raw: &[u8]) -> bool {
    !matches!(raw, [b'0', next, ..] if *next != b':')
}

fn check_keys(dict: Dict<'_>) -> Result<KeyOrder, Error> {
    let start = dict.value().span().start;
    let mut entries = dict.iter();
    let mut before: Option<&[u8]> = None;
    let mut ascending = true;
    while let Some((raw_key, value)) = entries.next_raw() {
        if !has_plain_length(raw_key) {
            return Err(Error::NumberForm { at: value.span().start - raw_key.len() });
        }
        let key = after_colon(raw_key);
        ascending &= before.is_none() || before < key;
        before = key;
    }
    if ascending {
        return Ok(KeyOrder::Sorted);
    }
    let mut keys: Vec<&[u8]> = dict.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(Error::RepeatedKey { at: start });
    }
    Ok(KeyOrder::Unsorted)
}
