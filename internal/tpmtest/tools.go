// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const toolLimit = time.Minute

// Tool runs one of tpm2-tools with the TPM, in the folder dir, and returns what
// it prints. Nobody else may have the TPM open: swtpm serves one client at a
// time.
func (p *Process) Tool(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	out, err := p.tool(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	// There is no resource manager to do it. Saved sessions stay.
	for _, what := range []string{"--transient-object", "--loaded-session"} {
		if out, err := p.tool(t, dir, "tpm2_flushcontext", what); err != nil {
			t.Fatalf("tpm2_flushcontext %s: %v\n%s", what, err, out)
		}
	}
	return out
}

func (p *Process) tool(t testing.TB, dir, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("this test needs %s: apt-get install tpm2-tools (%v)", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TPM2TOOLS_TCTI=swtpm:path="+p.Socket())
	out, err := cmd.CombinedOutput()
	return string(out), err
}
