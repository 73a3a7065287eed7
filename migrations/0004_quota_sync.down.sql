DROP TABLE usage_snapshots;
DROP TABLE quota_syncs;
DROP TABLE quota_targets;
DROP FUNCTION quota_targets_forward();
