#!/usr/bin/env bash
# Runs all the tests: packages with the race detector, the bulk of the simulated
# worlds without it, then the end-to-end tests on real servers.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
step() { echo "== $1 ($((SECONDS - start)) s)"; }

step "packages, with the race detector"
# The drills of package up wait for minutes: it begins first, or all the others would
# have ended long before it.
CGO_ENABLED=1 go test -race -timeout 15m -p 3 ./up $(go list ./... | grep -v -e /test/e2e -e /test/compose -e '/sim$' -e '/up$')

step "simulation"
go test -timeout 15m ./sim

step "end to end"
# Three at a time: they wait more than they work.
go test -count=1 -timeout 40m -parallel 3 ./test/e2e

step "containers"
# Two at a time.
go test -count=1 -timeout 35m -parallel 2 ./test/compose

step "done"
