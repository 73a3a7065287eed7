DROP INDEX usage_snapshots_by_month;
ALTER TABLE usage_snapshots DROP COLUMN month_usage;
