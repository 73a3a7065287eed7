DROP TABLE reconciliation_findings;
DROP TABLE reconciliation_parts;
DROP TABLE reconciliation_runs;
