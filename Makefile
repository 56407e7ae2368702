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
# The archives of a release. A workflow that has built them gives their folder as DIST, and they are not built again.
ARCHIVES := $(or $(DIST),dist)
PACKAGES := $(addprefix tests/,spec request description aws archive preflight jobs results gate views cli)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-whole test-faults test-long test-ray test-wheel test-types test-clients test-deps test-lowest test-pins test-studio test-iac check ci ci-long fix images plotly screenshots bench docs release-check release-notes docs-version docs-publish github-release publish clean

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
	$(PYTEST) -m 'not long and not ray and not whole'

test-whole: $(DEV)  ## whole programs, which take tens of seconds each: pages in a browser, notebooks, exports, trainings, kills
	$(PYTEST) -m 'whole and not long and not ray'

test-fast: $(DEV)  ## the tests that start no process and no server: they keep two cores busy without a third worker
	$(PYTEST) --workers 2 -m 'not processes and not long and not ray and not whole'

test-long: $(DEV)  ## what is left out of test: notebooks, more kills, PyTorch, other programs; properties with many examples
	SM_TUNING_TEST_FORKS=0 $(PYTEST) -m '(long or hypothesis) and not ray' --hypothesis-profile many

test-ray: $(DEV)  ## Ray: scripts on a cluster of two nodes, what dies there, and the page on Ray with its training
	$(BIN)/python -m pytest -m ray tests/ray tests/docs --hypothesis-profile many

test-faults: $(DEV)  ## each kind of bad answer under AWS's own retry policy
	$(PYTEST) --workers 1 -m long tests/faults -k policy_of_aws  # a program for each kind, all at once in one worker

