#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 60s).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "--- $(dirname "$file") $target for $time"
  go test -run '^$' -fuzz "^${target}\$" -fuzztime "$time" "./$(dirname "$file")"
done < <(git ls-files '*_test.go' | xargs grep -oHE '^func Fuzz[A-Za-z0-9_]+' | sed -E 's/^([^:]+):func /\1:/')
[ "$found" -gt 0 ] || { echo "no fuzz target was found"; exit 1; }
echo "$found fuzz targets ran"
