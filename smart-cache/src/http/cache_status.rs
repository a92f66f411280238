//! How a request was answered, as `Cache-Status` says it (RFC 9211).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::policy::Bypass;

/// The header's name.
pub(crate) const NAME: HeaderName = HeaderName::from_static("cache-status");

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Answered from the cache.
    Hit,
    /// Answered from the cache with something that was expired, while it is made anew.
    Stale,
    /// The handler ran and its answer is being stored.
    Stored,
    /// The handler ran; whether its answer can be stored is known only later.
    Missed,
    /// The answer of another request that was filling the same entry.
    Collapsed,
    /// The handler ran and its answer is not stored.
    Bypass(Bypass),
}

impl Status {
    /// Every value is known beforehand, so a hit formats nothing.
    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "smart-cache; hit",
            Self::Stale => "smart-cache; hit; detail=expired",
            Self::Stored => "smart-cache; fwd=miss; stored",
            Self::Missed => "smart-cache; fwd=miss",
            Self::Collapsed => "smart-cache; fwd=miss; collapsed",
            Self::Bypass(bypass) => match bypass {
                Bypass::Method => "smart-cache; fwd=method",
                Bypass::Request => "smart-cache; fwd=bypass; detail=request",
                Bypass::EmptyKey => "smart-cache; fwd=bypass; detail=empty-key",
                Bypass::Tags => "smart-cache; fwd=bypass; detail=tags",
                Bypass::Status => "smart-cache; fwd=bypass; detail=status",
                Bypass::SetCookie => "smart-cache; fwd=bypass; detail=set-cookie",
                Bypass::CacheControl => "smart-cache; fwd=bypass; detail=cache-control",
                Bypass::Vary => "smart-cache; fwd=bypass; detail=vary",
                Bypass::Stream => "smart-cache; fwd=bypass; detail=stream",
                Bypass::BodyTooLarge => "smart-cache; fwd=bypass; detail=body-too-large",
                Bypass::Body => "smart-cache; fwd=bypass; detail=body",
                Bypass::Extensions => "smart-cache; fwd=bypass; detail=extensions",
                Bypass::Head => "smart-cache; fwd=miss; detail=head",
                Bypass::Off => "smart-cache; fwd=bypass; detail=off",
                Bypass::Unavailable => "smart-cache; fwd=bypass; detail=unavailable",
                Bypass::Held => "smart-cache; fwd=bypass; detail=held",
                Bypass::PendingClear => "smart-cache; fwd=bypass; detail=pending-clear",
                Bypass::Wait => "smart-cache; fwd=miss; detail=wait",
                Bypass::Transaction => "smart-cache; fwd=bypass; detail=transaction",
                Bypass::Uncacheable => "smart-cache; fwd=bypass; detail=uncacheable",
                Bypass::Authorization => "smart-cache; fwd=bypass; detail=authorization",
                Bypass::Cookie => "smart-cache; fwd=bypass; detail=cookie",
                Bypass::RequestBody => "smart-cache; fwd=bypass; detail=request-body",
                Bypass::Upgrade => "smart-cache; fwd=bypass; detail=upgrade",
                Bypass::Expired => "smart-cache; fwd=bypass; detail=expired",
            },
        })
    }

    /// Puts this in the place of the hit that an entry carries ready-made: the last line.
    pub(crate) fn replace_hit(self, headers: &mut HeaderMap) {
        let mut lines: Vec<HeaderValue> = headers.get_all(&NAME).iter().cloned().collect();
        lines.pop();
        headers.remove(&NAME);
        for line in lines {
            headers.append(NAME, line);
        }
        self.append_to(headers);
    }

    /// Adds the header behind those of caches further in.
    pub(crate) fn append_to(self, headers: &mut HeaderMap) {
        headers.append(NAME, self.value());
    }
}

/// Says under which key the answer is kept, in our own line, which is the last one.
pub(crate) fn add_key(headers: &mut HeaderMap, key: &str) {
    let mut lines: Vec<HeaderValue> = headers.get_all(&NAME).iter().cloned().collect();
    let Some(ours) = lines.pop() else { return };
    let mut text = ours.as_bytes().to_vec();
    text.extend_from_slice(b"; key=\"");
    for byte in key.bytes() {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            // A string of a structured field has no other characters than these (RFC 9651).
            b' '..=b'~' => text.push(byte),
            _ => text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    text.push(b'"');
    headers.remove(&NAME);
    for line in lines {
        headers.append(NAME, line);
    }
    headers.append(NAME, HeaderValue::from_bytes(&text).unwrap_or(ours));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_as_a_string_of_a_structured_field() {
        let mut headers = HeaderMap::new();
        headers.append(NAME, HeaderValue::from_static("inner; hit"));
        Status::Hit.append_to(&mut headers);
        add_key(&mut headers, "a\"b\\c ü\r\n:7");
        let lines: Vec<_> = headers.get_all(NAME).iter().collect();
        assert_eq!(
            lines,
            [
                "inner; hit",
                "smart-cache; hit; key=\"a\\\"b\\\\c %C3%BC%0D%0A:7\""
            ]
        );
        let mut none = HeaderMap::new();
        add_key(&mut none, "k");
        assert!(none.is_empty());
    }

    #[test]
    fn every_bypass_says_its_reason() {
        for bypass in Bypass::ALL {
            let value = Status::Bypass(bypass).value();
            assert!(
                value.to_str().unwrap().ends_with(bypass.as_str()),
                "{value:?}"
            );
        }
    }
}
