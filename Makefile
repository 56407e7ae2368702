# One way to run things. Every target makes what it needs; the first one takes a few minutes to install.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
# Two stamps, so that the demo installs only what a user of the local SageMaker needs.
LOCAL := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev
# The AWS CLI pins a botocore of its own, so that it lives apart; the tests find it on their PATH.
AWSCLI := $(VENV)/awscli
WHEEL := $(VENV)/wheel
# The two ends of what users have: the lowest version of every bound, and what SageMaker Studio has.
LOWEST := $(VENV)/lowest
STUDIO := $(VENV)/studio
PACKAGES := $(addprefix tests/,spec request description aws archive preflight jobs results gate views cli)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-faults test-long test-ray test-wheel test-types test-clients test-deps test-studio check ci ci-long fix images plotly screenshots bench docs clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "sm_tuning needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)

$(LOCAL): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[local,report]'
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --editable '.[all,sdk,dev]'
	$(PYTHON) -m venv $(AWSCLI)
	$(AWSCLI)/bin/python -m pip install --quiet awscli
	@touch $@ $(LOCAL)

demo: $(LOCAL)  ## from a fresh checkout to a tuned model: a real Bayesian tuning job on this machine
	$(BIN)/python docs/demo.py

# Four files at a time, in the order of tests/conftest.py: the tests of a file share servers. Tests wait for processes
# about half of their time, so that four workers keep two cores busy.
PYTEST := PATH="$(CURDIR)/$(AWSCLI)/bin:$$PATH" $(BIN)/python -m pytest --workers 4

test: $(DEV)  ## the tests, one of each kind
	$(PYTEST) -m 'not long and not ray'

test-fast: $(DEV)  ## the tests that start no process and no server: they keep two cores busy without a third worker
	$(PYTEST) --workers 2 -m 'not processes and not long and not ray'

test-long: $(DEV)  ## what is left out of test: notebooks, more kills, PyTorch, other programs; properties with many examples
	SM_TUNING_TEST_FORKS=0 $(PYTEST) -m '(long or hypothesis) and not ray' --hypothesis-profile many

test-ray: $(DEV)  ## what needs Ray
	$(BIN)/python -m pytest -m ray tests

test-faults: $(DEV)  ## each kind of bad answer under AWS's own retry policy
	$(PYTEST) --workers 1 -m long tests/faults -k policy_of_aws  # a program for each kind, all at once in one worker

