-- Books that hold the new kinds keep them: nothing is ever removed from a ledger. NOT VALID: the rows that are there stay,
-- unlooked at, and from now on the old kinds only can be written, which is all that the code before this can write. It
-- reads a kind as a word, so it also goes on verifying such books. Up again checks every row, and finds them good.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ledger') THEN
        REVOKE ALL (recharge_id, c_organization_id, trigger_event_id, status, currency, amount, total_charge, ledger_version,
                    created_at, updated_at) ON recharge_records FROM bill_ledger;
        REVOKE ALL (refund_key, recharge_id, c_organization_id, stripe_refund_id, currency, amount, total, status, was_refunded,
                    created_at, updated_at) ON refunds FROM bill_ledger;
    END IF;
END $$;
DROP INDEX ledger_transactions_charges;
ALTER TABLE ledger_transactions DROP CONSTRAINT ledger_transactions_kind_check;
ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_kind_check
    CHECK (kind IN ('charge', 'opening', 'adjustment', 'refund', 'hold')) NOT VALID;
