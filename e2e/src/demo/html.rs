//! Just enough HTML to press a button: the first form of a page, and what pressing it sends. Pure.

/// A form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// Where it is sent, as the page has it.
    pub(super) action: String,
    /// What its first button says.
    pub(super) button: String,
    /// What is sent: the hidden fields, and the first button's value if it has a name.
    pub(super) fields: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page that is sent with POST.
    pub(super) fn first(page: &str) -> Option<Self> {
        let (_, rest) = page.split_once("<form ")?;
        let (form, _) = rest.split_once("</form>")?;
        let (head, body) = form.split_once('>')?;
        if !attribute(head, "method")?.eq_ignore_ascii_case("post") {
            return None;
        }
        let inputs = body.split("<input ").skip(1).filter_map(|input| input.split_once('>'));
        let mut fields: Vec<(String, String)> = inputs.filter_map(|(input, _)| named(input)).collect();
        let (_, rest) = body.split_once("<button")?;
        let (button, rest) = rest.split_once('>')?;
        let (label, _) = rest.split_once('<')?;
        fields.extend(named(button));
        Some(Self { action: attribute(head, "action")?, button: unescaped(label), fields })
    }

    /// The body that is sent.
    pub(super) fn body(&self) -> String {
        let pairs = self.fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// What the page's heading says.
pub(super) fn heading(page: &str) -> String {
    let inner = page.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>"));
    inner.map(|(text, _)| unescaped(text)).unwrap_or_default()
}

fn named(tag: &str) -> Option<(String, String)> {
    Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!("{name}=\"");
    let at = tag.match_indices(&start).find(|(at, _)| *at == 0 || tag[..*at].ends_with(char::is_whitespace))?.0;
    let (value, _) = tag.get(at + start.len()..)?.split_once('"')?;
    Some(unescaped(value))
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_is_pressed() {
        let page = "<h1>A &amp; B</h1><p>x</p><form method=\"post\" action=\"/a?b=1&amp;c=2\">\
            <input type=\"hidden\" name=\"return_url\" value=\"http://127.0.0.1/x y\">\
            <button name=\"outcome\" value=\"succeeded\">Go &quot;on&quot;</button> \
            <button name=\"outcome\" value=\"failed\">Fail</button></form>";
        let form = Form::first(page).unwrap();
        assert_eq!((form.action.as_str(), form.button.as_str()), ("/a?b=1&c=2", "Go \"on\""));
        assert_eq!(form.body(), "return_url=http%3A%2F%2F127.0.0.1%2Fx+y&outcome=succeeded");
        assert_eq!(heading(page), "A & B");
        assert_eq!(Form::first("<form method=\"get\" action=\"/\"><button>x</button></form>"), None);
        let plain = "<form method=\"post\" action=\"/\"><button type=\"submit\">x</button></form>";
        assert_eq!(Form::first(plain).map(|form| form.fields), Some(vec![]));
        assert_eq!(Form::first("<p>nothing</p>"), None);
    }
}
