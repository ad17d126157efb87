# Every target sets itself up on a fresh Debian machine (see scripts/setup.sh).

PYTHON   := .venv/bin/python
PACKAGES := sched workers shm wire clients
SOURCES  := $(PACKAGES) tests $(wildcard bench examples)
# Many tests wait for processes of theirs; three at a time keep two cores busy.
TEST_PROCESSES ?= 3
# Have tests that failed a second try?  Not here; where machines are shared, see .ci/run.
TEST_AGAIN ?= no
# How long a campaign may take, and which share of the runs that a release wants it does.
MINUTES ?= 5
# The first seed of a campaign; another one sees other weather.
SEED    ?= 0
SHARE ?= 1.0
LEDGER ?=

.PHONY: lives sdk-lives compiled test-compiled lock sbom audit admin-fuzz again systemd-test redis browser redis-races demo-cluster cluster-faults demo test check crash weather mutants soak faults fuzz torn-reads bench bench-quick clean setup speech

demo: speech  ## Speak a few sentences, and hear them translated: make demo WAV="one.wav two.wav"
	$(PYTHON) -m pointsman demo $(WAV)

test: speech redis browser  ## All tests, warnings as errors
	$(PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadscope || { \
	  [ $$? -eq 1 ] && [ "$(TEST_AGAIN)" = yes ] && echo "=== a second try of what failed" && \
	  $(PYTHON) -m pytest --last-failed --last-failed-no-failures none --maxfail 1; }

check: setup  ## Format, lint, types (also as Windows and macOS see them), house rules, units of systemd
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy $(SOURCES)
	$(PYTHON) -m mypy --platform win32 --cache-dir .mypy_cache/win32 wire clients
	$(PYTHON) -m mypy --platform darwin --cache-dir .mypy_cache/darwin wire clients
	$(PYTHON) -m pytest -q tests/test_tidy.py tests/systemd/test_unit_files.py

faults:  ## Networks that fail: make faults MINUTES=30 SHARE=0.1 LEDGER=runs.jsonl
	@scripts/setup.sh faults
	PYTHONPATH=tests $(PYTHON) -m faults --minutes $(MINUTES) --share $(SHARE) $(LEDGER:%=--ledger %)

admin-fuzz: setup  ## Requests to the admin API made from its own document: make admin-fuzz MINUTES=10 SEED=3
	PYTHONPATH=tests $(PYTHON) -m live.admin_fuzz --minutes $(MINUTES) --seed $(SEED)

fuzz:  ## Bytes that nobody should send: make fuzz MINUTES=30 LEDGER=runs.jsonl
	@scripts/setup.sh fuzz
	PYTHONPATH=tests $(PYTHON) -m fuzz --minutes $(MINUTES) $(LEDGER:%=--ledger %)

crash: setup  ## Deaths at every point, at random, all at once: make crash MINUTES=60 LEDGER=runs.jsonl
	PYTHONPATH=tests $(PYTHON) -m crash --minutes $(MINUTES) --share $(SHARE) $(LEDGER:%=--ledger %)

# What else the simulator is told: --alone for one kind of fault a seed, --nodes 40, --faults ...
WEATHER ?=
weather: setup  ## Simulated clusters in storms, each seed twice: make weather MINUTES=30 WEATHER=--alone
	PYTHONPATH=tests $(PYTHON) -m pointsman_sim --minutes $(MINUTES) --seed $(SEED) --twice $(WEATHER) $(LEDGER:%=--ledger %)

systemd-test: setup  ## The service under a real systemd, booted for it (needs root): make systemd-test
	$(PYTHON) -m pytest -q tests/systemd -m "long or not long" --timeout 1800

# What runs on what is compiled; the seeds of its cores play the same as the pure ones'.  Bugs are put
# in by patches, which compiled classes do not take.
COMPILED_TESTS := $(addprefix tests/,compiled placement workers jobs waiting journal talk explain restarts sharing simulation wire web sched snapshot)
compiled: setup  ## What every job and heartbeat run through, compiled by mypyc (needs a C compiler), into build/compiled; the checkout stays pure
	rm -rf build/compiled build/wheel
	POINTSMAN_COMPILE=1 $(PYTHON) -m pip wheel -q --no-deps -w build/wheel .
	$(PYTHON) -m pip install -q --no-deps --target build/compiled build/wheel/pointsman-*.whl

test-compiled: compiled  ## The tests of worker, driver and manager with the compiled form
	PYTHONPATH=$(CURDIR)/build/compiled $(PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadscope -m "compiled or not long" --ignore-glob='*_mutants.py' $(wildcard $(COMPILED_TESTS))

torn-reads: setup  ## Readers against a writer of shared memory: make torn-reads MINUTES=10
	PYTHONPATH=tests:tests/shm $(PYTHON) -m campaigns.torn_reads --minutes $(MINUTES) $(LEDGER:%=--ledger %)

# Which ids; without any, all that a release wants runs of and that were never counted.
IDS ?=
again: speech redis browser  ## The tests of ids, again and again, counted: make again IDS=P8,P9 MINUTES=10 LEDGER=runs.jsonl
	PYTHONPATH=tests $(PYTHON) -m campaigns.again --minutes $(MINUTES) --ids "$(IDS)" $(LEDGER:%=--ledger %)

demo-cluster: redis  ## Two instances over one Redis; one is killed, and its jobs come back
	PYTHONPATH=tests $(PYTHON) -m cluster.demo

cluster-faults: redis  ## Fleets in trouble, Redis and instances: make cluster-faults MINUTES=30 LEDGER=runs.jsonl
	@scripts/setup.sh faults
	PYTHONPATH=tests $(PYTHON) -m cluster --minutes $(MINUTES) $(LEDGER:%=--ledger %)

redis-races: redis  ## Two members bind the same requests at once: make redis-races MINUTES=10
	PYTHONPATH=tests $(PYTHON) -m campaigns.redis_races --minutes $(MINUTES) $(LEDGER:%=--ledger %)

lock: setup  ## Lock what is required by hashes, after pyproject.toml has changed
	scripts/lock.sh

sbom: setup  ## What the environment holds, as CycloneDX in sbom.json
	scripts/lock.sh sbom

audit: setup  ## Known advisories of what is locked (needs their data base)
	scripts/lock.sh audit

lives: setup  ## Worker cores of a fleet with all features at random: make lives MINUTES=10 SEED=3
	PYTHONPATH=tests:tests/sharing $(PYTHON) -m fleet_lives --minutes $(MINUTES) --seed $(SEED)

sdk-lives: setup  ## Programs and nodes of the Python SDK, with all that it offers, at random: make sdk-lives MINUTES=10 SEED=3
	PYTHONPATH=tests $(PYTHON) -m sdk_lives --minutes $(MINUTES) --seed $(SEED)

mutants: setup  ## Put bugs in, one by one, and see that each is caught: bug -> caught by
	PYTHONPATH=tests $(PYTHON) -m mutants

# A file of requests over time that the soak replays (see pointsman_sim/chaos/traces.py).
TRACE ?=
soak: setup  ## A trace through real processes, a fault every few seconds: make soak TRACE=FILE MINUTES=60
	PYTHONPATH=tests $(PYTHON) -m pointsman_sim.chaos.soak --minutes $(MINUTES) --trace "$(TRACE)" $(LEDGER:%=--ledger %)

# Arrivals that bench/trace.py replays; without a file it is left out.
bench: setup  ## Every bench in full, an hour or two on a quiet machine; writes docs/performance.md: make bench TRACE="FILE ..."
	$(PYTHON) bench/_pages/everything.py $(if $(TRACE),--trace $(TRACE))

bench-quick: setup  ## Ratios to the floor, budgets and aims, within three minutes on a quiet machine
	$(PYTHON) bench/_pages/everything.py --glance

clean:  ## Remove what the targets above have made
	rm -rf .venv .venv.apt.log .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build demo-out .fuzz
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@scripts/setup.sh

redis:
	@scripts/setup.sh redis

speech:
	@scripts/setup.sh speech

browser:
	@scripts/setup.sh browser
