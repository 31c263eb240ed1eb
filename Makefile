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
TEST_PACKAGES = $(DEMO_PACKAGES) podman skopeo buildah crun fuse-overlayfs slirp4netns \
	git openssh-client openssl zstd xz-utils bzip2 bash-completion zsh fish
CONFORMANCE_PACKAGES = $(RUN_PACKAGES) $(REGISTRY_PACKAGES) git openssh-client
BENCH_PACKAGES = $(RUN_PACKAGES) $(REGISTRY_PACKAGES) zstd buildah

STAMP = .venv/.installed
BIN = .venv/bin

.PHONY: help setup demo test check conformance bench clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

setup: $(STAMP) ## Make .venv; then .venv/bin/polyarch runs
	@tools/setup-packages $(RUN_PACKAGES)

$(STAMP): pyproject.toml constraints.txt tools/setup-venv
	@tools/setup-venv
	@touch $@

demo: $(STAMP) ## One Dockerfile, three platforms, one name (DEMO_FLAGS=--online: Docker Hub's images)
	@tools/setup-packages $(DEMO_PACKAGES)
	@$(BIN)/python -m demo $(DEMO_FLAGS)

test: $(STAMP) ## Run all tests, as root also those that need it (TEST_FLAGS: more for pytest)
	@tools/setup-packages $(TEST_PACKAGES)
	@tools/run-tests $(TEST_FLAGS)

check: $(STAMP) ## Lint, format, types, order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

conformance: $(STAMP) ## Compare with BuildKit's images (CONFORMANCE: where the cases are)
	@tools/setup-packages $(CONFORMANCE_PACKAGES)
	@$(BIN)/python -m tools.conformance $(CONFORMANCE_FLAGS)

bench: $(STAMP) ## Measure beside other builders (BENCH: where the benchmarks are)
	@tools/setup-packages $(BENCH_PACKAGES)
	@$(BIN)/python -m tools.bench $(BENCH_FLAGS)

clean: ## Remove what the targets made in this folder
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
