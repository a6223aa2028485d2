package message_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

var update = flag.Bool("update", false, "write docs/messages.md")

var object = mesh.ObjectID{Kind: "VirtualService", Namespace: "prod", Name: "reviews"}

// findings has one finding from each of the package's functions.
var findings = map[string]message.Finding{
	"Invalid":             message.Invalid(object, "spec.a", "it is wrong", "mend it"),
	"NotImplemented":      message.NotImplemented(object, "spec.a"),
	"NotImplementedValue": message.NotImplementedValue(object, "spec.a", "wildcards are", "remove it"),
	"InvalidRegex":        message.InvalidRegex(object, "spec.a", "(", errors.New("missing closing )")),
	"InvalidSubstitution": message.InvalidSubstitution(object, "spec.a", `\9`, "there is no group 9"),
	"WeightsZero":         message.WeightsZero(object, "spec.a"),
	"WeightsTooLarge":     message.WeightsTooLarge(object, "spec.a", 1<<32),
	"HeaderName":          message.HeaderName(object, "spec.a", "it is wrong", "mend it"),
	"HeaderValue":         message.HeaderValue(object, "spec.a", "it is wrong", "mend it"),
	"FieldsConflict":      message.FieldsConflict(object, "spec.a", "it is wrong", "mend it"),
	"Repeated":            message.Repeated(object, "spec.a", `"b"`, `"B"`),
	"RetryOn":             message.RetryOn(object, "spec.a", "6xx", []string{"5xx", "reset"}),
	"RetryOnNothing":      message.RetryOn(object, "spec.a", "", []string{"5xx", "reset"}),
	"Unsatisfiable":       message.Unsatisfiable(object, "spec.a", "it is wrong", "mend it"),
	"HostConflict":        message.HostConflict(object, "spec.a", "reviews.prod.svc.cluster.local", object),
	"HostNotFound":        message.HostNotFound(object, "spec.a", "reviews.prod"),
	"SubsetNotFound":      message.SubsetNotFound(object, "spec.a", "reviews", "v9", nil),
	"SubsetNotFoundKnown": message.SubsetNotFound(object, "spec.a", "reviews", "v9", []string{"v1", "v2"}),
	"PortNotFound":        message.PortNotFound(object, "spec.a", "reviews", 9, []string{"80"}),
	"PortNotFoundUnset":   message.PortNotFound(object, "spec.a", "reviews", 0, []string{"80", "81"}),
	"PortNotHTTP":         message.PortNotHTTP(object, "spec.a", "db.prod.svc.cluster.local"),
	"RoutedHostNotFound":  message.RoutedHostNotFound(object, "spec.a", "reveiws.prod.svc.cluster.local"),
	"PlaintextRefused":    message.PlaintextRefused(object, "spec.a", "reviews.prod.svc.cluster.local", mesh.NamespacedName{Namespace: "prod", Name: "reviews-1"}),
	"NoMutualTLS":         message.NoMutualTLS(object, "spec.a", "reviews.prod.svc.cluster.local", "10.0.0.1:80"),
	"RoutedHostShort":     message.RoutedHostShort(object, "spec.a", "reviews.prod", "reviews.prod.svc.cluster.local"),

	"Unreachable":      message.Unreachable(object, "spec.a", "spec.http[0]"),
	"DelegateNotFound": message.DelegateNotFound(object, "spec.a", mesh.NamespacedName{Namespace: "prod", Name: "routes"}),
	"DelegateOutside":  message.DelegateOutside(object, "spec.a", object),
	"RuleClaimed":      message.RuleClaimed(object, "spec.a", "reviews.prod.svc.cluster.local", object),

	"PolicyUnfit":        message.PolicyUnfit(object, "spec.a", "reviews.prod.svc.cluster.local", 9000, "a port that speaks HTTP"),
	"PolicyPort":         message.PolicyPort(object, "spec.a", "reviews.prod.svc.cluster.local", 9, []string{"80"}),
	"HostTaken":          message.HostTaken(object, "spec.a", "pay.example.com", object),
	"NothingSelected":    message.NothingSelected(object, "spec.a", "pay.example.com"),
	"NotTold":            message.NotTold(object, "spec.a", "pay.example.com", 80, "a.example.com"),
	"Refused":            message.Refused(object, "spec.a", "prod/front", "it is too large.", "it is left out"),
	"GatewayUnused":      message.GatewayUnused(object, "spec.a"),
	"GatewayNotFound":    message.GatewayNotFound(object, "spec.a", "prod/public"),
	"HostNotServed":      message.HostNotServed(object, "spec.a", "shop.example.com", "prod/public"),
	"ServerConflict":     message.ServerConflict(object, "spec.a", "prod/public/0", "both have the host *"),
	"CredentialUnusable": message.CredentialUnusable(object, "spec.a", "Secret prod/shop", "there is no such Secret"),
	"CertificateShared":  message.CertificateShared(object, "spec.a", "prod/public/0"),

	"Claimed":                    message.Claimed(object, "spec.a", "fairlead.reviews", object),
	"SecretNotOurs":              message.SecretNotOurs(object, "spec.a", "fairlead.reviews"),
	"ServiceAccountNotFound":     message.ServiceAccountNotFound(object, "spec.a", "reviews"),
	"ServiceAccountNoneSelected": message.ServiceAccountNotFound(object, "spec.a", ""),
	"IssuerNotFound":             message.IssuerNotFound(object, "spec.a", "Issuer prod/corporate"),
}

