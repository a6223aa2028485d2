#!/usr/bin/env bash
# Tests everything, step by step, and says what each step does and how long it took. It
# stops at the first step that fails. `make test` is this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

summary=()
current=
began=$SECONDS

finish() {
  local status=$?
  printf '\n'
  [ "${#summary[@]}" -eq 0 ] || printf '%s\n' "${summary[@]}"
  if [ "$status" -eq 0 ]; then
    printf 'test: everything passed in %d s\n' "$((SECONDS - began))"
  else
    printf 'test: FAILED at: %s (exit status %d, after %d s)\n' "$current" "$status" "$((SECONDS - began))"
  fi
}
trap finish EXIT

step() { # step TITLE COMMAND...
  current=$1
  shift
  printf '\n== %s\n' "$current"
  local started=$SECONDS
  "$@"
  summary+=("$(printf '  passed  %5d s  %s' "$((SECONDS - started))" "$current")")
}

race="with the race detector"
if ! command -v gcc >/dev/null && ! command -v clang >/dev/null; then
  echo "test: there is no C compiler here, so tests run without the race detector"
  race="WITHOUT the race detector: no C compiler"
fi

step "Development tools (built once, into bin/)" make tools
step "Generated files are what the source gives" make check-generated
step "go.mod is tidy" go mod tidy -diff
step "go.mod of test/certmanager is tidy" go -C test/certmanager mod tidy -diff
step "Fairlead's own programs" make build
step "Format, vet, house rules, imports between rooms" make lint
step "Unit tests, $race" make unit
step "Real programs: Envoy" make envoy
step "Real programs: Kubernetes and etcd (built once, minutes the first time)" make kube
step "Suites on the real API server and the real Envoy, $race" make suites
step "Certificates by cert-manager's real controllers" make test-certmanager
step "The demo, as a person runs it" env CI=true make demo
