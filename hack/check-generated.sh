#!/usr/bin/env bash
# Fails, showing the difference, if the CRDs, the manager's role or the deep copies are
# not what controller-gen makes of the source now. It changes nothing in the checkout.
#
# usage: check-generated.sh CONTROLLER-GEN
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$1" crd paths=./api/... output:crd:dir="$fresh/crd"
"$1" rbac:roleName=fairlead-manager paths=./controllers/... output:rbac:dir="$fresh/rbac"
"$1" object paths=./api/... output:object:dir="$fresh/object"

stale=0
diff -ru config/crd/bases "$fresh/crd" || stale=1
diff -u config/rbac/role.yaml "$fresh/rbac/role.yaml" || stale=1
diff -u api/v1alpha1/zz_generated.deepcopy.go "$fresh/object/zz_generated.deepcopy.go" || stale=1
if [ "$stale" -ne 0 ]; then
  echo "check-generated: run \`make manifests generate\` and commit what it writes" >&2
  exit 1
fi
