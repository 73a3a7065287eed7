-- What the ledger books when money goes back: voided charges, refunds that the bank returned, decided disputes.
-- Written by: ledger. Safe beside the code before it, which writes the first five kinds only and reads a kind as a word.

ALTER TABLE ledger_transactions DROP CONSTRAINT ledger_transactions_kind_check;
ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_kind_check CHECK (kind IN (
    'charge', 'opening', 'adjustment', 'refund', 'hold', 'release', 'dispute_lost', 'refund_failed', 'void'));

-- Reconciliation asks which charges were booked lately.
CREATE INDEX ledger_transactions_charges ON ledger_transactions (posted_at) WHERE kind IN ('charge', 'void');

-- The ledger compares its books with the recharger's. It reads what it compares, and nothing about the customer or the card.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ledger') THEN
        GRANT SELECT (recharge_id, c_organization_id, trigger_event_id, status, currency, amount, total_charge, ledger_version,
                      created_at, updated_at) ON recharge_records TO bill_ledger;
        GRANT SELECT (refund_key, recharge_id, c_organization_id, stripe_refund_id, currency, amount, total, status, was_refunded,
                      created_at, updated_at) ON refunds TO bill_ledger;
    END IF;
END $$;
