-- Pages of those who have much. Read by: ingress, recharger.

-- A page of a quota's history begins anywhere in it, and stops at its limit.
CREATE INDEX quota_syncs_by_age ON quota_syncs (c_organization_id, synced_at DESC, id DESC);
-- What was spent, without the rows themselves: a chart takes one look of many, and a replay all of a time.
CREATE INDEX usage_snapshots_looks ON usage_snapshots (c_organization_id, taken_at DESC, id DESC) INCLUDE (usage, quota);
