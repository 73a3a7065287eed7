-- Throws the books away: for development, or before anything was booked.
DROP VIEW ledger_quotas;
DROP TABLE ledger_entries;
DROP TABLE ledger_transactions;
DROP TABLE ledger_accounts;
DROP TABLE ledger_organizations;
DROP FUNCTION ledger_check_transaction();
DROP FUNCTION ledger_continue_chain();
DROP FUNCTION ledger_guard_account();
DROP FUNCTION ledger_apply_entry();
DROP FUNCTION ledger_refuse_change();
-- The role stays: it belongs to the whole cluster, and other databases may use it. It only loses its rights here.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ledger') THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM bill_ledger', current_schema());
    END IF;
END $$;
