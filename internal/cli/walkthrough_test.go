// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// TestWalkthrough does what docs/walkthrough.md tells an operator to do: each
// command of its console blocks, in their order and in one folder, succeeds and
// prints what the page says. There "…" stands for any text and, alone in a line,
// for any lines.
func TestWalkthrough(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "walkthrough.md"))
	require.NoError(t, err)
	steps := consoleSteps(string(page))
	require.Greater(t, len(steps), 15)

	plugins := filepath.Join(t.TempDir(), "plugins")
	require.NoError(t, buildPlugin(plugins))
	d := deployment.StartForTest(t, deployment.Config{PluginDir: plugins})
	tpm := tpmtest.StartSWTPM(t)
	dir := t.TempDir()
	provisioning, ca := tlsFront(t, d.ProvisioningURL())
	verifier, ca2 := tlsFront(t, d.VerificationURL())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), append(ca, ca2...), 0o600))
	env := append(os.Environ(),
		"HOME="+dir,
		"ATLS_TPM="+tpm.URI(),
		"TPM2TOOLS_TCTI=swtpm:path="+tpm.Socket(),
		"PROVISIONING="+provisioning,
		"VERIFIER="+verifier,
		"CLASS="+fenced(t, string(page), `CLASS=([0-9a-f-]+)`),
	)
	shell := func(command string) (string, string, error) {
		cmd := exec.Command("bash", "-o", "pipefail", "-c", command)
		cmd.Dir, cmd.Env = dir, env
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	for _, s := range steps {
		stdout, stderr, err := shell(s.command)
		require.NoError(t, err, "%s\n%s%s", s.command, stdout, stderr)
		if s.output != "" || !strings.HasPrefix(s.command, "tpm2_") {
			require.Regexp(t, s.pattern(), stdout, "%s\n%s", s.command, stderr)
		}
		if strings.HasPrefix(s.command, "tpm2_") {
			// The kernel's resource manager does this for whoever uses it.
			_, stderr, err := shell("tpm2_flushcontext -t")
			require.NoError(t, err, stderr)
		}
	}
}

// step is a command of a page, and what it prints.
type step struct{ command, output string }

func consoleSteps(page string) []step {
	var steps []step
	console := false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "```"):
			console = line == "```console\n"
		case !console:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{command: strings.TrimSpace(line[2:])})
		default:
			steps[len(steps)-1].output += line
		}
	}
	return steps
}

func (s step) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(s.output) {
		if line == "…\n" {
			b.WriteString(`(?s:.*)`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"))
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// fenced finds what the page itself says.
func fenced(t *testing.T, page, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(page)
	require.Len(t, m, 2)
	return m[1]
}

// tlsFront puts TLS before a service, as deployments have it, and returns its
// URL and certificate.
func tlsFront(t *testing.T, to string) (string, []byte) {
	t.Helper()
	target, err := url.Parse(to)
	require.NoError(t, err)
	s := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
	t.Cleanup(s.Close)
	return s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// TestWalkthroughPatterns: the test above fails where a page and its command
// differ.
func TestWalkthroughPatterns(t *testing.T) {
	steps := consoleSteps("```sh\n$ no\n```\n```console\n$ one\na …\n…\nz\n$ two\n```\n")
	require.Equal(t, []step{{"one", "a …\n…\nz\n"}, {"two", ""}}, steps)
	require.Regexp(t, steps[0].pattern(), "a b\nx\ny\nz\n")
	require.Regexp(t, steps[0].pattern(), "a b\nz\n")
	require.NotRegexp(t, steps[0].pattern(), "a b\nx\n")
	require.NotRegexp(t, steps[0].pattern(), "b\na b\nz\n")
	require.NotRegexp(t, steps[0].pattern(), "a b\nz\nmore\n")
	require.Regexp(t, steps[1].pattern(), "")
	require.NotRegexp(t, steps[1].pattern(), "text\n")
}
