#!/bin/sh
# The browser tests need a Chromium that is already on the machine; on Debian it is installed when it is missing and it may be, with its
# headless shell, in which most tests take a third of the time. Where there is none of that, Chromium itself does as well.
set -eu
there() { for name in "$@"; do command -v "$name" >/dev/null && return; done; false; }
shell=chromium-headless-shell
if there chromium chromium-browser google-chrome; then
  there $shell chrome-headless-shell && exit 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
  stamp=.venv/.asked-for-$shell
  [ -e "$stamp" ] && exit 0
  echo "Installing Debian's $shell for the browser tests (once)"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $shell >/dev/null; } || echo "There is none: the tests use Chromium itself"
  touch "$stamp"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian's chromium for the browser tests (once)"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu-core >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $shell >/dev/null || true
else
  echo "The browser tests need Chromium. Install it and try again: apt-get install chromium" >&2; exit 1
fi
