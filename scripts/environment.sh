#!/bin/sh
# Makes .venv from one lock file ("requirements.lock" or "requirements-dev.lock"); does nothing when that is done already.
set -eu
lock=$1
python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
stamp=.venv/.$(basename "$lock" .lock)-$(sha256sum "$lock" | cut -c1-16)
[ -e "$stamp" ] && exit 0

[ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "router needs Python 3.11 or newer: apt-get install python3" >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's python3-venv, which makes virtual environments"
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
  else
    echo "Python's venv module is missing. Install it and try again: apt-get install python3-venv" >&2; exit 1
  fi
}
[ -x .venv/bin/python ] || { echo "Making .venv (once)"; "$python" -m venv .venv; }

.venv/bin/python scripts/install.py "$lock"
touch "$stamp"
