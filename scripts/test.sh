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

# Both wait more than they work, so they run side by side, several at a time.
step "end to end, and containers beside it"
log=$(mktemp)
containers=
trap 'rm -f "$log"; [ -z "$containers" ] || kill "$containers"' EXIT
go test -count=1 -timeout 45m -parallel 2 ./test/compose >"$log" 2>&1 &
containers=$!
failed=0
go test -count=1 -timeout 45m -parallel 4 ./test/e2e || failed=1
wait "$containers" || failed=1
containers=
cat "$log"
[ "$failed" -eq 0 ]

step "done"
