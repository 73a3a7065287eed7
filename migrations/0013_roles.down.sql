-- The roles stay: they belong to the whole cluster, and other databases may use them. They only lose their rights here.
-- `bill_ledger` keeps what it had before.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['bill_ingress', 'bill_recharger', 'bill_syncer', 'bill_viewer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), role);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM %I', current_schema(), role);
        EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM %I', current_schema(), role);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ledger') THEN
        REVOKE ALL ON reconciliation_parts, reconciliation_findings FROM bill_ledger;
    END IF;
END $$;
