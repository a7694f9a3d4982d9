# Postern: everything a contributor types. Go alone is enough for all targets
# but `race`, which needs a C compiler.

GO ?= go
TOOLS := .tools/bin
FUZZTIME ?= 60s
BENCHTIME ?= 2s
DOCUMENTS ?= 1250000
# What is passed to the comparison of policy engines; -help lists it.
BENCHPOLICY ?=
# The same for DNS servers.
BENCHDNS ?=
# The product and its tests are pure Go; only the race detector needs C.
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## bin/postern
	$(GO) build -o bin/postern ./cmd/postern

.PHONY: demo
demo: build ## the private-API story on a throw-away cluster
	./bin/postern demo

.PHONY: dev
dev: build ## a cluster on loopback for AWS clients
	./bin/postern dev

.PHONY: test
test: ## unit tests and whole clusters on loopback
	$(GO) test -timeout 15m ./...

.PHONY: race
race: ## the tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 25m ./...

.PHONY: conformance
conformance: ## replay AWS's recorded answers through the Go SDK and print the score
	$(GO) test -count=1 -v -timeout 15m ./test/conformance

.PHONY: reference
reference: ## DOCUMENTS generated policies through engine and reference evaluator, 8 requests each
	$(GO) test -count=1 -v -timeout 60m -run TestAgainstReference ./dataplane/policy -documents $(DOCUMENTS)

.PHONY: procs
procs: ## real processes, killed
	$(GO) test -count=1 -v -timeout 15m ./test/procs

.PHONY: bench
bench: ## the speed and size of issue-stated paths, side by side with their limits
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -timeout 30m ./test/bench

.PHONY: bench-edge
bench-edge: ## an edge beside a bare server, and signed requests beside unsigned ones
	$(GO) test -run '^$$' -bench Edge -benchtime $(BENCHTIME) ./test/bench

.PHONY: bench-policy
bench-policy: ## the policy engine beside its limit and other engines, about three minutes
	cd test/bench/policy && $(GO) run . $(BENCHPOLICY)

.PHONY: bench-dns
bench-dns: ## the authorities beside CoreDNS, Knot and a bare server, and simulations, about three minutes; needs dnsperf
	cd test/bench/dns && $(GO) run . $(BENCHDNS)
	$(GO) test -run '^$$' -bench Run -benchtime 3x ./dnsprop/simulate

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	./test/fuzz.sh $(FUZZTIME)

$(TOOLS)/buf: tools/proto/go.mod tools/proto/go.sum
	cd tools/proto && $(GO) build -o ../../$(TOOLS)/ tool

$(TOOLS)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && $(GO) build -o ../../$(TOOLS)/ tool

.PHONY: generate
generate: $(TOOLS)/buf ## Go from proto/, with the pinned plugins
	$(TOOLS)/buf generate

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/buf ## gofmt, go vet, staticcheck, buf lint, house rules
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt'ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	cd test/bench/policy && $(GO) vet ./...
	cd test/bench/dns && $(GO) vet ./...
	$(TOOLS)/golangci-lint run ./...
	cd test/bench/policy && ../../../$(TOOLS)/golangci-lint run ./...
	cd test/bench/dns && ../../../$(TOOLS)/golangci-lint run ./...
	$(TOOLS)/buf lint
	$(TOOLS)/buf format --diff --exit-code proto
	$(GO) test -count=1 ./test/arch

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .tools
