//! The head of an HTTP request, as bytes.
//!
//! Only what changes our answer is read: the request line, and whether a body follows or the
//! connection stays. A target may hold any byte but a line feed, also spaces.

/// Longest request line, bytes (LIMITS I10).
pub(super) const LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest head, request line and blank line included.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What arrived bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// The beginning of a request.
    Partial,
    /// A request.
    Whole {
        /// What it says.
        head: Head<'a>,
        /// Its bytes; what follows is the next one.
        length: usize,
    },
    /// Nothing that can become a request.
    Bad(Problem),
}

/// A request without its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    /// Whether another request may follow on this connection.
    pub(super) keep_alive: bool,
}

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Not `METHOD TARGET HTTP/1.x`.
    NoRequestLine,
    /// The request line is too long.
    LongLine,
    /// The head is too long.
    LongHead,
}

/// Reads the first request of `input`.
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    // Clients may send line ends too many after a request (RFC 9112, 2.2).
    let skipped = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let rest = input.get(skipped..).unwrap_or_default();
    let Some((line, headers)) = split_line(rest) else {
        let is_long = rest.len() > LINE_BYTES_MAX || skipped > LINE_BYTES_MAX;
        return if is_long { Parsed::Bad(Problem::LongLine) } else { Parsed::Partial };
    };
    if line.len() > LINE_BYTES_MAX {
        return Parsed::Bad(Problem::LongLine);
    }
    let Some((method, target, version)) = split_request(line) else {
        return Parsed::Bad(Problem::NoRequestLine);
    };
    match read_headers(headers, version) {
        Some((_, left)) if input.len() - left.len() > HEAD_BYTES_MAX => {
            Parsed::Bad(Problem::LongHead)
        }
        Some((keep_alive, left)) => Parsed::Whole {
            head: Head { method, target, keep_alive },
            length: input.len() - left.len(),
        },
        None if input.len() > HEAD_BYTES_MAX => Parsed::Bad(Problem::LongHead),
        None => Parsed::Partial,
    }
}

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// Splits at a line feed; the carriage return before it goes too.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

/// The method up to the first space, the version after the last, the target between them.
fn split_request(line: &[u8]) -> Option<(&[u8], &[u8], Version)> {
    let (method, rest) = split_at_byte(line, line.iter().position(|byte| *byte == b' ')?)?;
    let (target, version) = split_at_byte(rest, rest.iter().rposition(|byte| *byte == b' ')?)?;
    let version = match version {
        b"HTTP/1.0" => Version::Http10,
        version if version.starts_with(b"HTTP/1.") => Version::Http11,
        _ => return None,
    };
    let is_token = !method.is_empty() && method.iter().all(u8::is_ascii_alphabetic);
    is_token.then_some((method, target, version))
}

