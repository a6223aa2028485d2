package workload

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
)

const (
	// tokenAudience is whom the token may be shown to: the manager. The API server
	// itself does not take it, so that one that leaks is no key to the cluster.
	tokenAudience = "fairlead"
	tokenLifetime = time.Hour
	// tokenRetry is how soon a renewal is tried again that failed.
	tokenRetry = 10 * time.Second
	tokenFile  = "token"
)

// fetchToken asks for a token that is good as long as the Pod exists, writes it into the
// folder, and returns when it should be renewed.
func fetchToken(ctx context.Context, c client.Client, pod *corev1.Pod, folder string, now time.Time) (time.Time, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:         []string{tokenAudience},
		ExpirationSeconds: ptr.To(int64(tokenLifetime.Seconds())),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return time.Time{}, fmt.Errorf("token of service account %s/%s: %w", account.Namespace, account.Name, err)
	}
	if err := replaceFile(filepath.Join(folder, tokenFile), request.Status.Token); err != nil {
		return time.Time{}, fmt.Errorf("token of service account %s/%s: %w", account.Namespace, account.Name, err)
	}
	return renewAt(now, request.Status.ExpirationTimestamp.Time), nil
}

// renewAt is after four fifths of a token's life, as the kubelet does.
func renewAt(now, expires time.Time) time.Time { return now.Add(expires.Sub(now) * 4 / 5) }

// keepToken renews the token until the context ends, and the roots with it.
func keepToken(ctx context.Context, c client.Client, pod *corev1.Pod, dir datadir.Dir, folder string, due time.Time, say func(string, ...any)) {
	for {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		next, err := fetchToken(ctx, c, pod, folder, time.Now())
		if mesh, err := meshOf(ctx, c, dir); err == nil {
			// Without, the agent goes on with those that it has.
			_ = mesh.writeRoots(folder)
		}
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				say("could not renew the token: %v", err)
			}
			next = time.Now().Add(tokenRetry)
		}
		due = next
	}
}
