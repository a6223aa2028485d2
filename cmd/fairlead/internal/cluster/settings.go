package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/internal/settings"
)

// putSettings writes the mesh's settings if there are none: certificates are renewed at
// night, and only this machine knows when that is.
func putSettings(ctx context.Context, c client.Client, zone string) error {
	object := &corev1.ConfigMap{}
	object.Namespace, object.Name = objects.ManagerNamespace, settings.Name
	object.Data = map[string]string{settings.Key: fmt.Sprintf("# docs/settings.md lists what may be said here.\ncertificates:\n  timeZone: %s\n", zone)}
	err := retry(ctx, func() error {
		err := c.Get(ctx, client.ObjectKeyFromObject(object), &corev1.ConfigMap{})
		if client.IgnoreNotFound(err) != nil || err == nil {
			return err
		}
		return c.Create(ctx, object)
	})
	if err != nil {
		return fmt.Errorf("create ConfigMap %s/%s: %w", object.Namespace, object.Name, err)
	}
	return nil
}

// machineZone is the name of this machine's time zone, as far as it can be known.
func machineZone() string {
	link, _ := os.Readlink("/etc/localtime")
	_, fromLink, _ := strings.Cut(link, "zoneinfo/")
	fromFile, _ := os.ReadFile("/etc/timezone")
	for _, name := range []string{strings.TrimPrefix(os.Getenv("TZ"), ":"), fromLink, strings.TrimSpace(string(fromFile))} {
		// Local is a name that means nothing elsewhere.
		if _, err := time.LoadLocation(name); err == nil && name != "" && name != "Local" {
			return name
		}
	}
	return "Etc/UTC"
}
