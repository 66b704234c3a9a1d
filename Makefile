# Gatehouse. `make run` and `make test` do all the set-up on a bare Debian 12 with Swift.

PACKAGES := libnghttp2-dev libhttp-parser-dev libevent-dev libssl-dev libsqlite3-dev zlib1g-dev pkg-config curl jq ca-certificates
# Kernel sources that tests read (nothing of them is in the repository), and clients that tests try; where a client is missing,
# its test is skipped.
TEST_PACKAGES := linux-source-6.1 openssl wget sqlite3 python3-requests python3-httpx python3-h2
BENCH_PACKAGES := nghttp2-client nghttp2-server nginx-light wrk h2o python3
BUILD := .build/release/gatehouse
# Tests that talk over sockets have the processor to themselves: the server's own time limits apply to them. Those of the
# transport run apart from those that wait for curl, which hold the threads that the former go on with.
TRANSPORT_TESTS := HTTPTransportTests
LIVE_TESTS := APITests|EndToEndTests
SOAK_TESTS := SoakTests|SlowReaderTests

.PHONY: all run test soak bench build format lint packages test-packages bench-packages clean

all: build

# apt asks for nothing when the packages are there; sudo only where the user is not root.
packages:
	@deploy/install-packages $(PACKAGES)

test-packages: packages
	@deploy/install-packages $(TEST_PACKAGES)

bench-packages: packages
	@deploy/install-packages $(BENCH_PACKAGES)

build: packages
	swift build -c release --static-swift-stdlib --product gatehouse

run: build
	@deploy/demo $(BUILD)

test: test-packages lint
	swift build --build-tests
	swift test --skip-build --parallel --skip '$(TRANSPORT_TESTS)|$(LIVE_TESTS)'
	swift test --skip-build --parallel --filter '$(TRANSPORT_TESTS)'
	swift test --skip-build --parallel --filter '$(LIVE_TESTS)'

# Minutes: every attack for seconds against the program as it ships, thousands of connections, slow readers; on loopback only.
soak: test-packages build
	swift build --build-tests
	GATEHOUSE_SOAK=1 GATEHOUSE_PROGRAM=$(CURDIR)/$(BUILD) swift test --skip-build --filter '$(SOAK_TESTS)'

bench: bench-packages build
	Benchmarks/run

format:
	swift format --in-place --recursive --parallel Sources Tests Plugins Benchmarks Package.swift

lint:
	swift format lint --strict --recursive --parallel Sources Tests Plugins Benchmarks Package.swift

clean:
	swift package clean
