// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/veraison/attested-tls/attester"
)

const (
	startLimit = 20 * time.Second
	stopLimit  = 5 * time.Second
)

// SWTPM gives t a new swtpm until t ends.
func SWTPM(t testing.TB) *attester.TPM {
	t.Helper()
	return StartSWTPM(t).Open(t)
}

// Process is a running swtpm that belongs to a test. Its TPM is new, and
// keeps its state over Stop and Start.
type Process struct {
	dir  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process is no more
}

// StartSWTPM starts an swtpm that is stopped when t ends. It serves one client
// at a time.
func StartSWTPM(t testing.TB) *Process {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Fatalf("this test needs a TPM emulator: apt-get install swtpm (%v)", err)
	}
	// t.TempDir has the test's name in its path, which is too long for a
	// socket.
	dir, err := os.MkdirTemp("", "swtpm")
	if err == nil && len(dir) > 80 {
		os.Remove(dir)
		dir, err = os.MkdirTemp("/tmp", "swtpm")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{dir: dir}
	t.Cleanup(func() {
		p.Stop()
		if log, err := os.ReadFile(p.path("log")); t.Failed() && err == nil {
			t.Logf("swtpm's log:\n%s", log)
		}
		os.RemoveAll(dir)
	})
	if err := os.Mkdir(p.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// URI is what attester.Open takes.
func (p *Process) URI() string { return "swtpm:unix:" + p.Socket() }

// Socket is the path of the data channel. The control channel's is the same
// with ".ctrl" behind it, as tpm2-tools expect: TPM2TOOLS_TCTI=swtpm:path=….
func (p *Process) Socket() string { return p.path("sock") }

// Open opens the TPM until t ends.
func (p *Process) Open(t testing.TB) *attester.TPM {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	tpm, err := attester.Open(ctx, p.URI())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tpm.Close() })
	return tpm
}

// Start starts the swtpm after Stop or Kill, and waits until it answers. For
// the TPM this is a TPM Reset.
func (p *Process) Start() error {
	os.Remove(p.Socket())
	os.Remove(p.Socket() + ".ctrl")
	p.cmd = exec.Command("swtpm", "socket", "--tpm2",
		"--tpmstate", "dir="+p.path("state"), // absolute: a relative one puts it in failure mode
		"--ctrl", "type=unixio,path="+p.Socket()+".ctrl",
		"--server", "type=unixio,path="+p.Socket(),
		"--flags", "not-need-init,startup-clear",
		"--log", "level=1,file="+p.path("log"))
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting swtpm: %w", err)
	}
	gone := make(chan struct{})
	p.gone = gone
	cmd := p.cmd
	go func() {
		defer close(gone)
		cmd.Wait()
	}()

	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		tpm, err := attester.Open(ctx, p.URI())
		if err == nil {
			return tpm.Close()
		}
		select {
		case <-gone:
			return fmt.Errorf("swtpm ended at once: %v%s", cmd.ProcessState, p.log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("swtpm does not answer: %w%s", err, p.log()), p.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the swtpm in order, or else not in order.
func (p *Process) Stop() error {
	p.Resume()
	return p.end(syscall.SIGTERM)
}

// Kill ends the swtpm at once.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Pause stops the swtpm where it is: its sockets stay open and say nothing.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *Process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping swtpm: %w", err)
	}
	select {
	case <-p.gone:
		return nil
	case <-time.After(stopLimit):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping swtpm: %w", err)
	}
	<-p.gone
	return nil
}

func (p *Process) path(name string) string { return filepath.Join(p.dir, name) }

func (p *Process) log() string {
	log, err := os.ReadFile(p.path("log"))
	if err != nil || len(log) == 0 {
		return ""
	}
	return "; its log:\n" + string(log)
}
