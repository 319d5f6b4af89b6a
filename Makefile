# Every command for working with this project; `make` alone lists them.
PYTHON3 ?= python3
VENV := .venv/bin/python
JOBS ?= 3
# Standard library only, because nothing is installed yet (-B: write no files, this may run as root).
RUN := $(PYTHON3) -B -m deploy.run

TOO_OLD := error: Python 3.11 or newer is needed, name one: make PYTHON3=/path/to/python3.11 $(MAKECMDGOALS)
NEW_ENOUGH := $(PYTHON3) -c 'import sys; sys.exit("$(TOO_OLD)" if sys.version_info < (3, 11) else 0)'

UV := uv==0.13.9
AUDIT := pip-audit==2.10.1
SBOM := cyclonedx-bom==7.5.0
COMPILE = "$$tools/bin/uv" pip compile -q --universal --generate-hashes --no-strip-extras --no-header --python-version 3.11 $(UPGRADE)
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

export WS_GATEWAY_CLEAN

# A tool that only one target needs, in a temporary environment.
WITH = tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && $(PYTHON3) -m venv "$$tools" && "$$tools/bin/pip" -q install $(1)
# One part of `make verify`, with its duration.
PART = @began=$$(date +%s); $(2); status=$$?; echo "verify: $(1) took $$(($$(date +%s) - began)) s"; exit $$status

# Modules that take and return values: their tests need no server, so there is no excuse for an untested rule.
PURE_PERSISTER := batch message raw_json standing checks reconcile rows
comma := ,
space := $(subst ,, )
COVERED = $(VENV) -m coverage report --fail-under=95 --include=

.PHONY: help run status logs stop clean check lint test coverage test-slow test-bare verify bench lock audit sbom packages packages-dev packages-bare .env
.NOTPARALLEL:

help:  ## list the commands
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):[^#]*## /\1\t/' | expand -t 15

run:  ## install what is missing, start all programs, show live events
	@$(NEW_ENOUGH)
	@$(RUN) prepare
	@$(VENV) -m deploy.run up

status:  ## show which programs are running
	@$(RUN) status

logs:  ## follow all logs
	@$(RUN) logs

stop:  ## stop all programs; data stays in .run/
	@$(RUN) stop

clean:  ## stop, then remove .run/ (all data) and .venv/
	@$(RUN) clean

.env:  ## create .env with random secrets, unless it exists
	@$(RUN) env

packages:  ## install PostgreSQL, RabbitMQ and python3-venv from the distribution (as root)
	@$(RUN) packages

packages-dev:  ## the same, and nginx and openssl for the tests (as root)
	@$(RUN) packages-dev

packages-bare:  ## the same, and what test-bare needs to build machines (as root)
	@$(RUN) packages-bare

check: lint  ## check format, lint, types and import directions, run the unit tests: seconds
	$(VENV) -m pytest -q tests/unit

lint:
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy --strict
	.venv/bin/lint-imports

test:  ## run all tests: installs what they need, starts servers of its own
	@$(NEW_ENOUGH)
	@$(RUN) prepare-dev
	@$(MAKE) --no-print-directory lint
	CI=true $(VENV) -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(TESTS)
	$(if $(TESTS),,@$(MAKE) --no-print-directory coverage)

coverage:  ## check the coverage that the last `make test` measured
	$(COVERED)"ingestor/bybit/*"
	$(COVERED)"ingestor/feed/*"
	$(COVERED)"ingestor/delivery/*"
	$(COVERED)"$(subst $(space),$(comma),$(PURE_PERSISTER:%=persister/%.py))"

test-slow:  ## run the tests that take long
	@$(NEW_ENOUGH)
	@$(RUN) prepare-dev
	CI=true $(VENV) -m pytest -m slow $(TESTS)

test-bare:  ## make run, and tests, on new machines of Debian 12 and 13 (as root)
	@$(NEW_ENOUGH)
	@$(RUN) prepare-bare
	CI=true $(VENV) -m pytest -m bare tests/bare

verify:  ## make test, test-slow and test-bare
	$(call PART,make test,$(MAKE) --no-print-directory test)
	$(call PART,make test-slow,$(MAKE) --no-print-directory test-slow)
	$(call PART,make test-bare,$(MAKE) --no-print-directory test-bare)

bench:  ## measure throughput, latency and CPU; ARGS=--quick takes three minutes
	@$(VENV) -m bench $(ARGS)

lock:  ## update the lock files; UPGRADE=--upgrade takes the newest versions
	@$(call WITH,$(UV)) && \
	$(COMPILE) -o requirements.lock pyproject.toml && \
	$(COMPILE) -o requirements-simulator.lock --extra simulator -c requirements.lock pyproject.toml && \
	$(COMPILE) -o requirements-dev.lock --extra dev -c requirements-simulator.lock pyproject.toml && \
	$(PYTHON3) -c '$(BUILD_REQUIRES)' | $(COMPILE) -o requirements-build.lock -

audit:  ## check the locked versions for known vulnerabilities
	@$(call WITH,$(AUDIT)) && "$$tools/bin/pip-audit" --require-hashes --disable-pip -r requirements-simulator.lock

sbom:  ## write sbom.json, the list of installed packages as CycloneDX
	@$(call WITH,$(SBOM)) && "$$tools/bin/cyclonedx-py" requirements --output-reproducible --pyproject pyproject.toml \
	-o sbom.json requirements-simulator.lock
