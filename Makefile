# Two commands for everybody, `make demo` and `make test`; each installs what is missing (Debian) and builds. The others
# are for developers. Beneath them are plain cargo commands, which work as well where the packages are there.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/dispatch-engine/target
CARGO ?= cargo

.PHONY: demo test soak bench setup fmt lint docs sqlx sqlx-check load watch clean-data

# A living city: private PostgreSQL and Redis, the engine, a simulated fleet. FOR=60s ends by itself; ARGS="--riders 100".
demo: setup
	$(CARGO) run --release -- demo $(if $(FOR),--for $(FOR)) $(ARGS)

# Every test, against a private PostgreSQL. ARGS="--test catalogue" runs some.
test: setup
	$(CARGO) test $(ARGS)

# Kills of the real program under load, many of them, with a summary; fails when a promise was broken. First orders are
# counted, then points.
# make soak KILLS=20 SEED=7
soak: setup
	KILLS="$(KILLS)" KILL_SEED="$(SEED)" $(CARGO) test --release --test survival soak -- --ignored --nocapture --test-threads=1

# Every benchmark with its peers in the same run, about a quarter of an hour; the tables go to the file OUT as well.
# make bench OUT=figures.txt; QUICK=1 only shows that everything works; BENCH="ping_path journal" runs some.
bench: setup
	@OUT="$(OUT)" QUICK="$(QUICK)" BENCH="$(BENCH)" CARGO="$(CARGO)" bash .ci/bench

# Says what is missing and installs it.
setup:
	@sh .ci/setup

fmt:
	$(CARGO) fmt --all

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs: setup
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

# Renews .sqlx from the migrations, with a private PostgreSQL.
sqlx: setup
	@bash .ci/sqlx renew

# Says whether .sqlx is what the sources need.
sqlx-check: setup
	@bash .ci/sqlx check

# The load tester against a running engine: make load ARGS="synthetic --url ... --riders 1000"
load: setup
	$(CARGO) run --release --bin loadtest -- $(ARGS)

# The terminal view of a city: DISPATCH_TOKEN=... make watch CITY=blr ARGS="--url http://127.0.0.1:PORT"
watch: setup
	$(CARGO) run --release -- watch $(CITY) $(ARGS)

# Throws away what demos left in this folder.
clean-data:
	rm -rf .dispatch