func TestEveryFunctionIsTried(t *testing.T) {
	source, err := os.ReadFile("catalogue.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range regexp.MustCompile(`(?m)^func ([A-Z]\w*)\(`).FindAllSubmatch(source, -1) {
		if _, found := findings[string(function[1])]; !found {
			t.Errorf("%s is not tried", function[1])
		}
	}
}

func TestFindingsAreOfTheCatalogue(t *testing.T) {
	entries := map[string]message.Entry{}
	for _, entry := range message.Catalogue() {
		entries[entry.Code] = entry
	}
	given := map[string]bool{}
	for name, finding := range findings {
		given[finding.Code] = true
		entry, found := entries[finding.Code]
		if !found || finding.Reason != entry.Reason || finding.Topic != entry.Topic {
			t.Errorf("%s gives %+v, the catalogue %+v", name, finding, entry)
		}
		if finding.Object != object || finding.Path != "spec.a" || finding.Text == "" || finding.Fix == "" {
			t.Errorf("%s is incomplete: %+v", name, finding)
		}
	}
	for code := range entries {
		if !given[code] {
			t.Errorf("no function gives %s", code)
		}
	}
}

func TestCatalogueIsCompleteAndSorted(t *testing.T) {
	source, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	var written, listed []string
	for _, code := range regexp.MustCompile(`Code: "(\w+)"`).FindAllSubmatch(source, -1) {
		written = append(written, string(code[1]))
	}
	for _, entry := range message.Catalogue() {
		listed = append(listed, entry.Code)
		if !regexp.MustCompile(`^FL\d{4}$`).MatchString(entry.Code) {
			t.Errorf("%s is not of the form FL0000", entry.Code)
		}
		if entry.Reason == "" || entry.Title == "" || entry.Cause == "" || entry.Fix == "" {
			t.Errorf("%s is incomplete", entry.Code)
		}
	}
	if !slices.IsSorted(listed) || !slices.Equal(written, listed) || len(slices.Compact(slices.Clone(listed))) != len(listed) {
		t.Errorf("codes %v, catalogue %v", written, listed)
	}
}

