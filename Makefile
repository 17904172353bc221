# `make demo` and `make test` set up by themselves whatever they need; nothing is installed outside this folder.
# What must be there: git, make and Python 3.10 or newer with venv. PYTHON=... chooses another interpreter.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
KEEP ?=
QUICK ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENV31 := .venv31
READY31 := $(VENV31)/.ready
VENVCLIENTS := .venv-clients
READYCLIENTS := $(VENVCLIENTS)/.ready
MODEL := .cache/model/.ready
REVIEWS := .cache/reviews.csv
GATEWAY := .cache/gateway/.ready
SHOTS := .cache/screenshots/.ready

# Images of containers set this. Tests and demo start hundreds of processes, and each would compile all of Airflow anew:
# 4 of the 6 seconds of CPU that importing it takes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint types contracts unit test-airflow31 test-clients test-gateways pages docs screenshots constraints clean

help:
	@echo 'make demo             the whole way once: real reviews, a real model, real Airflow; about a minute'
	@echo 'make demo KEEP=1      the same, and Airflow stays up until Ctrl-C'
	@echo 'make demo QUICK=1     the same by `airflow dags test`, without the Airflow processes'
	@echo 'make test             lint, types, import contracts, all tests'
	@echo 'make test-airflow31   import everything and run one DAG on the newest Airflow 3.1'
	@echo 'make test-clients     batches by classes that are not ours, and our own tests on openai SDK 2'
	@echo 'make test-gateways    the real Portkey gateway, from npm, in front of the fakes; needs Node'
	@echo 'make pages            the pages and tables that are made of the code, anew'
	@echo 'make docs             the documentation as a site, in build/docs'
	@echo 'make screenshots      docs/images anew, by Chromium: five to eight minutes'
	@echo 'make constraints      resolve all versions anew'
	@echo 'make clean            remove everything that make has made'

demo: $(READY) $(MODEL) $(REVIEWS)
	@KEEP='$(KEEP)' QUICK='$(QUICK)' $(BIN)/python -m demo

test: lint types contracts unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

contracts: $(READY)
	$(BIN)/lint-imports

# Side by side what minds no company, two Airflows at a time, and one by one what measures time.
unit: $(READY) $(MODEL) $(REVIEWS)
	$(BIN)/python -m pytest -m 'not alone and not airflow' -n 4 --dist loadscope
	$(BIN)/python -m pytest -m airflow -n 2 --dist loadfile
	$(BIN)/python -m pytest -m alone

# Two commands: import all modules of the package, and `airflow dags test` of the quickstart on the echo engine.
test-airflow31: $(READY31) $(REVIEWS)
	$(VENV31)/bin/python tests/architecture/import_everything.py
	QUICK=1 $(VENV31)/bin/python -m demo --engine echo --folder .demo31

# Beside the clients, what speaks to the openai SDK of ours: here it is SDK 2, in .venv it is 3.
ON_SDK2 := tests/local/test_local_openai_client.py tests/local/test_local_lines.py tests/run/test_run.py \
    $(patsubst %,tests/backends/test_%.py,openai azure_openai truefoundry portkey wire_calls wire_errors wire_outputs)

test-clients: $(READYCLIENTS)
	$(VENVCLIENTS)/bin/python -m pytest tests/clients $(ON_SDK2) -n 3 --dist loadscope \
	    -m 'not alone and not airflow' -k 'not (AzureV1 or OverAzure or VirtualKey or importing)'

# README and pages hold tables of the connection types; a test compares them with the code.
pages: $(READY)
	for script in rows reference guarantees; do $(BIN)/python docs/$$script.py || exit 1; done

test-gateways: $(READY) $(GATEWAY)
	$(BIN)/python -m pytest tests/gateways

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -n -q -E -b html -d build/doctrees docs build/docs
	@echo 'open build/docs/index.html'

screenshots: $(READY) $(MODEL) $(REVIEWS) $(SHOTS)
	$(BIN)/python docs/screenshots.py

# --universal resolves for every Python and platform at once; without --no-header the file would name local paths.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --upgrade

constraints:
	@$(MAKE) --no-print-directory $(BIN)/uv
	$(COMPILE) --extra local --extra testing --extra harness --extra dev pyproject.toml requirements/tools.in -o constraints.txt
	$(COMPILE) --extra local --extra sqlite --extra testing --extra harness pyproject.toml requirements/tools.in requirements/airflow31.in \
	    -o constraints-airflow31.txt
	$(COMPILE) --extra local --extra testing --extra harness pyproject.toml requirements/tools.in requirements/clients.in \
	    -o constraints-clients.txt

clean:
	rm -rf $(VENV) $(VENV31) $(VENVCLIENTS) .cache .demo .demo31 .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	    .import_linter_cache build dist

# --- setting up ------------------------------------------------------------------------------------------------------

# $(call install,VENV,CONSTRAINTS,EXTRAS,MORE): uv does it in seconds; where it cannot, pip does it in a minute.
define install
	@echo 'installing .[$(3)] into $(1)'
	@test -x $(1)/bin/uv && $(1)/bin/uv pip install --quiet --python $(1)/bin/python -c $(2) -b $(2) -e '.[$(3)]' $(4) || { \
	    echo 'uv could not; pip does it, which takes a minute'; \
	    PIP_CONSTRAINT=$(2) $(1)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(3)]' $(4); }
endef

$(READY): pyproject.toml constraints.txt | $(BIN)/uv
	$(call install,$(VENV),constraints.txt,local$(,)testing$(,)harness$(,)dev)
	@touch $@

$(READY31): pyproject.toml constraints-airflow31.txt | $(VENV31)/bin/uv
	$(call install,$(VENV31),constraints-airflow31.txt,local$(,)sqlite$(,)testing$(,)harness)
	@touch $@

$(READYCLIENTS): pyproject.toml constraints-clients.txt requirements/clients.in | $(VENVCLIENTS)/bin/uv
	$(call install,$(VENVCLIENTS),constraints-clients.txt,local$(,)testing$(,)harness,-r requirements/clients.in)
	@touch $@

, := ,

.PRECIOUS: %/bin/uv
%/bin/uv:
	@$(PYTHON) -c '' 2>/dev/null || { \
	    echo 'Python is missing. On Debian or Ubuntu: apt-get install python3 python3-venv'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "Python 3.10 or newer is needed; $$($(PYTHON) --version) was found. Choose one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo 'Python lacks venv. On Debian or Ubuntu: apt-get install python3-venv'; exit 1; }
	@echo 'making $* with $(PYTHON)'
	@$*/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $*
	@$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv \
	    || echo 'uv cannot be installed here; pip will be used'

$(MODEL): demo/fetch.py | $(READY)
	@$(BIN)/python -m demo.fetch model
	@touch $@

$(REVIEWS): | $(READY)
	@$(BIN)/python -m demo.fetch reviews

$(SHOTS): requirements/screenshots.in | $(READY)
	@echo 'installing playwright and pillow into .cache/screenshots'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target .cache/screenshots -r $<
	@touch $@

$(GATEWAY): tests/gateways/package.json | $(READY)
	@command -v npm >/dev/null || { echo 'Node is missing. On Debian or Ubuntu: apt-get install nodejs npm'; exit 1; }
	@echo 'installing the Portkey gateway into .cache/gateway'
	@mkdir -p .cache/gateway
	@cp tests/gateways/package.json .cache/gateway/
	@npm install --prefix .cache/gateway --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
