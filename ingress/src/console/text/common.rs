//! What every page says, and what is said where there is no page.

super::texts! {
    /// The frame of every page, signing in, and what went wrong.
    Common {
        skip, brand, tagline, navigation, organizations, organization, pipeline, dead_letters, reconciliations, tokens, audit,
        other_language, other_language_code, sign_out, anonymous, live_on, live_off,         copy, copied, working, save, cancel, back, continue_, filter, clear, all, newer, older, download_csv, none, never,
        unknown, details, actions,         sign_in, sign_in_lead, token, token_hint, token_wrong, token_missing, signed_out, session_over,
        not_found, not_found_lead, forbidden, forbidden_lead, stale, stale_lead, away, away_lead, too_many, too_many_lead,
        bad_request, bad_request_lead, failed, failed_lead, home, wrong_fields, refused,
    }
}
