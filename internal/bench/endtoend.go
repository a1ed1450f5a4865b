// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/earresult"
)

// The processes whose CPU time is told apart.
const (
	cpuClient       = "client"
	cpuVerification = "verification"
	cpuVTS          = "vts"
	cpuPlugin       = "plugin"
)

// endToEnd is one deployment under load, in every round. Where there is no
// /proc, all but the rate is empty.
type endToEnd struct {
	rate   series            // appraisals per second
	cpu    map[string]series // milliseconds per appraisal, of each process
	all    series            // the same, of all of them
	others series            // what other processes took, in percent of the CPUs
}

// site is a deployment that was provisioned.
type site struct {
	*deployment.Deployment
	name string
	pids map[string][]int
}

// loadsPerRound is how often each deployment has its turn in a round.
const loadsPerRound = 3

// measureEndToEnd loads two deployments in turn that differ in the plugin
// alone.
func measureEndToEnd(ctx context.Context, progress io.Writer, in inputs, binDir string, plugins map[string]string,
	clients, rounds int, duration time.Duration,
) (_ map[string]*endToEnd, err error) {
	scratch, err := os.MkdirTemp("", "atls-bench")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the deployments: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	var sites []*site
	defer func() {
		for _, s := range sites {
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, name := range []string{ours, theirs} {
		s, err := startSite(ctx, in, name, deployment.Config{
			BinDir:    binDir,
			PluginDir: plugins[name],
			Dir:       filepath.Join(scratch, name),
			Store:     deployment.Memory,
			LogLevel:  "error",
		})
		if s != nil {
			sites = append(sites, s)
		}
		if err != nil {
			return nil, fmt.Errorf("deployment with %s: %w", name, err)
		}
	}

	results := map[string]*endToEnd{}
	for _, s := range sites {
		results[s.name] = &endToEnd{cpu: map[string]series{}}
		if _, err := s.load(ctx, in, clients, min(duration, time.Second)); err != nil { // warms up
			return nil, fmt.Errorf("deployment with %s: %w", s.name, err)
		}
	}
	order := slices.Clone(sites)
	for round := range rounds {
		for range loadsPerRound {
			for _, s := range order {
				if err := s.measure(ctx, in, clients, duration/loadsPerRound, results[s.name]); err != nil {
					return nil, fmt.Errorf("deployment with %s: %w", s.name, err)
				}
			}
			slices.Reverse(order) // nobody is always first
		}
		recent := func(side string) float64 {
			rate := results[side].rate
			return rate[len(rate)-loadsPerRound:].median()
		}
		fmt.Fprintf(progress, "  round %d of %d: %s %.0f/s, %s %.0f/s\n", round+1, rounds, ours, recent(ours), theirs, recent(theirs))
	}
	return results, nil
}

// startSite returns the site also when it could not be provisioned.
func startSite(ctx context.Context, in inputs, name string, cfg deployment.Config) (*site, error) {
	d, err := deployment.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &site{Deployment: d, name: name, pids: map[string][]int{
		cpuClient:       {os.Getpid()},
		cpuVTS:          {d.PIDs()[deployment.VTS]},
		cpuVerification: {d.PIDs()[deployment.Verification]},
	}}
	s.pids[cpuPlugin], err = d.PluginPIDs()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.pids = nil
	case err != nil:
		return s, err
	}
	return s, d.Client().Provision(ctx, endorsements.MediaTypeUnsignedV1, in.Corim)
}

// measure adds a round.
func (s *site) measure(ctx context.Context, in inputs, clients int, duration time.Duration, to *endToEnd) error {
	before, err := cpuTimes(s.pids)
	if err != nil {
		return err
	}
	start := time.Now()
	appraisals, err := s.load(ctx, in, clients, duration)
	if err != nil {
		return err
	}
	elapsed := time.Since(start)
	after, err := cpuTimes(s.pids)
	if err != nil {
		return err
	}
	to.rate = append(to.rate, float64(appraisals)/elapsed.Seconds())
	if len(s.pids) == 0 {
		return nil
	}
	var all time.Duration
	for name := range s.pids {
		used := after.of[name] - before.of[name]
		to.cpu[name] = append(to.cpu[name], used.Seconds()*1e3/float64(appraisals))
		all += used
	}
	to.all = append(to.all, all.Seconds()*1e3/float64(appraisals))
	busy, total := after.busy-before.busy, after.total-before.total
	to.others = append(to.others, 100*max(0, busy-all).Seconds()/total.Seconds())
	return nil
}

// load has clients appraise for a while and returns how many appraisals they
// made.
func (s *site) load(ctx context.Context, in inputs, clients int, duration time.Duration) (int, error) {
	ctx, cancel := context.WithCancel(ctx) // the first failure ends all
	defer cancel()
	until := time.Now().Add(duration)
	counts, errs := make([]int, clients), make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			var result string
			for errs[i] == nil && (counts[i] == 0 || time.Now().Before(until)) {
				result, errs[i] = s.appraise(ctx, in)
				counts[i]++
			}
			if errs[i] == nil {
				errs[i] = s.affirmed(result)
			}
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	total := 0
	for i := range clients {
		// A failure that was not caused by another one comes first.
		if errs[i] != nil && !errors.Is(errs[i], context.Canceled) {
			return 0, errs[i]
		}
		total += counts[i]
	}
	return total, errors.Join(errs...)
}

// appraise is one session: the nonce is the one that the evidence was made
// for, every time.
func (s *site) appraise(ctx context.Context, in inputs) (string, error) {
	session, err := s.Client().NewSession(ctx, in.Nonce)
	if err != nil {
		return "", err
	}
	result, err := session.Submit(ctx, bundle.MediaType, in.Evidence)
	if err != nil {
		return "", err
	}
	return result.EAR, session.Delete(ctx)
}

func (s *site) affirmed(jwt string) error {
	result, err := deployment.VerifyEAR(jwt, s.PublicKey())
	if err != nil {
		return err
	}
	submod, ok := result.Submods[earresult.Submod]
	if !ok || submod.Status == nil || *submod.Status != ear.TrustTierAffirming {
		return errors.New("the evidence is not affirmed")
	}
	return nil
}
