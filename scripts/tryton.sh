#!/usr/bin/env bash
# A real Tryton 8.2 with its opportunities on the loopback, on SQLite, for `make test-crm`. Its packages come from the Python package index
# into a temporary folder, which is removed in the end; nothing is installed.
#   tryton.sh run COMMAND...   fetches it, starts it, runs the command with TRYTON_* set, and stops it
set -euo pipefail

port=${TRYTON_PORT:-8269}
here=$(cd "$(dirname "$0")" && pwd)

fetch() {
  python3 -m venv "$home/venv"
  "$home/venv/bin/pip" install -q --disable-pip-version-check trytond==8.2.1 trytond-account==8.2.1 trytond-account-invoice==8.2.0 \
    trytond-account-invoice-stock==8.2.0 trytond-account-product==8.2.0 trytond-company==8.2.0 trytond-country==8.2.0 \
    trytond-currency==8.2.0 trytond-party==8.2.0 trytond-product==8.2.0 trytond-sale==8.2.0 trytond-sale-opportunity==8.2.0 \
    trytond-stock==8.2.1
}

start() {
  mkdir "$home/databases" && touch "$home/databases/crm.sqlite"
  printf '%s\n' '[database]' 'uri = sqlite://' "path = $home/databases" '[web]' "listen = 127.0.0.1:$port" >"$home/trytond.conf"
  head -c 18 /dev/urandom | base64 >"$home/password"
  TRYTONPASSFILE=$home/password "$home/venv/bin/trytond-admin" -c "$home/trytond.conf" -d crm --all -u sale_opportunity \
    --activate-dependencies --email admin@example.com >"$home/init.log" 2>&1 || { tail -20 "$home/init.log"; return 1; }
  KEYS_FILE=$home/keys "$home/venv/bin/trytond-console" -c "$home/trytond.conf" -d crm <"$here/tryton_users.py" >>"$home/init.log" 2>&1
  [ -s "$home/keys" ] || { tail -20 "$home/init.log"; return 1; }
  "$home/venv/bin/trytond" -c "$home/trytond.conf" -d crm >"$home/server.log" 2>&1 &
  server=$!
  for _ in $(seq 60); do
    kill -0 "$server" 2>/dev/null || break
    # without a key it says 401 as soon as it is there
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/crm/rest/model/party.party")" = 401 ] && return
    sleep 1
  done
  tail -20 "$home/server.log"
  return 1
}

stop() {
  [ -n "${server:-}" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true
  rm -rf "$home"
}

[ "${1:-}" = run ] && [ $# -gt 1 ] || { sed -n '2,4p' "$0"; exit 2; }
home=$(mktemp -d)
trap stop EXIT
fetch
start
TRYTON_URL="http://127.0.0.1:$port" TRYTON_DATABASE=crm TRYTON_KEYS=$(cat "$home/keys") "${@:2}"
