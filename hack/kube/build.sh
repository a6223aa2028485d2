#!/usr/bin/env bash
# Builds the Kubernetes programs that tests and `fairlead up` run, from their Go
# modules, into the folder given. A second call with nothing changed is one of a
# few seconds: a stamp file next to the programs names what they were made of.
#
# usage: build.sh OUTDIR
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
stamp=$(cat go.mod go.sum build.sh cmd/*/*.go | sha256sum | cut -c1-16)-$(go env GOVERSION)-$(go env GOARCH)
if [ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

# Upstream stamps its version the same way; without it every program says v0.0.0.
minor=${version#v1.}
minor=${minor%%.*}
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  ldflags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
  ldflags+=" -X $package.gitTreeState=clean -X $package.gitCommit=module -X $package.buildDate=1970-01-01T00:00:00Z"
done

echo "kube: building Kubernetes $version and etcd from source; the first time takes 3 to 10 minutes on 2 cores, then it is cached" >&2
packages=$(go list -deps ./cmd/... | wc -l)
started=$SECONDS
# `go build -v` names each package as it is compiled: counted, that is the progress.
CGO_ENABLED=0 go build -v -trimpath -ldflags "$ldflags" -o "$out/" ./cmd/... 2>&1 |
  awk -v total="$packages" '
    /^[a-zA-Z0-9_.\/-]+$/ { n++; if (n % 100 == 0) { printf "kube: %d packages compiled, at most %d to do\n", n, total; fflush() }; next }
    { print; fflush() }' >&2
for name in kube-apiserver kube-controller-manager kubectl; do
  ln -sf kube "$out/$name"
done
echo "$stamp" >"$out/.stamp"
echo "kube: built in $((SECONDS - started)) s: $out" >&2
