//! Which route a path is. Pure.

use warp::http::Method;

/// What is at a path, for a method.
pub(crate) trait Placed: 'static {
    /// The method, and the path with its parameters in braces, as `/a/{id}`.
    fn place(&self) -> (&Method, &'static str);
}

/// What there is at a path.
pub(crate) enum Found<T: 'static> {
    Route(&'static T, Vec<String>),
    /// Something, for these methods.
    Methods(String),
    Nothing,
}

/// Finds the route of a request. Where a word and a parameter both fit, the word is meant.
pub(crate) fn find<T: Placed>(routes: &'static [T], method: &Method, path: &str) -> Found<T> {
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    // `/api/organizations/` is `/api/organizations`.
    if segments.len() > 1 && segments.last() == Some(&"") {
        segments.pop();
    }
    let here = routes.iter().filter_map(|route| Some((route, params(route.place().1, &segments)?)));
    let mut here: Vec<_> = here.collect();
    let fewest = here.iter().map(|(_, params)| params.len()).min();
    here.retain(|(_, params)| Some(params.len()) == fewest);
    if let Some(found) = here.iter().position(|(route, _)| route.place().0 == method) {
        let (route, params) = here.swap_remove(found);
        return Found::Route(route, params);
    }
    let mut methods: Vec<&str> = here.iter().map(|(route, _)| route.place().0.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() { Found::Nothing } else { Found::Methods(methods.join(", ")) }
}

/// The values of a pattern's parameters, if these are the segments of such a path.
fn params(pattern: &str, segments: &[&str]) -> Option<Vec<String>> {
    let mut wanted = pattern.split('/').skip(1);
    let mut params = Vec::new();
    for given in segments {
        match wanted.next()? {
            // Nothing has an empty name.
            parameter if parameter.starts_with('{') && !given.is_empty() => params.push((*given).to_owned()),
            word if word == *given => {}
            _ => return None,
        }
    }
    wanted.next().is_none().then_some(params)
}
