package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// freePort returns a port of 127.0.0.1 that nobody uses now.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// propagation changes a VirtualService a number of times, one change at a time, and
// measures for each how long after the API server's answer to it a watcher of the object
// is told that every proxy has acknowledged it.
//
// That is longer than the acknowledgement itself takes, by the writing of the status and
// the watch.
func propagation(ctx context.Context, c client.WithWatch, name string, changes int) ([]time.Duration, error) {
	watcher, err := c.Watch(ctx, &v1alpha1.VirtualServiceList{}, client.InNamespace("default"))
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()
	var times []time.Duration
	for i := range changes {
		var object v1alpha1.VirtualService
		if err := c.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &object); err != nil {
			return nil, err
		}
		patched := object.DeepCopy()
		shift(patched, int32(i%2))
		if err := c.Patch(ctx, patched, client.MergeFrom(&object)); err != nil {
			return nil, err
		}
		answered := time.Now()
		if err := acknowledged(ctx, watcher, name, patched.Generation); err != nil {
			return nil, err
		}
		times = append(times, time.Since(answered))
		// Only a lone change shows that it is not delayed.
		if err := pause(ctx, 150*time.Millisecond); err != nil {
			return nil, err
		}
	}
	slices.Sort(times)
	return times, nil
}

// shift changes the weights of the last route a little.
func shift(object *v1alpha1.VirtualService, by int32) {
	route := object.Spec.HTTP[len(object.Spec.HTTP)-1].Route
	route[0].Weight, route[len(route)-1].Weight = new(by), new(100-by)
}

// acknowledged waits until the watch shows that all proxies run the generation.
func acknowledged(ctx context.Context, watcher watch.Interface, name string, generation int64) error {
	deadline := time.After(30 * time.Second)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("virtualservice/%s: generation %d was not programmed within 30 s", name, generation)
		case event, open := <-watcher.ResultChan():
			if !open {
				return errors.New("the watch of virtualservices ended")
			}
			object, is := event.Object.(*v1alpha1.VirtualService)
			if !is || object.Name != name {
				continue
			}
			condition := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionProgrammed)
			if condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration >= generation {
				return nil
			}
		}
	}
}

// buckets are a histogram's counts by upper bound in seconds, each with those below it.
type buckets map[float64]float64

// propagationBuckets reads the manager's own measure: from the publication of a generation
// to the last proxy's acknowledgement.
func (s *stage) propagationBuckets(ctx context.Context) (buckets, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return parseBuckets(response.Body, "fairlead_propagation_seconds")
}

func parseBuckets(r io.Reader, name string) (buckets, error) {
	counts := buckets{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text, is := strings.CutPrefix(lines.Text(), name+`_bucket{le="`)
		if !is {
			continue
		}
		bound, count, _ := strings.Cut(text, `"} `)
		upper, err := strconv.ParseFloat(bound, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		if counts[upper], err = strconv.ParseFloat(count, 64); err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	if len(counts) == 0 {
		return nil, errors.Join(lines.Err(), fmt.Errorf("the manager does not tell the metric %s", name))
	}
	return counts, lines.Err()
}

// since returns the counts that came after an earlier reading.
func (b buckets) since(earlier buckets) buckets {
	fresh := buckets{}
	for bound, count := range b {
		fresh[bound] = count - earlier[bound]
	}
	return fresh
}
