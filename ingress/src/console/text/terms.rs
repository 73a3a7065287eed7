//! Words for the API's words.

use super::Terms;

/// The API's words, as people say them.
pub(crate) struct Vocabulary {
    pub(crate) roles: Terms,
    /// What happened just before the page, by the word in the notice's cookie.
    pub(crate) notices: Terms,
    /// A recharge's status.
    pub(crate) statuses: Terms,
    /// What caused a recharge.
    pub(crate) triggers: Terms,
    /// Where an event is from.
    pub(crate) sources: Terms,
    /// What was decided about an event.
    pub(crate) decisions: Terms,
    /// Why nothing was charged.
    pub(crate) skips: Terms,
    /// The bank's, Stripe's and our words for a charge that failed, as a sentence for the customer.
    pub(crate) declines: Terms,
    /// Why money went back.
    pub(crate) undos: Terms,
    /// A refund's status.
    pub(crate) refunds: Terms,
    /// What a quota was set for.
    pub(crate) quota_causes: Terms,
    /// Codes of problems that the API answers, as a sentence.
    pub(crate) problems: Terms,
    /// Fields of forms, by the API's names.
    pub(crate) fields: Terms,
    /// How much an organization needs a person.
    pub(crate) urgencies: Terms,
    /// In what order organizations stand.
    pub(crate) orders: Terms,
    /// How a part of the chain is, in a word.
    pub(crate) verdicts: Terms,
    /// How all of the chain is.
    pub(crate) overall: Terms,
    /// Parts of the chain.
    pub(crate) parts: Terms,
    /// What the streams carry.
    pub(crate) streams: Terms,
    /// What somebody outside answered.
    pub(crate) outcomes: Terms,
    /// Why a part can’t be told.
    pub(crate) absences: Terms,
    /// Why a message was given up.
    pub(crate) letter_reasons: Terms,
    /// The parts of a comparison of the books.
    pub(crate) comparisons: Terms,
    /// What they compare.
    pub(crate) comparison_leads: Terms,
    /// What a comparison found.
    pub(crate) findings: Terms,
    /// The ledger's accounts.
    pub(crate) accounts: Terms,
    /// Where quotas are enforced.
    pub(crate) backends: Terms,
    /// What people did, by the audit log's words.
    pub(crate) actions: Terms,
    /// The same, by the beginnings of these words.
    pub(crate) action_groups: Terms,
    /// What the API says is wrong with a field, as a pattern, as a sentence of its own.
    pub(crate) wrongs: Terms,
}

#[cfg(test)]
impl Vocabulary {
    pub(crate) fn each(&self) -> Vec<(&'static str, Terms)> {
        vec![
            ("roles", self.roles),
            ("notices", self.notices),
            ("statuses", self.statuses),
            ("triggers", self.triggers),
            ("sources", self.sources),
            ("decisions", self.decisions),
            ("skips", self.skips),
            ("declines", self.declines),
            ("undos", self.undos),
            ("refunds", self.refunds),
            ("quota_causes", self.quota_causes),
            ("problems", self.problems),
            ("fields", self.fields),
            ("urgencies", self.urgencies),
            ("orders", self.orders),
            ("verdicts", self.verdicts),
            ("overall", self.overall),
            ("parts", self.parts),
            ("streams", self.streams),
            ("outcomes", self.outcomes),
            ("absences", self.absences),
            ("letter_reasons", self.letter_reasons),
            ("comparisons", self.comparisons),
            ("comparison_leads", self.comparison_leads),
            ("findings", self.findings),
            ("accounts", self.accounts),
            ("backends", self.backends),
            ("actions", self.actions),
            ("action_groups", self.action_groups),
            ("wrongs", self.wrongs),
        ]
    }
}
