#!/bin/sh
# Starts Alertmanager with alertmanager.yml and the address that alerts are sent to. Arguments are passed on to it.
#
#   ALERT_WEBHOOK_URL        the address, or
#   ALERT_WEBHOOK_URL_FILE   a file that holds it: such addresses often have a secret in them
#   ALERTMANAGER             the program (alertmanager)
#   ALERTMANAGER_CONFIG      the configuration (/etc/alertmanager/alertmanager.yml)
#   ALERTMANAGER_STORAGE     where it keeps silences and what it has sent, and its configuration with the address
#                            (/alertmanager)
set -eu
# Nobody else may read the address.
umask 077

fail() {
  echo "alertmanager is not started: $1" >&2
  exit 2
}

if [ -n "${ALERT_WEBHOOK_URL:-}" ] && [ -n "${ALERT_WEBHOOK_URL_FILE:-}" ]; then
  fail "ALERT_WEBHOOK_URL and ALERT_WEBHOOK_URL_FILE are both set: choose one"
fi
url=${ALERT_WEBHOOK_URL:-}
if [ -n "${ALERT_WEBHOOK_URL_FILE:-}" ]; then
  [ -r "$ALERT_WEBHOOK_URL_FILE" ] || fail "ALERT_WEBHOOK_URL_FILE names $ALERT_WEBHOOK_URL_FILE, which can't be read"
  url=$(cat "$ALERT_WEBHOOK_URL_FILE")
fi
[ -n "$url" ] || fail "nobody would be told of an alert: set ALERT_WEBHOOK_URL, or ALERT_WEBHOOK_URL_FILE"
case $url in
  *[!A-Za-z0-9:/?\&=%._~+,@-]*) fail "the webhook's address has a character that must be percent-encoded" ;;
  http://?* | https://?*) ;;
  *) fail "the webhook's address must begin with http:// or https://" ;;
esac

config=${ALERTMANAGER_CONFIG:-/etc/alertmanager/alertmanager.yml}
storage=${ALERTMANAGER_STORAGE:-/alertmanager}
escaped=$(printf '%s' "$url" | sed 's/&/\\&/g')
sed "s|http://alert-webhook.invalid/|\"$escaped\"|" "$config" >"$storage/alertmanager.yml"
exec "${ALERTMANAGER:-alertmanager}" --config.file="$storage/alertmanager.yml" --storage.path="$storage" "$@"
