# Gatehouse. `make run` and `make test` do all the set-up on a bare Debian 12 with Swift.

PACKAGES := libnghttp2-dev libhttp-parser-dev libevent-dev libssl-dev libsqlite3-dev zlib1g-dev pkg-config curl jq ca-certificates
BENCH_PACKAGES := nghttp2-client nghttp2-server python3
BUILD := .build/release/gatehouse
# Tests that talk over sockets have the processor to themselves: the server's own time limits apply to them. Those of the
# transport run apart from those that wait for curl, which hold the threads that the former go on with.
TRANSPORT_TESTS := HTTPTransportTests
LIVE_TESTS := APITests|EndToEndTests

.PHONY: all run test bench build format lint packages bench-packages clean

all: build

# apt asks for nothing when the packages are there; sudo only where the user is not root.
packages:
	@deploy/install-packages $(PACKAGES)

bench-packages: packages
	@deploy/install-packages $(BENCH_PACKAGES)

build: packages
	swift build -c release --static-swift-stdlib --product gatehouse

run: build
	@deploy/demo $(BUILD)

test: packages lint
	swift build --build-tests
	swift test --skip-build --parallel --skip '$(TRANSPORT_TESTS)|$(LIVE_TESTS)'
	swift test --skip-build --parallel --filter '$(TRANSPORT_TESTS)'
	swift test --skip-build --parallel --filter '$(LIVE_TESTS)'

bench: bench-packages build
	Benchmarks/run

format:
	swift format --in-place --recursive --parallel Sources Tests Plugins Benchmarks Package.swift

lint:
	swift format lint --strict --recursive --parallel Sources Tests Plugins Benchmarks Package.swift

clean:
	swift package clean
