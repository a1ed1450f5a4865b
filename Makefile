# Copyright 2026 Contributors to the Veraison project.
# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/sh
GO ?= go
# How long each fuzz target runs, and which: FUZZ is a regular expression.
FUZZTIME ?= 30s
FUZZ ?= .
# Which linter; pinned, so that a new release does not break an old commit.
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

VERAISON := bin/veraison
# The version that attestation results name as the verifier's build: that of
# the services, which name it themselves where they refuse evidence alone.
SERVICES := github.com/veraison/services
SERVICES_VERSION = $(shell $(GO) list -m -f '{{.Version}}' $(SERVICES))

.PHONY: help
help: ## show this help
	@echo 'attested-tls: TPM evidence for Veraison, and TLS connections that rest on it'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

.PHONY: demo
demo: deps-demo build veraison ## build all, start Veraison with the plugin and a simulated TPM, show appraisals, attested connections and refusals
	$(GO) run ./internal/demo -plugin bin/attested-tls.plugin

.PHONY: test
test: deps-test build veraison ## every test, the ones through Veraison and swtpm included, with the race detector
	cd deploy && $(GO) test ./...
	$(GO) test -race -timeout 20m ./...

.PHONY: build
build: deps-demo ## bin/atls, bin/attested-tls.plugin
	@echo '==> building bin/atls and bin/attested-tls.plugin'
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '-s -w' -o bin/atls ./cmd/atls
	$(GO) build -trimpath -ldflags '-s -w -X $(SERVICES)/config.Version=$(SERVICES_VERSION)' -o bin/attested-tls.plugin ./plugin

.PHONY: veraison
veraison: ## bin/veraison/{vts,provisioning,verification}-service, from the version that deploy/go.mod pins
	@echo '==> building the Veraison services'
	@deploy/build.sh $(VERAISON)

.PHONY: bench
bench: deps-demo build veraison ## benchmarks, side by side in one run
	$(GO) run ./internal/bench
	$(GO) test -run '^$$' -bench Attest -benchtime 2s ./attester
	$(GO) test -run '^$$' -bench Appraisal -benchtime 1s ./rp
	$(GO) test -run '^$$' -bench Nonce -benchtime 200x ./rp
	$(GO) test -run '^$$' -bench Handshake -benchtime 2s ./rp/tlsbinding/inhandshake
	$(GO) test -run '^$$' -bench 'Handshake' -benchtime 2s ./rp/tlsbinding
	$(GO) test -run '^$$' -bench CriticalPath -benchtime 50x ./rp/tlsbinding

.PHONY: fuzz
fuzz: deps-demo ## every fuzz target for FUZZTIME (30s) each
	GO='$(GO)' FUZZTIME='$(FUZZTIME)' FUZZ='$(FUZZ)' scripts/fuzz.sh

.PHONY: vectors
vectors: deps-demo ## make testvectors/data anew from the TPM simulator
	$(GO) run ./testvectors/generate

.PHONY: lint
lint: deps-demo ## gofmt, go vet, staticcheck
	@echo '==> gofmt'
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "not formatted:"; echo "$$files"; exit 1; fi
	@echo '==> go vet'
	$(GO) vet ./...
	cd deploy && $(GO) vet ./...
	@echo '==> staticcheck'
	$(GO) run $(STATICCHECK) ./...
	cd deploy && $(GO) run $(STATICCHECK) ./...

.PHONY: clean
clean: ## remove bin
	rm -rf bin

# The TPM simulator is C and needs OpenSSL's headers; the tests also run swtpm,
# tpm2-tools and openssl.
.PHONY: deps-demo deps-test
deps-demo:
	@scripts/deps.sh libssl-dev
deps-test:
	@scripts/deps.sh libssl-dev openssl swtpm tpm2-tools
