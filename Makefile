.PHONY: run test types tests format bench bench-attribution lock

py := .venv/bin/python

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
	@$(MAKE) --no-print-directory -j 2 types tests

types:
	$(py) -m mypy

tests:
	$(py) -m pytest -n 2 --dist worksteal

format:
	@scripts/environment.sh requirements-dev.lock
	$(py) -m ruff format .
	$(py) -m ruff check --fix .

bench:  ## requests per second of the two hot paths beside their floor
	@scripts/environment.sh requirements-dev.lock
	$(py) -m bench

bench-attribution:  ## right sources and visits beside a classical pool, on simulated traffic (half an hour; SHORT=1: two cells)
	@scripts/environment.sh requirements-dev.lock
	$(py) -m bench.traffic

lock:  ## renew both lock files from pyproject.toml (needs uv)
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-config pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-config --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
