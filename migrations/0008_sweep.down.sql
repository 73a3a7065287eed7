DROP INDEX quota_syncs_by_correlation;
DROP INDEX usage_snapshots_by_age;
ALTER TABLE usage_snapshots DROP COLUMN minimum_balance, DROP COLUMN cause;
ALTER TABLE quota_targets DROP CONSTRAINT quota_targets_low_said;
ALTER TABLE quota_targets DROP COLUMN low_said_config, DROP COLUMN low_said_version, DROP COLUMN low_said_at, DROP COLUMN raised_at;
DROP TABLE quota_repairs;
DROP TABLE quota_failures;
