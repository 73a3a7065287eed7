-- A role for each service, with the rights that its SQL needs and no others, and one for people who look. Nobody logs in as
-- these: a service has a login of its own (`bill-setup logins`), which is a member of its role and inherits its rights.
-- Nobody but the ledger may write to the ledger's tables, and nobody at all may change or delete a transaction, an entry or a
-- row of the audit log.
--
-- The whole of this may be run again, by an administrator, where the roles could not be made at first. A migration after this
-- one that makes a table grants it, at least to `bill_viewer`. A test names what was forgotten, and what is too much.

-- Roles belong to the whole cluster: another database may have made one, even at this moment.
DO $$
DECLARE
    role    text;
    missing text[] := '{}';
BEGIN
    FOREACH role IN ARRAY ARRAY['bill_ingress', 'bill_recharger', 'bill_ledger', 'bill_syncer', 'bill_viewer'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN missing := missing || role;
        END;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE WARNING 'the roles % were not created, because % may not create roles. Until an administrator runs this migration''s file again, services can only connect as the tables'' owner, whom no grant holds back; triggers guard the ledger and the audit log all the same',
            array_to_string(missing, ', '), current_user;
    END IF;
END $$;

-- Databases that were made before PostgreSQL 15 let everybody create objects here, and so put a function before one of ours.
DO $$
BEGIN
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
END $$;

-- Who may do what: a role, what it may do, and to which tables; in parentheses, to which of a table's columns.
DO $$
DECLARE
    line     record;
    item     text;
    sequence regclass;
BEGIN
    FOR line IN
        SELECT * FROM (VALUES
            -- What ingress writes, and what it shows.
            ('bill_ingress', 'SELECT, INSERT, UPDATE', ARRAY['organization_balance_config', 'api_tokens', 'api_requests', 'reconciliation_runs']),
            ('bill_ingress', 'SELECT, INSERT', ARRAY['users', 'audit_log']),
            ('bill_ingress', 'SELECT, INSERT, UPDATE, DELETE', ARRAY['dead_letter_actions']),
            ('bill_ingress', 'SELECT', ARRAY['recharge_records', 'webhook_events', 'recharge_state', 'refunds', 'disputes',
                'ledger_quotas', 'ledger_accounts', 'ledger_transactions', 'ledger_entries', 'quota_syncs', 'quota_failures',
                'usage_snapshots', 'reconciliation_parts', 'reconciliation_findings']),
            ('bill_recharger', 'SELECT, INSERT, UPDATE', ARRAY['recharge_records', 'recharge_state', 'refunds', 'disputes']),
            ('bill_recharger', 'SELECT, INSERT', ARRAY['webhook_events']),
            ('bill_recharger', 'SELECT', ARRAY['organization_balance_config', 'usage_snapshots']),
            -- As 0003 and 0007 have it: of what it compares the books with, it reads nothing about the customer or the card.
            ('bill_ledger', 'SELECT, INSERT', ARRAY['ledger_organizations', 'ledger_transactions', 'ledger_entries']),
            ('bill_ledger', 'INSERT (c_organization_id, kind, currency)', ARRAY['ledger_accounts']),
            ('bill_ledger', 'SELECT', ARRAY['ledger_accounts', 'ledger_quotas',
                'recharge_records (recharge_id, c_organization_id, trigger_event_id, status, currency, amount, total_charge, ledger_version, created_at, updated_at)',
                'refunds (refund_key, recharge_id, c_organization_id, stripe_refund_id, currency, amount, total, status, was_refunded, created_at, updated_at)']),
            ('bill_syncer', 'SELECT, INSERT, UPDATE', ARRAY['quota_targets']),
            ('bill_syncer', 'SELECT, INSERT', ARRAY['quota_syncs', 'quota_failures']),
            ('bill_syncer', 'SELECT, INSERT, UPDATE, DELETE', ARRAY['quota_repairs', 'usage_snapshots']),
            ('bill_syncer', 'SELECT', ARRAY['organization_balance_config', 'ledger_quotas',
                'ledger_transactions (c_organization_id, version, posted_at, kind)']),
            -- The one column that two services write: the backend chooses the team, and the syncer learns it.
            ('bill_syncer', 'UPDATE (litellm_team_id)', ARRAY['organization_balance_config']),
            -- Each writes its own part of a comparison of the books.
            ('bill_recharger', 'SELECT, INSERT', ARRAY['reconciliation_parts']),
            ('bill_ledger', 'SELECT, INSERT', ARRAY['reconciliation_parts']),
            ('bill_syncer', 'SELECT, INSERT', ARRAY['reconciliation_parts']),
            ('bill_recharger', 'INSERT', ARRAY['reconciliation_findings']),
            ('bill_ledger', 'INSERT', ARRAY['reconciliation_findings']),
            ('bill_syncer', 'INSERT', ARRAY['reconciliation_findings'])
        ) AS lines (role, rights, items)
    LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = line.role);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), line.role);
        FOREACH item IN ARRAY line.items LOOP
            EXECUTE format('GRANT %s%s ON %I TO %I', line.rights, COALESCE(substring(item FROM ' (\(.*\))$'), ''),
                           split_part(item, ' ', 1), line.role);
            CONTINUE WHEN line.rights NOT LIKE '%INSERT%';
            -- `serial` columns, as tables from before Bill-Service have them; identity columns need no right of their own.
            FOR sequence IN
                SELECT d.objid::regclass FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                   AND d.refobjid = to_regclass(item) AND d.deptype = 'a'
            LOOP
                EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', sequence, line.role);
            END LOOP;
        END LOOP;
    END LOOP;
END $$;

-- People who look see everything of ours but secrets.
DO $$
DECLARE
    relation text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_viewer') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO bill_viewer', current_schema());
    FOREACH relation IN ARRAY ARRAY['organization_balance_config', 'api_requests', 'audit_log', 'dead_letter_actions', 'reconciliation_runs',
        'reconciliation_parts', 'reconciliation_findings', 'recharge_records', 'webhook_events',
        'recharge_state', 'refunds', 'disputes', 'ledger_organizations', 'ledger_accounts', 'ledger_transactions',
        'ledger_entries', 'ledger_quotas', 'quota_targets', 'quota_syncs', 'quota_failures', 'quota_repairs', 'usage_snapshots']
    LOOP
        EXECUTE format('GRANT SELECT ON %I TO bill_viewer', relation);
    END LOOP;
    -- `users` may be from before Bill-Service, with who knows what in it.
    GRANT SELECT (c_organization_id, litellm_team_id) ON users TO bill_viewer;
    GRANT SELECT (id, name, role, c_organization_id, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by)
        ON api_tokens TO bill_viewer;
END $$;
