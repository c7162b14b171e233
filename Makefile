# Two commands for a fresh clone: `make demo` and `make test`. Each installs what is missing first.

BUILD := swift build -c release
LATHE := .build/release/lathe

.PHONY: demo test build check bench dependencies dependencies-check clean

## Quantize the embedded model several ways and show what each way costs.
demo: build
	$(LATHE) study Studies/demo.yml --out out/demo

## Build the command.
build: dependencies
	$(BUILD) --product lathe

## Run every test, in release mode; what computes with kernels under every instruction set.
test: dependencies
	swift build -c release --build-tests
	swift test -c release --skip-build
	Scripts/test-kernels

## The laws of the code base, and the report in a real browser.
check: dependencies-check
	Scripts/check

## Measure speed; see Documentation/Performance.md.
bench: dependencies
	cd Benchmarks && swift package --disable-sandbox benchmark

dependencies:
	@Scripts/install-dependencies build

dependencies-check:
	@Scripts/install-dependencies build check

clean:
	rm -rf .build out