# The wheel as a user gets it: made of the source archive, alone in an environment, without an extra and outside of the
# checkout.
$(WHEEL)/.installed: $(DEV) $(shell find -L sm_tuning -type f -not -path '*/__pycache__/*')
	rm -rf $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(BIN)/uv build --quiet --out-dir $(WHEEL)/dist .
	$(WHEEL)/bin/python -m pip install --quiet $(WHEEL)/dist/*.whl
	@touch $@

test-wheel: $(WHEEL)/.installed  ## the wheel alone in an empty environment: help, check, render
	$(BIN)/python tests/wheel.py "$(CURDIR)/$(WHEEL)/bin"

test-types: $(WHEEL)/.installed  ## the public types are complete
	$(BIN)/python tests/type_completeness.py $(WHEEL)/bin/python

# Other people's programs, each in an environment of its own, whose Python its tests find by a variable.
CLIENTS := $(VENV)/clients
TOOLKITS := $(CLIENTS)/toolkit-5.0.0 $(CLIENTS)/toolkit-newest

$(CLIENTS)/toolkit-5.0.0: REQUIREMENTS := 'sagemaker-training==5.0.0'
$(CLIENTS)/toolkit-newest: REQUIREMENTS := sagemaker-training
# The SDK v1 names no upper bound of protobuf, and newer releases refuse its generated code.
$(CLIENTS)/sagemaker-1: REQUIREMENTS := 'sagemaker<2' 'protobuf<3.21' pandas
$(CLIENTS)/sagemaker-2: REQUIREMENTS := 'sagemaker>=2.257,<3'

$(CLIENTS)/%: | $(DEV)
	rm -rf $@.tmp
	$(PYTHON) -m venv $@.tmp
	$(BIN)/uv pip install --quiet --python $@.tmp/bin/python $(REQUIREMENTS)
	mv $@.tmp $@

test-clients: $(DEV) $(TOOLKITS) $(CLIENTS)/sagemaker-1 $(CLIENTS)/sagemaker-2  ## other people's programs: the real sagemaker-training; the SDK v1, v2 and v3, boto3 and the AWS CLI
	TOOLKITS='$(foreach folder,$(TOOLKITS),$(folder)/bin/python)' \
	SAGEMAKER_1='$(CURDIR)/$(CLIENTS)/sagemaker-1/bin/python' SAGEMAKER_2='$(CURDIR)/$(CLIENTS)/sagemaker-2/bin/python' \
	PATH="$(CURDIR)/$(AWSCLI)/bin:$$PATH" $(BIN)/python -m pytest tests/clients/test_toolkit.py tests/clients/test_programs.py

# uv knows the lowest versions, and installs several times faster than pip. A release of a package that is older than
# the Python has no wheel for it, so that the lowest versions need one of the older Pythons.
$(LOWEST)/.installed: $(DEV)
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable \
	    '.[local,parquet,report,optuna,tensorboard,mlflow,wandb,cdk,test]'
	@touch $@

$(STUDIO)/.installed: tests/studio.txt $(DEV)
	$(PYTHON) -m venv --clear $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet '$(TORCH)'
	$(BIN)/uv pip install --quiet --python $(STUDIO)/bin/python --constraint tests/studio.txt --editable \
	    '.[local,parquet,report,sdk,optuna,test]'
	@touch $@

test-deps: $(LOWEST)/.installed $(STUDIO)/.installed  ## the lowest versions that are allowed, and those of Studio
	for python in $(LOWEST)/bin/python $(STUDIO)/bin/python; do \
	    $$python -m pytest --workers 2 -m 'not processes' $(PACKAGES) && $$python -m pytest tests/contract || exit 1; \
	done
	SM_TUNING_TEST_SDK312_PYTHON="$(CURDIR)/$(STUDIO)/bin/python" $(BIN)/python -m pytest tests/sdk -k studio

# As a data scientist works in Studio: notebooks run whole, their pages open without a network, completion, tables, logs.
test-studio: $(STUDIO)/.installed  ## notebooks under the pins of Studio: as they run, as pages, completion
	$(STUDIO)/bin/python -m pytest --workers 2 -m 'long or not long' -k 'not few_trials' \
	    --durations 8 --durations-min 1 tests/notebooks

ci: check test test-ray test-faults test-wheel test-types test-studio test-clients  ## what CI runs on each change

ci-long: test-long test-deps  ## the longer suites

check: $(DEV)  ## lint, format, types, import contract, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_cli.py --check
	$(BIN)/python docs/make_spec.py --check
	$(BIN)/python docs/make_api.py --check

fix: $(DEV)  ## repair what a machine can repair, and write the generated docs anew
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_spec.py
	$(BIN)/python docs/make_api.py

images: $(DEV)  ## write the table of AWS's images from the newest SageMaker SDK
	$(BIN)/python -m pip install --quiet --upgrade sagemaker-core
	$(BIN)/python docs/make_images.py

plotly: $(DEV)  ## fetch the part of plotly.js that the report embeds; needs npm
	$(BIN)/python docs/make_plotly.py

screenshots: $(DEV)  ## write the screenshots of docs/img anew; needs Chromium
	SM_TUNING_SCREENSHOTS=1 $(BIN)/python -m pytest tests/views/test_views_browser.py tests/cli/test_terminal.py -k screenshots

bench: $(DEV)  ## measure search, stopping rules, warm start, start of trials, bookkeeping, scale, memory, reading, hostile files, races, deaths and serving
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.search
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.hyperband
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.transfer
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.spaces
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.orchestration
	$(BIN)/python -m benchmarks.orchestration.growth
	$(BIN)/python -m benchmarks.local_scale
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.results
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.hostile
	$(BIN)/python -m benchmarks.races
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.studies calls
	$(BIN)/python -m benchmarks.studies kills --kills 20
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.studies population
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.studies promotion
	$(BIN)/python -m benchmarks.serving

docs: $(DEV)  ## the documentation as a site in site/; a link that leads nowhere fails
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_spec.py
	$(BIN)/python docs/make_api.py
	$(BIN)/properdocs build --strict --quiet --config-file mkdocs.yml
	@echo "open site/index.html"

clean:  ## remove what the other targets made
	rm -rf $(VENV) demo-output site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
