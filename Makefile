# Everything a person does with this project. `make` alone lists it.
PYTHON3 ?= python3
VENV := .venv/bin/python
JOBS ?= 3
# Plain standard library, before there is anything else (-B: leave no files behind, this may be root).
RUN := $(PYTHON3) -B -m deploy.run

TOO_OLD := error: Python 3.11 or newer is needed, name one: make PYTHON3=/path/to/python3.11 $(MAKECMDGOALS)
NEW_ENOUGH := $(PYTHON3) -c 'import sys; sys.exit("$(TOO_OLD)" if sys.version_info < (3, 11) else 0)'

UV := uv==0.13.9
AUDIT := pip-audit==2.10.1
SBOM := cyclonedx-bom==7.5.0
COMPILE = "$$tools/bin/uv" pip compile -q --universal --generate-hashes --no-strip-extras --no-header --python-version 3.11 $(UPGRADE)
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

export WS_GATEWAY_CLEAN

# A tool that only this target needs, in an environment that is gone afterwards.
WITH = tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && $(PYTHON3) -m venv "$$tools" && "$$tools/bin/pip" -q install $(1)
# One part of `make verify`, with the time it took.
PART = @began=$$(date +%s); $(2); status=$$?; echo "verify: $(1) took $$(($$(date +%s) - began)) s"; exit $$status

.PHONY: help run status logs stop clean check lint test test-slow test-bare verify bench lock audit sbom packages packages-dev packages-bare .env
.NOTPARALLEL:

help:  ## show this list
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):[^#]*## /\1\t/' | expand -t 15

run:  ## install what is missing, start everything, show live events
	@$(NEW_ENOUGH)
	@$(RUN) prepare
	@$(VENV) -m deploy.run up

status:  ## which programs run
	@$(RUN) status

logs:  ## follow all logs
	@$(RUN) logs

stop:  ## end everything; data stays in .run/
	@$(RUN) stop

clean:  ## stop, then remove .run/ (all data) and .venv/
	@$(RUN) clean

.env:  ## make .env with random secrets, when there is none
	@$(RUN) env

packages:  ## install PostgreSQL, RabbitMQ and python3-venv from the distribution (as root)
	@$(RUN) packages

packages-dev:  ## and nginx and openssl, for the tests (as root)
	@$(RUN) packages-dev

packages-bare:  ## and what builds pristine machines (as root)
	@$(RUN) packages-bare

check: lint  ## format, lint, types, import directions, unit tests: seconds
	$(VENV) -m pytest -q tests/unit

lint:
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy --strict
	$(VENV) -m mypy --strict -p deploy
	.venv/bin/lint-imports

test:  ## every test from a bare machine: installs what it needs, starts servers of its own
	@$(NEW_ENOUGH)
	@$(RUN) prepare-dev
	@$(MAKE) --no-print-directory lint
	CI=true $(VENV) -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(TESTS)

test-slow:  ## the tests that take long
	@$(NEW_ENOUGH)
	@$(RUN) prepare-dev
	CI=true $(VENV) -m pytest -m slow $(TESTS)

test-bare:  ## make run, and tests, on pristine machines of Debian 12 and 13 (as root)
	@$(NEW_ENOUGH)
	@$(RUN) prepare-bare
	CI=true $(VENV) -m pytest -m bare tests/bare

verify:  ## make test, and everything that takes long
	$(call PART,make test,$(MAKE) --no-print-directory test)
	$(call PART,make test-slow,$(MAKE) --no-print-directory test-slow)
	$(call PART,make test-bare,$(MAKE) --no-print-directory test-bare)

bench:  ## measure
	@$(VENV) -m bench

lock:  ## pin the dependencies again; UPGRADE=--upgrade takes the newest
	@$(call WITH,$(UV)) && \
	$(COMPILE) -o requirements.lock pyproject.toml && \
	$(COMPILE) -o requirements-simulator.lock --extra simulator -c requirements.lock pyproject.toml && \
	$(COMPILE) -o requirements-dev.lock --extra dev -c requirements-simulator.lock pyproject.toml && \
	$(PYTHON3) -c '$(BUILD_REQUIRES)' | $(COMPILE) -o requirements-build.lock -

audit:  ## look for known vulnerabilities in what is locked
	@$(call WITH,$(AUDIT)) && "$$tools/bin/pip-audit" --require-hashes --disable-pip -r requirements-simulator.lock

sbom:  ## write sbom.json: what is installed, as CycloneDX
	@$(call WITH,$(SBOM)) && "$$tools/bin/cyclonedx-py" requirements --output-reproducible --pyproject pyproject.toml \
	-o sbom.json requirements-simulator.lock