ifndef DIST
dist: $(DEV) $(shell find -L sm_tuning -type f -not -path '*/__pycache__/*')  ## wheel and source archive in dist/, with their metadata checked
	rm -rf $@
	$(BIN)/uv build --quiet --out-dir $@ .
	$(BIN)/twine check --strict $@/*.whl $@/*.tar.gz
	@touch $@
endif

# The wheel as a user gets it: made of the source archive, alone in an environment, without an extra and outside of the
# checkout.
$(WHEEL)/.installed: $(ARCHIVES)
	rm -rf $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet $(ARCHIVES)/*.whl
	@touch $@

test-wheel: $(WHEEL)/.installed  ## the wheel alone in an empty environment: help, check, render
	$(PYTHON) tests/wheel.py "$(CURDIR)/$(WHEEL)/bin" $(ARCHIVES)/*.whl

test-types: $(WHEEL)/.installed $(DEV)  ## the public types are complete
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

# uv knows the lowest versions, and installs several times faster than pip. Where the lowest version of a compiled package
# is older than the Python, so that there is no wheel, the first version with a wheel is the lowest.
COMPILED := greenlet numpy pandas psutil pyarrow pydantic-core scikit-learn scipy xgboost-cpu
$(LOWEST)/.installed: $(DEV)
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	    $(addprefix --only-binary=,$(COMPILED)) --editable \
	    '.[local,parquet,report,optuna,tensorboard,mlflow,wandb,cdk,test]'
	@touch $@

$(STUDIO)/.installed: tests/studio.txt $(DEV)
	$(PYTHON) -m venv --clear $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet '$(TORCH)'
	$(BIN)/uv pip install --quiet --python $(STUDIO)/bin/python --constraint tests/studio.txt --editable \
	    '.[local,parquet,report,sdk,optuna,test]'
	@touch $@

test-deps: test-lowest test-pins  ## the lowest versions that are allowed, and those of Studio

test-lowest: $(LOWEST)/.installed  ## each package on the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest --workers 2 -m 'not processes' $(PACKAGES)
	$(LOWEST)/bin/python -m pytest tests/contract

test-pins: $(STUDIO)/.installed  ## each package, and the SDK's objects, on the versions of SageMaker Studio
	$(STUDIO)/bin/python -m pytest --workers 2 -m 'not processes' $(PACKAGES)
	$(STUDIO)/bin/python -m pytest tests/contract
	SM_TUNING_TEST_SDK312_PYTHON="$(CURDIR)/$(STUDIO)/bin/python" $(BIN)/python -m pytest tests/sdk -k studio

# As a data scientist works in Studio: notebooks run whole, their pages open without a network, completion, tables, logs.
test-studio: $(STUDIO)/.installed  ## notebooks under the pins of Studio: as they run, as pages, completion
	$(STUDIO)/bin/python -m pytest --workers 2 -m 'long or not long' -k 'not few_trials' \
	    --durations 8 --durations-min 1 tests/notebooks

# checkov pins many packages, so that it has an environment of its own. PROVIDER has the schema of the AWS provider 6.66.
IAC := $(VENV)/iac
PROVIDER := @cdktn/provider-aws@25.7.0

$(IAC)/.installed: tests/iac.txt $(DEV)
	rm -rf $(IAC)
	$(PYTHON) -m venv $(IAC)
	$(BIN)/uv pip install --quiet --python $(IAC)/bin/python --requirements tests/iac.txt
	cd $(IAC) && npm pack --silent $(PROVIDER) && tar -xzf cdktn-provider-aws-*.tgz --exclude '*.js' --exclude '.jsii*' && rm cdktn-*.tgz
	@touch $@

test-iac: $(IAC)/.installed  ## templates of CloudFormation, the CDK and Terraform under cfn-lint, checkov and the provider's schema
	$(BIN)/python tests/iac.py "$(CURDIR)/$(IAC)"

ci: check test test-whole test-ray test-faults test-wheel test-types test-studio test-clients test-iac  ## what CI runs on each change

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

bench: $(DEV)  ## measure search, stopping rules, warm start, start of trials, bookkeeping, scale, memory, reading, the dataset of all jobs, hostile files, races, deaths, replays, serving and Ray
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
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.hostile
	$(BIN)/python -m benchmarks.races
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.replay
	$(BIN)/python -m benchmarks.studies calls
	$(BIN)/python -m benchmarks.studies kills
	$(BIN)/python -m benchmarks.studies kills --strategy Population --drivers 3
	$(BIN)/python -m benchmarks.studies stops
	$(BIN)/python -m benchmarks.studies faults
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.studies curves
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.studies population
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.studies promotion
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.ray overhead
	$(BIN)/python -m benchmarks.ray kills
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.ray population

docs: $(DEV)  ## the documentation as a site in site/; a link that leads nowhere fails
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_spec.py
	$(BIN)/python docs/make_api.py
	$(BIN)/properdocs build --strict --quiet --config-file mkdocs.yml
	@echo "open site/index.html"

# What the workflows of a release run, all but the last step: `make publish` needs the approval of its environment.
release-check: ci test-deps docs-version release-notes  ## all that the workflow of a release runs before it publishes, with this Python

# mike adds the site of a version to the branch gh-pages, beside those of earlier versions.
MINOR := $(shell sed -n 's/^version = "\([0-9]*\.[0-9]*\).*/\1/p' pyproject.toml)
MIKE := PATH="$(CURDIR)/$(BIN):$$PATH" GIT_COMMITTER_NAME=sm_tuning GIT_COMMITTER_EMAIL=noreply@example.com mike

docs-version: $(DEV)  ## the documentation of this version beside those of others, in a clone below .venv
	rm -rf $(VENV)/pages
	git clone --quiet . $(VENV)/pages
	cd $(VENV)/pages && $(MIKE) deploy --update-aliases $(MINOR) latest && $(MIKE) list

docs-publish: $(DEV)  ## push the documentation of this version to the branch gh-pages
	git fetch --quiet origin gh-pages:gh-pages || echo "the branch gh-pages is new"
	$(MIKE) deploy --push --update-aliases $(MINOR) latest

release-notes:  ## the section of CHANGELOG.md about VERSION, which must be the project's and have a date
	@$(PYTHON) docs/release_notes.py $(VERSION)

publish:  ## upload the archives in DIST to PyPI, by trusted publishing
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv publish --trusted-publishing always $(ARCHIVES)/*.whl $(ARCHIVES)/*.tar.gz

github-release:  ## draft the release VERSION on GitHub, with the notes and the archives in DIST
	$(PYTHON) docs/release_notes.py $(VERSION) > $(ARCHIVES)/notes.md
	gh release create $(VERSION) --draft --verify-tag --title $(VERSION) --notes-file $(ARCHIVES)/notes.md \
	    $(ARCHIVES)/*.whl $(ARCHIVES)/*.tar.gz

clean:  ## remove what the other targets made
	rm -rf $(VENV) dist demo-output site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
