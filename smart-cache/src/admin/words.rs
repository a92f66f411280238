//! Numbers, sizes and times as people read them.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

/// `1 234 567`, with thin spaces that do not break.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 entry`, `2 entries`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `12.3 KiB`.
pub(super) fn bytes(number: u64) -> String {
    bytesize::ByteSize(number).display().iec().to_string()
}

/// `93.4 %`.
pub(super) fn share(ratio: Option<f64>) -> String {
    match ratio {
        Some(ratio) if ratio >= 0.9995 => "100 %".to_owned(),
        Some(ratio) => format!("{:.1} %", ratio * 100.0),
        None => "–".to_owned(),
    }
}

/// `0.4`, `12`, `1 200`: three digits are enough.
pub(super) fn rate(number: f64) -> String {
    if number == 0.0 {
        "0".to_owned()
    } else if number < 10.0 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// `87 µs`, `1.2 s`, `3 h 20 min`.
pub(super) fn duration(time: Duration) -> String {
    let micros = time.as_micros();
    let seconds = time.as_secs();
    match micros {
        0 => "0".to_owned(),
        1..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..10_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        _ => match seconds {
            0..60 => format!("{seconds} s"),
            60..3_600 => pair(seconds, 60, "min", 1, "s"),
            3_600..86_400 => pair(seconds, 3_600, "h", 60, "min"),
            _ => pair(seconds, 86_400, "d", 3_600, "h"),
        },
    }
}

fn pair(seconds: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    let (first, rest) = (seconds / large, seconds % large / small);
    match rest {
        0 => format!("{first} {large_name}"),
        rest => format!("{first} {large_name} {rest} {small_name}"),
    }
}

/// `3 min ago`, with the time itself for machines and for the curious.
pub(super) fn ago(at: SystemTime) -> Markup {
    let exact = humantime::format_rfc3339_seconds(at).to_string();
    let since = SystemTime::now().duration_since(at).unwrap_or_default();
    // Seconds are enough: nobody acts on the tenth of one.
    let words = match since.as_secs() {
        0 => "just now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds => format!("{} ago", duration(Duration::from_secs(seconds))),
    };
    html! { time datetime=(exact) title=(exact) { (words) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
        assert_eq!(counted(1, "entry", "entries"), "1 entry");
        assert_eq!(share(Some(0.934)), "93.4 %");
        assert_eq!(share(None), "–");
        assert_eq!(rate(0.42), "0.4");
        assert_eq!(bytes(12_595), "12.3 KiB");
        for (time, words) in [
            (Duration::ZERO, "0"),
            (Duration::from_micros(87), "87 µs"),
            (Duration::from_micros(1_234), "1.2 ms"),
            (Duration::from_millis(87), "87 ms"),
            (Duration::from_millis(1_234), "1.2 s"),
            (Duration::from_secs(59), "59 s"),
            (Duration::from_secs(60), "1 min"),
            (Duration::from_secs(12_000), "3 h 20 min"),
            (Duration::from_secs(200_000), "2 d 7 h"),
        ] {
            assert_eq!(duration(time), words);
        }
    }
}
