# What a person needs: `make demo` shows the mesh at work, `make test` tests everything.
# Both set themselves up; Go, python3 with pip, make and git are assumed, nothing else.

# The images that `make docker-build` makes and `make deploy` applies.
IMG ?= fairlead-manager:latest
AGENT_IMG ?= fairlead-agent:latest
CONTAINER_TOOL ?= docker
# The kubectl of install, deploy and their opposites: it is given your own cluster.
KUBECTL ?= kubectl
# Where `make run` and `make up` keep their data.
DATA ?= .fairlead
# How long each fuzz target runs.
FUZZTIME ?= 30s
# The packages of `make unit`, `make suites`, `make vet`, to narrow them: PKG=./internal/xds/...
PKG ?= ./...

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

ROOT := $(CURDIR)
BIN := bin
K8S := $(BIN)/k8s
# Where suites find what `make kube` built; a folder of your own may be given.
export KUBEBUILDER_ASSETS ?= $(ROOT)/$(K8S)

# One set of flags for every build: packages compiled with and without -trimpath, or with
# and without cgo, share no build cache, and there is much to compile. Only the race
# detector needs cgo.
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0
# The suites start API servers and Envoys of their own: more than two at a time only make
# each other slow.
TEST := go test -p 2
# Without a C compiler there is no race detector; `make test` says so.
RACE ?= $(if $(shell command -v gcc || command -v clang),1,0)
ifeq ($(RACE),1)
  TEST := CGO_ENABLED=1 $(TEST) -race
endif
LDFLAGS := -s -w

.DEFAULT_GOAL := help

##@ The two commands

.PHONY: demo
demo: build envoy kube ## Start a mesh on this machine and tell its story; Ctrl-C ends it. With CI=true it ends by itself.
	@$(BIN)/demo

.PHONY: test
test: ## Test everything on real programs, end with the demo. Sets itself up.
	@hack/test.sh

##@ Development

.PHONY: help
help: ## Show this list.
	@awk -f hack/help.awk $(MAKEFILE_LIST)

.PHONY: manifests
manifests: $(BIN)/controller-gen ## Write the CRDs and the manager's role from the markers in the source.
	@$(BIN)/controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	@$(BIN)/controller-gen rbac:roleName=fairlead-manager paths=./controllers/... output:rbac:dir=config/rbac

.PHONY: generate
generate: $(BIN)/controller-gen $(BIN)/proto ## Write the deep copies of the API types, and the code of .proto files.
	@$(BIN)/controller-gen object paths=./api/...
	@$(BIN)/proto $(BIN) . internal/agentapi/agents.proto

.PHONY: check-generated
check-generated: $(BIN)/controller-gen $(BIN)/proto ## Fail if what is generated is not what the source gives.
	@hack/check-generated.sh $(BIN)

.PHONY: fmt
fmt: ## Format the source.
	@gofmt -s -w $$(git ls-files --cached --others --exclude-standard '*.go')

.PHONY: vet
vet: ## Run go vet.
	@go vet $(PKG)

.PHONY: lint
lint: $(BIN)/golangci-lint ## Check format, vet, house rules, and which room may import which.
	@$(BIN)/golangci-lint run --concurrency 2 $(PKG)

.PHONY: lint-fix
lint-fix: $(BIN)/golangci-lint ## Like lint, and mend what can be mended.
	@$(BIN)/golangci-lint run --concurrency 2 --fix $(PKG)

.PHONY: tidy
tidy: ## Tidy every go.mod.
	@for module in . test/certmanager hack/kube hack/tools hack/lint; do (cd $$module && go mod tidy); done

##@ Test

.PHONY: unit
unit: ## Run the tests that start no other program.
	@packages=$$(hack/packages.sh unit $(PKG)); $(TEST) $$packages
	@go test -run '^TestAYear$$' ./internal/rotation

.PHONY: suites
suites: build kube envoy ## Run the suites on the real API server and the real Envoy.
	@packages=$$(hack/packages.sh suites $(PKG)); $(TEST) -count=1 -timeout 20m $$packages

.PHONY: test-certmanager
test-certmanager: build kube envoy ## Have certificates issued by cert-manager's real controllers, also to a mesh under load. A module of its own.
	@cd test/certmanager && go test -count=1 -timeout 5m ./...

.PHONY: test-net
test-net: envoy ## Try the redirect rules in network namespaces, with the real Envoy. Needs root and ip(8).
	@go test -tags netns -count=1 -timeout 5m ./test/net

.PHONY: test-chaos
test-chaos: envoy envoy-older ## Try what happens to proxies under load, and write docs/reliability.md. Needs root, takes 10 minutes.
	@FAIRLEAD_CHAOS=full go test -count=1 -timeout 30m -v ./test/chaos

