# Every target sets itself up: all that must be there is make, a C compiler and Python 3.11 or later.
#
#   make demo        replay 336,776 real flights and look for delays that spread
#   make demo-kafka  the same through a Kafka topic, two instances, one of them killed
#   make test        the whole test suite
#   make lint        ruff, mypy, and our C files with warnings as errors
#   make sanitize    the core part of the tests under AddressSanitizer and UBSan (ARGS="-k name" narrows it)
#   make bench       the benchmarks that need nothing but Python
#   make kafka-up    a Kafka broker on this machine (needs Java 17 and, once, Maven)    make kafka-down   and away with it
#   make chaos       exactly once on a real broker while workers and broker are killed (DURATION=60 seconds)
#   make rebalance   100 partitions, 1 -> 4 -> 2 instances: for how long each stands still
#   make schedules   10,000 schedules of crashes on a broker in memory: exactly once (SCHEDULES=n)
#   make fuzz        snapshots changed at random against the loader, sanitized (DURATION=seconds, SEED=n)
#   make soak        10^8 events through windows and a pattern: memory stays flat (EVENTS=n)
#   make crash-replay  replays with checkpoints, killed N=200 times: nothing lost, nothing doubled
#   make build       the extension in place, optimised     make debug   the same with ASSERT and bounds checks
#   make dist        sdist and wheel in dist/              make clean   all of the above undone

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
CC ?= cc
ARGS ?=
# On all cores; PARALLEL= for one after the other. Tests that share something are in a group, which one process runs.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadgroup
export PIP_DISABLE_PIP_VERSION_CHECK := 1

C_SOURCES := $(filter-out csrc/_core.c,$(wildcard csrc/*.c))
BUILD_INPUTS := setup.py $(C_SOURCES) $(wildcard csrc/*.h csrc/*.pyx csrc/*.pxi csrc/*.pxd)
SANITIZED := build/sanitize/lib

.PHONY: all build debug test demo demo-kafka bench fuzz soak chaos rebalance schedules crash-replay kafka-up kafka-down \
        lint lint-c sanitize sanitize-build dist clean
all: build

# --- set-up: two stamps, what is installed and what is compiled ---------------------------------------------------
$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "fyke needs Python 3.11 or later: none found; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "setuptools>=77" "Cython>=3.1" "wheel"
	@touch $@

$(VENV)/.built: $(VENV)/.created $(BUILD_INPUTS)
	$(BIN)/python setup.py --quiet build_ext --inplace --build-temp build/release
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	FYKE_PREBUILT=1 $(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

build: $(VENV)/.built $(VENV)/.installed

debug: $(VENV)/.installed
	FYKE_DEBUG=1 $(BIN)/python setup.py --quiet build_ext --inplace --force --build-temp build/debug
	@touch -d '2000-01-01' $(VENV)/.built  # so that the next make build compiles again

# --- what they are for --------------------------------------------------------------------------------------------
test: build
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

demo-kafka: build
	$(BIN)/python docs/demo/flights_kafka.py

demo: build
	$(BIN)/python docs/demo/flights.py $(ARGS)

$(VENV)/.peers: $(VENV)/.installed
	FYKE_PREBUILT=1 $(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[bench]' || \
	  echo "some peers do not install here: the tables are without them" >&2
	@touch $@

bench: build $(VENV)/.peers
	$(BIN)/python -m benches $(ARGS)

# An hour and it goes by itself, or MINUTES=5. The tests start one of their own, or use FYKE_TEST_BROKERS=host:port.
kafka-up: $(VENV)/.installed
	@$(BIN)/python -m tests.kafka.broker up $(MINUTES)

kafka-down: $(VENV)/.installed
	@$(BIN)/python -m tests.kafka.broker down

chaos: DURATION ?= 60
chaos: build
	$(BIN)/python -m tests.kafka.chaos $(DURATION) $(SEED)

rebalance: build
	$(BIN)/python -m tests.kafka.rebalance

SCHEDULES ?= 10000
schedules: build
	$(BIN)/python -m tests.kafka.schedules $(SCHEDULES)

EVENTS ?= 100000000
soak: build
	$(BIN)/python -m benches.soak --events $(EVENTS)

N ?= 200
crash-replay: build
	$(BIN)/python -m tests.state.crash_replay --kills $(N)

lint: build lint-c
	$(BIN)/ruff check .
	$(BIN)/mypy

lint-c:
	$(CC) -std=c11 -fsyntax-only -DFYKE_DEBUG=1 -Icsrc -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Werror $(C_SOURCES)

# A build and a package folder of its own, so that it never mixes with the optimised one. Python itself is not
# sanitised, so the runtime is preloaded, and leaks are not looked for: the interpreter keeps much until it ends.
# libstdc++ goes with it because Arrow throws C++ exceptions, which ASan can only follow when it sees both loaded.
sanitize-build: $(VENV)/.installed
	FYKE_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base build/sanitize --build-lib $(SANITIZED)

sanitize: sanitize-build
	PYTHONPATH=$(SANITIZED) FYKE_EXPECT_CORE_IN=$(SANITIZED) ARROW_DEFAULT_MEMORY_POOL=system PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" \
	$(BIN)/python -m pytest tests -m core -p no:cacheprovider --capture=sys $(PARALLEL) $(ARGS)

fuzz: DURATION ?= 600
fuzz: SEED ?= 0
fuzz: sanitize-build
	PYTHONPATH=$(SANITIZED):. ARROW_DEFAULT_MEMORY_POOL=system PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" \
	$(BIN)/python -W ignore -m tests.fuzz.loader --seconds $(DURATION) --seed $(SEED)

dist: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf build dist out $(VENV) *.egg-info src/*.egg-info src/fyke/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
