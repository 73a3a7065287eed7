#!/bin/sh
# Starts Alertmanager with alertmanager.yml and the addresses that alerts are sent to. Arguments are passed on to it.
#
#   ALERT_WEBHOOK_URL        the address, or
#   ALERT_WEBHOOK_URL_FILE   a file that holds it: such addresses often have a secret in them
#   ALERT_WATCHDOG_URL       where BillWatchdog is sent every few minutes, as a sign of life; or, likewise,
#   ALERT_WATCHDOG_URL_FILE  a file that holds it. Without them it is sent nowhere
#   ALERTMANAGER             the program (alertmanager)
#   ALERTMANAGER_CONFIG      the configuration (/etc/alertmanager/alertmanager.yml)
#   ALERTMANAGER_STORAGE     where it keeps silences and what it has sent, and its configuration with the addresses
#                            (/alertmanager)
set -eu
# Nobody else may read the addresses.
umask 077

fail() {
  echo "alertmanager is not started: $1" >&2
  exit 2
}

# The address that a pair of variables names: itself, or in a file. Nothing when neither is set.
address() {
  eval "value=\${$1:-} file=\${$1_FILE:-}"
  if [ -n "$value" ] && [ -n "$file" ]; then
    fail "$1 and $1_FILE are both set: choose one"
  fi
  if [ -n "$file" ]; then
    [ -r "$file" ] || fail "$1_FILE names $file, which can't be read"
    value=$(cat "$file")
  fi
  case $value in
    "") ;;
    *[!A-Za-z0-9:/?\&=%._~+,@-]*) fail "the address of $1 has a character that must be percent-encoded" ;;
    http://?* | https://?*) ;;
    *) fail "the address of $1 must begin with http:// or https://" ;;
  esac
}

address ALERT_WEBHOOK_URL
url=$value
[ -n "$url" ] || fail "nobody would be told of an alert: set ALERT_WEBHOOK_URL, or ALERT_WEBHOOK_URL_FILE"
address ALERT_WATCHDOG_URL
watchdog=$value

config=${ALERTMANAGER_CONFIG:-/etc/alertmanager/alertmanager.yml}
storage=${ALERTMANAGER_STORAGE:-/alertmanager}
escaped() {
  printf '%s' "$1" | sed 's/&/\\&/g'
}
if [ -n "$watchdog" ]; then
  put_in="s|http://watchdog-webhook.invalid/|\"$(escaped "$watchdog")\"|"
else
  # The receiver stays, and sends nothing.
  put_in='/# Taken out by/,/send_resolved/d'
fi
sed -e "s|http://alert-webhook.invalid/|\"$(escaped "$url")\"|" -e "$put_in" "$config" >"$storage/alertmanager.yml"
exec "${ALERTMANAGER:-alertmanager}" --config.file="$storage/alertmanager.yml" --storage.path="$storage" "$@"
