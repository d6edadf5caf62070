#!/usr/bin/env bash
# Formatting, vet and staticcheck over everything.
set -euo pipefail
cd "$(dirname "$0")/.."
unformatted=$(git ls-files '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
	echo "Not formatted (run make fmt): $unformatted" >&2
	exit 1
fi
go vet ./...
go tool staticcheck ./...
