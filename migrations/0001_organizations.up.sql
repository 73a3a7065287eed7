-- Organizations and their policy. Written by: ingress.
-- Safe on an empty database and on an existing one that has `users`, `balance_configs` and `recharge_records`:
-- nothing that is there is dropped, renamed or given another type.

CREATE TABLE IF NOT EXISTS users (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email       text,
    created_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE users ADD COLUMN IF NOT EXISTS c_organization_id text;
ALTER TABLE users ADD COLUMN IF NOT EXISTS litellm_team_id text;
CREATE INDEX IF NOT EXISTS users_by_organization ON users (c_organization_id);

CREATE TABLE organization_balance_config (
    id                          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    c_organization_id           text NOT NULL UNIQUE CHECK (c_organization_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    stripe_customer_id          text UNIQUE,
    litellm_team_id             text UNIQUE,
    currency                    text NOT NULL DEFAULT 'usd' CHECK (currency ~ '^[a-z]{3}$'),
    minimum_balance             numeric(10,2) NOT NULL DEFAULT 100 CHECK (minimum_balance >= 0),
    target_balance              numeric(10,2) NOT NULL DEFAULT 1000 CHECK (target_balance >= 0),
    -- What the target is compared with: the quota in force, or what is left of it.
    target_basis                text NOT NULL DEFAULT 'quota' CHECK (target_basis IN ('quota', 'available')),
    auto_recharge_enabled       boolean NOT NULL DEFAULT true,
    minimum_recharge_amount     numeric(10,2) NOT NULL DEFAULT 100 CHECK (minimum_recharge_amount > 0),
    max_daily_recharges         integer NOT NULL DEFAULT 5 CHECK (max_daily_recharges >= 0),
    max_daily_amount            numeric(12,2) CHECK (max_daily_amount >= 0),
    max_monthly_amount          numeric(12,2) CHECK (max_monthly_amount >= 0),
    -- How long automatic recharge rests after a soft decline.
    cooldown_seconds            integer NOT NULL DEFAULT 3600 CHECK (cooldown_seconds >= 0),
    default_payment_method_id   text,
    payment_method_brand        text,
    payment_method_last4        text,
    -- A person looked at a pause and lifted it: pauses older than this no longer count.
    resumed_at                  timestamptz,
    closed_at                   timestamptz,
    created_at                  timestamptz NOT NULL DEFAULT now(),
    updated_at                  timestamptz NOT NULL DEFAULT now()
);

-- Ingress answers webhooks from memory; this keeps every replica's memory fresh.
CREATE FUNCTION organization_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('organization_changed', COALESCE(NEW.c_organization_id, OLD.c_organization_id));
    RETURN NULL;
END $$;
CREATE TRIGGER organization_changed AFTER INSERT OR UPDATE OR DELETE ON organization_balance_config
    FOR EACH ROW EXECUTE FUNCTION organization_changed();
