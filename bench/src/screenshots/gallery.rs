//! A page with all the pictures, for who looks at them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Screenshots</title><style>
body { font: 15px system-ui, sans-serif; margin: 1.5rem; background: #888; }
h2 { margin: 2rem 0 .5rem; } .row { display: flex; gap: 1rem; align-items: flex-start; }
a { display: block; max-height: 36rem; overflow: hidden; } img { display: block; } .phone { width: 180px; }
.desktop { width: 640px; } .wrong { background: #fff; color: #900; padding: .5rem 1rem; }
</style></head><body><h1>Screenshots</h1>\n";

/// Writes it. Returns where it is.
pub(super) fn write(folder: &Path, wrong: &[String]) -> anyhow::Result<PathBuf> {
    let mut names = Vec::new();
    for picture in pictures(folder)? {
        names.extend(picture.file_name().and_then(|name| name.to_str()).map(str::to_owned));
    }
    let index = folder.join("index.html");
    std::fs::write(&index, page(&names, wrong)?).with_context(|| format!("writing {}", index.display()))?;
    Ok(index)
}

/// Every picture that is there, in the order of names.
fn pictures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "png") {
            pictures.push(path);
        }
    }
    pictures.sort();
    Ok(pictures)
}

fn page(names: &[String], wrong: &[String]) -> anyhow::Result<String> {
    // One row for each state and language, phones first.
    let mut rows: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        if let [shot, _, _, language, _] = parts[..] {
            rows.entry((shot, language)).or_default().push(name);
        }
    }
    let mut html = HEAD.to_owned();
    for told in wrong {
        writeln!(html, "<p class=\"wrong\">{}</p>", escaped(told))?;
    }
    for ((shot, language), mut pictures) in rows {
        pictures.sort_by_key(|name| !is_of_a_phone(name));
        writeln!(html, "<h2>{shot} ({language})</h2><div class=\"row\">")?;
        for name in pictures {
            let class = if is_of_a_phone(name) { "phone" } else { "desktop" };
            writeln!(
                html,
                "<a href=\"{name}\"><img class=\"{class}\" loading=\"lazy\" src=\"{name}\" alt=\"{name}\"></a>"
            )?;
        }
        html.push_str("</div>\n");
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

fn is_of_a_phone(name: &str) -> bool {
    name.contains(".360.")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_state_and_language_with_phones_first() {
        let names = ["a-x.1440.dark.en.png", "a-x.360.light.en.png", "a-x.360.light.zh.png", "notes.png"];
        let html = page(&names.map(str::to_owned), &["a-x: <b> & so".to_owned()]).unwrap();
        assert!(html.contains("a-x: &lt;b&gt; &amp; so") && !html.contains("notes"), "{html}");
        assert_eq!(html.matches("class=\"row\"").count(), 2, "{html}");
        let places = ["360.light.en", "1440.dark.en", "(zh)", "360.light.zh"].map(|text| html.find(text));
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?} {html}");
    }
}
