#!/bin/sh
# Makes .venv from one lock file ("requirements.lock" or "requirements-dev.lock"); does nothing when that is done already.
set -eu
lock=$1
stamp=.venv/.$(basename "$lock" .lock)-$(sha256sum "$lock" | cut -c1-16)
[ -e "$stamp" ] && exit 0

is_new() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The distribution's Python comes first: it is built for speed, and a version manager's often is not and a quarter slower.
[ -z "${PYTHON:-}" ] && set -- /usr/bin/python3 python3.11 python3 || set -- "$PYTHON"
python=
for found in "$@"; do
  is_new "$found" || continue
  python=${python:-$found}
  if has_venv "$found"; then python=$found; break; fi
done
[ -n "$python" ] || { echo "router needs Python 3.11 or newer: apt-get install python3" >&2; exit 1; }
has_venv "$python" || {
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
