-- What people did about dead letters. Written by: ingress.

CREATE TABLE dead_letter_actions (
    -- The letter: a stream that is made anew counts from 1 again, so the time belongs to the name.
    sequence            bigint NOT NULL CHECK (sequence > 0),
    parked_at           timestamptz NOT NULL,
    -- Brought back to the service that gave up, or thrown away. One of them, once.
    action              text NOT NULL CHECK (action IN ('redriven', 'discarded')),
    -- The letter as it was: it is gone from the stream afterwards.
    service             text NOT NULL,
    subject             text NOT NULL,
    reason              text NOT NULL,
    error               text NOT NULL,
    -- Stream, sequence there, attempts, message id, trace context.
    headers             jsonb NOT NULL,
    body                bytea NOT NULL,
    c_organization_id   text,
    -- Who, why, when it was begun and when it was done: a crash in between leaves a row that the same call finishes.
    actor               text NOT NULL,
    note                text,
    at                  timestamptz NOT NULL,
    done_at             timestamptz,
    PRIMARY KEY (sequence, parked_at)
);
CREATE INDEX dead_letter_actions_newest ON dead_letter_actions (at DESC);
