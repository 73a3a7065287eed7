-- Double entry. Written by: ledger. Read by whoever wants to know a quota: `ledger_quotas`.
-- What the books promise is enforced here, and so is true whatever the code does, for the tables' owner too:
--   · the entries of a transaction sum to zero, and there are at least two;
--   · transactions and entries are only ever added;
--   · one transaction per business event, versions 1, 2, 3… per organization, each chained to the one before;
--   · a cached balance changes with its entries and in no other way;
--   · an organization's books are in one currency.
-- Amounts are minor units. Positive is what is owed to the organization or earned, negative is what is held or spent.

-- One row fixes an organization's currency: both tables below refer to (organization, currency).
CREATE TABLE ledger_organizations (
    c_organization_id   text PRIMARY KEY CHECK (c_organization_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    currency            text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    UNIQUE (c_organization_id, currency)
);

-- Every account belongs to one organization, Stripe clearing and fees too: an account that all organizations shared
-- would be one row that every posting has to lock, and the whole service would post one at a time.
CREATE TABLE ledger_accounts (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    c_organization_id   text NOT NULL,
    kind                text NOT NULL CHECK (kind IN ('balance', 'stripe_clearing', 'fees_collected', 'processing_costs',
                                                      'refunds', 'opening_equity', 'adjustments', 'disputes_held')),
    currency            text NOT NULL,
    -- Kept by the trigger on entries: the sum of the account's entries, and the version of the last transaction among them.
    balance_minor       bigint NOT NULL DEFAULT 0,
    version             bigint NOT NULL DEFAULT 0,
    UNIQUE (c_organization_id, kind, currency),
    FOREIGN KEY (c_organization_id, currency) REFERENCES ledger_organizations (c_organization_id, currency)
);

CREATE TABLE ledger_transactions (
    id                  uuid PRIMARY KEY,
    -- The business event, such as `charge:<recharge_id>`: what is booked once can't be booked again.
    business_key        text NOT NULL UNIQUE CHECK (length(business_key) BETWEEN 1 AND 300),
    kind                text NOT NULL CHECK (kind IN ('charge', 'opening', 'adjustment', 'refund', 'hold')),
    c_organization_id   text NOT NULL,
    recharge_id         uuid,
    correlation_id      text NOT NULL,
    description         text NOT NULL,
    currency            text NOT NULL,
    posted_at           timestamptz NOT NULL,
    version             bigint NOT NULL CHECK (version > 0),
    -- The quota after this transaction, so that a repeat answers with the numbers of the first time.
    quota_after_minor   bigint NOT NULL,
    previous_hash       bytea NOT NULL CHECK (length(previous_hash) = 32),
    hash                bytea NOT NULL CHECK (length(hash) = 32),
    -- The database transaction that wrote the row (set by a trigger): entries are accepted from that one only, so that
    -- nothing can be added to an old transaction.
    written_by          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    UNIQUE (c_organization_id, version),
    FOREIGN KEY (c_organization_id, currency) REFERENCES ledger_organizations (c_organization_id, currency)
);
CREATE INDEX ledger_transactions_by_recharge ON ledger_transactions (recharge_id) WHERE recharge_id IS NOT NULL;

CREATE TABLE ledger_entries (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id      uuid NOT NULL REFERENCES ledger_transactions (id),
    account_id          bigint NOT NULL REFERENCES ledger_accounts (id),
    amount_minor        bigint NOT NULL CHECK (amount_minor <> 0),
    currency            text NOT NULL
);
CREATE INDEX ledger_entries_by_transaction ON ledger_entries (transaction_id);

-- Append-only ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation',
        HINT = 'A mistake is corrected with a new transaction.';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_organizations
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_transactions
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger_organizations EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger_accounts EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger_transactions EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger_entries EXECUTE FUNCTION ledger_refuse_change();
-- ALWAYS: `SET session_replication_role = replica` does not switch these off.
ALTER TABLE ledger_organizations ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE ledger_transactions ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE ledger_accounts ENABLE ALWAYS TRIGGER no_truncate;

-- Cached balances -----------------------------------------------------------------------------------------------------

-- The one way in which an account changes. It runs as the tables' owner: nobody else may update accounts.
CREATE FUNCTION ledger_apply_entry() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE ledger_accounts a SET balance_minor = a.balance_minor + NEW.amount_minor, version = t.version
      FROM ledger_transactions t
     WHERE a.id = NEW.account_id AND t.id = NEW.transaction_id
       AND a.c_organization_id = t.c_organization_id
       AND a.currency = NEW.currency AND t.currency = NEW.currency
       AND t.written_by = pg_current_xact_id();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an entry must have the organization and currency of its account and its transaction, and be written together with it'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entry_fits';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION ledger_apply_entry() FROM PUBLIC;
CREATE TRIGGER apply_entry AFTER INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION ledger_apply_entry();

-- An account starts empty and is then changed from within the trigger above only: a statement that comes from outside
-- any trigger is seen here at depth 1.
CREATE FUNCTION ledger_guard_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.balance_minor = 0 AND NEW.version = 0 THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1 AND (NEW.id, NEW.c_organization_id, NEW.kind, NEW.currency)
            = (OLD.id, OLD.c_organization_id, OLD.kind, OLD.currency) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'ledger_accounts follows its entries: % refused', TG_OP USING ERRCODE = 'restrict_violation',
        HINT = 'A balance changes only by a posting.';
END $$;
CREATE TRIGGER guard_account BEFORE INSERT OR UPDATE OR DELETE ON ledger_accounts
    FOR EACH ROW EXECUTE FUNCTION ledger_guard_account();

-- Transactions --------------------------------------------------------------------------------------------------------

-- A transaction continues its organization's chain. Two that continue the same one meet in UNIQUE (organization, version).
CREATE FUNCTION ledger_continue_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_version bigint;
    last_hash    bytea;
BEGIN
    SELECT t.version, t.hash INTO last_version, last_hash FROM ledger_transactions t
     WHERE t.c_organization_id = NEW.c_organization_id ORDER BY t.version DESC LIMIT 1;
    IF NEW.version <> COALESCE(last_version, 0) + 1
            OR NEW.previous_hash <> COALESCE(last_hash, decode(repeat('00', 32), 'hex')) THEN
        RAISE EXCEPTION 'transaction % does not continue the books of %: version % after %',
            NEW.id, NEW.c_organization_id, NEW.version, COALESCE(last_version, 0)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_chain';
    END IF;
    NEW.written_by := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER continue_chain BEFORE INSERT ON ledger_transactions
    FOR EACH ROW EXECUTE FUNCTION ledger_continue_chain();

-- Deferred to the commit, when all entries are there. The check hangs on both tables: on transactions for one that has
-- no entries at all, on entries for one that is added after `SET CONSTRAINTS ALL IMMEDIATE`.
CREATE FUNCTION ledger_check_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked       uuid;
    entries       bigint;
    total         numeric;
    quota_change  numeric;
    quota_before  bigint;
    quota_after   bigint;
BEGIN
    IF TG_TABLE_NAME = 'ledger_transactions' THEN
        checked := NEW.id;
    ELSE
        checked := NEW.transaction_id;
    END IF;
    SELECT count(*), COALESCE(sum(e.amount_minor), 0), COALESCE(sum(e.amount_minor) FILTER (WHERE a.kind = 'balance'), 0)
      INTO entries, total, quota_change
      FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE e.transaction_id = checked;
    IF entries < 2 OR total <> 0 THEN
        RAISE EXCEPTION 'transaction % is not balanced: % entries, which sum to %', checked, entries, total
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balanced';
    END IF;
    SELECT COALESCE(p.quota_after_minor, 0), t.quota_after_minor INTO quota_before, quota_after
      FROM ledger_transactions t
      LEFT JOIN ledger_transactions p ON p.c_organization_id = t.c_organization_id AND p.version = t.version - 1
     WHERE t.id = checked;
    IF quota_before + quota_change <> quota_after THEN
        RAISE EXCEPTION 'transaction % says that the quota is % after it, but its entries make it %',
            checked, quota_after, quota_before + quota_change
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_quota_after';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_transactions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger_check_transaction();
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger_check_transaction();

-- Readers -------------------------------------------------------------------------------------------------------------

CREATE VIEW ledger_quotas AS
SELECT a.c_organization_id, a.currency, a.balance_minor AS quota_minor,
       COALESCE((SELECT max(t.version) FROM ledger_transactions t WHERE t.c_organization_id = a.c_organization_id), 0)
           AS ledger_version
  FROM ledger_accounts a WHERE a.kind = 'balance';

-- Who may do what -----------------------------------------------------------------------------------------------------

-- The functions look names up in this schema only. Without pg_temp at the end, a caller's temporary table would come first.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger_refuse_change', 'ledger_apply_entry', 'ledger_guard_account',
                                'ledger_continue_chain', 'ledger_check_transaction'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = pg_catalog, %I, pg_temp', name, current_schema());
    END LOOP;
END $$;

-- Roles belong to the whole cluster: another database may have made this one, even at this moment.
DO $$
BEGIN
    BEGIN
        CREATE ROLE bill_ledger NOLOGIN;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN
            RAISE NOTICE 'role bill_ledger was not created: % may not create roles; triggers guard the books all the same', current_user;
    END;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ledger') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO bill_ledger', current_schema());
    GRANT SELECT ON ledger_organizations, ledger_accounts, ledger_transactions, ledger_entries, ledger_quotas TO bill_ledger;
    GRANT INSERT ON ledger_organizations, ledger_transactions, ledger_entries TO bill_ledger;
    GRANT INSERT (c_organization_id, kind, currency) ON ledger_accounts TO bill_ledger;
    EXECUTE format('GRANT USAGE ON SEQUENCE %s, %s TO bill_ledger', pg_get_serial_sequence('ledger_accounts', 'id'),
                   pg_get_serial_sequence('ledger_entries', 'id'));
END $$;
