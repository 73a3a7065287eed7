DROP INDEX quota_failures_by_correlation;
ALTER TABLE organization_balance_config DROP COLUMN payment_method_set_at;
ALTER TABLE organization_balance_config DROP COLUMN opening_quota;
DROP TABLE api_tokens;
DROP FUNCTION api_token_changed();
