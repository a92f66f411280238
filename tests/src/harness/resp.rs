//! Where one message of the Redis protocol ends: all that a proxy has to understand of it.

/// The length of the first whole message in `bytes`, or `None` while it is not all there.
///
/// Knows RESP2 and RESP3. What it does not know it takes for one line, as Redis does with inline
/// commands.
pub(super) fn message_length(bytes: &[u8]) -> Option<usize> {
    let line = line_length(bytes)?;
    let (kind, rest) = bytes[..line].split_first()?;
    match kind {
        // Bulk strings, bulk errors and verbatim strings: a length, then so many bytes and CRLF.
        b'$' | b'!' | b'=' => {
            let end = usize::try_from(number(rest)?).map_or(line, |body| line + body + 2);
            (bytes.len() >= end).then_some(end)
        }
        b'*' | b'~' | b'>' => elements(bytes, line, number(rest)?),
        b'%' => elements(bytes, line, number(rest)? * 2),
        // An attribute stands in front of the message it belongs to.
        b'|' => elements(bytes, line, number(rest)? * 2 + 1),
        _ => Some(line),
    }
}

/// Whether the message was sent by the server of its own accord and answers no command.
pub(super) fn is_push(message: &[u8]) -> bool {
    message.first() == Some(&b'>')
}

fn elements(bytes: &[u8], start: usize, count: i64) -> Option<usize> {
    let mut end = start;
    for _ in 0..count.max(0) {
        end += message_length(&bytes[end..])?;
    }
    Some(end)
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .map(|end| end + 2)
}

/// The number on a header line; a null (`-1`) is a number below zero.
fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str) {
        let bytes = message.as_bytes();
        assert_eq!(message_length(bytes), Some(bytes.len()), "{message:?}");
        let followed = [bytes, b"+OK\r\n"].concat();
        assert_eq!(
            message_length(&followed),
            Some(bytes.len()),
            "{message:?} with more behind it"
        );
        for cut in 0..bytes.len() {
            assert_eq!(
                message_length(&bytes[..cut]),
                None,
                "{message:?} cut at {cut}"
            );
        }
    }

    #[test]
    fn every_kind_of_message_ends_where_it_should() {
        check("+OK\r\n");
        check("-ERR no\r\n");
        check(":42\r\n");
        check("$5\r\nhello\r\n");
        check("$0\r\n\r\n");
        check("$-1\r\n");
        check("*-1\r\n");
        check("*0\r\n");
        check("*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
        check("*3\r\n*1\r\n:1\r\n$2\r\n\r\n\r\n_\r\n");
        check("%1\r\n+key\r\n:1\r\n");
        check(">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n");
        check("|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n");
        check("=7\r\ntxt:one\r\n");
    }

    #[test]
    fn only_a_push_is_a_push() {
        assert!(is_push(b">1\r\n+x\r\n"));
        assert!(!is_push(b"*1\r\n+x\r\n"));
    }
}
