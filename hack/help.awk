# Prints the Makefile's targets from their comments: `name: ... ## what it does`, under
# titles that are written `##@ title`.
BEGIN { FS = ":.*##[ \t]*"; printf "Usage: make TARGET [VARIABLE=VALUE]\n" }
/^##@/ { printf "\n%s\n", substr($0, 5) }
/^[a-zA-Z0-9_-]+:.*##/ { printf "  %-16s %s\n", $1, $2 }
