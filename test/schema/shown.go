package schema

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Begin is the function by which a test says what it shows: newScene(t, "KIND FIELD", ...).
const Begin = "newScene"

// Shown reads the tests of a folder and returns, by "KIND FIELD", the names of those that say
// they show the field.
func Shown(folder string) (map[string][]string, error) {
	paths, err := fs.Glob(os.DirFS(folder), "*_test.go")
	if err != nil {
		return nil, err
	}
	shown := map[string][]string{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, path), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(function.Name.Name, "Test") {
				continue
			}
			fields, err := saidBy(function)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, function.Name.Name, err)
			}
			for _, field := range fields {
				shown[field] = append(shown[field], function.Name.Name)
			}
		}
	}
	return shown, nil
}

// saidBy returns the fields that a test names.
func saidBy(function *ast.FuncDecl) ([]string, error) {
	var fields []string
	var failure error
	ast.Inspect(function, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != Begin {
			return true
		}
		for _, argument := range call.Args[1:] {
			literal, ok := argument.(*ast.BasicLit)
			if !ok {
				failure = fmt.Errorf("the fields that %s is given are read from the source: write each as a literal", Begin)
				return false
			}
			field, err := strconv.Unquote(literal.Value)
			if err != nil {
				failure = err
				return false
			}
			fields = append(fields, field)
		}
		return true
	})
	return fields, failure
}
