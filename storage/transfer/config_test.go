package transfer

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"credentials": "[default]\naws_access_key_id = FILE\naws_secret_access_key = file-secret\n[other]\naws_access_key_id = OTHER\naws_secret_access_key = other-secret\naws_session_token = token\n",
		"ca":          "pem", "empty": "",
	})
	for name, tc := range map[string]struct {
		env          map[string]string
		endpoint, ca string
		want         Config
	}{
		"nothing": {env: map[string]string{"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "empty")}},
		"variables": {
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://b", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": "T", "AWS_REGION": "here", "AWS_CA_BUNDLE": filepath.Join(dir, "ca")},
			want: Config{Endpoint: "http://b", AccessKey: "A", SecretKey: "S", SessionToken: "T", Region: "here", CA: []byte("pem")},
		},
		"that of S3 wins": {
			env:  map[string]string{"AWS_ENDPOINT_URL": "http://b", "AWS_ENDPOINT_URL_S3": "http://a", "AWS_DEFAULT_REGION": "there"},
			want: Config{Endpoint: "http://a", AccessKey: "FILE", SecretKey: "file-secret", Region: "there"},
		},
		"a flag wins": {
			env: map[string]string{"AWS_ENDPOINT_URL_S3": "http://a", "AWS_CA_BUNDLE": "/nowhere"}, endpoint: "https://c", ca: filepath.Join(dir, "ca"),
			want: Config{Endpoint: "https://c", AccessKey: "FILE", SecretKey: "file-secret", CA: []byte("pem")},
		},
		"a profile":                   {env: map[string]string{"AWS_PROFILE": "other"}, want: Config{AccessKey: "OTHER", SecretKey: "other-secret", SessionToken: "token"}},
		"half a key is none":          {env: map[string]string{"AWS_ACCESS_KEY_ID": "A"}, want: Config{AccessKey: "FILE", SecretKey: "file-secret"}},
		"a profile that is not there": {env: map[string]string{"AWS_PROFILE": "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "empty"))
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
			t.Setenv("AWS_PROFILE", "")
			for k, v := range tc.env { // the library of the files reads the process's own
				t.Setenv(k, v)
			}
			got, err := Environment(func(k string) string { return tc.env[k] }, tc.endpoint, tc.ca)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if _, err := Environment(func(string) string { return "" }, "", "/nowhere"); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("certificates that are not there: %v", err)
	}
}

// TestCertificates: a store whose authority is not known is refused at once, and one that
// is named is believed.
func TestCertificates(t *testing.T) {
	h := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>`))
	}))
	defer h.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	for _, tc := range []struct {
		ca   []byte
		good bool
	}{{nil, false}, {ca, true}} {
		c, err := New(Config{Endpoint: h.URL, AccessKey: "KEY", SecretKey: "x", CA: tc.ca})
		if err != nil {
			t.Fatal(err)
		}
		if list, err := c.Buckets(t.Context()); (err == nil) != tc.good || len(list) > 0 != tc.good {
			t.Errorf("believed: %v; %v, %v", tc.good, list, err)
		}
	}
	if _, err := New(Config{Endpoint: h.URL, CA: []byte("none")}); err == nil {
		t.Error("a file without certificates is taken")
	}
	for _, cfg := range []Config{{Endpoint: h.URL, Parallel: -1}, {Endpoint: h.URL, Parallel: 1000}, {Endpoint: h.URL, PartBytes: 1 << 20}, {Endpoint: h.URL, PartBytes: 6 << 30}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%d requests of %d bytes are possible", cfg.Parallel, cfg.PartBytes)
		}
	}
}
