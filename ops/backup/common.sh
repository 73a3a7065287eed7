# shellcheck shell=bash
# What backup.sh and restore.sh share. Not run by itself.

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*" >&2
}

# need NAME WHAT: a variable that must be set.
need() {
    [ -n "${!1:-}" ] || die "$1 is not set: $2"
}

# program NAME WHERE: a program that must be there.
program() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not in PATH: $2"
}

# A part of a URL as it was before it was written into one.
decoded() {
    local part=${1//\\/\\\\}
    printf '%b' "${part//%/\\x}"
}

# Takes DATABASE_URL apart, into the variables that PostgreSQL's programs read: on their command lines everybody on this
# machine could read the password.
read_database_url() {
    local rest=${DATABASE_URL#*://} parameters='' login='' host port pair
    case $DATABASE_URL in
        postgres://* | postgresql://*) ;;
        *) die "DATABASE_URL is not valid: use postgres://user:password@host:port/name" ;;
    esac
    case $rest in *\?*) parameters=${rest#*\?} rest=${rest%%\?*} ;; esac
    case $rest in *@*) login=${rest%@*} rest=${rest##*@} ;; esac
    case $rest in */?*) ;; *) die "DATABASE_URL names no database: use postgres://user:password@host:port/name" ;; esac
    PGDATABASE=$(decoded "${rest#*/}")
    rest=${rest%%/*}
    case $rest in
        *]) host=$rest port=5432 ;;
        *:*) host=${rest%:*} port=${rest##*:} ;;
        *) host=$rest port=5432 ;;
    esac
    host=${host#[} PGHOST=${host%]} PGPORT=$port
    export PGDATABASE PGHOST PGPORT
    if [ -n "$login" ]; then
        PGUSER=$(decoded "${login%%:*}")
        export PGUSER
        case $login in *:*) PGPASSWORD=$(decoded "${login#*:}") && export PGPASSWORD ;; esac
    fi
    local IFS='&'
    for pair in $parameters; do
        case $pair in
            sslmode=* | ssl-mode=*) export PGSSLMODE="${pair#*=}" ;;
            sslrootcert=* | ssl-root-cert=* | ssl-ca=*) PGSSLROOTCERT=$(decoded "${pair#*=}") && export PGSSLROOTCERT ;;
            sslcert=* | ssl-cert=*) PGSSLCERT=$(decoded "${pair#*=}") && export PGSSLCERT ;;
            sslkey=* | ssl-key=*) PGSSLKEY=$(decoded "${pair#*=}") && export PGSSLKEY ;;
            *) die "DATABASE_URL has a parameter that this script does not know: ${pair%%=*}" ;;
        esac
    done
}

# query SQL: one value, or lines of one.
query() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --command "$1"
}

need DATABASE_URL "the database, as the tables' owner: postgres://user:password@host:port/name"
need NATS_URL "the broker, as the user setup: nats://setup:password@host:4222"
BILL_SETUP=${BILL_SETUP:-bill-setup}
program "$BILL_SETUP" "it is one of Bill-Service's programs; BILL_SETUP may say where it is"
for name in pg_dump pg_restore psql; do
    program "$name" "it comes with PostgreSQL's client, which must not be older than the server"
done
program sha256sum "it is part of coreutils"
read_database_url
