DROP TABLE recharge_state;
DROP TABLE webhook_events;
ALTER TABLE recharge_records DROP CONSTRAINT recharge_records_ours;
DROP INDEX recharge_records_by_organization, recharge_records_in_flight, recharge_records_payment_intent,
    recharge_records_trigger, recharge_records_key;
-- `recharge_records` and its columns stay: what was charged is never thrown away, and rows may be older than this migration.
