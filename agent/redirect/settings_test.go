package redirect

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

func parsed(t *testing.T, env environment, args ...string) *Settings {
	t.Helper()
	s := NewSettings()
	if err := s.Parse(args, env.lookup); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRules(t *testing.T) {
	for name, args := range map[string][]string{
		"default": nil,
		"excluded": {
			"--exclude-interfaces=docker*,tun0", "--exclude-inbound-ports=22,9100-9200", "--exclude-inbound-ports=22",
			"--exclude-outbound-ports=3306,27017-27019,53", "--exclude-outbound-cidrs=fd00:1::/64,169.254.169.254,10.0.0.0/8",
			"--exclude-uids=1001,0", "--exclude-gids=2000",
		},
		"some-ports":    {"--inbound-ports=9080,80,9000-9100,80", "--exclude-inbound-ports=", "--inbound-port=16006", "--envoy-uid=65532"},
		"outbound-only": {"--directions=outbound", "--outbound-port=16001"},
		"ipv4-only":     {"--families=ipv4"},
		"ipv6-only":     {"--families=ipv6", "--directions=inbound"},
	} {
		t.Run(name, func(t *testing.T) {
			got, path := parsed(t, nil, args...).Config.Text(), filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; write it with -update", err)
			}
			if got != string(want) {
				t.Errorf("the rules differ from %s; if that is meant, run the test with -update and read the diff. They are now\n%s", path, got)
			}
		})
	}
}

func TestEveryFlagHasAnEnvironmentVariable(t *testing.T) {
	env := environment{
		"FAIRLEAD_DIRECTIONS": "outbound,inbound", "FAIRLEAD_FAMILIES": "ipv6", "FAIRLEAD_ENVOY_UID": "7",
		"FAIRLEAD_EXCLUDE_INTERFACES": "docker*", "FAIRLEAD_INBOUND_PORT": "16006", "FAIRLEAD_INBOUND_PORTS": "80, 81",
		"FAIRLEAD_EXCLUDE_INBOUND_PORTS": "82", "FAIRLEAD_EXCLUDE_OUTBOUND_PORTS": "83", "FAIRLEAD_EXCLUDE_OUTBOUND_CIDRS": "::ffff:10.1.2.3",
		"FAIRLEAD_EXCLUDE_UIDS": "8", "FAIRLEAD_EXCLUDE_GIDS": "9",
		// The flag goes first.
		"FAIRLEAD_OUTBOUND_PORT": "1",
		// What is done, and whether, is for the command line to say.
		"FAIRLEAD_REMOVE": "true", "FAIRLEAD_DRY_RUN": "true",
	}
	got := parsed(t, env, "--outbound-port=16001")
	want := parsed(t, nil, "--families=ipv6", "--envoy-uid=7", "--exclude-interfaces=docker*", "--inbound-port=16006",
		"--inbound-ports=80,81", "--exclude-inbound-ports=82", "--exclude-outbound-ports=83", "--exclude-outbound-cidrs=10.1.2.3/32",
		"--exclude-uids=8", "--exclude-gids=9", "--outbound-port=16001")
	if !reflect.DeepEqual(got.Config, want.Config) {
		t.Errorf("the environment gives\n%+v, flags give\n%+v", got.Config, want.Config)
	}
	if got.Remove || got.DryRun {
		t.Error("the environment says what to do")
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	env := environment{"FAIRLEAD_ENVOY_UID": "envoy"}
	err := NewSettings().Parse([]string{
		"--inbound-port=0", "--outbound-port=http", "--directions=inbound,sideways", "--families=",
		"--inbound-ports=80-79,http,0,70000,-1", "--exclude-inbound-ports=all", "--exclude-interfaces=lo,*,a-very-long-name",
		"--exclude-outbound-cidrs=10.1.2.3/8,fe80::1%eth0,::ffff:10.0.0.0/104,example.com", "--exclude-uids=root,4294967295", "--exclude-gids=-1",
	}, env.lookup)
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	got := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		`environment variable FAIRLEAD_ENVOY_UID (--envoy-uid) is "envoy"`,
		`invalid argument "http" for "--outbound-port" flag`,
		`--inbound-port is 0`,
		`--directions "sideways" is none of inbound, outbound`,
		`--families is empty: give one or more of ipv4, ipv6`,
		`--inbound-ports "80-79" is no port`, `--inbound-ports "http" is no port`, `--inbound-ports "0" is no port`,
		`--inbound-ports "70000" is no port`, `--inbound-ports "-1" is no port`,
		`--exclude-inbound-ports "all" is no port`,
		`--exclude-interfaces "*" is no name`, `--exclude-interfaces "a-very-long-name" is no name`,
		`--exclude-outbound-cidrs "10.1.2.3/8" has bits beyond its length: write 10.0.0.0/8 or 10.1.2.3`,
		`--exclude-outbound-cidrs "fe80::1%eth0" is neither`, `--exclude-outbound-cidrs "::ffff:10.0.0.0/104" is a range of IPv4`,
		`--exclude-outbound-cidrs "example.com" is neither`,
		`--exclude-uids "root" is no number`, `--exclude-uids "4294967295" is no number`, `--exclude-gids "-1" is no number`,
	} {
		i := slices.IndexFunc(got, func(line string) bool { return strings.Contains(line, want) })
		if i < 0 {
			t.Errorf("not told: %s", want)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	if len(got) > 0 {
		t.Errorf("told, though it should not be:\n%s", strings.Join(got, "\n"))
	}
}

func TestOtherRefusals(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--inbound-port=15001"}, "--inbound-port and --outbound-port are both 15001"},
		{[]string{"--inbound-ports="}, `--inbound-ports names no port: give some, or "all"`},
		{[]string{"--inbound-ports=all,80"}, `--inbound-ports "all" is no port`},
		{[]string{"--exclude-cidrs=1.2.3.4"}, "unknown flag: --exclude-cidrs"},
		{[]string{"inbound"}, `unexpected argument "inbound"`},
	} {
		if err := NewSettings().Parse(test.args, environment{}.lookup); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %s", test.args, err, test.want)
		}
	}
}
