#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 60s),
# one worker a target and as many targets at once as there are processors.
# With KEEP=1 the inputs that reached new code are kept beside the tests, the
# smallest first, as seeds of later runs.
set -uo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export time logs

fuzz() { # file:func Target
  local dir target log
  dir=$(dirname "${1%%:*}")
  target=${1##* }
  log="$logs/$(tr / - <<<"$dir")-$target"
  # Making one input smaller, which by default may take a minute, takes none of it.
  if go test -run '^$' -fuzz "^${target}\$" -fuzztime "$time" -fuzzminimizetime 1s -parallel 1 "./$dir" >"$log" 2>&1; then
    echo "ok    $dir $target: $(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
  elif grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic:' "$log"; then
    # The time ran out in the middle of an input, which go test calls a failure
    # (golang/go#48591). A real one writes its input, or panics.
    echo "ok    $dir $target: $(grep -oE 'execs: [0-9]+' "$log" | tail -1) (stopped in mid-input)"
  else
    cat "$log"
    echo "FAIL  $dir $target"
    return 1
  fi
}
export -f fuzz

keep() { # file:func Target
  local dir target from to
  dir=$(dirname "${1%%:*}")
  target=${1##* }
  from="$(go env GOCACHE)/fuzz/$(go list -m)/$dir/$target"
  to="$dir/testdata/fuzz/$target"
  [ -d "$from" ] || return 0
  mkdir -p "$to"
  find "$from" -type f -size -2k -printf '%s %p\n' | sort -n | head -24 | cut -d' ' -f2- | xargs -r cp -t "$to"
}
export -f keep

targets=$(git ls-files '*_test.go' | xargs grep -oHE '^func Fuzz[A-Za-z0-9_]+')
[ -n "$targets" ] || { echo "no fuzz target was found"; exit 1; }
xargs -d '\n' -P "$(nproc)" -I{} bash -c 'fuzz "$1"' _ {} <<<"$targets" || exit 1
if [ -n "${KEEP:-}" ]; then
  while read -r target; do keep "$target"; done <<<"$targets"
fi
echo "$(wc -l <<<"$targets") fuzz targets ran for $time each"