.PHONY: test-long
test-long: ## Like test, with every fuzz target for a minute and random changes for a minute.
	@FAIRLEAD_CONFORMANCE=full hack/test.sh
	@hack/fuzz.sh 60s

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME.
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: year
year: ## Draw the simulated year of renewals for docs/certificates.md.
	@FAIRLEAD_YEAR=$(ROOT)/docs/certificates-year.svg go test -count=1 -run '^TestAYear$$' ./internal/rotation

.PHONY: bench
bench: build envoy kube ## Measure, and write test/bench/results.json and the table in docs/performance.md.
	@go run ./test/bench

##@ Build

.PHONY: build
build: ## Build every program into bin/ (minutes the first time).
	$(call program,fairlead-manager,.)
	$(call program,fairlead-agent,./agent)
	$(call program,fairlead,./cmd/fairlead)
	$(call program,demo-app,./test/demo/app)
	$(call program,demo,./test/demo)

define program
@echo "build: $(BIN)/$(1)"
@go build -ldflags '$(LDFLAGS)' -o $(BIN)/$(1) $(2)
endef

.PHONY: up
up: build envoy kube ## Run the mesh without a cluster, on data in DATA, until Ctrl-C.
	@$(BIN)/fairlead up --data $(DATA)

.PHONY: run
run: build ## Run the manager on this machine against the cluster of your kubeconfig.
	@$(BIN)/fairlead-manager --xds-socket $(DATA)/run/xds.sock

.PHONY: docker-build
docker-build: ## Build the images of the manager and the agent.
	$(CONTAINER_TOOL) build --target manager --tag $(IMG) .
	$(CONTAINER_TOOL) build --target agent --tag $(AGENT_IMG) .

.PHONY: docker-push
docker-push: ## Push both images.
	$(CONTAINER_TOOL) push $(IMG)
	$(CONTAINER_TOOL) push $(AGENT_IMG)

.PHONY: build-installer
build-installer: $(BIN)/kustomize ## Write dist/install.yaml: everything that `make deploy` applies, with IMG.
	@mkdir -p dist
	@hack/render.sh $(BIN)/kustomize $(IMG) >dist/install.yaml
	@echo "dist/install.yaml"

##@ A cluster

.PHONY: install
install: $(BIN)/kustomize ## Install the CRDs into the cluster of your kubeconfig.
	$(BIN)/kustomize build config/crd | $(KUBECTL) apply --server-side -f -

.PHONY: uninstall
uninstall: $(BIN)/kustomize ## Remove the CRDs, and with them every object of their kinds.
	$(BIN)/kustomize build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: $(BIN)/kustomize ## Deploy the manager, with IMG, into the cluster of your kubeconfig.
	hack/render.sh $(BIN)/kustomize $(IMG) | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: $(BIN)/kustomize ## Remove what deploy applied.
	hack/render.sh $(BIN)/kustomize $(IMG) | $(KUBECTL) delete --ignore-not-found -f -

##@ Programs that are fetched or built once, into bin/

.PHONY: kube
kube: ## Build the real Kubernetes programs and etcd (minutes the first time).
	@hack/kube/build.sh $(K8S)

.PHONY: envoy
envoy: ## Fetch the pinned Envoy; ENVOY_BIN names one of your own.
	@hack/envoy/fetch.sh $(BIN)

.PHONY: envoy-older
envoy-older: ## Fetch an older Envoy, which upgrades are tried with.
	@hack/envoy/fetch.sh $(BIN) older

.PHONY: tools
tools: $(BIN)/controller-gen $(BIN)/proto $(BIN)/kustomize $(BIN)/ginkgo $(BIN)/golangci-lint ## Build the development tools.

# Each is built again when its module's versions change.
$(BIN)/controller-gen: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,sigs.k8s.io/controller-tools/cmd/controller-gen)
$(BIN)/kustomize: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,sigs.k8s.io/kustomize/kustomize/v5)
$(BIN)/ginkgo: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,github.com/onsi/ginkgo/v2/ginkgo)
$(BIN)/proto: hack/tools/go.mod hack/tools/go.sum hack/tools/proto/main.go
	$(call tool,hack/tools,./proto)
	@cd hack/tools && go build -ldflags '-s -w' -o $(ROOT)/$(BIN)/ google.golang.org/protobuf/cmd/protoc-gen-go
$(BIN)/golangci-lint: hack/lint/go.mod hack/lint/go.sum
	$(call tool,hack/lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

define tool
@echo "tools: building $(notdir $@)"
@cd $(1) && go build -ldflags '-s -w' -o $(ROOT)/$@ $(2) && touch $(ROOT)/$@
endef

.PHONY: clean
clean: ## Remove bin/ and dist/. The Go build cache stays.
	rm -rf $(BIN) dist
