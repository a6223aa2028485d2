package translate_test

import (
	"encoding/base64"
	"encoding/pem"
	"regexp"
	"strings"
	"sync"

	"fairlead.dev/fairlead/test/testenv"
)

// certified is a certificate with its key, each as text in YAML.
type certified struct{ certificate, key string }

// onePair is the one of all cases, which is another one in every run.
var onePair = sync.OnceValue(func() certified {
	authority, err := testenv.NewAuthority("corpus")
	if err != nil {
		panic(err)
	}
	issued, err := authority.Issue("shop.example.com")
	if err != nil {
		panic(err)
	}
	text := func(pem []byte) string { return strings.ReplaceAll(string(pem), "\n", `\n`) }
	return certified{text(issued.Chain), text(issued.Key)}
})

var inlineBytes = regexp.MustCompile(`"inline_bytes": ?"([^"]*)"`)

// withoutPEM writes of what is in PEM only what it is.
func withoutPEM(text []byte) []byte {
	return inlineBytes.ReplaceAllFunc(text, func(field []byte) []byte {
		content, err := base64.StdEncoding.DecodeString(string(inlineBytes.FindSubmatch(field)[1]))
		if block, _ := pem.Decode(content); err == nil && block != nil {
			return []byte(`"inline_bytes":"` + block.Type + `"`)
		}
		return field
	})
}
