//! Query strings and header values. Pure.

/// The parameters of a query string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Self(raw.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of a parameter; empty counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Undoes percent-encoding; what is not encoded correctly stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let encoded = (byte == b'%').then(|| tail.get(..2)).flatten().and_then(|digits| hex::decode(digits).ok());
        match encoded.as_deref() {
            Some([decoded]) => {
                bytes.push(*decoded);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a content-type says JSON: `application/json`, with a charset of UTF-8 or none, other parameters unread.
pub(crate) fn is_json(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    json && parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, charset)| {
            ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| charset.trim().trim_matches('"').eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters() {
        let query = Query::parse("limit=5&before=17_req%3Aa&x&=&limit=9&bad=%zz%4&plus=a+b");
        assert_eq!(query.get("limit"), Some("5"));
        assert_eq!(query.get("before"), Some("17_req:a"));
        assert_eq!(query.get("x"), None);
        assert_eq!(query.get("bad"), Some("%zz%4"));
        assert_eq!(query.get("plus"), Some("a b"));
    }

    #[test]
    fn content_types() {
        for json in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; v=1",
        ] {
            assert!(is_json(json.as_bytes()), "{json}");
        }
        for other in [
            "",
            "text/json",
            "application/jsonl",
            "text/plain; application/json",
            "application/json; charset=utf-16",
            "\u{e9}",
        ] {
            assert!(!is_json(other.as_bytes()), "{other}");
        }
        assert!(!is_json(&[0xff]));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Query::parse(&text);
            let _ = is_json(&bytes);
        }
    }
}
