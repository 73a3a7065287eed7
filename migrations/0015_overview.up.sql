-- What an overview asks: the newest of everything, over all organizations. Read by: ingress.

-- When Stripe last answered, and when a push was last given up.
CREATE INDEX recharge_records_charged ON recharge_records (charged_at) WHERE charged_at IS NOT NULL;
CREATE INDEX recharge_records_ended_badly ON recharge_records (ended_at) WHERE ended_at IS NOT NULL AND status IN ('declined', 'failed');
CREATE INDEX quota_failures_by_age ON quota_failures (failed_at);

-- Whose quota the backend does not have yet. In the words of 0013.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ingress') THEN
        GRANT SELECT ON quota_targets TO bill_ingress;
    END IF;
END $$;
