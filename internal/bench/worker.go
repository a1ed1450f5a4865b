// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// worker is a process that measures on request and sleeps otherwise.
type worker struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	enc    *json.Encoder
	dec    *json.Decoder
	stderr bytes.Buffer
	ended  bool
}

// startWorker starts a process that calls serve, and gives it its inputs. It
// is killed when ctx ends.
func startWorker(ctx context.Context, name string, in inputs, path string, args ...string) (*worker, error) {
	w := &worker{name: name, cmd: exec.CommandContext(ctx, path, args...)}
	w.cmd.Stderr = &w.stderr
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	w.enc, w.dec = json.NewEncoder(w.stdin), json.NewDecoder(stdout)
	if _, err := w.exchange(in); err != nil {
		return nil, err
	}
	return w, nil
}

// exchange sends a JSON text and reads the answer. After an error the process
// is gone.
func (w *worker) exchange(v any) (measurement, error) {
	var m measurement
	err := w.enc.Encode(v)
	if err == nil {
		err = w.dec.Decode(&m)
	}
	if err != nil {
		// Why it ended says more than that its pipe is closed.
		return measurement{}, fmt.Errorf("measuring %s: %w", w.name, errors.Join(w.stop(), err))
	}
	return m, nil
}

// run measures for about d; each is how long one iteration takes.
func (w *worker) run(what string, d, each time.Duration) (measurement, error) {
	m, err := w.exchange(request{Run: what, Iterations: int(max(1, d/max(1, each)))})
	if err == nil && (m.Iterations < 1 || m.Time <= 0) {
		err = fmt.Errorf("measuring %s: nothing was measured", w.name)
	}
	return m, err
}

// stop ends the process. The error holds what the process had to say.
func (w *worker) stop() error {
	if w.ended {
		return nil
	}
	w.ended = true
	err := w.stdin.Close()
	if ended := w.cmd.Wait(); ended != nil {
		err = fmt.Errorf("%w: %s", ended, bytes.TrimSpace(w.stderr.Bytes()))
	}
	return err
}
