# Polder. `make help` lists the targets; a fresh machine needs Go, make and root.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

# --- what is built ----------------------------------------------------------

ARCH ?= $(shell go env GOARCH)
OUT ?= bin
LIBEXEC = $(OUT)/libexec/polder
# A tag vX.Y.Z names a release; anything else is a development version of the
# next one. The date is the commit's, so that one commit makes one program.
# All three are found out when they are used: only then is git sure to be there.
# Sources without their history are a development version of an unknown commit.
COMMIT = $(shell c=$$(git rev-parse --short=12 HEAD 2>/dev/null) && echo $$c$$(git diff --quiet HEAD || echo -dirty) || echo unknown)
VERSION = $(patsubst v%,%,$(shell git describe --tags --exact-match --dirty --match 'v[0-9]*' 2>/dev/null || { n=$$(git rev-list --count HEAD 2>/dev/null) && echo v0.1.0-dev.$$n+g$(COMMIT); } || echo v0.1.0-dev))
DATE = $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo 1970-01-01T00:00:00Z)

# version-of MODULE DIR: the version of MODULE that DIR's go.mod pins.
version-of = $(shell awk '$$1=="$(1)" || $$2=="$(1)" {for (i=1;i<=NF;i++) if ($$i ~ /^v[0-9]/) {print $$i; exit}}' $(2)/go.mod)
KUBERNETES := $(call version-of,k8s.io/kubernetes,.)
KUBEVERSION := $(subst ., ,$(patsubst v%,%,$(KUBERNETES)))

stamp = -X $(1)=$(2)
LDFLAGS_version = $(call stamp,polder.dev/polder/internal/version.number,$(VERSION)) \
	$(call stamp,polder.dev/polder/internal/version.commit,$(COMMIT)) \
	$(call stamp,polder.dev/polder/internal/version.date,$(DATE))
LDFLAGS_polder = $(LDFLAGS_version) \
	$(foreach p,k8s.io/component-base/version k8s.io/client-go/pkg/version, \
	$(call stamp,$(p).gitVersion,$(KUBERNETES)) $(call stamp,$(p).gitMajor,$(word 1,$(KUBEVERSION))) \
	$(call stamp,$(p).gitMinor,$(word 2,$(KUBEVERSION))) $(call stamp,$(p).gitTreeState,clean) \
	$(call stamp,$(p).buildDate,$(DATE)))

# Everything is static, so that it runs on a machine without any of this, but
# polder-nvml, which loads a library of the machine, and polder-onnx, which loads one
# that comes with it and runs in images of Debian. Tests
# are built the same way, so that they share what the build has compiled; so do the
# modules below tools/, as far as their dependencies have the same versions. What
# debuggers read is a quarter of the compiler's work, and is not kept in programs.
export CGO_ENABLED = 0
export GOAMD64 = v1
export GOARM64 = v8.0
export GOFLAGS = -trimpath -mod=readonly -buildvcs=false -gcflags=all=-dwarf=false
# The compiler collects its garbage less often, for more memory (bench/README.md).
GO = GOGC=200 GOOS=linux GOARCH=$(ARCH) go
BUILD = build -ldflags "-s -w $(1)" -o "$(abspath $(2))" $(3)

.PHONY: build
build: deps $(OUT)-polder helpers ## build polder and its helper binaries into bin/

.PHONY: $(OUT)-polder
$(OUT)-polder:
	@echo "building polder $(VERSION) for $(ARCH) (Kubernetes $(KUBERNETES))"
	@$(GO) $(call BUILD,$(LDFLAGS_polder),$(OUT)/polder,./cmd/polder)

comma := ,
# helper DIR, LDFLAGS, NAME, PACKAGE: builds NAME from the module tools/DIR.
helper = $(GO) -C tools/$(1) $(call BUILD,$(2),$(LIBEXEC)/$(3),$(4))
CONTAINERD = github.com/containerd/containerd/v2
PLUGINS = github.com/containernetworking/plugins
RUNC = github.com/opencontainers/runc
GVISOR = gvisor.dev/gvisor
# An architecture that is not this machine's has a C compiler of its own, and its
# libraries lie apart.
CROSS = $(if $(filter $(ARCH),$(shell go env GOHOSTARCH)),,$(if $(filter arm64,$(ARCH)),aarch64,x86_64)-linux-gnu-)

.PHONY: helpers
helpers:
	@mkdir -p $(LIBEXEC)
	@echo "building helper binaries for $(ARCH)"
	@$(call helper,containerd,$(call stamp,$(CONTAINERD)/version.Version,$(call version-of,$(CONTAINERD),tools/containerd)),containerd,-tags no_btrfs$(comma)no_zfs$(comma)no_devmapper $(CONTAINERD)/cmd/containerd)
	@$(call helper,containerd,$(call stamp,$(CONTAINERD)/version.Version,$(call version-of,$(CONTAINERD),tools/containerd)),containerd-shim-runc-v2,$(CONTAINERD)/cmd/containerd-shim-runc-v2)
	@$(call helper,gvisor,$(call stamp,$(GVISOR)/runsc/version.version,$(call version-of,$(GVISOR),tools/gvisor)),runsc,$(GVISOR)/runsc)
	@$(call helper,gvisor,,containerd-shim-runsc-v1,./shim)
	@$(foreach p,ipam/host-local main/loopback main/ptp meta/portmap, \
	$(call helper,cni,$(call stamp,$(PLUGINS)/pkg/utils/buildversion.BuildVersion,$(call version-of,$(PLUGINS),tools/cni)),$(notdir $(p)),$(PLUGINS)/plugins/$(p));)
	@$(call helper,coredns,$(call stamp,github.com/coredns/coredns/coremain.GitCommit,$(call version-of,github.com/coredns/coredns,tools/coredns)),coredns,.)
	@$(call helper,registry,,registry,.)
	@$(GO) $(call BUILD,,$(LIBEXEC)/pause,./tools/pause)
	@$(GO) $(call BUILD,,$(LIBEXEC)/fetch,./tools/fetch)
	@CGO_ENABLED=1 CC=$(CROSS)gcc $(if $(CROSS),PKG_CONFIG_LIBDIR=/usr/lib/$(CROSS:-=)/pkgconfig) $(call helper,runc,-extldflags -static $(call stamp,main.version,$(patsubst v%,%,$(call version-of,$(RUNC),tools/runc))),runc,-tags seccomp$(comma)netgo$(comma)osusergo $(RUNC))
