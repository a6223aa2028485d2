#!/usr/bin/env bash
# Fails, showing the difference, if the CRDs, the manager's role, the deep copies or the
# code of .proto files are not what the source gives now. It changes nothing in the checkout.
#
# usage: check-generated.sh FOLDER-OF-TOOLS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$1/controller-gen" crd paths=./api/... output:crd:dir="$fresh/crd"
"$1/controller-gen" rbac:roleName=fairlead-manager paths=./controllers/... output:rbac:dir="$fresh/rbac"
"$1/controller-gen" object paths=./api/... output:object:dir="$fresh/object"
mkdir -p "$fresh/proto/internal/agentapi"
cp internal/agentapi/agents.proto "$fresh/proto/internal/agentapi/"
"$1/proto" "$1" "$fresh/proto" internal/agentapi/agents.proto

stale=0
diff -ru config/crd/bases "$fresh/crd" || stale=1
diff -u config/rbac/role.yaml "$fresh/rbac/role.yaml" || stale=1
diff -u api/v1alpha1/zz_generated.deepcopy.go "$fresh/object/zz_generated.deepcopy.go" || stale=1
diff -u internal/agentapi/agents.pb.go "$fresh/proto/internal/agentapi/agents.pb.go" || stale=1
if [ "$stale" -ne 0 ]; then
  echo "check-generated: run \`make manifests generate\` and commit what it writes" >&2
  exit 1
fi
