-- The way back: refunds, disputes, deadlines. Written by: recharger (organization_balance_config: ingress).

-- What is due, and when somebody must look again: deadlines live here, not in a timer.
ALTER TABLE recharge_records ADD COLUMN next_at timestamptz;
ALTER TABLE recharge_records ADD COLUMN tries integer NOT NULL DEFAULT 0;
-- Until when the ledger may credit it, and until when the quota must be in force.
ALTER TABLE recharge_records ADD COLUMN credit_by timestamptz;
ALTER TABLE recharge_records ADD COLUMN sync_by timestamptz;
-- Until when the customer may confirm at the bank.
ALTER TABLE recharge_records ADD COLUMN confirm_by timestamptz;
-- Why it is undone: a RefundCause, and the sentence for people.
ALTER TABLE recharge_records ADD COLUMN undo_cause text;
ALTER TABLE recharge_records ADD COLUMN undo_reason text;
-- What went back so far, of the quota and of the charge.
ALTER TABLE recharge_records ADD COLUMN refunded_amount numeric(12,2) NOT NULL DEFAULT 0;
ALTER TABLE recharge_records ADD COLUMN refunded_total numeric(12,2) NOT NULL DEFAULT 0;
-- The card itself, whoever saved it: refused attempts are counted over all organizations.
ALTER TABLE recharge_records ADD COLUMN card_fingerprint text;
ALTER TABLE organization_balance_config ADD COLUMN payment_method_fingerprint text;

-- Whoever waited for a confirmation had no page to confirm on: nothing was captured, and nothing will be.
UPDATE recharge_records SET status = 'declined', decline_class = 'soft', ended_at = COALESCE(ended_at, now())
 WHERE trigger_event_id IS NOT NULL AND status = 'action_required';

-- A recharge that waits for the customer is in flight: its payment may succeed at any moment.
DROP INDEX recharge_records_in_flight;
CREATE UNIQUE INDEX recharge_records_in_flight ON recharge_records (c_organization_id)
    WHERE trigger_event_id IS NOT NULL
      AND status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding');

ALTER TABLE recharge_records DROP CONSTRAINT recharge_records_ours;
ALTER TABLE recharge_records ADD CONSTRAINT recharge_records_ours CHECK (
    trigger_event_id IS NULL OR (
        c_organization_id IS NOT NULL AND currency IS NOT NULL AND amount > 0 AND total_charge >= amount AND correlation_id IS NOT NULL
        AND refunded_total BETWEEN 0 AND total_charge AND refunded_amount BETWEEN 0 AND amount
        AND status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'settled', 'declined', 'failed',
                       'refunding', 'refunded', 'returning')
    )
);
-- Deadlines of what is in flight from before this migration count from now.
UPDATE recharge_records SET next_at = now(),
       credit_by = CASE WHEN status = 'charged' THEN now() + interval '10 minutes' END,
       sync_by = CASE WHEN status = 'credited' THEN now() + interval '15 minutes' END
 WHERE trigger_event_id IS NOT NULL AND status IN ('pending', 'processing', 'charged', 'credited', 'refunding');

CREATE INDEX recharge_records_due ON recharge_records (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX recharge_records_giving_back ON recharge_records (recharge_id) WHERE status IN ('refunding', 'returning');
CREATE INDEX recharge_records_recent ON recharge_records (created_at) WHERE trigger_event_id IS NOT NULL;
CREATE INDEX recharge_records_refused ON recharge_records (card_fingerprint, created_at)
    WHERE card_fingerprint IS NOT NULL AND status IN ('declined', 'failed');

-- One row for each refund of which we know: asked for by us, by a person, or made at Stripe.
CREATE TABLE refunds (
    -- Derives from what asked for it: `undo:<recharge>`, `request:<event>`, `stripe:<refund>`; a second attempt after the
    -- bank sent the money back has `~2` at its end.
    refund_key          text PRIMARY KEY,
    recharge_id         uuid NOT NULL REFERENCES recharge_records (recharge_id),
    c_organization_id   text NOT NULL,
    correlation_id      text NOT NULL,
    cause               text NOT NULL CHECK (cause IN ('credit_overdue', 'sync_failed', 'requested', 'dashboard', 'payment_failed')),
    reason              text NOT NULL,
    requested_by        text,
    currency            text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    -- The quota that goes with it, and what the customer gets back.
    amount              numeric(12,2) NOT NULL CHECK (amount >= 0),
    total               numeric(12,2) NOT NULL CHECK (total > 0),
    -- failed is an end of this row only: what is still owed gets a row of its own.
    status              text NOT NULL CHECK (status IN ('requested', 'pending', 'succeeded', 'failed')),
    stripe_refund_id    text UNIQUE,
    -- Definite refusals so far. A part of the idempotency key: Stripe repeats a refusal under the same key.
    refusals            integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    -- Requests that were sent; after the first, we look before we ask again.
    tries               integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    last_error          text,
    -- Whether `recharges.refunded` was said of it: then the ledger has booked it.
    was_refunded        boolean NOT NULL DEFAULT false,
    was_credited        boolean NOT NULL DEFAULT false,
    -- Whether nothing of the charge was left with us after it.
    completes           boolean NOT NULL DEFAULT false,
    next_at             timestamptz,
    created_at          timestamptz NOT NULL,
    ended_at            timestamptz,
    updated_at          timestamptz NOT NULL,
    CHECK (status IN ('requested', 'failed') OR stripe_refund_id IS NOT NULL)
);
CREATE INDEX refunds_by_recharge ON refunds (recharge_id);
CREATE INDEX refunds_due ON refunds (next_at) WHERE next_at IS NOT NULL;

-- One row for each dispute at Stripe that is about a recharge.
CREATE TABLE disputes (
    dispute_id          text PRIMARY KEY,
    recharge_id         uuid NOT NULL REFERENCES recharge_records (recharge_id),
    c_organization_id   text NOT NULL,
    currency            text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    amount              numeric(12,2) NOT NULL CHECK (amount >= 0),
    total               numeric(12,2) NOT NULL CHECK (total > 0),
    stage               text NOT NULL CHECK (stage IN ('opened', 'won', 'lost')),
    reason              text NOT NULL,
    opened_at           timestamptz NOT NULL,
    closed_at           timestamptz,
    -- When what it says is said again, if nobody is sure that it was.
    next_at             timestamptz
);
CREATE INDEX disputes_by_recharge ON disputes (recharge_id);
CREATE INDEX disputes_due ON disputes (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX disputes_open ON disputes (c_organization_id) WHERE stage = 'opened';

-- A pause that a dispute caused ends with the dispute, if it is won.
ALTER TABLE recharge_state ADD COLUMN pause_dispute text;
