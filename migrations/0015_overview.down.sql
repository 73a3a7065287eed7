DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ingress') THEN
        REVOKE SELECT ON quota_targets FROM bill_ingress;
    END IF;
END $$;
DROP INDEX quota_failures_by_age;
DROP INDEX recharge_records_ended_badly;
DROP INDEX recharge_records_charged;
