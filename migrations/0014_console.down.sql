-- Whoever is signed in has to sign in again.
DROP TABLE console_sessions;
