-- Who is signed in to the console. Written by: ingress.

-- A session's secret is in its cookie; only its digest is kept. A session may what its token may, and ends with it.
CREATE TABLE console_sessions (
    session_hash        bytea PRIMARY KEY CHECK (length(session_hash) = 32),
    token_id            uuid NOT NULL REFERENCES api_tokens (id),
    created_at          timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL CHECK (expires_at > created_at)
);
CREATE INDEX console_sessions_by_end ON console_sessions (expires_at);

-- As 0013 has it; people who look see who is signed in, but not by which secret.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_viewer') THEN
        GRANT SELECT (token_id, created_at, expires_at) ON console_sessions TO bill_viewer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bill_ingress') THEN
        GRANT SELECT, INSERT, DELETE ON console_sessions TO bill_ingress;
    END IF;
END $$;
