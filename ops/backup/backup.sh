#!/usr/bin/env bash
# Saves the streams and the database in a new folder. Services go on meanwhile. docs/BACKUP.md tells why in this order.
#
#   DATABASE_URL=postgres://owner:…@host/name NATS_URL=nats://setup:…@host:4222 ops/backup/backup.sh FOLDER
#
# Beside these: NATS_CA_FILE, BILL_SETUP (where bill-setup is). The folder has customers' data in it: it is made for its owner only.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -eq 1 ] || die "usage: backup.sh FOLDER"
folder=$1
[ ! -e "$folder" ] || die "$folder is there already: name a new folder"
umask 077
mkdir -p "$folder"

say "saving the streams"
"$BILL_SETUP" streams backup "$folder/streams" || die "the streams were not saved: $folder is no backup"

# After the streams: what is acknowledged in them has its effect in the database that is saved.
say "saving the database"
pg_dump --format=custom --file="$folder/database.dump" || die "the database was not saved: $folder is no backup"
# Roles belong to the whole cluster, and are not in a dump: only the names of those that have rights. No passwords.
query "SELECT DISTINCT r.rolname FROM pg_roles r JOIN (
        SELECT (aclexplode(relacl)).grantee FROM pg_class UNION SELECT (aclexplode(nspacl)).grantee FROM pg_namespace
        UNION SELECT (aclexplode(proacl)).grantee FROM pg_proc UNION SELECT (aclexplode(attacl)).grantee FROM pg_attribute) a
        ON a.grantee = r.oid WHERE r.rolname !~ '^pg_' AND r.rolname <> current_user AND NOT r.rolsuper ORDER BY 1" \
    >"$folder/roles" || die "the roles were not read: $folder is no backup"
query "SELECT max(version) FROM _sqlx_migrations" >"$folder/migration" || die "the migrations were not read: $folder is no backup"

# Written last: without it the backup is not complete.
(cd "$folder" && sha256sum database.dump roles migration streams/manifest.json >checksums.unfinished)
sync "$folder"/*
mv "$folder/checksums.unfinished" "$folder/checksums"
sync "$folder"
say "complete: $folder"
