-- Deadlines of pushes, the sweep, and what it repairs. Written by: syncer.

-- A push that was given up: `quotas.failed` was said of it, and says the same whenever its cause comes again.
CREATE TABLE quota_failures (
    -- The event that asked for the push. One that has a row here never pushes.
    cause               text PRIMARY KEY,
    c_organization_id   text NOT NULL,
    backend             text NOT NULL,
    -- What should have been in force.
    ledger_version      bigint NOT NULL,
    quota               numeric NOT NULL,
    -- What the backend said last.
    reason              text NOT NULL,
    recharge_id         uuid,
    correlation_id      text NOT NULL,
    failed_at           timestamptz NOT NULL
);
CREATE INDEX quota_failures_by_organization ON quota_failures (c_organization_id, failed_at DESC);

-- A push that no event asked for: the sweep, or a comparison of the books, saw that the backend has another quota than it
-- should. Its cause is `repair:<id>`. A row is open until it was said what came of it: the sweep sees to that.
CREATE TABLE quota_repairs (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    c_organization_id   text NOT NULL,
    backend             text NOT NULL,
    -- pending: the ledger's newest was never pushed. behind: it never arrived here. missing: the backend does not know
    -- the organization any more. drift: it has another quota than we left there.
    kind                text NOT NULL CHECK (kind IN ('pending', 'behind', 'missing', 'drift')),
    ledger_version      bigint NOT NULL,
    expected            numeric NOT NULL,
    found               numeric,
    begun_at            timestamptz NOT NULL,
    ended_at            timestamptz
);
CREATE INDEX quota_repairs_open ON quota_repairs (c_organization_id) WHERE ended_at IS NULL;
CREATE INDEX quota_repairs_by_organization ON quota_repairs (c_organization_id, id DESC);

-- When the target was last raised: one that was raised a moment ago is being pushed. NULL: before this migration.
ALTER TABLE quota_targets ADD COLUMN raised_at timestamptz;
-- When `quotas.low` was last said, at which version of the ledger, and of which configuration (its updated_at): it is not
-- said again before one of them changes, or a while has passed. NULL: at the last look there was enough.
ALTER TABLE quota_targets ADD COLUMN low_said_at timestamptz, ADD COLUMN low_said_version bigint, ADD COLUMN low_said_config timestamptz;
ALTER TABLE quota_targets ADD CONSTRAINT quota_targets_low_said CHECK (
    (low_said_at IS NULL) = (low_said_version IS NULL) AND (low_said_at IS NULL) = (low_said_config IS NULL));

-- The request that asked for the look. A repeat of it finds its answer here. NULL: the sweep looked.
ALTER TABLE usage_snapshots ADD COLUMN cause text UNIQUE;
-- What was compared with what is left. NULL: nothing was, because nobody wants a recharge or a push was on its way.
ALTER TABLE usage_snapshots ADD COLUMN minimum_balance numeric;
-- For taking the oldest away.
CREATE INDEX usage_snapshots_by_age ON usage_snapshots (taken_at);

-- For whoever asks what came of a chain.
CREATE INDEX quota_syncs_by_correlation ON quota_syncs (correlation_id, id DESC);
