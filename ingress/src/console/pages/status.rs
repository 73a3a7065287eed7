//! How the status of a recharge looks. Pure.

/// The class of its badge.
pub(super) fn class(status: &str) -> &'static str {
    match status {
        "settled" => "is-good",
        "declined" | "failed" => "is-bad",
        "action_required" | "refunding" | "returning" | "refunded" => "is-warn",
        "pending" | "processing" | "charged" | "credited" => "is-info",
        _ => "is-quiet",
    }
}
