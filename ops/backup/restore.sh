#!/usr/bin/env bash
# Brings the streams and the database back from a folder of backup.sh, into an empty database and an empty broker.
# No service may run meanwhile. docs/BACKUP.md tells what comes before and what must come after.
#
#   DATABASE_URL=postgres://owner:…@host/name NATS_URL=nats://setup:…@host:4222 ops/backup/restore.sh FOLDER
#
# The database's login must be allowed to create roles. Beside these: NATS_CA_FILE, NATS_REPLICAS (3 for a cluster of three),
# CONSUMER_ACK_WAIT, BILL_SETUP (where bill-setup is).
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -eq 1 ] || die "usage: restore.sh FOLDER"
folder=$1
[ -d "$folder" ] || die "$folder is no folder"
[ -f "$folder/checksums" ] || die "$folder is no complete backup: it has no checksums, which are written last"
(cd "$folder" && sha256sum --check --quiet checksums) || die "$folder is not what was saved"

tables=$(query "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')") ||
    die "the database at DATABASE_URL does not answer"
[ "$tables" = 0 ] || die "the database has $tables tables: restore into an empty one"

# The streams first: services that run in spite of it wait for the database.
say "restoring the streams"
"$BILL_SETUP" streams restore "$folder/streams" || die "the streams were not restored: start again with an empty broker"

say "restoring the database"
while IFS= read -r role; do
    [ -n "$role" ] || continue
    name=${role//\"/\"\"}
    [ "$(query "SELECT count(*) FROM pg_roles WHERE rolname = '${role//\'/\'\'}'")" = 1 ] ||
        query "CREATE ROLE \"$name\" NOLOGIN" || die "the role $role, which has rights in the backup, could not be created"
done <"$folder/roles"
pg_restore --dbname="$PGDATABASE" --no-owner --single-transaction --exit-on-error "$folder/database.dump" ||
    die "the database was not restored, and is as empty as before; the streams are there: start again with an empty broker"
# Its planner knows nothing yet of what is in it.
query "ANALYZE" || die "the database is restored, but could not be analyzed"

say "bringing both to this release (the backup is of migration $(cat "$folder/migration"))"
"$BILL_SETUP" up || die "restored, but not at this release: see what it says, and run bill-setup up"
say "restored. Next: bill-setup logins, then start quietly (docs/BACKUP.md)"
