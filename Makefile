# Two commands matter: `make up` runs a highly available PostgreSQL cluster on
# this machine, `make test` runs all the tests. Both install what they need.

GO ?= go
BIN := bin/matriarch

.PHONY: up lab build deps test test-slow sim lint fmt clean

up: deps build
	$(BIN) up $(ARGS)

# The containers lab of docs/lab.md.
lab:
	scripts/docker.sh
	deploy/compose/base-images.sh
	cd deploy/compose && { docker compose version >/dev/null 2>&1 && docker compose up -d || docker-compose up -d; }

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/matriarch

deps:
	scripts/deps.sh run

# Everything that must hold on every change.
test: lint
	scripts/deps.sh test
	$(MAKE) build
	scripts/test.sh

# What takes longer: every failure on every store, many runs, the figures.
test-slow: build
	scripts/deps.sh test
	MATRIARCH_SLOW=1 $(GO) test ./test/e2e -count=1 -timeout 90m -v -run 'Slow|Figures'
	MATRIARCH_SLOW=1 $(GO) test ./test/compose -count=1 -timeout 60m -v

# Simulate until stopped, and say how many schedules per second.
sim:
	$(GO) run ./sim/cmd/forever

lint:
	scripts/lint.sh

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin
