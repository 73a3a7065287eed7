DROP INDEX usage_snapshots_looks;
DROP INDEX quota_syncs_by_age;
