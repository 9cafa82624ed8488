//! Numbers with units, as people type them and as they read them.
//!
//! Rates are bytes a second, decimal (`M` = 10^6) unless they say `i` (`Mi` = 2^20) or `bit`.
//! Piece sizes are binary whatever they say, because pieces are powers of two. Sizes are
//! shown binary, rates decimal, as disks and links are sold. All of it is integer
//! arithmetic: no rounding surprise, no cast.
//!
//! Not here: what the numbers mean (see `plan`).

use std::time::Duration;

/// Reads a rate: bytes a second, at least 1.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let expected = "expected a rate such as 500K, 10M, 2Mi or 80Mbit";
    let trimmed = text.trim();
    let trimmed =
        trimmed.strip_suffix("/s").or_else(|| trimmed.strip_suffix("ps")).unwrap_or(trimmed);
    let (number, unit) = split_number(trimmed).ok_or(expected)?;
    let (unit, bits) = match strip_suffix_ignore_case(unit, "bit") {
        Some(prefix) => (prefix, true),
        None => (unit.strip_suffix(['B', 'b']).unwrap_or(unit), false),
    };
    let multiple = prefix(unit, 1000).ok_or(expected)?;
    let mut rate = scale(number, multiple).ok_or("the rate is too large")?;
    if bits {
        rate /= 8;
    }
    if rate == 0 {
        return Err("below one byte a second; leave the flag out for no limit".to_owned());
    }
    Ok(rate)
}

/// Reads a piece size in bytes: `256K`, `1M` and `1MiB` are all binary.
pub(crate) fn parse_piece_size(text: &str) -> Result<u32, String> {
    let expected = "expected a size such as 256K, 1M or 65536";
    let (number, unit) = split_number(text.trim()).ok_or(expected)?;
    let unit = unit.strip_suffix(['B', 'b']).unwrap_or(unit);
    let multiple = prefix(unit, 1024).ok_or(expected)?;
    let size = scale(number, multiple).ok_or("the size is too large")?;
    u32::try_from(size).map_err(|_| "the size is too large".to_owned())
}

/// Reads a span of time: `90`, `30s`, `1.5m`, `1h30m`, `500ms`. A bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as 30s, 5m or 1h30m";
    let mut rest = text.trim();
    let mut micros = 0u64;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest).ok_or(expected)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let unit_micros = match unit.trim() {
            "ms" => 1_000,
            "" | "s" | "sec" => 1_000_000,
            "m" | "min" => 60 * 1_000_000,
            "h" => 3_600 * 1_000_000,
            "d" => 86_400 * 1_000_000,
            _ => return Err(expected.to_owned()),
        };
        let part = scale(number, unit_micros).ok_or("the duration is too long")?;
        micros = micros.checked_add(part).ok_or("the duration is too long")?;
        rest = next;
    }
    if micros == 0 {
        return Err("expected a duration above zero, such as 30s".to_owned());
    }
    Ok(Duration::from_micros(micros))
}

/// A decimal number as typed: its digits before and after the point.
type Number<'a> = (&'a str, &'a str);

fn split_number(text: &str) -> Option<(Number<'_>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let any_digit = !whole.is_empty() || !fraction.is_empty();
    (any_digit && !fraction.contains('.')).then_some(((whole, fraction), unit.trim()))
}

/// `number` times `multiple`, rounded down.
fn scale((whole, fraction): Number<'_>, multiple: u64) -> Option<u64> {
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // More digits than these cannot change the result.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let places = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole = digits(whole)?.checked_mul(u128::from(multiple))?;
    let part = digits(fraction)? * u128::from(multiple) / places;
    u64::try_from(whole.checked_add(part)?).ok()
}

fn prefix(unit: &str, plain: u64) -> Option<u64> {
    let (letter, base) = match unit.strip_suffix(['i', 'I']) {
        Some(letter) if !letter.is_empty() => (letter, 1024),
        _ => (unit, plain),
    };
    let power = match letter {
        "" => 0,
        "k" | "K" => 1,
        "m" | "M" => 2,
        "g" | "G" => 3,
        "t" | "T" => 4,
        _ => return None,
    };
    base.checked_pow(power)
}

fn strip_suffix_ignore_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len())?;
    let (head, tail) = text.split_at_checked(at)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

/// `1.2 GiB`, `512 MiB`, `17 B`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 100)
}

/// `86 MB/s`, `8.6 MB/s`, `17 B/s`.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    scaled(bytes_per_second, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"], 10)
}

