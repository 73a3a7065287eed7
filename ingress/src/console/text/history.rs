//! What happened: recharges and their chains, what came in, what quotas were set, and who changed what.

super::texts! {
    /// The pages of console/pages/history.
    History {
        crumbs, pages, when, status, amount, fee, total, currency, cause, by, reason, message, result, source,
        from_day, to_day, list_problem, nothing_fits, nothing_fits_lead, nothing_older, not_done, what_happens,
        recharges, recharges_of, recharges_lead, recharge, recharge_at, open_recharge, no_recharges,
        no_recharges_lead, refunded, refunded_quota, refunded_money, in_force_since, recharge_of, refund_it, story,
        story_pending, story_processing, story_action_required, story_charged, story_credited, story_settled,
        story_settled_refunded, story_declined, story_failed, story_refunding, story_refunded, story_returning,
        story_unknown, captured, captured_note, credited, credited_note, refunded_note, fee_kept, fee_kept_note,
        station_decided, station_charged, station_booked, station_in_force, station_refunded, station_returned,
        ahead_charged, ahead_processing, ahead_confirmation, ahead_booked, ahead_in_force, ahead_refunded,
        ahead_returned, no_reason, paused_by_it, stripe_code, bank_code, advice_code, decline_class, stripe_says,
        confirm, confirm_lead, confirm_by, confirm_link, steps, no_steps, no_steps_lead, entries, account, payload,
        no_payload, ids, recharge_id, event_id, correlation_id, payment_intent, charge_id, transaction,
        ledger_version, team, processor_fee, refund_id, refund_key, dispute_id, bank_says, event_type, occurred_at,
        received_at, step_asked, step_asked_by, step_swept, step_received, step_decided, step_decided_reduced, step_claimed,
        step_claimed_says, step_claimed_without_fee, step_action_required, step_action_required_says, step_charged,
        step_charged_says, step_declined, step_failed, step_declined_says, step_booked, step_booked_says,
        step_credited, step_credited_says, step_synced, step_synced_changed, step_synced_first, step_synced_same,
        step_sync_failed, step_sync_failed_says, step_settled, step_settled_says, step_refund_requested,
        step_refund_says, step_refunded, step_refund_failed, step_disputed, step_disputed_says, step_dispute_won,
        step_dispute_lost, step_all_refunded, step_all_refunded_says, refunds, tries, quota_back, money_back,
        disputes, quota_held, money_disputed, dispute_open, dispute_won, dispute_lost, refund_title, refund_lead,
        refund_extent, refund_whole, refund_whole_hint, refund_part, refund_part_hint, refund_amount,
        refund_reason_hint, reason_missing, amount_wrong, amount_too_much, refund_review, refund_says, refund_note,
        refund_button, refund_edit, quota_now, quota_then, available_then, overdrawn, events, events_of, events_lead,
        decision, no_events, no_events_lead, quota, quota_of, quota_lead, quota_before, quota_after, backend,
        in_force, given_up, unchanged, no_quota, no_quota_lead, put_back, put_back_label, restore, restore_of,
        restore_lead, restore_same, booked_change, restore_reason_hint, audit_of, audit_lead, action, actor, changes,
        fields, whole, before, after, was_nothing, is_nothing, request_id, no_audit, no_audit_lead,
    }
}
