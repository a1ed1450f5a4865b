// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progressBar shows a person how far a run is. A nil one shows nothing.
type progressBar struct{ bar *progressbar.ProgressBar }

// progress shows a bar on standard error if that is a terminal.
func (a *app) progress(n int) *progressBar {
	if !a.env.StderrTTY || n == 0 {
		return nil
	}
	return &progressBar{progressbar.NewOptions(n,
		progressbar.OptionSetWriter(a.env.Stderr),
		progressbar.OptionSetDescription("provisioning"),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)}
}

func (b *progressBar) step() {
	if b != nil {
		_ = b.bar.Add(1) // it is for show
	}
}

func (b *progressBar) end() {
	if b != nil {
		_ = b.bar.Exit() // it is for show
	}
}

// provisionSummary is what --json prints.
type provisionSummary struct {
	URL            string            `json:"url"`
	Version        string            `json:"version"`
	Report         string            `json:"report,omitempty"`
	DryRun         bool              `json:"dry-run,omitempty"`
	Files          int               `json:"files"`
	Accepted       int               `json:"accepted"`
	AcceptedBefore int               `json:"accepted-before"`
	Duplicates     int               `json:"duplicates"`
	Bad            int               `json:"bad"`
	Refused        int               `json:"refused"`
	Failed         int               `json:"failed"`
	InDoubt        int               `json:"in-doubt"`
	NotSent        int               `json:"not-sent"`
	Seconds        float64           `json:"seconds"`
	Results        []provisionResult `json:"results"`
}

type provisionResult struct {
	File    string `json:"file"`
	SHA256  string `json:"sha256"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

func (r *provisionRun) summary() *provisionSummary {
	s := &provisionSummary{
		URL: r.client.URL(), Version: r.capabilities.Version, DryRun: r.flags.dryRun, Files: len(r.items),
		Results: make([]provisionResult, 0, len(r.items)),
	}
	if r.report != nil {
		s.Report = r.report.path
	}
	if !r.started.IsZero() {
		s.Seconds = time.Since(r.started).Round(time.Millisecond).Seconds()
	}
	for _, i := range r.items {
		count := map[outcome]*int{
			pending: &s.NotSent, accepted: &s.Accepted, skipped: &s.AcceptedBefore, duplicate: &s.Duplicates,
			bad: &s.Bad, refused: &s.Refused, failed: &s.Failed, doubtful: &s.InDoubt,
		}[i.outcome]
		*count++
		name := i.outcome
		if name == pending {
			name = "not-sent"
		}
		s.Results = append(s.Results, provisionResult{File: i.path, SHA256: i.key(), Outcome: string(name), Reason: i.reason})
	}
	return s
}

// print writes the summary for a person.
func (s *provisionSummary) print(w io.Writer) {
	notSent := "not sent"
	if s.DryRun {
		notSent = "would be sent"
	}
	t := newTable()
	t.rowf("deployment", "%s (Veraison %s)", s.URL, s.Version)
	t.rowf("files", "%d", s.Files)
	for _, row := range []struct {
		name string
		n    int
	}{
		{"accepted", s.Accepted}, {"accepted before", s.AcceptedBefore}, {"duplicates", s.Duplicates}, {"bad", s.Bad},
		{"refused", s.Refused}, {"failed", s.Failed}, {"in doubt", s.InDoubt}, {notSent, s.NotSent},
	} {
		if row.n > 0 {
			t.rowf(row.name, "%d", row.n)
		}
	}
	if s.Seconds > 0 && s.Accepted > 0 {
		t.rowf("took", "%.1f s (%.0f files a second)", s.Seconds, float64(s.Accepted)/s.Seconds)
	}
	if s.Report != "" {
		t.row("report", s.Report)
	}
	t.print(w)
}

// maxTold is how many files are named one by one.
const maxTold = 20

// tell names files and what is wrong with them.
func (r *provisionRun) tell(items []*provisionItem) {
	for n, i := range items {
		if n == maxTold {
			fmt.Fprintf(r.app.env.Stderr, "atls: … and %d more\n", len(items)-n)
			return
		}
		// The file may be named in the reason already.
		fmt.Fprintf(r.app.env.Stderr, "atls: %s: %s\n", i.path, strings.TrimPrefix(i.reason, i.path+": "))
	}
}

// conclude tells how the run went.
func (r *provisionRun) conclude(ctx context.Context) error {
	s := r.summary()
	if err := r.failure(ctx, s); err != nil {
		s.print(r.app.env.Stderr)
		return err
	}
	if r.flags.json {
		return r.app.printJSON(s)
	}
	s.print(&r.app.out)
	return nil
}

// failure is nil if the deployment has all that it was to have.
func (r *provisionRun) failure(ctx context.Context, s *provisionSummary) error {
	var wrong []*provisionItem
	for _, i := range r.items {
		switch i.outcome {
		case bad, refused, failed, doubtful:
			wrong = append(wrong, i)
		}
	}
	r.tell(wrong)
	missing := len(wrong)
	if !r.flags.dryRun {
		missing += s.NotSent
	}
	switch {
	case missing == 0:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%d of %d files are not provisioned: %w", missing, s.Files, context.Cause(ctx))
	case s.Bad == missing:
		return inputErrorf("%d of %d files cannot be provisioned", missing, s.Files)
	}
	err := verifierErrorf("%d of %d files are not provisioned", missing, s.Files)
	switch {
	case s.InDoubt > 0 && r.probe == nil:
		return err.withHint("find out about the files in doubt with --verifier, or send them again with --resubmit")
	case s.InDoubt > 0:
		return err.withHint("--resubmit sends the files in doubt again")
	case s.NotSent > 0 && !r.flags.keepGoing:
		return err.withHint("run it again to go on; --keep-going goes on by itself")
	}
	return err
}
