// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
	"github.com/veraison/attested-tls/internal/deployment"
)

const fleetClass = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"

// TestProvisionScript runs the scripts of "atls provision". Beside the commands
// of all scripts they have:
//
//	fleet DIR N [FIRST]  makes N CoRIMs with one trust anchor each, numbered from
//	                     FIRST (0): the same number gives the same kid
//	anchor FILE N [OLD]  makes one for kid N with a new key, or with that of OLD
//	                     in another PEM spelling
//	veraison [NAME PASSWORD] starts a deployment: $URL, $VERIFIER
//	rows N               the deployment's store has N rows, each once
//	scripted ANSWER…     starts a server that answers submissions in turn, the
//	                     last one for ever: $URL (see scriptedService)
//	rename FILE ID       gives a CoRIM another identifier
//	signed FILE N        makes a signed one for kid N, with a new key
//	expired FILE         makes a CoRIM that has expired
//	exits CODE atls …    the command fails with this exit code and prints nothing on
//	                     standard output; it may write to a report
//	doubt FILE           $REPORT says that FILE is being sent, in dialect v1
//	reported EVENT N     $REPORT has N lines of an event
//	killvts              ends the VTS of the deployment
func TestProvisionScript(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "provision*.txtar"))
	require.NoError(t, err)
	var s provisionScripts
	s.t = t
	runScripts(t, files, map[string]scriptCommand{
		"fleet":    s.fleet,
		"anchor":   s.anchor,
		"veraison": s.veraison,
		"rows":     s.rows,
		"scripted": s.scripted,
		"killvts":  s.killVTS,
		"expired":  expiredCorim,
		"signed":   signedCorim,
		"doubt":    s.doubt,
		"exits":    exits,
		"rename":   renameCorim,
		"reported": reported,
	})
}

type provisionScripts struct {
	t           *testing.T
	deployments sync.Map // by URL
}

func (s *provisionScripts) fleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fleet DIR N [FIRST]")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	first := 0
	if len(args) > 2 {
		first, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	ts.Check(writeFleet(ts.MkAbs(args[0]), first, n))
}

func (s *provisionScripts) anchor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: anchor FILE N [OLD]")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	key, err := newKeyPEM()
	ts.Check(err)
	if len(args) > 2 {
		old, err := os.ReadFile(ts.MkAbs(args[2]))
		ts.Check(err)
		c, err := endorsements.Decode(old)
		ts.Check(err)
		key = strings.ReplaceAll(c.Anchors[0].PEM, "\n", "\r\n")
	}
	data, err := anchorCorim(n, key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func (s *provisionScripts) veraison(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 && len(args) != 2 {
		ts.Fatalf("usage: veraison [NAME PASSWORD]")
	}
	cfg := deployment.Config{PluginDir: pluginDir(s.t), Store: deployment.SQLite}
	if len(args) == 2 {
		cfg.Provisioner = &deployment.User{Name: args[0], Password: args[1]}
	}
	bin, err := deployment.FindBinDir()
	ts.Check(err)
	cfg.BinDir, cfg.Dir = bin, s.t.TempDir()
	// Not StartForTest, which minds when a script kills a service.
	d, err := deployment.Start(s.t.Context(), cfg)
	ts.Check(err)
	ts.Defer(func() { _ = d.Stop() })
	ts.Setenv("URL", d.ProvisioningURL())
	ts.Setenv("VERIFIER", d.VerificationURL())
	s.deployments.Store(d.ProvisioningURL(), d)
}

func (s *provisionScripts) deployment(ts *testscript.TestScript) *deployment.Deployment {
	d, ok := s.deployments.Load(ts.Getenv("URL"))
	if !ok {
		ts.Fatalf("there is no deployment: call veraison first")
	}
	return d.(*deployment.Deployment)
}

func (s *provisionScripts) rows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: rows N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	dump, err := s.deployment(ts).DumpTrustAnchors(context.Background())
	ts.Check(err)
	ts.Check(eachOnce(dump, n))
}

func (s *provisionScripts) killVTS(ts *testscript.TestScript, neg bool, args []string) {
	pid := s.deployment(ts).PIDs()[deployment.VTS]
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		ee, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if ts.ReadFile("stdout") != "" {
		ts.Fatalf("a failure printed on standard output")
	}
}

func (s *provisionScripts) doubt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: doubt FILE")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	data, err = endorsements.Convert(data, endorsements.DialectV1)
	ts.Check(err)
	r, err := openReport(ts.MkAbs(ts.Getenv("REPORT")), ts.Getenv("URL"), true)
	ts.Check(err)
	ts.Check(r.begin())
	ts.Check(r.add(&provisionItem{path: args[0], hash: sha256.Sum256(data)}, eventSending, "", true))
	r.close()
}

