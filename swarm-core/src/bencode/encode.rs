//! Values to bytes, in canonical form whatever order the caller writes keys in.
//!
//! Not here: values that are kept as a tree; everything we write is written once.

/// Writes bencode values one after another.
///
/// ```
/// let bytes = swarm_core::bencode::encode_dict(|dict| {
///     dict.int("piece", 0);
///     dict.int("msg_type", 1);
/// });
/// assert_eq!(bytes, b"d8:msg_typei1e5:piecei0ee");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

/// Writes the entries of one dictionary. A key that is written again replaces the first.
#[derive(Debug)]
pub struct DictEncoder<'a> {
    encoder: &'a mut Encoder,
    /// Every key so far, and where its entry begins.
    keys: Vec<(Vec<u8>, usize)>,
}

/// One dictionary as bytes.
#[must_use]
pub fn encode_dict(write: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.dict(write);
    encoder.into_bytes()
}

impl Encoder {
    /// Nothing written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { out: Vec::new() }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) {
        self.out.extend_from_slice(format!("i{value}e").as_bytes());
    }

    /// Writes a string.
    pub fn bytes(&mut self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.out.extend_from_slice(format!("{}:", value.len()).as_bytes());
        self.out.extend_from_slice(value);
    }

    /// Writes what is encoded already.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// Writes a list of what `write` writes.
    pub fn list(&mut self, write: impl FnOnce(&mut Self)) {
        self.out.push(b'l');
        write(self);
        self.out.push(b'e');
    }

    /// Writes a dictionary.
    pub fn dict(&mut self, write: impl FnOnce(&mut DictEncoder<'_>)) {
        self.out.push(b'd');
        let first = self.out.len();
        let mut dict = DictEncoder { encoder: self, keys: Vec::new() };
        write(&mut dict);
        let keys = dict.keys;
        if !keys.is_sorted_by(|(a, _), (b, _)| a < b) {
            self.reorder(first, keys);
        }
        self.out.push(b'e');
    }

    /// Puts entries written from `first` on into the order of their keys; of entries with
    /// the same key, the last one stays.
    fn reorder(&mut self, first: usize, keys: Vec<(Vec<u8>, usize)>) {
        let written = self.out.split_off(first);
        let ends = keys.iter().skip(1).map(|(_, start)| *start).chain([first + written.len()]);
        let mut entries: Vec<(&[u8], &[u8])> = keys
            .iter()
            .zip(ends)
            .filter_map(|((key, start), end)| {
                Some((key.as_slice(), written.get(start - first..end - first)?))
            })
            .collect();
        entries.sort_by_key(|(key, _)| *key);
        for (at, (key, entry)) in entries.iter().enumerate() {
            if entries.get(at + 1).is_none_or(|(next, _)| next != key) {
                self.out.extend_from_slice(entry);
            }
        }
    }
}

impl DictEncoder<'_> {
    /// Writes an integer under a key.
    pub fn int(&mut self, key: impl AsRef<[u8]>, value: i64) {
        self.key(key).int(value);
    }

    /// Writes a string under a key.
    pub fn bytes(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.key(key).bytes(value);
    }

    /// Writes what is encoded already under a key.
    pub fn raw(&mut self, key: impl AsRef<[u8]>, encoded: &[u8]) {
        self.key(key).raw(encoded);
    }

    /// Writes a list under a key.
    pub fn list(&mut self, key: impl AsRef<[u8]>, write: impl FnOnce(&mut Encoder)) {
        self.key(key).list(write);
    }

    /// Writes a dictionary under a key.
    pub fn dict(&mut self, key: impl AsRef<[u8]>, write: impl FnOnce(&mut DictEncoder<'_>)) {
        self.key(key).dict(write);
    }

    fn key(&mut self, key: impl AsRef<[u8]>) -> &mut Encoder {
        let key = key.as_ref();
        self.keys.push((key.to_vec(), self.encoder.out.len()));
        self.encoder.bytes(key);
        self.encoder
    }
}
