# Twinspace: `make help` lists the targets. Needs Go and make; nothing else is installed by hand.

KUBERNETES := v1.35.4
VERSION    ?= v0.1.0-dev.$(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# Kubernetes components report the version that they are built from; ours report our own.
k8s_version := -X k8s.io/component-base/version.gitVersion=$(KUBERNETES) \
	-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35 \
	-X k8s.io/component-base/version.gitTreeState=clean
our_version := -X k8s.io/component-base/version.gitVersion=$(VERSION)

# The race detector needs a C compiler; without one the tests still run, and say so.
ifneq (,$(shell command -v $${CC:-gcc} 2>/dev/null))
RACE := -race
endif

# Everything but the program that links all of Kubernetes, which would be compiled a second time for what others test.
RACED = $(shell go list ./... | grep -v /cmd/playground$$)

# Tests of whole API servers wait more than they work, so more of them run at once than there are cores.
TOGETHER ?= 4

TOOL  := go tool -modfile=$(CURDIR)/tools/go.mod
BUILD := sh tools/build.sh
PARTS := controller-manager virtual-kubelet liqoctl
DIR   ?= .playground

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build every binary into bin/
	@echo "Building into bin/ (the first time compiles Kubernetes and etcd from their Go modules: 6 to 10 minutes on 2 cores)"
	@$(BUILD) . bin/playground "etcd, kube-apiserver, kube-controller-manager, our scheduler and kubectl in one file" \
		./cmd/playground -ldflags "-s -w $(k8s_version) -X main.version=$(VERSION)"
	@$(BUILD) e2e/env/kwok bin/kwok "the fake kubelets of ordinary nodes" sigs.k8s.io/kwok/cmd/kwok -ldflags "-s -w"
	@$(BUILD) . bin/scheduler "kube-scheduler with our plugins" ./cmd/scheduler -ldflags "-s -w $(k8s_version) -X main.version=$(VERSION)"
	@for part in $(PARTS); do \
		$(BUILD) . bin/$$part "ours" ./cmd/$$part -ldflags "-s -w $(our_version)" || exit 1; \
	done

.PHONY: demo
demo: build ## Start three clusters, run an application across them, show it
	@bin/playground demo --dir $(DIR)

# The components that the scenarios run against are built with the race detector too.
.PHONY: build-race
build-race: build
	@for part in $(PARTS); do \
		$(BUILD) . bin/race/$$part "ours, with the race detector" ./cmd/$$part $(RACE) -ldflags "$(our_version)" || exit 1; \
	done

# What the fault lab breaks: processes that end or stop at a named step when TWINSPACE_FAILPOINTS says so.
.PHONY: build-faults
build-faults: build
	@for part in $(PARTS); do \
		$(BUILD) . bin/faults/$$part "ours, to be broken" ./cmd/$$part $(RACE) -tags failpoints -ldflags "$(our_version)" || exit 1; \
	done
	@[ ! -L bin/faults/scheduler ] || rm bin/faults/scheduler
	@$(BUILD) . bin/faults/scheduler "kube-scheduler with our plugins, to be broken" ./cmd/scheduler -tags failpoints \
		-ldflags "-s -w $(k8s_version) -X main.version=$(VERSION)"
	@ln -sf ../playground ../kwok bin/faults/

.PHONY: test
test: build build-race ## Prove it: unit, integration and end-to-end tests, with the race detector
	@[ -n "$(RACE)" ] || echo "note: no C compiler found, so the race detector is off"
	@echo "Compiling the tests (with the race detector this takes minutes the first time)"
	@go build $(RACE) $(RACED)
	go test ./cmd/playground
	go test -C tools ./schema
	go test $(RACE) -tags failpoints ./cmd/internal/failpoint
	go test $(RACE) -timeout 40m -p 1 -parallel $(TOGETHER) $(RACED)

.PHONY: e2e
e2e: build build-race ## Run the scenarios on real clusters only, and virtual-kubelet's own suite
	go test $(RACE) -timeout 40m -p 1 -count 1 -v ./e2e/suite ./e2e/vksuite

# As root, with containerd: docs/containers.md. With CONTAINERS=possible a machine that cannot says so and passes.
CONTAINERS ?= required
.PHONY: e2e-containers
e2e-containers: build build-race ## Run the scenarios that need real containers (docs/containers.md)
	go test $(RACE) -timeout 40m -count 1 -v ./e2e/containers -containers=$(CONTAINERS)

.PHONY: bench
bench: build ## Measure what the system costs, as ratios from one run
	go test ./schedplugin -run "^$$" -bench Attempt
	go run ./e2e/bench -bin bin $(BENCH)

# For how long faults come, and what decides which; SEED= is a fresh one. ONLY=cut-10s,twin-deleted+agent-killed runs
# these steps alone.
DURATION ?= 15m
SEED     ?= 0
ONLY     ?=
.PHONY: faults
faults: build-faults ## Break everything on purpose and see which promises are kept (docs/reliability.md)
	go run ./e2e/faults -bin bin -duration $(DURATION) -seed $(or $(SEED),0) $(if $(ONLY),-only '$(ONLY)')

.PHONY: lint
lint: ## Check the style and the import rules
	$(TOOL) golangci-lint run --allow-parallel-runners ./...

.PHONY: generate
generate: ## Regenerate deep copies and CRDs
	$(TOOL) controller-gen object paths=./api/... crd output:crd:artifacts:config=manifests/crd paths=./api/...
	go run -C tools ./schema $(CURDIR)/manifests/crd/offloading.liqo.io_namespaceoffloadings.yaml

.PHONY: verify
verify: ## Fail if generated files, formatting, go.mod or lint are not in order
	@sh tools/verify.sh

.PHONY: clean
clean: ## Stop the playground and remove what was built
	@if [ -x bin/playground ]; then bin/playground down --dir $(DIR); fi
	rm -rf bin $(DIR)
