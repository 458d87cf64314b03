# Thin targets: what they do lives in .ci/, in Cargo.toml and in the palisade-e2e binary.
# Everything is built with the dev profile; the toolchain and the packages it needs are installed on first use.

SHELL := /bin/bash
CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(CARGO_HOME)/bin:$(PATH):/usr/sbin:/sbin
TARGET = $(or $(CARGO_TARGET_DIR),target)
E2E = $(TARGET)/debug/palisade-e2e
TAG ?=
KERNELS ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-files demo-up demo-down test test-apiserver test-guests scenarios opinion bench fuzz mutants crds lint fmt deny build clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## Two nodes, an API server, real kubectl, real packets: before, after, status, a live edit; then clean up
	@.ci/prepare kubectl
	@$(E2E) demo

demo-files: build ## The demo without an API: the operator reads manifests from a directory
	@$(E2E) demo --files

demo-up: build ## Start the demo cluster and leave it running; prints the kubeconfig to use
	@.ci/prepare kubectl
	@$(E2E) up

demo-down: build ## Remove what demo-up left
	@$(E2E) down

test: ## Run every test; the last line counts them
	@.ci/prepare build bridges kubectl
	@.ci/test

test-apiserver: ## Build kube-apiserver and etcd (minutes, once) and run against them whatever speaks to an API server
	@.ci/prepare build bridges control-plane
	@.ci/test-apiserver

test-guests: ## Boot Debian's own kernels in qemu and test in each, SCTP by real sockets: the machine's release, or KERNELS="bookworm trixie"
	@.ci/prepare build bridges guests
	@.ci/test-guests $(KERNELS)

scenarios: build ## Run the scenarios at every level, all or TAG=...; JUnit in target/scenarios.xml
	@.ci/prepare bridges
	@$(E2E) scenarios $(if $(TAG),--tag $(TAG)) --junit $(TARGET)/scenarios.xml

opinion: build ## Hold the scenarios against cyclonus and kube-network-policies, built from source (minutes, once)
	@.ci/opinion

bench: ## Benchmarks of compiler and plan, then the time from a change to packets that obey
	@.ci/prepare build packets
	@cargo bench --package palisade-compiler --package palisade-ruleset --bench compile --bench plan
	@cargo build --workspace --bins --release && $(TARGET)/release/palisade-e2e latency

fuzz: ## Fuzz compiler, simulated kernel, intake, wire decoder and patches, FUZZ_SECONDS each (60); FUZZ_TARGET=... for one
	@.ci/prepare build fuzz
	@.ci/fuzz $(FUZZ_TARGET)

mutants: ## Break the code in ways that matter, one by one, and see which test notices; MUTANT=... for one
	@.ci/prepare build
	@.ci/mutants $(MUTANT)

crds: ## Write the CustomResourceDefinitions in crds/yaml from the types in crds/src
	@.ci/prepare build
	@cargo run --quiet --package palisade-crds --bin crdgen

lint: ## Formatting, clippy and documentation, warnings denied
	@.ci/prepare build lint
	@.ci/lint

fmt: ## Format the code
	@.ci/prepare build lint
	@cargo fmt --all

deny: ## Licences, bans and sources of the dependencies (installs cargo-deny where it is missing)
	@.ci/prepare build
	@.ci/deny

build: ## Install what is missing and build the binaries
	@.ci/prepare build packets
	@cargo build --workspace --bins

clean: ## Remove what was built
	@cargo clean