# Its functions are bound when they are called, as an old library lacks some, and
# upstream declares what NVIDIA has deprecated; so in tools/check.
	@CGO_ENABLED=1 CC=$(CROSS)gcc CGO_CFLAGS="-O2 -Wno-deprecated-declarations" CGO_LDFLAGS=-Wl,-z,lazy $(call helper,nvml,,polder-nvml,.)
	@tools/onnxruntime $(ARCH) "$(abspath $(LIBEXEC))/libonnxruntime.so.1"
	@CGO_ENABLED=1 CC=$(CROSS)gcc $(call helper,onnx,$(LDFLAGS_version),polder-onnx,.)

# --- what a machine must have ------------------------------------------------

PACKAGES = gcc libc6-dev libseccomp-dev pkg-config git ca-certificates mmdebstrap debian-archive-keyring nftables iproute2 mount python3-minimal

.PHONY: deps
deps: ## install the Debian packages that building and running need; says which
	@tools/deps $(PACKAGES)

# --- what is done with it ----------------------------------------------------

DATA_DIR ?= /var/lib/polder

.PHONY: demo
demo: build ## bring up a cloud, build its runtime and train a model on it
	@tools/demo bin/polder $(DATA_DIR)

.PHONY: check
check: ## formatting, vet, linters and the tests that need no cluster
	@tools/check

.PHONY: test
test: build check e2e ## everything, on real clouds of its own; needs root

E2E ?= .
# The clients that the object store has to get on with.
CLIENTS = awscli curl python3-boto3 python3-swiftclient rclone s3cmd
.PHONY: e2e
e2e: build ## the end-to-end tests; E2E=REGEXP picks some
	@tools/deps $(CLIENTS)
	@go test -tags e2e -count=1 -timeout 120m -v -run '$(E2E)' ./test/e2e

.PHONY: recipes
recipes: ## the recipes by which models learn, on this machine's python3-torch; minutes
	@tools/deps python3-torch python3-numpy
	@go test -tags torch -count=1 -timeout 20m ./recipes

.PHONY: gen
gen: ## regenerate deep copies and CRDs after a change of api/, or of a module whose CRDs we carry
	@install -m 0644 $(foreach k,gatewayclasses gateways httproutes,"$$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd/standard/gateway.networking.k8s.io_$(k).yaml") gateway/httproute/crd/
	@go tool -modfile=tools/gen/go.mod controller-gen object:headerFile=/dev/null paths=./api/v1alpha1/... crd paths=./api/v1alpha1/... output:crd:dir=api/v1alpha1/crd

.PHONY: bench
bench: build ## measure everything that bench/README.md publishes; needs root
	@go run ./bench/measure -polder bin/polder

# --- what is given away ------------------------------------------------------

# POLDER_RELEASE_ARCH=amd64 in the environment makes a release of one architecture.
RELEASE_ARCHES = $(or $(POLDER_RELEASE_ARCH),amd64 arm64)
RELEASE_PAGES = LICENSE README.md system/unit/polder.service runtimes/onnx-cpu/LICENSE.onnxruntime

.PHONY: release
release: deps ## make dist/: a tarball per architecture, checksums and bills of materials
	$(if $(filter-out amd64 arm64,$(RELEASE_ARCHES)),$(error POLDER_RELEASE_ARCH may name amd64 and arm64, not $(RELEASE_ARCHES)))
	@rm -rf dist
	@$(foreach a,$(RELEASE_ARCHES),$(MAKE) ARCH=$(a) OUT=dist/build/$(a) release-one;)
	@cd dist && LC_ALL=C sha256sum *.tar.gz *.cdx.json > SHA256SUMS && cat SHA256SUMS

.PHONY: release-one
release-one: cross-deps $(OUT)-polder helpers
	@CC=$(CROSS)gcc go run ./tools/release -version "$(VERSION)" -date "$(DATE)" -arch $(ARCH) -build $(OUT) $(RELEASE_PAGES)

# The libraries are the distribution's own, which has security updates, and not
# those of its cross compiler, which has none.
.PHONY: cross-deps
cross-deps:
	@$(if $(CROSS),tools/deps gcc-$(subst _,-,$(CROSS:-=)) libc6-dev:$(ARCH) libseccomp-dev:$(ARCH))

.PHONY: reproducible
reproducible: ## build releases in two clones and compare them
	@tools/reproducible

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin dist

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
