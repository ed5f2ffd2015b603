package s3

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/s3/sigv4"
	"polder.dev/polder/storage/seal"
)

// logged is a world that keeps access logs.
type logged struct {
	*world
	log *accesslog.Log
	out strings.Builder
}

func newLogged(t testing.TB, c Config) *logged {
	t.Helper()
	l := &logged{}
	var err error
	l.log, err = accesslog.New(accesslog.Options{
		Put: func(ctx context.Context, from *accesslog.Source, bucket, key string, text []byte) error {
			return l.s3.PutLog(ctx, from, bucket, key, text)
		},
		Region: firstRegion, Log: slog.New(slog.NewTextHandler(&l.out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	c.Access = l.log
	l.world = serve(t, m, c)
	l.ok(l.main("PUT", "/data", ""))
	l.ok(l.main("PUT", "/logs", ""))
	l.ok(l.main("PUT", "/data?logging", loggingBody("logs", "p/", "")))
	return l
}

func loggingBody(bucket, prefix, more string) string {
	return "<BucketLoggingStatus><LoggingEnabled><TargetBucket>" + bucket + "</TargetBucket><TargetPrefix>" + prefix + "</TargetPrefix>" + more + "</LoggingEnabled></BucketLoggingStatus>"
}

// The fields of a record, by their places.
const (
	fOwner = iota
	fBucket
	fTime
	fIP
	fRequester
	fID
	fOperation
	fKey
	fLine
	fStatus
	fCode
	fSent
	fSize
	fTotal
	fTurn
	fReferer
	fAgent
	fVersion
	fHostID
	fSignature
	fCipher
	fAuth
	fHost
	fTLS
	fPoint
	fACL
	fRegion
	fieldCount
)

var fieldsOf = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|[^ ]+`)

// minio is a client of the usual user.
func (l *logged) minio() *minio.Client {
	l.t.Helper()
	c, err := minio.New(strings.TrimPrefix(l.url, "http://"), &minio.Options{Creds: credentials.NewStaticV4("MAIN", "main-secret", "")})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// records are all that lie below a prefix of /logs, once want of them are delivered: a request
// is recorded after its answer was sent.
func (l *logged) records(prefix string, want int) [][]string {
	l.t.Helper()
	var out [][]string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		l.log.Deliver(l.t.Context())
		out = nil
		b, err := l.space.Resolve(l.t.Context(), "main", "logs")
		if err != nil {
			l.t.Fatal(err)
		}
		page, err := b.List(l.t.Context(), storage.ListOptions{Prefix: prefix})
		if err != nil {
			l.t.Fatal(err)
		}
		for i := range page.Objects {
			o, err := seal.Over(b, seal.Opener{Keys: l.s3.keyring}).Open(l.t.Context(), page.Objects[i].Key, storage.ReadOptions{})
			if err != nil {
				l.t.Fatal(err)
			}
			info := o.Info()
			text, err := io.ReadAll(storage.Reader(o, 0, info.Size))
			if err != nil {
				l.t.Fatal(err)
			}
			_ = o.Close()
			for line := range strings.Lines(string(text)) {
				f := fieldsOf.FindAllString(strings.TrimSuffix(line, "\n"), -1)
				if len(f) != fieldCount {
					l.t.Errorf("%d fields in %q", len(f), line)
					f = append(f, make([]string, fieldCount)...)
				}
				out = append(out, f)
			}
		}
		if len(out) >= want {
			return out
		}
	}
	l.t.Fatalf("there are %d records, not %d", len(out), want)
	return nil
}

// of are the records of an operation.
func of(all [][]string, operation string) [][]string {
	return slices.DeleteFunc(slices.Clone(all), func(f []string) bool { return f[fOperation] != operation })
}

func TestLoggingConfiguration(t *testing.T) {
	l := newLogged(t, Config{})
	for _, format := range []string{
		"", "<TargetObjectKeyFormat><SimplePrefix></SimplePrefix></TargetObjectKeyFormat>",
		"<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>",
		"<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>DeliveryTime</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>",
	} {
		l.ok(l.main("PUT", "/data?logging", loggingBody("logs", "a&amp;b/", format)))
		want := strings.TrimPrefix(loggingBody("logs", "a&amp;b/", format), "<BucketLoggingStatus>")
		if r := l.ok(l.main("GET", "/data?logging", "")); !strings.HasSuffix(string(r.body), want) {
			t.Errorf("got %s", r.body)
		}
	}
	l.ok(l.as("ALT", "PUT", "/alts", nil, nil))
	l.ok(l.main("PUT", "/locked", "", "x-amz-bucket-object-lock-enabled", "true"))
	l.ok(l.main("PUT", "/locked?object-lock", lockRule("GOVERNANCE", "<Days>1</Days>")))
	l.ok(l.main("PUT", "/denied", ""))
	l.want(l.main("PUT", "/denied?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::denied/*"}]}`), 204, "")
	for name, c := range map[string]struct {
		body, code string
		status     int
	}{
		"no bucket":      {loggingBody("none", "", ""), "InvalidTargetBucketForLogging", 400},
		"another's":      {loggingBody("alts", "", ""), "InvalidTargetBucketForLogging", 400},
		"denied":         {loggingBody("denied", "", ""), "InvalidTargetBucketForLogging", 400},
		"retained":       {loggingBody("locked", "", ""), "InvalidTargetBucketForLogging", 400},
		"no name":        {loggingBody("", "", ""), "MalformedXML", 400},
		"no prefix":      {"<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket></LoggingEnabled></BucketLoggingStatus>", "MalformedXML", 400},
		"empty":          {"", "MalformedXML", 400},
		"long prefix":    {loggingBody("logs", strings.Repeat("x", 1000), ""), "InvalidArgument", 400},
		"no format":      {loggingBody("logs", "", "<TargetObjectKeyFormat/>"), "MalformedXML", 400},
		"two formats":    {loggingBody("logs", "", "<TargetObjectKeyFormat><SimplePrefix/><PartitionedPrefix/></TargetObjectKeyFormat>"), "MalformedXML", 400},
		"no date source": {loggingBody("logs", "", "<TargetObjectKeyFormat><PartitionedPrefix/></TargetObjectKeyFormat>"), "MalformedXML", 400},
		"grants":         {loggingBody("logs", "", "<TargetGrants><Grant><Permission>READ</Permission></Grant></TargetGrants>"), "NotImplemented", 501},
	} {
		t.Run(name, func(t *testing.T) { l.want(l.main("PUT", "/data?logging", c.body), c.status, c.code) })
	}
	// Who sets it needs the right to write to the target, too.
	l.want(l.main("PUT", "/data?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::main:user/plain"},"Action":"s3:*","Resource":["arn:aws:s3:::data","arn:aws:s3:::data/*"]}]}`), 204, "")
	l.want(l.as("PLAIN", "PUT", "/data?logging", []byte(loggingBody("logs", "", "")), nil), 403, "AccessDenied")
	l.ok(l.as("PLAIN", "PUT", "/data?logging", []byte("<BucketLoggingStatus/>"), nil))
	if r := l.ok(l.main("GET", "/data?logging", "")); strings.Contains(string(r.body), "LoggingEnabled") {
		t.Errorf("when it is off: %s", r.body)
	}
}

// TestLoggingResidency: logs tell of data, and go only where the data may.
func TestLoggingResidency(t *testing.T) {
	l := newLogged(t, Config{})
	for name, r := range map[string]storage.Residency{"german": {Home: "eu/de"}, "european": {Home: "eu"}, "also": {Home: "eu/de"}} {
		if _, err := l.space.CreateBucket(t.Context(), "main", name, storage.Settings{Residency: r}); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{"logs", "european"} {
		r := l.want(l.main("PUT", "/german?logging", loggingBody(to, "", "")), 403, "CrossLocationLoggingProhibited")
		if !strings.Contains(string(r.body), "only in eu/de") {
			t.Errorf("no reason is told: %s", r.body)
		}
	}
	l.ok(l.main("PUT", "/german?logging", loggingBody("also", "", "")))
	l.ok(l.main("PUT", "/european?logging", loggingBody("german", "", "")))
}

// TestRecords goes through what is recorded, and how.
func TestRecords(t *testing.T) {
	l := newLogged(t, Config{})
	l.ok(l.main("PUT", "/data/dir/a%20key", "0123456789", "User-Agent", `a "quoted" one`, "Referer", "http://r/?Signature=secret-of-referer"))
	l.ok(l.main("GET", "/data/dir/a%20key", "", "Range", "bytes=2-4"))
	l.want(l.main("GET", "/data/none", ""), 404, "NoSuchKey")
	l.want(l.as("", "GET", "/data/dir/a%20key", nil, nil), 403, "AccessDenied")
	l.want(l.as("NOBODY", "GET", "/data/dir/a%20key", nil, nil), 403, "InvalidAccessKeyId")
	l.ok(l.main("GET", "/data?list-type=2", ""))
	l.ok(l.main("GET", "/data?logging", ""))
	presigned := l.request("GET", "/data/dir/a%20key", nil, nil)
	s := l.signer("MAIN")
	if err := s.Presign(presigned, time.Minute, time.Now()); err != nil {
		t.Fatal(err)
	}
	signature := presigned.URL.Query().Get("X-Amz-Signature")
	if signature == "" {
		t.Fatal("there is no signature")
	}
	l.ok(l.do(presigned))
	l.ok(l.main("PUT", "/logs/copy", "", "x-amz-copy-source", "/data/dir/a%20key"))
	l.ok(l.main("PUT", "/data/b", "x"))
	l.ok(l.main("POST", "/data?delete", "<Delete><Object><Key>b</Key></Object><Object><Key>dir/a key</Key><ETag>bad</ETag></Object></Delete>"))
	l.want(l.main("DELETE", "/data/dir/a%20key", ""), 204, "")
	l.ok(l.main("PUT", "/logs/x", "not logged"))
	all := l.records("p/", 14)
	if len(all) != 14 {
		t.Errorf("%d records", len(all))
	}
	for _, f := range all {
		if f[fOwner] != "main" || f[fBucket] != "data" || f[fIP] != "127.0.0.1" || f[fHostID] == "-" || f[fHost] != strings.TrimPrefix(l.url, "http://") || f[fTLS] != "-" {
			t.Errorf("what all have in common: %v", f)
		}
		if _, err := time.Parse("[02/Jan/2006:15:04:05 -0700]", f[fTime]); err != nil {
			t.Error(err)
		}
		if text := strings.Join(f, " "); strings.Contains(text, signature) || strings.Contains(text, "secret-of-referer") {
			t.Errorf("a secret is in %s", text)
		}
	}
	check := func(operation string, n int, want map[int]string) {
		t.Helper()
		got := of(all, operation)
		matching := slices.DeleteFunc(slices.Clone(got), func(f []string) bool {
			for i, v := range want {
				if f[i] != v {
					return true
				}
			}
			return false
		})
		if len(matching) != n {
			t.Errorf("%d records of %s are %v, not %d: %v", len(matching), operation, slices.Sorted(maps.Values(want)), n, got)
		}
	}
	root := "arn:aws:iam::main:user/root"
	check("REST.PUT.OBJECT", 1, map[int]string{fKey: "dir/a%20key", fStatus: "200", fCode: "-", fSize: "10", fRequester: root, fSignature: "SigV4", fAuth: "AuthHeader", fAgent: `"a %22quoted%22 one"`, fReferer: `"http://r/?Signature=REDACTED"`, fLine: `"PUT /data/dir/a%20key HTTP/1.1"`, fACL: "-", fSent: "-"})
	check("REST.GET.OBJECT", 1, map[int]string{fStatus: "206", fSent: "3", fSize: "10"})
	check("REST.GET.OBJECT", 1, map[int]string{fStatus: "404", fCode: "NoSuchKey", fKey: "none", fSize: "-"})
	check("REST.GET.OBJECT", 1, map[int]string{fStatus: "403", fCode: "AccessDenied", fRequester: "-", fSignature: "-", fAuth: "-"})
	check("REST.GET.OBJECT", 1, map[int]string{fStatus: "403", fCode: "InvalidAccessKeyId", fRequester: "-"})
	check("REST.GET.OBJECT", 1, map[int]string{fStatus: "200", fAuth: "QueryString", fSent: "10"})
	check("REST.GET.BUCKET", 1, map[int]string{fStatus: "200", fKey: "-"})
	check("REST.PUT.LOGGING_STATUS", 0, nil) // the one that turned it on came before
	check("REST.GET.LOGGING_STATUS", 1, map[int]string{fStatus: "200"})
	check("REST.COPY.OBJECT_GET", 1, map[int]string{fKey: "dir/a%20key", fStatus: "200", fSize: "10", fLine: `"-"`, fRequester: root})
	check("REST.POST.MULTI_OBJECT_DELETE", 1, map[int]string{fStatus: "200"})
	check("BATCH.DELETE.OBJECT", 1, map[int]string{fKey: "b", fStatus: "204", fCode: "-"})
	check("BATCH.DELETE.OBJECT", 1, map[int]string{fKey: "dir/a%20key", fStatus: "412", fCode: "PreconditionFailed"})
	check("REST.DELETE.OBJECT", 1, map[int]string{fStatus: "204"})
	for _, f := range of(all, "REST.GET.OBJECT") {
		total, err := strconv.Atoi(f[fTotal])
		turn, err2 := strconv.Atoi(f[fTurn])
		if err != nil || err2 != nil || turn > total {
			t.Errorf("times are %s and %s", f[fTotal], f[fTurn])
		}
	}
}

// TestRecordsOfACLs: what nothing but an ACL allows says so.
func TestRecordsOfACLs(t *testing.T) {
	l := newLogged(t, Config{})
	l.ok(l.main("PUT", "/data/open", "x", "x-amz-acl", "public-read"))
	l.ok(l.as("", "GET", "/data/open", nil, nil))
	l.ok(l.main("GET", "/data/open", ""))
	got := map[string]string{}
	for _, f := range of(l.records("p/", 3), "REST.GET.OBJECT") {
		got[f[fRequester]] = f[fACL]
	}
	if want := map[string]string{"-": "Yes", "arn:aws:iam::main:user/root": "-"}; !maps.Equal(got, want) {
		t.Errorf("aclRequired is %v", got)
	}
}

// TestRecordsOfParts names the operations of uploads as Amazon does, and says what a site's
// visitors and browsers ask.
func TestRecordsOfParts(t *testing.T) {
	l := newLogged(t, Config{Sites: []string{"web.test"}})
	c := l.minio()
	if _, err := c.PutObject(t.Context(), "data", "large", strings.NewReader(strings.Repeat("x", 6<<20)), -1, minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		t.Fatal(err)
	}
	r := l.request("GET", "/page", nil, nil)
	r.Host = "data.web.test"
	l.do(r)
	r = l.request("OPTIONS", "/data/large", nil, head{"Origin", "http://o", "Access-Control-Request-Method", "GET"})
	l.want(l.do(r), 403, "AccessForbidden")
	got := map[string]bool{}
	for _, f := range l.records("p/", 6) {
		got[f[fOperation]] = true
	}
	for _, want := range []string{"REST.POST.UPLOADS", "REST.PUT.PART", "REST.POST.UPLOAD", "WEBSITE.GET.OBJECT", "REST.OPTIONS.PREFLIGHT"} {
		if !got[want] {
			t.Errorf("%s is not in %v", want, slices.Sorted(maps.Keys(got)))
		}
	}
}

// TestLogOfItself: a bucket that logs into itself does not grow by that.
func TestLogOfItself(t *testing.T) {
	l := newLogged(t, Config{})
	l.ok(l.main("PUT", "/logs?logging", loggingBody("logs", "own/", "")))
	l.ok(l.main("GET", "/logs?versioning", ""))
	if all := l.records("own/", 1); len(all) != 1 || all[0][fOperation] != "REST.GET.VERSIONING" {
		t.Errorf("records are %v", all)
	}
	l.log.Deliver(t.Context())
	if all := l.records("own/", 1); len(all) != 1 {
		t.Errorf("deliveries made %d records", len(all))
	}
}

// TestLogIsAnObject: a log is sealed as its bucket says, keeps to its quota, and is the owner's.
func TestLogIsAnObject(t *testing.T) {
	keys, err := seal.ParseKeys([]byte("keys:\n- {id: default, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=, jurisdictions: [\"\"]}\n"), func(storage.Settings) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	l := newLogged(t, Config{Keys: keys})
	l.ok(l.main("PUT", "/logs?encryption", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"))
	l.ok(l.main("GET", "/data?versioning", ""))
	l.records("p/", 1)
	for o := range l.minio().ListObjects(t.Context(), "logs", minio.ListObjectsOptions{Prefix: "p/"}) {
		r := l.ok(l.main("GET", "/logs/"+o.Key, ""))
		if r.Header.Get("X-Amz-Server-Side-Encryption") != "AES256" || r.Header.Get("Content-Type") != "text/plain" || !strings.HasPrefix(string(r.body), "main data [") {
			t.Errorf("%s: %v %s", o.Key, r.Header, r.body)
		}
	}
}

// TestLogsLost: a target that is gone costs its records, and no request.
func TestLogsLost(t *testing.T) {
	l := newLogged(t, Config{})
	b, err := l.space.Resolve(t.Context(), "main", "logs")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.space.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	l.ok(l.main("GET", "/data?versioning", ""))
	for deadline := time.Now().Add(30 * time.Second); l.out.Len() == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		l.log.Deliver(t.Context())
	}
	if !strings.Contains(l.out.String(), "records of a bucket's access log are lost") || !strings.Contains(l.out.String(), "does not exist") {
		t.Errorf("it is said that %q", l.out.String())
	}
	l.ok(l.main("GET", "/data?versioning", ""))
}

// BenchmarkHandlerLogged is BenchmarkHandler for a bucket that has a log.
func BenchmarkHandlerLogged(b *testing.B) {
	l := newLogged(b, Config{})
	l.ok(l.as("MAIN", "PUT", "/data/dir/object", noise(4<<10), nil))
	r := l.request("GET", "/data/dir/object", nil, nil)
	if err := l.signer("MAIN").Sign(r, sigv4.Empty, time.Now()); err != nil {
		b.Fatal(err)
	}
	r.Host = r.URL.Host
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			l.log.Deliver(b.Context())
		}
		l.s3.ServeHTTP(&nobody{http.Header{}}, r)
	}
}