func TestReasonsAreThoseOfTheAPI(t *testing.T) {
	for ours, api := range map[string]string{
		message.ReasonInvalid:        v1alpha1.ReasonInvalid,
		message.ReasonNotImplemented: v1alpha1.ReasonNotImplemented,
		message.ReasonHostConflict:   v1alpha1.ReasonHostConflict,
		message.ReasonHostNotFound:   v1alpha1.ReasonHostNotFound,
		message.ReasonSubsetNotFound: v1alpha1.ReasonSubsetNotFound,
		message.ReasonPortNotFound:   v1alpha1.ReasonPortNotFound,

		message.ReasonConflicted:             v1alpha1.ReasonConflicted,
		message.ReasonSecretNotOurs:          v1alpha1.ReasonSecretNotOurs,
		message.ReasonServiceAccountNotFound: v1alpha1.ReasonServiceAccountNotFound,
		message.ReasonIssuerNotFound:         v1alpha1.ReasonIssuerNotFound,
	} {
		if ours != api {
			t.Errorf("%s is %s in the API", ours, api)
		}
	}
}

func TestFindingText(t *testing.T) {
	for _, test := range []struct {
		finding message.Finding
		want    string
	}{
		{findings["WeightsZero"], "FL0004 spec.a: the weights of all destinations are zero; give at least one destination a weight above 0"},
		{message.Finding{Code: "FL0001", Text: "it is wrong"}, "FL0001: it is wrong"},
	} {
		if got := test.finding.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestTextStaysShort(t *testing.T) {
	finding := message.InvalidRegex(object, "spec.a", strings.Repeat("é(", 2000), errors.New("missing closing )"))
	if len(finding.String()) > 600 {
		t.Errorf("%d bytes", len(finding.String()))
	}
}

func TestHostNotFoundTellsOfShortNames(t *testing.T) {
	for host, short := range map[string]bool{
		"reviews.prod":                   true,
		"reviews.prod.svc":               true,
		"reviews.prod.svc.cluster.local": false,
	} {
		if got := strings.Contains(message.HostNotFound(object, "spec.a", host).Fix, "in full"); got != short {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestSort(t *testing.T) {
	other := mesh.ObjectID{Kind: "DestinationRule", Namespace: "prod", Name: "reviews"}
	a := message.Invalid(other, "spec.z", "x", "")
	b := message.Invalid(object, "spec.b", "x", "")
	c := message.HostNotFound(object, "spec.a", "x")
	if got := message.Sort([]message.Finding{c, b, a, b}); !slices.Equal(got, []message.Finding{a, b, c}) {
		t.Errorf("%v", got)
	}
}

// docs/messages.md is written from the catalogue: `go test ./internal/message -update`.
func TestDocumentation(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Messages\n\n" +
		"What Fairlead finds wrong with an object stands in its status, as\n" +
		"`<code> <field>: <what is wrong>; <what to do>`. Codes do not change their meaning.\n\n" +
		"What makes the condition `Accepted` false keeps the object from being used as it stands: its last accepted\n" +
		"version stays in use, and if there is none it is left out. What makes `ResolvedRefs` false concerns a part of\n" +
		"the object only: the rest is in use. Advice makes neither false, and stands in the message of `Accepted`.\n" +
		"What proxies refused makes `Programmed` false, with the resource in the field's place.\n\n" +
		"| code | reason | condition | what is wrong |\n| --- | --- | --- | --- |\n")
	for _, entry := range message.Catalogue() {
		fmt.Fprintf(&page, "| [%s](#%s) | %s | %s | %s |\n", entry.Code, strings.ToLower(entry.Code), entry.Reason, condition(entry.Topic), entry.Title)
	}
	for _, entry := range message.Catalogue() {
		fmt.Fprintf(&page, "\n## %s\n\n**%s.** %s\n\n*What to do:* %s\n", entry.Code, upper(entry.Title), entry.Cause, entry.Fix)
	}
	page.WriteString("\n<!-- Written by `go test ./internal/message -update`. -->\n")

	path := filepath.Join("..", "..", "docs", "messages.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(current) != page.String() {
		t.Errorf("%s is not current: run `go test ./internal/message -update`", path)
	}
}

func condition(topic message.Topic) string {
	switch topic {
	case message.References:
		return v1alpha1.ConditionResolvedRefs
	case message.Advice:
		return "none"
	case message.Delivery:
		return v1alpha1.ConditionProgrammed
	}
	return v1alpha1.ConditionAccepted
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
