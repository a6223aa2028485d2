package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/agent/flags"
	"fairlead.dev/fairlead/agent/redirect"
)

// flagRow is a row of the README's tables: flag, value, default, environment variable.
var flagRow = regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]+) \\| ([^|]*) \\| (?:`([A-Z_]+)`|–) \\| .+ \\|$")

// Under each heading are the flags of its commands, with default and environment
// variable as the commands have them, and no others.
func TestREADMEHasEveryFlag(t *testing.T) {
	content, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, set := range map[string]*flags.Set{
		"proxy, bootstrap": &newSettings("proxy").Set,
		"wait, quit":       &newWaitSettings("wait").Set,
		"redirect":         &redirect.NewSettings().Set,
	} {
		_, section, found := strings.Cut(string(content), "\n### "+heading+"\n")
		if !found {
			t.Errorf("README.md has no heading %q", heading)
			continue
		}
		if end := regexp.MustCompile(`(?m)^##`).FindStringIndex(section); end != nil {
			section = section[:end[0]]
		}
		rows := map[string][]string{}
		for _, row := range flagRow.FindAllStringSubmatch(section, -1) {
			rows[row[1]] = row[2:]
		}
		defaults := set.Values()
		for _, name := range slices.Sorted(maps.Keys(rows)) {
			if _, is := defaults[name]; !is {
				t.Errorf("README.md, %s: --%s is no flag: take the row away", heading, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(defaults)) {
			row, is := rows[name]
			if !is {
				t.Errorf("README.md, %s: --%s is missing: add a row", heading, name)
				continue
			}
			if value := strings.Trim(defaults[name], "[]"); said(value) && row[1] != "`"+value+"`" {
				t.Errorf("README.md, %s: the default of --%s is %s, not %s", heading, name, value, row[1])
			}
			if row[2] != set.EnvOf[name] {
				t.Errorf("README.md, %s: the variable of --%s is %q, not %q", heading, name, set.EnvOf[name], row[2])
			}
		}
	}
}

// said tells whether a default stands for itself: those that do not say nothing, or are
// made from something else, which the row says in words.
func said(value string) bool { return value != "" && value != "0s" && value != "false" }
