package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const output = `goos: linux
goarch: amd64
pkg: fairlead.dev/fairlead/internal/translate
cpu: some CPU
BenchmarkWhole/services=1000-2         	      10	  30000000 ns/op	 9000000 B/op	   90000 allocs/op
BenchmarkWhole/services=1000-2         	      10	  10000000 ns/op	 9000000 B/op	   90000 allocs/op
BenchmarkWhole/services=1000-2         	      10	  20000000 ns/op	 9000000 B/op	   90000 allocs/op
PASS
ok  	fairlead.dev/fairlead/internal/translate	2.1s
pkg: fairlead.dev/fairlead/agent
BenchmarkStart 	       3	 512000000 ns/op	         9.5 MiB-resident
PASS
`

func TestBenchmarksAreReadAndTheirMedianIsTold(t *testing.T) {
	list, err := parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("read %+v", list)
	}
	whole, start := list[0], list[1]
	if whole.Name != "Whole/services=1000" || whole.Package != module+"internal/translate" || whole.Values["ns/op"] != 2e7 {
		t.Errorf("read %+v", whole)
	}
	if start.Name != "Start" || start.Values["MiB-resident"] != 9.5 {
		t.Errorf("read %+v", start)
	}
	page, err := fill("# Page\n\n"+beginMark+"\nold\n"+endMark+"\nafter\n", results{Benchmarks: list}.markdown())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Page\n",
		"| internal/translate | Whole/services=1000 | 20ms | 8.6 MiB | 90000 |  |",
		"| agent | Start | 512ms |  |  | 9.5 MiB-resident |",
		endMark + "\nafter\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in:\n%s", want, page)
		}
	}
	if strings.Contains(page, "old") {
		t.Errorf("the old figures stay:\n%s", page)
	}
}

func TestAPageWithoutMarksIsLeftAlone(t *testing.T) {
	if _, err := fill("# Page\n", "text"); err == nil {
		t.Error("no error")
	}
}

func TestBenchmarksAreFoundInTheSource(t *testing.T) {
	root := t.TempDir()
	for path, source := range map[string]string{
		"a/a_test.go":      "package a\n\nfunc BenchmarkA(b *testing.B) {}\n",
		"b/b_test.go":      "package b\n\nfunc TestB(t *testing.T) {}\n",
		"hack/c/c_test.go": "package c\n\nfunc BenchmarkC(b *testing.B) {}\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	packages, err := packagesWithBenchmarks(".")
	if err != nil || !slices.Equal(packages, []string{"./a"}) {
		t.Errorf("found %q, %v", packages, err)
	}
}
