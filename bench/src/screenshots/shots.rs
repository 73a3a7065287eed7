//! What is pictured: every page, in every state that it has. Pure.

use xtask::screenshots::Language;

use super::cast::Person;
use Person::{Nobody, Operator, OrgAdmin, Viewer};
use Step::{Click, Fill, Until};

/// A page in a state.
pub(super) struct Shot {
    pub(super) page: &'static str,
    state: &'static str,
    /// Where it is; `{largest}` and others stand for what the cast has.
    pub(super) path: &'static str,
    pub(super) person: Person,
    /// What leads to the state.
    pub(super) steps: Vec<Step>,
    /// Whether the page says no, so that it isn't answered with 200.
    pub(super) refused: bool,
    /// Whether it is one of the pages that people look at most, and taken in every language.
    main: bool,
}

/// Something that is done on the way to a state.
pub(super) enum Step {
    /// A field (selector) is filled.
    Fill(&'static str, &'static str),
    /// Something (selector) is clicked.
    Click(&'static str),
    /// It goes on when this (selector) is there.
    Until(&'static str),
}

impl Shot {
    /// The page with its state: the beginning of the pictures' names.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.page, self.state)
    }

    /// Whether it is taken in this language.
    pub(super) fn is_taken_in(&self, language: Language) -> bool {
        self.main || language == Language::English
    }

    const fn by(mut self, person: Person) -> Self {
        self.person = person;
        self
    }

    fn after(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    const fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    const fn main(mut self) -> Self {
        self.main = true;
        self
    }
}

const fn shot(page: &'static str, state: &'static str, path: &'static str) -> Shot {
    Shot { page, state, path, person: Operator, steps: Vec::new(), refused: false, main: false }
}

/// Every picture. Where something is changed on the way, what is pictured later does not depend on it.
pub(super) fn shots() -> Vec<Shot> {
    [front_door(), overview(), acts(), history(), chains(), changes(), operators(), letters(), tokens()]
        .into_iter()
        .flatten()
        .collect()
}

fn front_door() -> Vec<Shot> {
    const NOTHING: &str = "/console/organizations/nobody-knows-it";
    vec![
        shot("sign-in", "first", "/console/sign-in").by(Nobody).main(),
        shot("sign-in", "over", "/console/sign-in?because=over").by(Nobody),
        shot("sign-in", "wrong", "/console/sign-in").by(Nobody).refused().after([
            Fill("#token", "bill_this-is-not-a-token"),
            Click("form[data-sign-in] button"),
            Until("#token-error"),
        ]),
        shot("error", "unknown-organization", NOTHING).refused().main(),
        shot("error", "no-page", "/console/nowhere").refused(),
        shot("error", "not-allowed", "/console/organizations/new").by(Viewer).refused(),
        shot("error", "signed-out", "/console/nowhere").by(Nobody).refused(),
    ]
}

fn overview() -> Vec<Shot> {
    vec![
        shot("organization", "busy", "/console/organizations/{largest}").main(),
        shot("organization", "live", "/console/organizations/{live}").main(),
        shot("organization", "declined", "/console/organizations/{paused}").main(),
        shot("organization", "resting", "/console/organizations/{resting}"),
        shot("organization", "confirming", "/console/organizations/{confirming}").main(),
        shot("organization", "disputed", "/console/organizations/{disputing}"),
        shot("organization", "card-lost", "/console/organizations/{card_lost}"),
        shot("organization", "going-back", "/console/organizations/{going_back}"),
        shot("organization", "in-flight", "/console/organizations/{in_flight}").main(),
        shot("organization", "empty", "/console/organizations/{empty}").main(),
        shot("organization", "closed", "/console/organizations/{closed}"),
        shot("organization", "org-admin", "/console/organizations/{live}").by(OrgAdmin),
        shot("organization", "viewer", "/console/organizations/{live}").by(Viewer),
    ]
}

fn acts() -> Vec<Shot> {
    const RECHARGE: &str = "/console/organizations/{live}/recharge";
    const POLICY: &str = "/console/organizations/{live}/policy";
    vec![
        shot("policy", "form", POLICY),
        shot("policy", "wrong", POLICY).refused().after([
            // As many as the API refuses, and the browser does not.
            Fill("#max_daily_recharges", "100000"),
            Click("button[value=save]"),
            Until(".field.is-wrong .error"),
        ]),
        shot("policy", "typed-wrong", POLICY).refused().after([
            Fill("#minimum_balance", "a hundred"),
            Click("button[value=save]"),
            Until(".field.is-wrong .error"),
        ]),
        shot("policy", "tried", POLICY).after([Click("button[value=try]"), Until("#trial")]),
        shot("what-if", "saved", "/console/organizations/{largest}/what-if"),
        shot("what-if", "other", "/console/organizations/{largest}/what-if").after([
            Fill("#minimum_balance", "400"),
            Click("form.form button.primary"),
            Until(".notice.is-info"),
        ]),
        shot("what-if", "empty", "/console/organizations/{empty}/what-if"),
        shot("recharge", "form", RECHARGE),
        shot("recharge", "no-card", "/console/organizations/{empty}/recharge"),
        shot("recharge", "wrong", RECHARGE).refused().after([
            Fill("#amount", "0.10"),
            Click("form.form button.primary"),
            Until(".field.is-wrong .error"),
        ]),
        shot("recharge", "review", RECHARGE).after([
            Fill("#amount", "250"),
            Click("form.form button.primary"),
            Until("input[name=amount][value='250'] ~ .row, h2#total"),
        ]),
        shot("card", "saved", "/console/organizations/{live}/card"),
        shot("card", "none", "/console/organizations/{empty}/card"),
        shot("card", "wrong", "/console/organizations/{live}/card").refused().after([
            Click("#by-id summary"),
            Fill("#payment_method_id", "pm_<script>"),
            Click("#by-id button"),
            Until(".field.is-wrong .error"),
        ]),
    ]
}

fn history() -> Vec<Shot> {
    vec![
        shot("recharges", "busy", "/console/organizations/{largest}/recharges").main(),
        shot("recharges", "empty", "/console/organizations/{empty}/recharges"),
        shot("recharges", "none-fits", "/console/organizations/{largest}/recharges?status=failed&to=2020-01-01"),
        shot("recharges", "viewer", "/console/organizations/{live}/recharges").by(Viewer),
        shot("events", "busy", "/console/organizations/{largest}/events"),
        shot("events", "hostile", "/console/organizations/{live}/events").after([Click("main summary")]),
        shot("events", "empty", "/console/organizations/{empty}/events"),
        shot("quota", "busy", "/console/organizations/{largest}/quota"),
        shot("quota", "failing", "/console/organizations/{in_flight}/quota"),
        shot("quota", "empty", "/console/organizations/{empty}/quota"),
        shot("audit", "organization", "/console/organizations/{largest}/audit"),
        shot("audit", "hostile", "/console/organizations/{live}/audit"),
        shot("audit", "all", "/console/audit"),
        shot("audit", "org-admin", "/console/audit").by(OrgAdmin),
    ]
}

fn chains() -> Vec<Shot> {
    vec![
        shot("chain", "settled", "/console/recharges/{newest}").main(),
        shot("chain", "refunded", "/console/recharges/{refunded}").main(),
        shot("chain", "partly-refunded", "/console/recharges/{partly_refunded}"),
        shot("chain", "declined", "/console/recharges/{declined}"),
        shot("chain", "confirming", "/console/recharges/{to_confirm}"),
        shot("chain", "disputed", "/console/recharges/{disputed}"),
        shot("chain", "in-progress", "/console/recharges/{on_its_way}").main(),
        shot("chain", "org-admin", "/console/recharges/{partly_refunded}").by(OrgAdmin),
        shot("chain", "viewer", "/console/recharges/{partly_refunded}").by(Viewer),
    ]
}

fn changes() -> Vec<Shot> {
    const REFUND: &str = "/console/recharges/{partly_refunded}/refund";
    const CONTINUE: Step = Click("form.form button.primary");
    vec![
        shot("refund", "form", REFUND),
        shot("refund", "wrong", REFUND).refused().after([
            Click("input[value=part]"),
            Fill("#amount", "900"),
            CONTINUE,
            Until(".field.is-wrong .error"),
        ]),
        shot("refund", "review", REFUND).after([
            Fill("#reason", "The customer ordered it twice."),
            CONTINUE,
            Until("button[value=confirm]"),
        ]),
        shot("refund", "refunded", "/console/recharges/{refunded}/refund").refused(),
        shot("restore", "form", "/console/organizations/{largest}/quota")
            .after([Click("td.actions a"), Until("form[action$='/quota/restore']")]),
        shot("close", "review", "/console/organizations/{live}/close"),
        shot("close", "closed", "/console/organizations/{closed}/close"),
        shot("reopen", "review", "/console/organizations/{closed}/reopen"),
    ]
}

fn operators() -> Vec<Shot> {
    vec![
        shot("organizations", "all", "/console/organizations?closed=true").main(),
        shot("organizations", "none-fits", "/console/organizations?search=nobody"),
        shot("organizations", "viewer", "/console/organizations").by(Viewer),
        shot("new-organization", "form", "/console/organizations/new"),
        shot("new-organization", "wrong", "/console/organizations/new").refused().after([
            Fill("#c_organization_id", "no spaces & signs"),
            Fill("#currency", "xxx"),
            Click("form.form button.primary"),
            Until(".field.is-wrong .error"),
        ]),
        shot("pipeline", "now", "/console/pipeline"),
        shot("pipeline", "viewer", "/console/pipeline").by(Viewer),
        shot("reconciliations", "list", "/console/reconciliations"),
        shot("reconciliation", "run", "/console/reconciliations/{run}"),
    ]
}

fn letters() -> Vec<Shot> {
    vec![
        shot("dead-letters", "grouped", "/console/dead-letters"),
        shot("dead-letters", "empty", "/console/dead-letters").by(OrgAdmin),
        shot("dead-letters", "viewer", "/console/dead-letters").by(Viewer),
        shot("dead-letter", "open", "/console/dead-letters/{letter}"),
        shot("dead-letter", "discard", "/console/dead-letters/{letter}/discard"),
        shot("dead-letter", "discard-wrong", "/console/dead-letters/{letter}/discard").refused().after([
            Fill("#reason", " "),
            Click("form.form button.primary"),
            Until(".field.is-wrong .error"),
        ]),
    ]
}

fn tokens() -> Vec<Shot> {
    const TOKENS: &str = "/console/tokens";
    vec![
        shot("tokens", "all", TOKENS),
        shot("tokens", "org-admin", TOKENS).by(OrgAdmin),
        shot("tokens", "revoke", TOKENS).after([Click("td.actions a"), Until("form[action$='/revoke']")]),
        shot("tokens", "made", TOKENS).after([
            Fill("#name", "month-end-report"),
            Click("form.form button.primary"),
            Until(".copy code"),
        ]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_picture_takes_the_place_of_another() {
        let mut names: Vec<String> = shots().iter().map(Shot::name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        // The index takes the names apart at their dots.
        assert!(names.iter().all(|name| !name.contains('.')), "{names:?}");
    }
}
