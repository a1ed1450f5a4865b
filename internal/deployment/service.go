// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Service is one of the three programs of a deployment; its value is the name
// of the binary.
type Service string

const (
	// VTS appraises: it holds the stores and runs the plugins.
	VTS Service = "vts-service"
	// Provisioning takes endorsements over HTTP.
	Provisioning Service = "provisioning-service"
	// Verification takes evidence over HTTP.
	Verification Service = "verification-service"
)

// Services lists the programs of a deployment in the order of their start.
func Services() []Service { return []Service{VTS, Provisioning, Verification} }

// process is a service that was started. The one goroutine that belongs to it
// ends when the process does.
type process struct {
	service  Service
	cmd      *exec.Cmd
	log      string
	logStart int64 // what is before belongs to earlier runs

	exited  chan struct{}
	waitErr error // valid once exited is closed
}

// startService starts a service in the group, with its output going to the end
// of its log file.
func startService(g *group, cfg Config, service Service, configFile string, env []string) (*process, error) {
	logFile := logPath(cfg.Dir, service)
	// The service writes to the file itself: with a pipe in between, a plugin
	// that holds the other end would keep Wait from returning.
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log of %s: %w", service, err)
	}
	defer out.Close() // the child has its own copy; nothing is buffered in ours

	logStart, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("opening log of %s: %w", service, err)
	}
	cmd := exec.Command(filepath.Join(cfg.BinDir, string(service)), "--config", configFile)
	cmd.Dir = cfg.Dir
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = out, out
	if err := g.start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", service, err)
	}

	p := &process{service: service, cmd: cmd, log: logFile, logStart: logStart, exited: make(chan struct{})}
	go func() {
		p.waitErr = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// serviceEnv is this process's environment without what would change the
// services behind the configuration's back: they take VERAISON_* for settings.
func serviceEnv(cfg Config, scratch string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "VERAISON_") || strings.HasPrefix(kv, "TMPDIR=")
	})
	// Plugins put their sockets into TMPDIR.
	env = append(env, "GIN_MODE=release", "TMPDIR="+scratch)
	return append(env, cfg.Env...)
}

// alive tells whether the process runs.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// died returns an error that says how the process ended, nil while it runs.
func (p *process) died() error {
	if p.alive() {
		return nil
	}
	if p.waitErr == nil {
		return fmt.Errorf("%s ended by itself: exit status 0", p.service)
	}
	return fmt.Errorf("%s ended by itself: %w", p.service, p.waitErr)
}

// stop asks the process to end and waits for it until the context ends. What
// is left after that is the group's to kill.
func (p *process) stop(ctx context.Context) error {
	if err := p.died(); err != nil {
		return err
	}
	if err := terminate(p.cmd); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.service, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping %s: not done in time, killed: %w", p.service, context.Cause(ctx))
	}
}

// lostPort tells whether the process gave up because another one has its port.
func (p *process) lostPort() bool {
	if p.alive() {
		return false
	}
	text, err := readFrom(p.log, p.logStart)
	return err == nil && bytes.Contains(text, []byte("address already in use"))
}

// explain adds the end of the service's log to an error.
func (p *process) explain(err error) error {
	text, readErr := readFrom(p.log, p.logStart)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	return fmt.Errorf("%w; the log of %s ends with:\n%s", err, p.service, tail(string(text), 20))
}

func logPath(dir string, service Service) string {
	return filepath.Join(dir, string(service)+".log")
}

// readFrom returns what a file holds from an offset on; nothing when there is
// no such file.
func readFrom(file string, offset int64) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	defer f.Close() // read only: nothing to lose
	data, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	return data, nil
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// How long a service that was asked to end may take. The VTS finishes the
// appraisals that it is at, and gives each plugin two seconds.
const stopTimeout = 10 * time.Second
