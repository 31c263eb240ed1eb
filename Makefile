# Each target sets up all that it needs by itself, on a fresh Debian 12: a virtual environment in .venv,
# and Debian packages as root or with sudo; without either it names those that are missing.

PYTHON ?= python3
export PYTHON

# To run steps: a runtime, emulators, and what lets an ordinary user have more than one id.
RUN_PACKAGES = runc qemu-user-static uidmap
# To bring in base images of other architectures, and a registry to push to.
REGISTRY_PACKAGES = docker-registry ca-certificates
DEMO_PACKAGES = $(RUN_PACKAGES) $(REGISTRY_PACKAGES) docker.io
# Programs that others wrote have to take what we make; shells have to take our completion.
TEST_PACKAGES = $(DEMO_PACKAGES) libseccomp2 podman skopeo umoci buildah crun fuse-overlayfs slirp4netns \
	git git-lfs openssh-client openssl zstd xz-utils bzip2 cpio bash-completion zsh fish qemu-system-arm \
	$(NODE_PACKAGES)
# The package of docker's actions runs in Node; Debian's is old, so that one which is there comes first.
NODE_PACKAGES = $(shell command -v node npm >/dev/null || echo nodejs npm)
CONFORMANCE_PACKAGES = $(RUN_PACKAGES) $(REGISTRY_PACKAGES) git openssh-client
BENCH_PACKAGES = $(RUN_PACKAGES) $(REGISTRY_PACKAGES) zstd buildah debootstrap

PYTHON_PACKAGES = $(shell $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv)

STAMP = .venv/.installed
BIN = .venv/bin

# All packages that a target needs come first, so that whoever has to install them is told only once.
# Compiled here, since where PYTHONDONTWRITEBYTECODE is set every start would compile all of it.
prepare = @tools/setup-packages $(PYTHON_PACKAGES) $(1) && $(MAKE) --no-print-directory -s $(STAMP) \
	&& $(BIN)/python -m compileall -q src

.PHONY: help setup demo test coverage check conformance fuzz torture bench cachebench clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

setup: ## Make .venv; then .venv/bin/polyarch runs
	$(call prepare,$(RUN_PACKAGES))

$(STAMP): pyproject.toml constraints.txt tools/setup-venv
	@tools/setup-venv
	@touch $@

demo: ## One Dockerfile, three platforms, one name (DEMO_FLAGS=--online: Docker Hub's images)
	$(call prepare,$(DEMO_PACKAGES))
	@$(BIN)/python -m demo $(DEMO_FLAGS)

test: ## Run all tests, as root also those that need it (TEST_FLAGS: more for pytest)
	$(call prepare,$(TEST_PACKAGES))
	@tools/run-tests $(TEST_FLAGS)

coverage: ## Run the unit tests, and fail if they take fewer branches than pyproject.toml wants
	$(call prepare,$(TEST_PACKAGES))
	@$(BIN)/coverage erase
	@MEASURE=yes tools/run-tests tests/unit --ignore=tests/unit/tools $(TEST_FLAGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: ## Lint, format, types, order of the rooms
	$(call prepare)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

conformance: ## Compare with BuildKit's images (CONFORMANCE: where the cases are)
	$(call prepare,$(CONFORMANCE_PACKAGES))
	@$(BIN)/python -m tools.conformance $(CONFORMANCE_FLAGS)

fuzz: ## Try inputs that nobody would write (FUZZ_FLAGS: areas, --minutes, --seed)
	$(call prepare)
	@$(BIN)/python -m tools.fuzz $(FUZZ_FLAGS)

torture: ## Kill builds, fill disks, turn clocks back (TORTURE_FLAGS: areas, --short, --minutes, --seed)
	$(call prepare,$(TEST_PACKAGES))
	@$(BIN)/python -m tools.torture $(TORTURE_FLAGS)

bench: ## Measure beside other builders and emulation (BENCH: where the benchmarks are)
	$(call prepare,$(BENCH_PACKAGES))
	@$(BIN)/python -m tools.bench $(BENCH_FLAGS)

cachebench: ## Measure caches of a large layer beside other builders (CACHEBENCH_FLAGS: --size, --words, --rounds, --builders)
	$(call prepare,$(BENCH_PACKAGES))
	@$(BIN)/python -m tools.cachebench $(CACHEBENCH_FLAGS)

clean: ## Remove what the targets made in this directory
	rm -rf .venv .coverage build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