fn split_at_byte(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Reads headers up to the blank line; `None` when it has not come. Gives whether the
/// connection stays, and the bytes after the head.
fn read_headers(headers: &[u8], version: Version) -> Option<(bool, &[u8])> {
    let mut keep_alive = version == Version::Http11;
    let mut has_body = false;
    let mut rest = headers;
    loop {
        let (line, next) = split_line(rest)?;
        rest = next;
        if line.is_empty() {
            // Nobody announces with a body. We would have to read it to find the next request.
            return Some((keep_alive && !has_body, rest));
        }
        let Some((name, value)) =
            line.iter().position(|byte| *byte == b':').and_then(|at| split_at_byte(line, at))
        else {
            continue;
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"connection") {
            keep_alive = stays(value, keep_alive);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            has_body |= value != b"0";
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            has_body = true;
        }
    }
}

fn stays(value: &[u8], before: bool) -> bool {
    let has = |word: &[u8]| {
        value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
    };
    !has(b"close") && (before || has(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(input: &[u8]) -> (Vec<u8>, Vec<u8>, bool, usize) {
        match parse(input) {
            Parsed::Whole { head, length } => {
                (head.method.to_vec(), head.target.to_vec(), head.keep_alive, length)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_target_may_hold_any_byte_but_a_line_feed() {
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'\n') {
            let mut input = b"GET /announce?info_hash=".to_vec();
            input.push(byte);
            input.extend_from_slice(b" x HTTP/1.1\r\n\r\nGET");
            let (method, target, keep_alive, length) = whole(&input);
            assert_eq!((method.as_slice(), keep_alive), (&b"GET"[..], true));
            assert_eq!(target, [b"/announce?info_hash=", &[byte][..], b" x"].concat());
            assert_eq!(length, input.len() - 3);
        }
    }

    #[test]
    fn the_connection_stays_as_both_sides_wish() {
        let cases = [
            ("1.1", "", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.1", "connection:close\r\n", false),
            ("1.1", "Connection: TE, close\r\n", false),
            ("1.1", "Content-Length: 0\r\n", true),
            ("1.1", "Content-Length: 5\r\n", false),
            ("1.1", "Transfer-Encoding: chunked\r\n", false),
            ("1.1", "rubbish\r\nHost: x\r\n", true),
        ];
        for (version, headers, expected) in cases {
            let input = format!("GET / HTTP/{version}\r\n{headers}\r\n");
            assert_eq!(whole(input.as_bytes()).2, expected, "{input}");
        }
    }

    #[test]
    fn line_ends_may_be_bare_and_too_many() {
        assert_eq!(whole(b"\r\n\nGET /x HTTP/1.1\nHost: a\n\n").1, b"/x");
    }

    #[test]
    fn what_is_no_request_is_bad() {
        for line in [
            "",
            "GET",
            "GET /",
            "GET / HTTP/2",
            " / HTTP/1.1",
            "G\x16T / HTTP/1.1",
            "\x13BitTorrent protocol",
        ] {
            let input = format!("x{line}\r\n\r\n");
            let input =
                if line.is_empty() { "x\r\n".to_owned() } else { input.replacen('x', "", 1) };
            assert_eq!(parse(input.as_bytes()), Parsed::Bad(Problem::NoRequestLine), "{line:?}");
        }
    }

    #[test]
    fn lines_and_heads_are_bounded() {
        let long = |bytes: usize| [b"GET /".to_vec(), vec![b'a'; bytes]].concat();
        assert_eq!(parse(&long(LINE_BYTES_MAX - 5)), Parsed::Partial);
        assert_eq!(parse(&long(LINE_BYTES_MAX - 4)), Parsed::Bad(Problem::LongLine));
        let whole_line = [long(LINE_BYTES_MAX), b" HTTP/1.1\r\n\r\n".to_vec()].concat();
        assert_eq!(parse(&whole_line), Parsed::Bad(Problem::LongLine));
        assert_eq!(parse(&[b'\n'; LINE_BYTES_MAX + 1]), Parsed::Bad(Problem::LongLine));

        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        head.resize(HEAD_BYTES_MAX, b'h');
        assert_eq!(parse(&head), Parsed::Partial);
        head.push(b'h');
        assert_eq!(parse(&head), Parsed::Bad(Problem::LongHead));
        head.extend_from_slice(b"\r\n\r\n");
        assert_eq!(parse(&head), Parsed::Bad(Problem::LongHead));
    }

    proptest! {
        #[test]
        fn a_request_is_partial_until_its_last_byte(cut in 0usize..80) {
            let input = b"GET /announce?port=1 HTTP/1.1\r\nHost: tracker\r\nConnection: close\r\n\r\n";
            let part = &input[..cut.min(input.len() - 1)];
            prop_assert_eq!(parse(part), Parsed::Partial);
        }

        #[test]
        fn no_bytes_panic(input in prop::collection::vec(prop::sample::select(b"GET / HTTP/1.10\r\n:,x\xFF".to_vec()), 0..80)) {
            if let Parsed::Whole { length, .. } = parse(&input) {
                prop_assert!(length <= input.len());
            }
        }
    }
}
