# make run: everything that the server needs, then the server with its sandbox page on http://localhost:8088/
# make test: everything that the tests need, then all of them

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_FLAGS ?=
# More than cores, since most tests wait. Each file stays whole: its tests share servers.
PROCESSES ?= 3
SECONDS ?= 60

.PHONY: run test lint fuzz regression bench soak release-check docs install-service clean

run: $(VENV)/.run
	$(BIN)/rplx demo

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd js && npm run --silent check
	phpcs --standard=php/phpcs.xml
	find php -name '*.php' -not -path '*/vendor/*' -print0 | xargs -0 -n1 php -l > /dev/null

# Each parser against made-up input, for so many seconds; two at a time.
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

# Under a minute: whether a figure of speed has halved, next to the kernel's floor in the same run.
regression: $(VENV)/.test
	$(BIN)/python -m bench.regression

bench: $(VENV)/.test
	$(BIN)/python bench/run.py

# Over an hour, with a core and a half of the machine.
soak: $(VENV)/.test
	$(BIN)/python -m tests.soak
	cd js && GRANTS=long PYTHON=$(abspath $(BIN)/python) node --test test/browser/grants.test.mjs

# Builds what pip, npm and Composer take, and uses each in a fresh environment. Uploads nothing.
release-check: $(VENV)/.test
	$(BIN)/python tools/release_check.py

# Rewrites what is made from the option table.
docs: $(VENV)/.run
	$(BIN)/python -m rplx.options.writing

install-service:
	conf/install-service.sh

clean:
	rm -rf $(VENV) build dist *.egg-info js/node_modules

$(VENV)/.run: pyproject.toml setup.py tools/need.sh
	tools/need.sh run $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.test: pyproject.toml setup.py tools/need.sh tests/requirements.lock js/package-lock.json
	tools/need.sh test $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[async,redis,test]' --constraint tests/requirements.lock
	cd js && npm ci --silent --no-audit --no-fund
	touch $(VENV)/.run $@
