//! What all pages have in common.

use super::assets;
use super::text::{Text, term};
use super::visit::Visit;

/// The frame of a page.
pub(crate) struct Layout {
    pub(crate) text: &'static Text,
    pub(crate) title: String,
    /// Where style and scripts are.
    pub(crate) assets: String,
    /// This page, for the way back after the language was switched.
    pub(crate) path: String,
    /// Who is signed in, if anybody is.
    pub(crate) who: Option<Who>,
    /// What happened just before, as a sentence.
    pub(crate) notice: Option<&'static str>,
    /// Where the page hears that it should look again.
    pub(crate) live: Option<String>,
    /// The part of the navigation that the page belongs to.
    pub(crate) section: &'static str,
}

/// Who is signed in.
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) csrf: String,
    pub(crate) sees_all: bool,
    pub(crate) may_change: bool,
    pub(crate) operator: bool,
    /// The one organization that he sees.
    pub(crate) own: Option<String>,
    /// Whether there is something to sign out of.
    pub(crate) session: bool,
}

impl Layout {
    /// For somebody who is signed in.
    pub(super) fn of(visit: &Visit, title: String, notice: Option<String>) -> Self {
        let caller = &visit.viewer.caller;
        let text = visit.text;
        Self {
            text,
            title,
            assets: assets_at(),
            path: visit.path.clone(),
            who: Some(Who {
                name: caller.name.clone(),
                role: term(text.terms.roles, caller.grant.role.as_str()),
                csrf: visit.viewer.csrf.as_str().to_owned(),
                sees_all: visit.sees_all(),
                may_change: visit.may_change(),
                operator: visit.is_operator(),
                own: visit.own().map(str::to_owned),
                session: visit.viewer.session.is_some(),
            }),
            notice: notice
                .and_then(|word| text.terms.notices.iter().find(|(have, _)| *have == word))
                .map(|(_, says)| *says),
            live: None,
            section: "",
        }
    }

    /// For anybody.
    pub(crate) fn outside(text: &'static Text, title: impl Into<String>, path: &str) -> Self {
        let (title, path) = (title.into(), path.to_owned());
        Self { text, title, assets: assets_at(), path, who: None, notice: None, live: None, section: "" }
    }

    /// The page looks again whenever something happens to this organization; without one, to any.
    pub(crate) fn live(mut self, organization: Option<&str>) -> Self {
        self.live = Some(match organization {
            Some(organization) => format!("/console/live?organization={organization}"),
            None => "/console/live".to_owned(),
        });
        self
    }

    /// The part of the navigation that it belongs to: organizations, pipeline, dead-letters, reconciliations, tokens, audit.
    pub(crate) fn section(mut self, section: &'static str) -> Self {
        self.section = section;
        self
    }

    /// What forms carry.
    pub(crate) fn csrf(&self) -> &str {
        self.who.as_ref().map_or("", |who| who.csrf.as_str())
    }

    /// Whether the viewer may everything.
    pub(crate) fn operator(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.operator)
    }

    /// Whether the viewer may change what is his organization's.
    pub(crate) fn may_change(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.may_change)
    }
}

fn assets_at() -> String {
    format!("/console/assets/{}", *assets::VERSION)
}
