package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func serve(t *testing.T, a *app) *httptest.Server {
	t.Helper()
	a.client = http.DefaultClient
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url string, header http.Header) (int, answer) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var said answer
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, said
}

func TestAnAppTellsItsVersionAndWhatTheNextOneSaid(t *testing.T) {
	next := serve(t, &app{service: "reviews", version: "v2"})
	front := serve(t, &app{service: "front", version: "v1", next: next.URL})

	status, said := get(t, front.URL+"/page", http.Header{"End-User": {"ann"}, "Cookie": {"mine"}})
	if status != http.StatusOK || said.Service != "front" || said.Version != "v1" || said.Path != "/page" {
		t.Fatalf("front answered %d: %+v", status, said)
	}
	var reviews answer
	if err := json.Unmarshal(said.Calls, &reviews); err != nil {
		t.Fatal(err)
	}
	if reviews.Service != "reviews" || reviews.Version != "v2" {
		t.Errorf("front passed on %+v", reviews)
	}
	if reviews.Headers["End-User"] != "ann" {
		t.Errorf("end-user did not reach reviews: %v", reviews.Headers)
	}
	if _, there := reviews.Headers["Cookie"]; there {
		t.Errorf("a header that is nobody else's business reached reviews: %v", reviews.Headers)
	}
}

func TestAFailureOfTheNextAppIsAFailure(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"an error as JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"no":"body"}`))
		},
		"an error as text": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		},
		"a success that is no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) },
	}
	for name, next := range tests {
		t.Run(name, func(t *testing.T) {
			broken := httptest.NewServer(next)
			t.Cleanup(broken.Close)
			status, said := get(t, serve(t, &app{service: "front", version: "v1", next: broken.URL}).URL, nil)
			if status != http.StatusBadGateway || said.Error == "" || said.Calls != nil {
				t.Errorf("front answered %d: %+v", status, said)
			}
		})
	}
}