func renameCorim(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: rename FILE ID")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	c, err := endorsements.Decode(data)
	ts.Check(err)
	c.ID = args[1]
	data, err = c.Encode(c.Dialect)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func expiredCorim(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expired FILE")
	}
	key, err := newKeyPEM()
	ts.Check(err)
	data, err := anchorCorim(0, key)
	ts.Check(err)
	c, err := endorsements.Decode(data)
	ts.Check(err)
	c.NotAfter = time.Now().Add(-time.Hour).Truncate(time.Second)
	data, err = c.Encode(endorsements.DialectV2)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func signedCorim(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signed FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	pem, err := newKeyPEM()
	ts.Check(err)
	data, err := anchorCorim(n, pem)
	ts.Check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	data, err = signed.Sign(data, key, signed.Options{Signer: endorsements.Signer{Name: "maker"}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func reported(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reported EVENT N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if got := countEvents(ts.MkAbs(ts.Getenv("REPORT")), reportEvent(args[0])); got != want {
		ts.Fatalf("%d lines %q, want %d", got, args[0], want)
	}
}

// scripted answers what its arguments name.
func (s *provisionScripts) scripted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: scripted ANSWER…")
	}
	ts.Setenv("URL", scriptedService(s.t, args))
}

// scriptedService is a provisioning service with faults that a real one cannot
// be made to show. It announces dialect v1, or v2 if "v2" is the first answer,
// and answers submissions in turn.
func scriptedService(t *testing.T, answers []string) string {
	announced, protected := endorsements.DialectV1, false
	mediaTypes := []string{announced.MediaType(false)}
	switch answers[0] {
	case "signed":
		mediaTypes, answers = append(mediaTypes, endorsements.DialectV2.MediaType(true)), answers[1:]
	case "v2":
		announced, answers = endorsements.DialectV2, answers[1:]
		mediaTypes = []string{announced.MediaType(false)}
	case "oauth2":
		protected, answers = true, answers[1:]
	}
	var mu sync.Mutex
	turn := func() string {
		mu.Lock()
		defer mu.Unlock()
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return answer
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/veraison/provisioning", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"version": "scripted", "service-state": "READY",
			"media-types": mediaTypes})
	})
	mux.HandleFunc("POST /endorsement-provisioning/v1/submit", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		if protected && r.Header.Get("Authorization") != "Bearer gate" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mediaType, right := r.Header.Get("Content-Type"), false
		switch c, err := endorsements.Decode(body); {
		case errors.Is(err, endorsements.ErrSigned):
			right = mediaType == endorsements.DialectV2.MediaType(true)
		case err == nil:
			right = c.Dialect == announced && mediaType == announced.MediaType(false)
		}
		if !right || !slices.Contains(mediaTypes, mediaType) {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		switch answer := turn(); answer {
		case "hangup":
			panic(http.ErrAbortHandler)
		case "success":
			fmt.Fprint(w, `{"status":"success"}`)
		case "later":
			w.Header().Set("Location", "/session")
			w.WriteHeader(http.StatusCreated)
		default:
			status, err := strconv.Atoi(answer)
			if err != nil {
				fmt.Fprintf(w, `{"status":"failed","failure-reason":%q}`, answer)
				return
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status":%d}`, status)
		}
	})
	mux.HandleFunc("GET /session", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"status":"failed","failure-reason":"not this one"}`)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		id, secret, basic := r.BasicAuth()
		if !basic {
			id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
		}
		switch grant := r.FormValue("grant_type"); {
		case grant == "client_credentials" && id == "tool" && secret == "hush" && r.FormValue("scope") == "provision",
			grant == "password" && id == "public" && secret == "" && r.FormValue("username") == "operator" && r.FormValue("password") == "secret":
			fmt.Fprint(w, `{"access_token":"gate","token_type":"Bearer","expires_in":300}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"who are you?"}`)
		}
	})
	return serveHTTP(t, mux)
}

// pluginDir is a plugins folder with this project's plugin.
func pluginDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plugins")
	require.NoError(t, buildPlugin(dir))
	return dir
}

func newKeyPEM() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	return endorsements.MarshalKeyPEM(&key.PublicKey)
}

// anchorCorim endorses a key for kid n, in the newest dialect.
func anchorCorim(n int, pem string) ([]byte, error) {
	kid := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("device"), uint64(n)))
	anchor, err := endorsements.NewTrustAnchor(fleetClass, append([]byte{1}, kid[:]...), pem)
	if err != nil {
		return nil, err
	}
	c := endorsements.Corim{ID: fmt.Sprintf("device-%d", n), Anchors: []endorsements.TrustAnchor{anchor}}
	return c.Encode(endorsements.DialectV2)
}

func writeFleet(dir string, first, n int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := first; i < first+n; i++ {
		key, err := newKeyPEM()
		if err != nil {
			return err
		}
		data, err := anchorCorim(i, key)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("device-%05d.cbor", i)), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// eachOnce checks that a store has n rows, with a key each.
func eachOnce(dump string, n int) error {
	keys := map[string]int{}
	for line := range strings.Lines(dump) {
		key, _, _ := strings.Cut(line, "\t")
		keys[key]++
	}
	rows := strings.Count(dump, "\n")
	if rows != n || len(keys) != n {
		return fmt.Errorf("the store has %d rows and %d keys, want %d of each", rows, len(keys), n)
	}
	return nil
}

// fleetSize is how many CoRIMs the tests of whole fleets use; ATLS_TEST_FLEET
// sets another number.
func fleetSize(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ATLS_TEST_FLEET")
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// fleetCommand runs the program as a process of its own.
func fleetCommand(t *testing.T, d *deployment.Deployment, state string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("atls", append([]string{"provision", "--url", d.ProvisioningURL(), "--insecure-http", "-j", "8"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
	return cmd
}

// A fleet in one command: nothing is lost, nothing is there twice.
func TestProvisionFleet(t *testing.T) {
	n := fleetSize(t)
	d := deployment.StartForTest(t, deployment.Config{PluginDir: pluginDir(t), Store: deployment.SQLite, LogLevel: "warn"})
	fleet, state := t.TempDir(), t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, n))

	cmd := fleetCommand(t, d, state, "--json", fleet)
	started := time.Now()
	out, err := cmd.Output()
	require.NoError(t, err)
	took := time.Since(started)
	var s provisionSummary
	require.NoError(t, json.Unmarshal(out, &s))
	require.Equal(t, n, s.Accepted)
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%d CoRIMs in %v (%.0f a second), %d MiB at most", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), usage.Maxrss>>10)

	dump, err := d.DumpTrustAnchors(t.Context())
	require.NoError(t, err)
	require.NoError(t, eachOnce(dump, n))

	// And again: all of it is there.
	out, err = fleetCommand(t, d, state, "--json", fleet).Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &s))
	require.Equal(t, n, s.AcceptedBefore)
	dump, err = d.DumpTrustAnchors(t.Context())
	require.NoError(t, err)
	require.NoError(t, eachOnce(dump, n))
}

// The same, killed in the middle and run again: each is there exactly once.
func TestProvisionKilled(t *testing.T) {
	n := fleetSize(t)
	d := deployment.StartForTest(t, deployment.Config{PluginDir: pluginDir(t), Store: deployment.SQLite, LogLevel: "warn"})
	fleet, state := t.TempDir(), t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, n))
	report := filepath.Join(state, "report.jsonl")

	for _, at := range []int{n / 3, n * 2 / 3} {
		cmd := fleetCommand(t, d, state, "--report", report, "--verifier", d.VerificationURL(), "--discover", fleet)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		ended := make(chan struct{})
		var killer sync.WaitGroup
		killer.Go(func() {
			for countEvents(report, eventAccepted)+countEvents(report, eventFound) < at {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
				}
			}
			_ = cmd.Process.Kill() // if it has ended, the test fails below
		})
		err := cmd.Wait()
		close(ended)
		killer.Wait()
		require.Error(t, err, "it ended before it could be killed")
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), stderr.String())
	}

	cmd := fleetCommand(t, d, state, "--json", "--report", report, "--verifier", d.VerificationURL(), "--discover", fleet)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var s provisionSummary
	require.NoError(t, json.Unmarshal(out, &s))
	require.Equal(t, n, s.Accepted+s.AcceptedBefore)
	dump, err := d.DumpTrustAnchors(t.Context())
	require.NoError(t, err)
	require.NoError(t, eachOnce(dump, n))
	t.Logf("in doubt after the kills: %d were at the verifier, %d were not", countEvents(report, eventFound), countEvents(report, eventAbsent))
}

func countEvents(report string, e reportEvent) int {
	data, err := os.ReadFile(report)
	if err != nil {
		return 0
	}
	return bytes.Count(data, []byte(`"event":"`+string(e)+`"`))
}
