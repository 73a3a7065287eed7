#!/bin/sh
# What `docker compose --profile demo` shows: an organization with a card is recharged by hand, then the KMS says that its
# limit is exceeded, in a signed webhook, and it is recharged by itself. Ends with 0 only when both recharges settled.
set -eu
stripe=http://simulators:12111
kms=http://simulators:8089
# The simulators forget with each start, the database does not: another organization each time.
organization=demo-$(date +%s)

say() {
  printf '\n== %s\n' "$1"
}

BILL_TOKEN=$(ingress token --name "$organization")
export BILL_TOKEN
simulators post "$stripe/_sim/config" \
  "{\"webhook_url\": \"$BILL_URL/webhooks/stripe\", \"webhook_secret\": \"$STRIPE_WEBHOOK_SECRET\"}" >/dev/null

say "$organization: a policy, a card, and a team at the KMS"
bill org create "$organization" --minimum-balance 100 --target-balance 500 --minimum-recharge 200
bill org card "$organization" pm_card_visa
bill org sync "$organization"

say "a recharge by hand"
bill recharge "$organization" 500

say "it spends 520; the KMS says so in a signed webhook, and this is what it is answered"
simulators post "$kms/_sim/usage" "{\"c_organization_id\": \"$organization\", \"usage\": 520, \"webhook\": true}"

settled() {
  bill --json history "$organization" | grep -c '"status": *"settled"'
}
tries=0
until [ "$(settled)" -ge 2 ]; do
  tries=$((tries + 1))
  if [ "$tries" -ge 60 ]; then
    say "it did not settle"
    bill history "$organization"
    exit 1
  fi
  sleep 1
done

say "its recharges, newest first"
bill history "$organization"
say "what it has"
bill org balance "$organization"
say "settled: Stripe was charged, the ledger has booked, the KMS has the quota"
