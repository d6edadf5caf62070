# Three commands matter: `make up` runs a highly available PostgreSQL cluster on
# this machine, `make lab` one in containers, `make test` runs all the tests. They
# install what they need.

GO ?= go
BIN := bin/matriarch
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: up lab build deps test test-slow sim bench-proxy lint fmt clean

up: deps build
	$(BIN) up $(ARGS)

# The containers lab of docs/lab.md. Without an image registry its base images are
# made first, and the build reaches Go modules as this machine does.
lab: export GOPROXY ?= $(shell $(GO) env GOPROXY 2>/dev/null)
lab: export GOSUMDB ?= $(shell $(GO) env GOSUMDB 2>/dev/null)
lab:
	scripts/docker.sh
	deploy/compose/base-images.sh
	cd deploy/compose && $(COMPOSE) up -d $(ARGS) && $(COMPOSE) ps

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
	MATRIARCH_SLOW=1 $(GO) test ./test/chaos -count=1 -timeout 90m -v -run 'TestChaos|Figures'
	MATRIARCH_SLOW=1 $(GO) test ./test/compose -count=1 -timeout 60m -v

# Simulate until stopped, with a live line. ARGS="-first 1 -worlds 100000 -jobs 1"
# bounds it.
sim:
	$(GO) run ./sim/cmd/forever $(ARGS)

# The entrypoint beside HAProxy, and PgBouncer where it is installed.
# ARGS="-clients 1,16 -modes prepared" bounds it, ARGS="-idle 1000" measures memory.
bench-proxy: build
	scripts/deps.sh test
	$(GO) run ./test/proxybench $(ARGS)

lint:
	scripts/lint.sh

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin
