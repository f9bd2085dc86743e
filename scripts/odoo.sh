#!/usr/bin/env bash
# A real Odoo 19 on the loopback for `make test-crm`. Debian's package is unpacked into a folder of its own, nothing is installed, and its
# database is made anew at each start. Needs root, Debian's apt-get and PostgreSQL's server programs.
#   odoo.sh run COMMAND...   fetches it if need be, starts it, runs the command with ODOO_* set, and stops it
set -euo pipefail

home=${ODOO_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/router-odoo19}
database_port=${ODOO_DATABASE_PORT:-55433}
port=${ODOO_PORT:-8169}
addons=$home/root/usr/lib/python3/dist-packages/odoo/addons

programs() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true; }

fetch() {
  if [ -z "$(programs)" ]; then
    apt-get update -qq && apt-get install -y -qq postgresql >/dev/null
  fi
  [ -e "$home/fetched" ] && return
  mkdir -p "$home"/{home,data,apt/lists/partial,apt/archives/partial}
  local sources mirror
  sources=$(ls /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -1 || true)
  mirror=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' "$sources" | head -1 | tr -d ' ')
  echo "deb ${mirror%/} sid main" >"$home/apt/sources.list"
  local apart=(-o "Dir::Etc::sourcelist=$home/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$home/apt/lists" -o "Dir::Cache=$home/apt")
  apt-get "${apart[@]}" update -qq
  (cd "$home" && apt-get "${apart[@]}" download odoo-19 && for package in *.deb; do dpkg-deb -x "$package" root; done)
  python3 -m venv "$home/venv"
  "$home/venv/bin/pip" install -q asn1crypto Babel cbor2 chardet cryptography python-dateutil docutils geoip2 gevent greenlet idna Jinja2 \
    libsass lxml lxml-html-clean MarkupSafe num2words ofxparse openpyxl pyOpenSSL Pillow polib psutil psycopg2-binary pypdf pytz qrcode \
    reportlab requests rjsmin pyserial python-stdnum urllib3 pyusb vobject werkzeug xlrd XlsxWriter xlwt zeep freezegun python-magic \
    passlib phonenumbers 'setuptools<81'
  touch "$home/fetched"
}

as_postgres() { su postgres -c "cd / && $(programs)/$*"; }

odoo() {  # takes the place of this shell
  export PYTHONPATH=$home/root/usr/lib/python3/dist-packages HOME=$home/home
  exec "$home/venv/bin/python" -c 'import sys; sys.argv[0] = "odoo"; import odoo.cli; odoo.cli.main()' "$1" -c "$home/odoo.conf" "${@:2}"
}

start() {
  rm -rf "$home/pg" && mkdir -p "$home/pg" && chown postgres "$home/pg" && chmod 755 "$home"
  as_postgres "initdb -A trust -D $home/pg/data" >/dev/null
  as_postgres "pg_ctl -D $home/pg/data -w -o '-p $database_port -k $home/pg -c listen_addresses=127.0.0.1' -l $home/pg/log start" >/dev/null
  as_postgres "createuser -h 127.0.0.1 -p $database_port -d odoo"
  as_postgres "createdb -h 127.0.0.1 -p $database_port -O odoo crmtest"
  printf '%s\n' '[options]' 'db_host = 127.0.0.1' "db_port = $database_port" 'db_user = odoo' 'db_password = odoo' 'db_name = crmtest' \
    'http_interface = 127.0.0.1' "http_port = $port" "data_dir = $home/data" "addons_path = $addons" 'workers = 0' \
    'max_cron_threads = 0' 'list_db = False' >"$home/odoo.conf"
  (odoo server -i crm,rpc --without-demo=all --stop-after-init) >"$home/init.log" 2>&1 || { tail -20 "$home/init.log"; return 1; }
  (export KEYS_FILE=$home/keys && odoo shell --no-http) <"$(dirname "$0")/odoo_users.py" >>"$home/init.log" 2>&1 ||
    { tail -20 "$home/init.log"; return 1; }
  (odoo server) >"$home/server.log" 2>&1 &
  server=$!
  for _ in $(seq 60); do
    curl -sf "http://127.0.0.1:$port/web/version" >/dev/null && return
    sleep 1
  done
  tail -20 "$home/server.log"
  return 1
}

stop() {
  [ -n "${server:-}" ] && kill "$server" 2>/dev/null || true
  as_postgres "pg_ctl -D $home/pg/data -m fast stop" >/dev/null 2>&1 || true
}

[ "${1:-}" = run ] && [ $# -gt 1 ] || { sed -n '2,4p' "$0"; exit 2; }
trap stop EXIT
fetch
start
set -a
. "$home/keys"
set +a
ODOO_URL="http://127.0.0.1:$port" ODOO_DATABASE=crmtest "${@:2}"
