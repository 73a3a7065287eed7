-- Who did what. Written by: ingress.

CREATE TABLE audit_log (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                  timestamptz NOT NULL,
    -- The token (by the beginning of its hash), or `anonymous` where API_AUTH is off.
    actor               text NOT NULL,
    -- A stable word, such as `organization.created`.
    action              text NOT NULL,
    c_organization_id   text,
    request_id          text,
    before              jsonb,
    after               jsonb
);
CREATE INDEX audit_log_by_organization ON audit_log (c_organization_id, id DESC);

-- What was done stays on record: rows are only ever added.
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_log
    EXECUTE FUNCTION audit_log_is_append_only();
-- ALWAYS: `SET session_replication_role = replica` does not switch these off.
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;

-- What an `Idempotency-Key` stands for: the same key again must ask for the same thing.
CREATE TABLE api_requests (
    -- The event that the request became; it derives from organization and key.
    event_id            text PRIMARY KEY,
    c_organization_id   text NOT NULL,
    -- What was asked for, as `POST /recharge 100.00 usd`.
    asked               text NOT NULL,
    created_at          timestamptz NOT NULL
);
