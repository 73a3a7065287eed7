-- Who may call, and what the rest of the API needs. Written by: ingress.

-- A token is shown once; only its digest is kept. It has more than 240 random bits, so a plain SHA-256 can't be searched.
CREATE TABLE api_tokens (
    id                  uuid PRIMARY KEY,
    -- Whom or what it was given to.
    name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    token_hash          bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    role                text NOT NULL CHECK (role IN ('operator', 'org_admin', 'viewer')),
    -- What it is limited to. NULL: nothing.
    c_organization_id   text CHECK (c_organization_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    created_at          timestamptz NOT NULL,
    created_by          text NOT NULL,
    expires_at          timestamptz,
    -- To about a minute.
    last_used_at        timestamptz,
    revoked_at          timestamptz,
    revoked_by          text,
    CHECK (role <> 'operator' OR c_organization_id IS NULL),
    CHECK (role <> 'org_admin' OR c_organization_id IS NOT NULL),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX api_tokens_by_organization ON api_tokens (c_organization_id, created_at DESC, id DESC);
CREATE INDEX api_tokens_by_age ON api_tokens (created_at DESC, id DESC);

-- Every replica knows the tokens by heart; this tells it of changes. That a token was used is none.
CREATE FUNCTION api_token_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('api_token_changed', COALESCE(NEW.id, OLD.id)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER api_token_changed AFTER INSERT OR DELETE OR UPDATE OF role, c_organization_id, expires_at, revoked_at, token_hash
    ON api_tokens FOR EACH ROW EXECUTE FUNCTION api_token_changed();

-- What an organization is credited with when its team at LiteLLM turns out to be unlimited: there is no quota to adopt
-- then. NULL: such a team is refused.
ALTER TABLE organization_balance_config ADD COLUMN opening_quota numeric(12,2) CHECK (opening_quota >= 0);

-- Since when the owner wants this card to be charged: one that was collected before that does not replace it. NULL: not known.
ALTER TABLE organization_balance_config ADD COLUMN payment_method_set_at timestamptz;

-- For whoever asks what came of a correction.
CREATE INDEX quota_failures_by_correlation ON quota_failures (correlation_id);
