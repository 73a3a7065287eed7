-- Triggers, recharges, and what the recharger knows of each organization. Written by: recharger.

CREATE TABLE IF NOT EXISTS recharge_records (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id     uuid,
    amount      numeric(12,2) NOT NULL,
    status      text NOT NULL DEFAULT 'pending',
    created_at  timestamptz NOT NULL DEFAULT now()
);
-- An existing table may lack any of these; its rows keep NULL where they know nothing.
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS user_id uuid;
ALTER TABLE recharge_records ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS amount numeric(12,2);
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS status text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS created_at timestamptz DEFAULT now();
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS c_organization_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS fee numeric(12,2) DEFAULT 0;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS total_charge numeric(12,2);
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS payment_intent_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS triggered_by text NOT NULL DEFAULT 'manual';
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS triggered_by_webhook boolean NOT NULL DEFAULT false;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS webhook_event_id text;
-- The saga. `recharge_id` is the key that everything outside the database uses; it is derived from the trigger.
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS recharge_id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS trigger_event_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS correlation_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS currency text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS stripe_customer_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS payment_method_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS charge_id text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS processor_fee numeric(14,3);
-- The limit whose crossing started it: the same crossing told again, in other words, is no new one.
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS trigger_limit numeric;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS failure_code text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS decline_code text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS advice_code text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS decline_class text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS failure_message text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS paused boolean NOT NULL DEFAULT false;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS ledger_version bigint;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS new_quota numeric;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS charged_at timestamptz;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS credited_at timestamptz;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS settled_at timestamptz;
-- The event that settled it, so that a repeat of that event, and of no other, says so again.
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS settled_by_event text;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS ended_at timestamptz;
ALTER TABLE recharge_records ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();

CREATE UNIQUE INDEX recharge_records_key ON recharge_records (recharge_id);
CREATE UNIQUE INDEX recharge_records_trigger ON recharge_records (trigger_event_id);
CREATE UNIQUE INDEX recharge_records_payment_intent ON recharge_records (payment_intent_id)
    WHERE recharge_records.trigger_event_id IS NOT NULL;
-- One recharge in flight per organization, whatever the code does: from the claim until it ends.
CREATE UNIQUE INDEX recharge_records_in_flight ON recharge_records (c_organization_id)
    WHERE trigger_event_id IS NOT NULL AND status IN ('pending', 'processing', 'charged', 'credited', 'refunding');
CREATE INDEX recharge_records_by_organization ON recharge_records (c_organization_id, created_at DESC);
-- Rows of ours are complete and in a known state; older rows are left as they are.
ALTER TABLE recharge_records ADD CONSTRAINT recharge_records_ours CHECK (
    trigger_event_id IS NULL OR (
        c_organization_id IS NOT NULL AND currency IS NOT NULL AND amount > 0 AND total_charge >= amount AND correlation_id IS NOT NULL
        AND status IN ('pending', 'processing', 'charged', 'credited', 'settled', 'declined', 'action_required', 'failed', 'refunding', 'refunded')
    )
);

-- Every trigger that was looked at, and what was decided: webhooks, requests, sweeps. A repeat reads its answer here.
CREATE TABLE webhook_events (
    event_id            text PRIMARY KEY,
    source              text NOT NULL,
    event_type          text NOT NULL,
    c_organization_id   text,
    litellm_team_id     text,
    correlation_id      text NOT NULL,
    payload             jsonb NOT NULL,
    occurred_at         timestamptz,
    received_at         timestamptz NOT NULL,
    -- charge, skipped, recorded
    decision            text NOT NULL,
    reason              text,
    detail              text,
    recharge_id         uuid,
    decided_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_events_by_organization ON webhook_events (c_organization_id, received_at DESC);

-- What the recharger has learnt of an organization from events. The claim locks this row.
CREATE TABLE recharge_state (
    c_organization_id       text PRIMARY KEY,
    -- The ledger's quota and version, from `ledger.*`.
    quota                   numeric NOT NULL DEFAULT 0,
    ledger_version          bigint NOT NULL DEFAULT 0,
    -- The newest ledger version that is in force at the backend, from `quotas.synced`.
    synced_version          bigint NOT NULL DEFAULT 0,
    synced_quota            numeric,
    -- Declines. A pause holds for the card that caused it, until a newer card or a person lifts it.
    consecutive_failures    integer NOT NULL DEFAULT 0,
    cooldown_until          timestamptz,
    paused_at               timestamptz,
    pause_reason            text,
    pause_payment_method    text,
    updated_at              timestamptz NOT NULL DEFAULT now()
);
