DROP TABLE organization_balance_config;
DROP FUNCTION organization_changed();
DROP INDEX users_by_organization;
-- `users` and its two columns stay: they may hold rows from before Bill-Service.
