//! What a form sends. Pure.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The fields of a form, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a field, as it was typed; a field that is not there is empty.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(have, _)| have == name).map_or("", |(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Whether a box is ticked.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(have, _)| have == name)
    }

    /// A field for a JSON body: without the spaces around it, and null where nothing was typed.
    pub(crate) fn value(&self, name: &str) -> Value {
        let text = self.get(name).trim();
        if text.is_empty() { Value::Null } else { json!(text) }
    }

    /// An amount for a JSON body: as it was typed, without commas where they group thousands (`1,000.50`); null where nothing
    /// was typed. What may be meant otherwise, such as `1,50`, stays as it is, so that the API says what is wrong with it.
    pub(crate) fn amount(&self, name: &str) -> Value {
        let typed = self.get(name).trim();
        if groups_thousands(typed) { json!(typed.replace(',', "")) } else { self.value(name) }
    }

    /// A whole number for a JSON body; as [`Self::amount`] where it is none.
    pub(crate) fn whole(&self, name: &str) -> Value {
        let typed = self.get(name).trim();
        typed.parse::<i64>().map_or_else(|_| self.value(name), |number| json!(number))
    }
}

/// Whether commas stand in an amount where they group thousands, and nowhere else.
fn groups_thousands(text: &str) -> bool {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    digits(rest) && digits(first) && first.len() <= 3 && groups.all(|group| group.len() == 3 && digits(group))
}

/// A query string of these parameters; empty ones are left out.
pub(crate) fn query<'a, V: Into<Cow<'a, str>>>(parameters: impl IntoIterator<Item = (&'a str, V)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        let value = value.into();
        if !value.is_empty() {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let form = Form::read("a=1%2C000.50&b=+x+&c=&d=+20&e=7&e=8&f=abc".as_bytes());
        assert_eq!((form.amount("a"), form.value("b"), form.value("c")), (json!("1000.50"), json!("x"), Value::Null));
        assert_eq!((form.amount("d"), form.whole("e"), form.whole("f")), (json!("20"), json!(7), json!("abc")));
        assert_eq!((form.amount("f"), form.amount("nothing"), form.get("nothing")), (json!("abc"), Value::Null, ""));
        // Who writes decimals with a comma is asked, not charged a hundred times as much.
        for typed in ["1,50", "500,00", "12,5", "1.000,50", "1,000,50", "$20", "1 000", ",5", "1,", "0001,000"] {
            let form = Form(vec![("a".to_owned(), typed.to_owned())]);
            assert_eq!(form.amount("a"), json!(typed));
        }
        assert_eq!(form.all("e").collect::<Vec<_>>(), ["7", "8"]);
        assert!(form.has("c") && !form.has("nothing"));
    }

    #[test]
    fn queries() {
        assert_eq!(query([("a", "x y&z"), ("b", ""), ("c", "é")]), "a=x+y%26z&c=%C3%A9");
        assert_eq!(crate::http::Query::parse(&query([("a", "x y&z=%")])).get("a"), Some("x y&z=%"));
    }
}
