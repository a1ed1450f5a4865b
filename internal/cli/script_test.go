// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/veraison/attested-tls/internal/tpmtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"atls": func() {
			// As in cmd/atls.
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			code := Main(ctx, OSEnv())
			stop()
			os.Exit(code)
		},
		"httpget":   httpGet,
		"httpserve": httpServe,
	})
}

// TestScript runs testdata/script but for the scripts of "atls provision",
// which have a test of their own.
func TestScript(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, f := range files {
		if !strings.HasPrefix(filepath.Base(f), "provision") {
			own = append(own, f)
		}
	}
	runScripts(t, own, veraisonCommands(t))
}

// scriptCommand is a command of testscript's.
type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

// runScripts runs scripts, with more commands than those that all have:
//
//	fails CODE atls …   the command fails with this exit code, prints nothing on
//	                    standard output and a message on standard error, and
//	                    leaves every file as it was
//	swtpm [NAME]        starts a new TPM: $NAME (ATLS_TPM) is its URI, and
//	                    $TPM2TOOLS_TCTI has tpm2-tools use it
//	freeport NAME       sets $NAME to an address that nothing listens on
//	listening ADDR      waits until something does
//	tool TOOL …         runs one of tpm2-tools, and flushes what it leaves behind
func runScripts(t *testing.T, files []string, more map[string]scriptCommand) {
	t.Helper()
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	cmds := map[string]scriptCommand{
		"fails": fails,
		"tool":  tool,

		"freeport":  freePort,
		"listening": listening,
		"swtpm":     func(ts *testscript.TestScript, neg bool, args []string) { swtpm(t, ts, neg, args) },
	}
	maps.Copy(cmds, more)
	testscript.Run(t, testscript.Params{
		Setup: func(e *testscript.Env) error {
			// Vectors of the pinned Veraison modules.
			for name, module := range map[string]string{
				"SERVICES_MODULE": "github.com/veraison/services",
				"CORIM_MODULE":    "github.com/veraison/corim",
			} {
				dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
				if err != nil {
					return fmt.Errorf("find module %s: %w", module, err)
				}
				e.Setenv(name, strings.TrimSpace(string(dir)))
			}
			return nil
		},
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                cmds,
	})
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	before := snapshot(ts)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("a failure printed on standard output")
	}
	if !strings.Contains("\n"+ts.ReadFile("stderr"), "\natls: ") {
		ts.Fatalf("a failure without a message")
	}
	if after := snapshot(ts); !maps.Equal(before, after) {
		ts.Fatalf("a failure changed files: before %v, after %v", before, after)
	}
}

// snapshot describes every file of the script's folder.
func snapshot(ts *testscript.TestScript) map[string]string {
	files := make(map[string]string)
	ts.Check(filepath.WalkDir(ts.Getenv("WORK"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if !d.IsDir() {
			files[path] = fmt.Sprint(st.Size(), st.Mode(), st.ModTime().UnixNano())
		}
		return nil
	}))
	return files
}

// tool flushes because there is no resource manager to do so.
func tool(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: tool TOOL [ARG…]")
	}
	ts.Check(ts.Exec(args[0], args[1:]...))
	flush := exec.Command("tpm2_flushcontext", "-t")
	flush.Env = append(os.Environ(), "TPM2TOOLS_TCTI="+ts.Getenv("TPM2TOOLS_TCTI"))
	if out, err := flush.CombinedOutput(); err != nil {
		ts.Fatalf("tpm2_flushcontext: %v: %s", err, out)
	}
}

func swtpm(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	name := "ATLS_TPM"
	if len(args) > 0 {
		name = args[0]
	}
	if neg || len(args) > 1 {
		ts.Fatalf("usage: swtpm [NAME]")
	}
	p := tpmtest.StartSWTPM(t)
	ts.Defer(func() { _ = p.Stop() })
	ts.Setenv(name, p.URI())
	ts.Setenv("TPM2TOOLS_TCTI", "swtpm:path="+p.Socket())
}
