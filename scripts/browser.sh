#!/bin/sh
# The browser tests need a Chromium that is already on the machine; on Debian it is installed when it is missing and it may be.
set -eu
for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && exit 0; done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian's chromium for the browser tests (once)"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu-core >/dev/null
else
  echo "The browser tests need Chromium. Install it and try again: apt-get install chromium" >&2; exit 1
fi
