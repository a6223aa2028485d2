package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// An alert on a metric that nobody exports, or no more by that name, would stay silent.
func TestAlertsAreOnMetricsThatThereAre(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr         string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(content, &rule); err != nil {
		t.Fatal(err)
	}
	source := goSource(t, "internal", "controllers")
	count := 0
	for _, group := range rule.Spec.Groups {
		for _, alert := range group.Rules {
			count++
			if alert.Annotations["summary"] == "" || alert.Annotations["description"] == "" || !strings.Contains("warning critical", alert.Labels["severity"]) {
				t.Errorf("%s is incomplete", alert.Alert)
			}
			for _, metric := range regexp.MustCompile(`fairlead_\w+`).FindAllString(alert.Expr, -1) {
				if !strings.Contains(source, `"`+metric+`"`) {
					t.Errorf("%s: nothing exports %s", alert.Alert, metric)
				}
			}
		}
	}
	if count == 0 {
		t.Error("no alert was read")
	}
}

// goSource is the text of all Go files in folders of the project, without tests.
func goSource(t *testing.T, folders ...string) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			all.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
