# Postern: everything a contributor types. Go alone is enough for `demo`,
# `test`, `build` and `generate`; `race` needs a C compiler.

GO ?= go
TOOLS := .tools/bin
export CGO_ENABLED ?= 0

.PHONY: build
build: ## bin/postern
	$(GO) build -o bin/postern ./cmd/postern

.PHONY: demo
demo: build ## the private-API story on a throw-away cluster
	./bin/postern demo

.PHONY: dev
dev: build ## a cluster on loopback, for AWS clients
	./bin/postern dev

.PHONY: test
test: ## unit tests and in-process clusters; Go alone
	$(GO) test ./...

$(TOOLS)/buf: tools/proto/go.mod tools/proto/go.sum
	cd tools/proto && $(GO) build -o ../../$(TOOLS)/ tool

.PHONY: generate
generate: $(TOOLS)/buf ## Go from proto/, with the pinned plugins
	$(TOOLS)/buf generate
