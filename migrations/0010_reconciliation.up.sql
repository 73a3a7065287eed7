-- Comparing the books. Column ownership, an exception to "one service writes a table": a run is written by ingress; of parts and
-- findings each service writes the rows of its own part: `charges` (Stripe and records) the recharger, `bookings` (records
-- and ledger) the ledger, `quotas` (ledger and backend) the syncer.

CREATE TABLE reconciliation_runs (
    run_id          text PRIMARY KEY CHECK (run_id ~ '^[A-Za-z0-9_.:-]{1,120}$'),
    since           timestamptz NOT NULL,
    requested_by    text NOT NULL,
    requested_at    timestamptz NOT NULL,
    -- When the services were last asked for it, or somebody was about to. NULL: never, as far as is known.
    published_at    timestamptz
);
CREATE INDEX reconciliation_runs_newest ON reconciliation_runs (requested_at DESC);

CREATE TABLE reconciliation_parts (
    run_id          text NOT NULL,
    part            text NOT NULL CHECK (part IN ('charges', 'bookings', 'quotas')),
    -- How many things were compared.
    checked         bigint NOT NULL,
    finished_at     timestamptz NOT NULL,
    PRIMARY KEY (run_id, part)
);

-- Each disagreement. Kept: what was found once stays on record.
CREATE TABLE reconciliation_findings (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id              text NOT NULL,
    part                text NOT NULL CHECK (part IN ('charges', 'bookings', 'quotas')),
    -- A stable word, such as `charge_unknown`, `charge_not_recorded`, `refund_not_recorded`, `not_booked`, `quota_drift`.
    kind                text NOT NULL,
    c_organization_id   text,
    recharge_id         uuid,
    -- What it is about at the other side: a payment intent, a refund, a ledger transaction.
    reference           text,
    expected            text,
    found               text,
    -- What was done about it: `repaired`, or `reported` where a person must decide.
    action              text NOT NULL CHECK (action IN ('repaired', 'reported')),
    detail              text NOT NULL,
    found_at            timestamptz NOT NULL
);
CREATE INDEX reconciliation_findings_by_run ON reconciliation_findings (run_id, id);
