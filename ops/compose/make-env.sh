#!/bin/sh
# Makes `.env` for docker-compose.yml: a random password for every user and login, and the random secrets. What only you can
# know stays empty, and compose refuses to start until it is filled in. An `.env` that is there is never changed.
#
#   sh ops/compose/make-env.sh [--demo]    --demo: Stripe and the KMS are the simulators, and nothing is left to fill in
set -eu
cd "$(dirname "$0")/../.."

fail() {
  echo "no .env was made: $1" >&2
  exit 1
}

case ${1:-} in
  --demo)
    stripe_url=http://simulators:12111 kms_url=http://simulators:8089 ;;
  "")
    stripe_url=https://api.stripe.com kms_url= ;;
  *) fail "usage: sh ops/compose/make-env.sh [--demo]" ;;
esac
[ ! -e .env ] || fail "there is one; its passwords are in the database's and the broker's volumes, too"

# A letter first, then letters and digits: the broker's configuration and URLs take these without quoting.
secret() {
  drawn=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  [ "${#drawn}" -eq 48 ] || fail "no random numbers"
  echo "p$drawn"
}

umask 077
new=$(mktemp .env.XXXXXX)
trap 'rm -f "$new"' EXIT
{
  echo "# Made by ops/compose/make-env.sh. What each is for: docs/DEPLOY.md and the READMEs of the services."
  echo "STRIPE_URL=$stripe_url"
  if [ "${1:-}" = --demo ]; then
    echo "# A key that Stripe does not have: it may travel to a simulator without TLS."
    echo "STRIPE_SECRET_KEY=sk_sim_$(secret)"
    echo "STRIPE_WEBHOOK_SECRET=whsec_$(secret)"
  else
    echo "# From Stripe: the secret key, and the signing secret of the endpoint PUBLIC_URL/webhooks/stripe."
    echo "STRIPE_SECRET_KEY="
    echo "STRIPE_WEBHOOK_SECRET="
  fi
  echo "KMS_URL=$kms_url"
  echo "# What callers and customers see us as."
  echo "PUBLIC_URL=http://localhost:3000"
  echo "# Whom Alertmanager tells (--profile monitoring). It does not start without."
  echo "ALERT_WEBHOOK_URL="
  echo "# Who calls somebody when the sign of life stays away: docs/RUNBOOK.md, BillWatchdog. May stay empty."
  echo "ALERT_WATCHDOG_URL="
  for name in LITELLM_WEBHOOK_SECRET LITELLM_ALERT_TOKEN PAY_LINK_SECRET GRAFANA_ADMIN_PASSWORD POSTGRES_PASSWORD; do
    echo "$name=$(secret)"
  done
  for user in INGRESS RECHARGER LEDGER SYNCER VIEWER; do
    echo "BILL_${user}_DB_PASSWORD=$(secret)"
  done
  for user in SYS SETUP INGRESS RECHARGER LEDGER SYNCER VIEWER; do
    echo "NATS_${user}_PASSWORD=$(secret)"
  done
} >"$new"
mv "$new" .env
echo "made .env, which only you can read"
