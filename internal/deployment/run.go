// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// run is one start of the services, on one choice of ports.
type run struct {
	group        *group
	scratch      string // TMPDIR of the services
	processes    []*process
	provisioning string // base URLs
	verification string
}

// ports of a run; all on loopback.
type ports struct{ vts, provisioning, verification int }

// freePorts finds three ports that nobody listens on at this moment. Somebody
// may before the services do: see startRun.
func freePorts() (ports, error) {
	var found [3]int
	for i := range found {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return ports{}, fmt.Errorf("looking for a free port: %w", err)
		}
		// Held until all three are found, so that they differ.
		defer l.Close()
		found[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports{found[0], found[1], found[2]}, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// How often a start is tried on other ports, when somebody takes them first.
const portAttempts = 5

// startRun starts the services on the ports that choose names, freePorts that
// is, and returns when all of them answer. On failure nothing of it is left.
func startRun(ctx context.Context, cfg Config, choose func() (ports, error)) (*run, error) {
	for attempt := 1; ; attempt++ {
		on, err := choose()
		if err != nil {
			return nil, err
		}
		r, err := tryRun(ctx, cfg, on)
		if err == nil {
			return r, nil
		}
		lostPort := r.lostPort()
		// What goes wrong while stopping is not news then: a service that has
		// died is the reason that we are here.
		_ = r.stop()
		if !lostPort || attempt == portAttempts || ctx.Err() != nil {
			return nil, err
		}
	}
}

// tryRun returns what it started also when it fails.
func tryRun(ctx context.Context, cfg Config, on ports) (*run, error) {
	r := &run{}
	var err error
	// Not in cfg.Dir: a socket's path has to fit into about 100 bytes.
	if r.scratch, err = os.MkdirTemp("", "atls"); err != nil {
		return r, fmt.Errorf("making folder for sockets: %w", err)
	}
	if r.group, err = newGroup(r.scratch); err != nil {
		return r, err
	}
	configFile, err := writeConfig(cfg, on)
	if err != nil {
		return r, err
	}
	env := serviceEnv(cfg, r.scratch)

	// The VTS first: a service that does not find it backs off for a second.
	vts, err := r.start(cfg, VTS, configFile, env)
	if err != nil {
		return r, err
	}
	if err := vts.waitListening(ctx, on.vts); err != nil {
		return r, vts.explain(err)
	}
	provisioning, err := r.start(cfg, Provisioning, configFile, env)
	if err != nil {
		return r, err
	}
	verification, err := r.start(cfg, Verification, configFile, env)
	if err != nil {
		return r, err
	}

	r.provisioning = "http://" + loopback(on.provisioning)
	r.verification = "http://" + loopback(on.verification)
	for _, s := range []struct {
		*process
		port int
		url  string
	}{
		{provisioning, on.provisioning, r.provisioning + "/.well-known/veraison/provisioning"},
		{verification, on.verification, r.verification + "/.well-known/veraison/verification"},
	} {
		if err := s.waitListening(ctx, s.port); err != nil {
			return r, s.explain(err)
		}
		if err := s.waitAnswering(ctx, s.url, cfg.Provisioner); err != nil {
			return r, s.explain(err)
		}
	}
	// It may be the VTS that broke, while the others were waited for.
	if err := vts.died(); err != nil {
		return r, vts.explain(err)
	}
	return r, nil
}

// writeConfig renders the configuration of a run into the deployment's folder.
func writeConfig(cfg Config, on ports) (string, error) {
	stores := storesIn(cfg.Dir)
	provisioner, passwordHash, err := cfg.Provisioner.hashed()
	if err != nil {
		return "", err
	}
	text, err := settings{
		Provisioner:         provisioner,
		PasswordHash:        passwordHash,
		PluginDir:           cfg.PluginDir,
		SigningKey:          keyPath(cfg.Dir),
		LogLevel:            cfg.LogLevel,
		Store:               cfg.Store,
		TrustAnchors:        sqliteSource(stores.trustAnchors),
		Endorsements:        sqliteSource(stores.endorsements),
		Policies:            sqliteSource(stores.policies),
		VTSAddress:          loopback(on.vts),
		ProvisioningAddress: loopback(on.provisioning),
		VerificationAddress: loopback(on.verification),
	}.render()
	if err != nil {
		return "", err
	}
	file := filepath.Join(cfg.Dir, "veraison.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("writing configuration: %w", err)
	}
	return file, nil
}

func (r *run) start(cfg Config, service Service, configFile string, env []string) (*process, error) {
	p, err := startService(r.group, cfg, service, configFile, env)
	if err != nil {
		return nil, err
	}
	r.processes = append(r.processes, p)
	return p, nil
}

// waitListening waits until this very process listens on the port.
func (p *process) waitListening(ctx context.Context, port int) error {
	err := waitFor(ctx, 10*time.Millisecond, func() (bool, error) {
		if err := p.died(); err != nil {
			return false, err
		}
		listens, err := listensOn(p.cmd.Process.Pid, port)
		if errors.Is(err, errors.ErrUnsupported) {
			return dialable(ctx, port), nil
		}
		return listens, err
	})
	if err != nil {
		return fmt.Errorf("waiting for %s to listen on port %d: %w", p.service, port, err)
	}
	return nil
}

// dialable is the second best: the listener may be anybody.
func dialable(ctx context.Context, port int) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp4", loopback(port))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// waitAnswering waits until a GET is answered with 200.
func (p *process) waitAnswering(ctx context.Context, url string, user *User) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	last := errors.New("not asked")
	err := waitFor(ctx, 20*time.Millisecond, func() (bool, error) {
		if err := p.died(); err != nil {
			return false, err
		}
		last = get(ctx, client, url, user)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s to answer: %w (last answer: %w)", p.service, err, last)
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string, user *User) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	user.authorize(req)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	err = errors.Join(err, resp.Body.Close())
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: HTTP %s", url, resp.Status)
	}
	return err
}

func (r *run) lostPort() bool {
	for _, p := range r.processes {
		if p.lostPort() {
			return true
		}
	}
	return false
}

// stop ends what the run has started, last first, and whatever else is in its
// process group. The error is not nil also when a service had ended before, or
// had to be killed.
func (r *run) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()

	var errs []error
	for i := len(r.processes) - 1; i >= 0; i-- {
		errs = append(errs, r.processes[i].stop(ctx))
	}
	if r.group != nil {
		// Time of its own: there may be none of the above left.
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, r.group.kill(ctx))
		for _, p := range r.processes {
			select {
			case <-p.exited:
			case <-ctx.Done():
				errs = append(errs, fmt.Errorf("%s (process %d) does not end", p.service, p.cmd.Process.Pid))
			}
		}
	}
	if r.scratch != "" {
		if err := os.RemoveAll(r.scratch); err != nil {
			errs = append(errs, fmt.Errorf("removing folder for sockets: %w", err))
		}
	}
	return errors.Join(errs...)
}