/// One decimal below `decimal_below`, none from there on; never `1024 KiB`.
fn scaled(value: u64, base: u64, units: [&str; 6], decimal_below: u64) -> String {
    let [plain, larger @ .., largest] = units;
    if value < base {
        return format!("{value} {plain}");
    }
    let mut unit_size = base;
    for unit in larger {
        // Rounded to a tenth first, so that 1023.97 KiB becomes 1.0 MiB and not 1024 KiB.
        let tenths = (u128::from(value) * 10 + u128::from(unit_size) / 2) / u128::from(unit_size);
        let rounded = (tenths + 5) / 10;
        if tenths < u128::from(decimal_below) * 10 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        if rounded < u128::from(base) {
            return format!("{rounded} {unit}");
        }
        unit_size = unit_size.saturating_mul(base);
    }
    format!("{} {largest}", (u128::from(value) + u128::from(unit_size) / 2) / u128::from(unit_size))
}

/// Time spent, for a last line: `0.4 s`, `14.3 s`, `2 min 5 s`, `1 h 3 min`.
pub(crate) fn elapsed(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    let seconds = tenths / 10;
    match seconds {
        _ if tenths < 600 => format!("{}.{} s", tenths / 10, tenths % 10),
        0..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Time left, for a bar that ticks: `0:07`, `12:34`, `1:02:03`, `3 d`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..172_800 => {
            format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
        }
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes a second over `time`; 0 when no time has passed.
pub(crate) fn average(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// Time that `bytes` take at a rate; `None` when it stands still.
pub(crate) fn time_left(bytes: u64, bytes_per_second: u64) -> Option<Duration> {
    (bytes_per_second > 0).then(|| Duration::from_secs(bytes.div_ceil(bytes_per_second)))
}

/// `part` of `whole` in tenths of a percent, rounded down: 1000 only when all is there.
pub(crate) fn permille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 1000;
    }
    let share = u128::from(part.min(whole)) * 1000 / u128::from(whole);
    u64::try_from(share).unwrap_or(1000)
}

/// `1 peer`, `2 peers`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// [`count`] of a collection's length.
pub(crate) fn count_len(number: usize, noun: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_decimal_bytes_unless_they_say_otherwise() {
        for (text, rate) in [
            ("10M", 10_000_000),
            ("10MB/s", 10_000_000),
            ("2Mi", 2 << 20),
            ("2MiB/s", 2 << 20),
            ("80Mbit", 10_000_000),
            ("80 Mbit/s", 10_000_000),
            ("8Mibit", 1 << 20),
            ("1.5K", 1500),
            ("900", 900),
            ("0.5k", 500),
            ("1G", 1_000_000_000),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in ["", "M", "0", "1bit", "-1", "1X", "1.2.3M", "10 M M", "i", "1i", "99999999T"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn piece_sizes_are_binary() {
        for text in ["256K", "256KiB", "256k", "262144", "0.25M"] {
            assert_eq!(parse_piece_size(text), Ok(256 << 10), "{text}");
        }
        assert!(parse_piece_size("5G").is_err());
        assert!(parse_piece_size("big").is_err());
    }

    #[test]
    fn durations_add_up() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("1h30m", 5400), ("90", 90), ("2d", 172_800)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "s", "0", "5y", "-1s", "99999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_short_and_never_at_the_next_unit() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (102_399, "100 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(rate(86_400_000), "86 MB/s");
        assert_eq!(rate(8_640_000), "8.6 MB/s");
        assert_eq!(rate(999), "999 B/s");
        assert_eq!(rate(999_999), "1.0 MB/s");
    }

    #[test]
    fn times_are_shown_for_people() {
        assert_eq!(elapsed(Duration::from_millis(14_349)), "14.3 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(elapsed(Duration::from_millis(59_990)), "1 min 0 s");
        assert_eq!(elapsed(Duration::from_secs(3790)), "1 h 3 min");
        assert_eq!(clock(Duration::from_secs(7)), "0:07");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(clock(Duration::from_secs(400_000)), "4 d");
    }

    #[test]
    fn a_share_is_whole_only_when_all_is_there() {
        assert_eq!(permille(u64::MAX - 1, u64::MAX), 999);
        assert_eq!(permille(5, 5), 1000);
        assert_eq!(permille(0, 0), 1000);
        assert_eq!(permille(1, 3), 333);
    }
}
