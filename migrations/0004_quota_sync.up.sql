-- What the ledger wants enforced, what the quota backend was told, and what was spent. Written by: syncer.
--
-- Column ownership, the one exception to "one service writes a table": `organization_balance_config` is written by
-- ingress, but its column `litellm_team_id` is also filled in by the syncer, which learns it from the KMS. It does so
-- only WHERE litellm_team_id IS NULL; a value that is there is never changed. The table's trigger then tells ingress.

-- One row per organization. Whoever reads, decides and writes at the backend holds its lock meanwhile.
CREATE TABLE quota_targets (
    c_organization_id   text PRIMARY KEY,
    currency            text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    -- The newest that the ledger said; version 0 before anything was booked.
    target_quota        numeric NOT NULL DEFAULT 0,
    target_version      bigint NOT NULL DEFAULT 0 CHECK (target_version >= 0),
    -- How the backend was met. NULL: not yet. created: it had no quota of its own. adopted: it had, and keeps it.
    first_contact       text CHECK (first_contact IN ('created', 'adopted')),
    first_contact_at    timestamptz,
    -- What was adopted, in the currency's decimals, and the chain that it happened in: the event that says so is
    -- published again, the same, until the ledger has booked it.
    adopted_quota       numeric,
    adopted_correlation text,
    -- The ledger has booked an opening credit: from then on the target covers what was adopted.
    opening_seen        boolean NOT NULL DEFAULT false,
    -- What the backend was last told, and had when it was read again.
    backend             text,
    pushed_quota        numeric,
    pushed_version      bigint,
    litellm_team_id     text,
    updated_at          timestamptz NOT NULL,
    CHECK ((first_contact IS NOT NULL) = (first_contact_at IS NOT NULL)),
    CHECK ((first_contact IS NOT DISTINCT FROM 'adopted') = (adopted_quota IS NOT NULL)),
    CHECK ((adopted_quota IS NULL) = (adopted_correlation IS NULL)),
    CHECK ((pushed_quota IS NULL) = (pushed_version IS NULL)),
    CHECK (pushed_version <= target_version)
);

-- Versions never go backwards, whatever the code does.
CREATE FUNCTION quota_targets_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'quota_targets of % would go back from version %/% to %/%', OLD.c_organization_id,
        OLD.target_version, OLD.pushed_version, NEW.target_version, NEW.pushed_version;
END $$;
CREATE TRIGGER quota_targets_forward BEFORE UPDATE ON quota_targets FOR EACH ROW
    WHEN (NEW.target_version < OLD.target_version OR NEW.pushed_version < OLD.pushed_version)
    EXECUTE FUNCTION quota_targets_forward();

-- One row per completed push; never changed.
CREATE TABLE quota_syncs (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    c_organization_id   text NOT NULL,
    backend             text NOT NULL,
    ledger_version      bigint NOT NULL,
    previous_quota      numeric,
    quota               numeric NOT NULL,
    changed             boolean NOT NULL,
    -- The event that asked for it. A repeat of the event finds its answer here.
    cause               text NOT NULL UNIQUE,
    correlation_id      text NOT NULL,
    litellm_team_id     text,
    synced_at           timestamptz NOT NULL
);
CREATE INDEX quota_syncs_by_organization ON quota_syncs (c_organization_id, id DESC);

-- What organizations had spent, when somebody looked.
CREATE TABLE usage_snapshots (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    c_organization_id   text NOT NULL,
    usage               numeric NOT NULL,
    quota               numeric NOT NULL,
    taken_at            timestamptz NOT NULL
);
CREATE INDEX usage_snapshots_by_organization ON usage_snapshots (c_organization_id, taken_at DESC);
