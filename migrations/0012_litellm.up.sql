-- What a month's usage was, where the quota backend can tell it (LiteLLM does, the KMS does not). Written by: syncer.

-- What was spent since the month of `taken_at` began, in UTC. Read every ten minutes or so; NULL in all other snapshots.
ALTER TABLE usage_snapshots ADD COLUMN month_usage numeric;
-- For the newest of an organization.
CREATE INDEX usage_snapshots_by_month ON usage_snapshots (c_organization_id, taken_at DESC) WHERE month_usage IS NOT NULL;
