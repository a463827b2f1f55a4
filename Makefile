# Needs Go and git. Linux with apt adds the emulated ARM tests.
export CGO_ENABLED := 0

GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
DEMO      ?= edgejepa-demo
BUILD     := $(GO) build -trimpath -buildvcs=false -ldflags "-s -w"
PROGRAMS  := edge-train edge-embed
# GOOS-GOARCH, with the ARM generation after it
PLATFORMS := linux-amd64 linux-arm64 linux-armv6 linux-armv7 darwin-amd64 darwin-arm64 windows-amd64
# what go vet must accept, by GOOS/GOARCH
VETTED    := linux/amd64 linux/arm64 linux/arm linux/386 js/wasm darwin/arm64 windows/amd64
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

.PHONY: build
build: ## the two programs for this machine, into bin/
	$(BUILD) -o bin/ $(PROGRAMS:%=./cmd/%)

.PHONY: demo
demo: build ## draw a picture set, then pretrain, probe, export and embed
	bin/edge-train demo --out $(DEMO) --force
	bin/edge-embed --model $(DEMO)/model.safetensors --force -o $(DEMO)/vectors.jsonl $(DEMO)/pictures

.PHONY: test
test: test-native test-purego test-arm64 ## every test: natively, in pure Go, on emulated ARM cores

# A path that did not run did not pass: the tests must have taken each path that the processor's flags promise.
ISA := $(shell \
	has() { for flag; do grep -qsw $$flag /proc/cpuinfo || return 1; done; }; \
	case $$(uname -m) in \
	(x86_64|amd64) has avx2 fma f16c && echo avx2; has avx2 avx_vnni && echo avxvnni; \
		has avx512f avx512bw avx512dq avx512vl && { echo avx512; has avx512_vnni && echo avx512vnni; };; \
	(aarch64|arm64) echo neon; has asimddp && echo dotprod; has i8mm && echo i8mm;; \
	esac | paste -sd, -)

.PHONY: test-native
test-native:
	EDGEJEPA_REQUIRE_ISA=$(ISA) $(GO) test -count=1 -timeout 30m ./...

# Runs of training that take minutes, to learn, to be killed or to soak, do not differ by what the kernels are written in.
LONG := ./cmd/edge-train/... ./jepa ./jepa/tune

.PHONY: test-purego
test-purego:
	$(GO) test -count=1 -timeout 30m -tags purego $$($(GO) list ./... | grep -vxF "$$($(GO) list $(LONG))")
	$(GO) test -count=1 -timeout 30m -tags purego -short $(LONG)

.PHONY: test-arm64
test-arm64: ## short tests on emulated cortex-a53, a72 and a76
	.ci/test-arm64

.PHONY: cross
cross: $(PLATFORMS:%=cross-%) ## static programs for every platform, into dist/

.PHONY: cross-%
cross-%:
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(patsubst armv%,arm,$(word 2,$(subst -, ,$*))) GOARM=$(patsubst armv%,%,$(filter armv%,$(word 2,$(subst -, ,$*)))) \
	  $(BUILD) -o dist/$*/ $(PROGRAMS:%=./cmd/%)

.PHONY: reproducible
reproducible: ## two copies of the tree at different paths give the same programs
	.ci/reproducible

.PHONY: sbom
sbom: $(PLATFORMS:%=sbom-%) ## a bill of materials (CycloneDX 1.6) beside each program of dist/

.PHONY: sbom-%
sbom-%: cross-%
	for program in $(PROGRAMS:%=dist/$*/%$(if $(findstring windows,$*),.exe)); do \
	  $(GO) run -trimpath $(CYCLONEDX) bin -json -output-version 1.6 -std -noserial -notimestamp \
	    -version "$$(git describe --tags --always --dirty)" -output $$program.cdx.json $$program || exit 1; done

.PHONY: modules
modules: ## the modules are those of go.sum, and go.mod names no more and no less than is used
	$(GO) mod verify
	$(GO) mod tidy -diff

.PHONY: vulncheck
vulncheck: ## known vulnerabilities that the programs can reach; VULNDB=URL: another database than vuln.go.dev
	.ci/vulncheck $(GOVULNCHECK)

.PHONY: bench
ifeq ($(origin BENCH),undefined)
bench: ## kernels, training steps and embedding beside the machine's own peaks and their peers; BENCH=regexp: go benchmarks
	$(GO) test -c -o bin/bench.test ./kernels/bench
	cd kernels/bench && ../../bin/bench.test -test.run '^TestTables$$' -test.timeout 1h -tables $(TABLES)
	$(GO) test -run '^$$' -bench 'Step/.*/equal=true' -benchtime $(BENCHTIME) ./jepa
	$(GO) test ./quant/bench -run '^TestEmbedding$$' -v -timeout 2h -embedding -embedding.dir $(CURDIR)/bin/embedding $(EMBEDDING)
else
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) ./...
endif

.PHONY: model-arm
model-arm: ## the arm64 kernels, then training and embedding, on an A53, A72 and A76: a model, not a measurement
	$(GO) run ./kernels/internal/armmodel
	$(GO) run ./kernels/internal/armmodel -jobs .

.PHONY: count-arm
count-arm: ## instructions of an embedding on emulated cores, against .ci/arm-counts; UPDATE=1 renews that
	$(GO) run ./kernels/internal/armcount $(if $(UPDATE),-update)

.PHONY: generate
generate: ## assembly, tables and the list of licences that are written by programs
	$(GO) generate ./...
	$(GO) run ./internal/licenses/gen -o internal/licenses/THIRD_PARTY_LICENSES.txt -platforms "$(PLATFORMS)" $(PROGRAMS:%=./cmd/%)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	FUZZTIME=$(FUZZTIME) .ci/fuzz

.PHONY: race
race: ## short tests of what has goroutines with the race detector, which needs a C compiler
	.ci/race

.PHONY: lint
lint: ## gofmt, go vet on every platform, staticcheck
	@unformatted=$$(gofmt -l .) || exit 1; \
	  if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	@for p in $(VETTED); do echo "go vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... || exit 1; done
	$(GO) vet -tags purego ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: clean
clean:
	rm -rf bin dist edgejepa-demo
