// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/provisioning"
)

// provisionRun is one run of "atls provision".
type provisionRun struct {
	app          *app
	flags        *provisionFlags
	client       *provisioning.Client
	probe        *anchorProbe // nil without --verifier
	capabilities *provisioning.Capabilities
	dialect      endorsements.Dialect
	report       *report
	items        []*provisionItem
	warnings     []string
	started      time.Time
}

const (
	// After this many failures in a row that are not about the files, the
	// deployment is down, and --keep-going would put every file in doubt.
	maxFailuresInARow = 10
	// What is on its way when the command is interrupted may take so long.
	interruptGrace = 10 * time.Second
)

// stopAtFailure ends the run where a file is bad and --keep-going is not given.
func (r *provisionRun) stopAtFailure() error {
	var bads []*provisionItem
	for _, i := range r.items {
		if i.outcome == bad || i.outcome == failed {
			bads = append(bads, i)
		}
	}
	// With nothing left to send, there is nothing to go on with.
	if len(bads) == 0 || r.flags.keepGoing && len(bads) < len(r.items) {
		return nil
	}
	r.tell(bads)
	code := exitInput
	for _, i := range bads {
		if i.outcome == failed {
			code = exitVerifier
		}
	}
	err := exitErrorf(code, "%d of %d files cannot be provisioned; nothing was sent", len(bads), len(r.items))
	if !r.flags.keepGoing {
		return err.withHint("--keep-going sends the others")
	}
	return err
}

// plan decides which files are sent.
func (r *provisionRun) plan() {
	for _, i := range r.items {
		if i.outcome == pending {
			i.prepare(r)
		}
	}
	r.findDuplicates()
	r.findConflicts()
	if r.report == nil {
		return
	}
	for _, i := range r.items {
		if i.outcome != pending {
			continue
		}
		switch k := r.report.past[i.key()]; {
		case k.there() && !r.flags.again:
			i.end(skipped, "accepted on %s", formatTime(k.accepted))
		case k.inDoubt() && !r.flags.resubmit:
			i.end(doubtful, "it was sent on %s, and the answer is not known", formatTime(k.time))
			i.since = k.time
		}
	}
}

// findDuplicates lets of equal contents one be sent.
func (r *provisionRun) findDuplicates() {
	first := map[string]*provisionItem{}
	n := 0
	for _, i := range r.items {
		if i.outcome != pending {
			continue
		}
		if other := first[i.key()]; other != nil {
			i.end(duplicate, "the same as %s", other.path)
			n++
			continue
		}
		first[i.key()] = i
	}
	if n > 0 {
		r.warnf("files with the content of another one, which is sent once: %d", n)
	}
}

// use is where something was met that must not be met again.
type use struct {
	anchor reportAnchor
	file   string
	item   *provisionItem // nil if it was sent before
}

// clash refuses an item, and the other one too if that is not sent yet: which of
// the two is right cannot be told.
func (u use) clash(i *provisionItem, format string, args ...any) {
	i.end(bad, format+" in %s", append(args, u.file)...)
	if u.item != nil {
		u.item.end(bad, format+" in %s", append(args, i.path)...)
	}
}

// findConflicts refuses files that would give a key identifier a second trust
// anchor, because a verifier then refuses the device, and those that would give
// a CoRIM's identifier another content, because the newest Veraison refuses it.
// What was sent in earlier runs counts. The same trust anchor again is harmless.
func (r *provisionRun) findConflicts() {
	anchors, ids := map[string]use{}, map[string]use{}
	if r.report != nil {
		for _, k := range r.report.past {
			if !k.there() && !k.inDoubt() {
				continue
			}
			ids[k.corim] = use{file: k.file}
			for _, anchor := range k.anchors {
				anchors[anchor.KID] = use{anchor: anchor, file: k.file}
			}
		}
	}
	repeated := 0
	for _, i := range r.items {
		if i.outcome != pending {
			continue
		}
		if r.report != nil {
			if k := r.report.past[i.key()]; k.there() || k.inDoubt() {
				continue // what it would meet is its own trace
			}
		}
		if i.dialect != endorsements.DialectV1 {
			if other, ok := ids[i.id]; ok {
				other.clash(i, "the CoRIM's identifier %q has another content", i.id)
			} else {
				ids[i.id] = use{file: i.path, item: i}
			}
		}
		for _, anchor := range i.anchors {
			other, ok := anchors[anchor.KID]
			if !ok {
				anchors[anchor.KID] = use{anchor, i.path, i}
				continue
			}
			repeated++
			if why := anchor.conflict(other.anchor, i.dialect); why != "" {
				other.clash(i, "the key identifier %s has %s", anchor.KID, why)
			}
		}
	}
	if repeated > 0 {
		r.warnf("trust anchors that are in another file too, or were provisioned before: %d; Veraison's SQL stores keep a row for each time, "+
			"and until v0.0.2602 the device is refused where two of them differ in a byte", repeated)
	}
}

// conflict says why two trust anchors of one key identifier cannot both be
// provisioned; empty if they can.
func (x reportAnchor) conflict(y reportAnchor, d endorsements.Dialect) string {
	switch {
	case x.Key != y.Key:
		return "another key"
	case x.Class != y.Class:
		return "another class"
	case x.Spelling != y.Spelling && d == endorsements.DialectV1:
		// Veraison until v0.0.2602 compares the text.
		return "the same key in another PEM spelling, which this Veraison takes for another key"
	}
	return ""
}

// send sends what is to be sent.
func (r *provisionRun) send(ctx context.Context) {
	var queue []*provisionItem
	for _, i := range r.items {
		if i.outcome == pending {
			queue = append(queue, i)
		}
	}
	r.started = time.Now()
	bar := r.app.progress(len(queue))
	defer bar.end()

	// What is on its way is not cut off at once: its outcome would be unknown.
	sending, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(interruptGrace, func() { cancel(context.Cause(ctx)) })
	})()

	var (
		next    atomic.Int64
		stop    atomic.Bool
		inARow  atomic.Int32
		workers sync.WaitGroup
	)
	for range min(r.flags.jobs, len(queue)) {
		workers.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(queue) || stop.Load() || ctx.Err() != nil {
					return
				}
				i := queue[n]
				r.sendOne(sending, i)
				bar.step()
				switch i.outcome {
				case accepted, refused, bad:
					inARow.Store(0)
				default:
					if inARow.Add(1) >= maxFailuresInARow {
						stop.Store(true)
					}
				}
				if i.outcome != accepted && !r.flags.keepGoing || !r.report.usable() {
					stop.Store(true)
				}
			}
		})
	}
	workers.Wait()
}

// sendOne sends a file and notes what became of it.
func (r *provisionRun) sendOne(ctx context.Context, i *provisionItem) {
	data, err := i.content(i.dialect, true)
	if err != nil {
		i.end(bad, "%v", err)
		return
	}
	if err := r.report.add(i, eventSending, "", true); err != nil {
		i.end(failed, "%v", err)
		return
	}
	_, err = r.client.Submit(ctx, i.mediaType, data)
	event := eventAccepted
	switch {
	case err == nil:
		i.end(accepted, "")
	case errors.Is(err, provisioning.ErrUnknownOutcome):
		event = eventDoubtful
		i.end(doubtful, "%v", err)
		i.since = time.Now()
	case is[*provisioning.RefusedError](err):
		event = eventRefused
		i.end(refused, "%v", err)
	default:
		event = eventFailed
		i.end(failed, "%v", err)
	}
	if err := r.report.add(i, event, i.reason, false); err != nil {
		if i.outcome == accepted {
			i.end(doubtful, "it was accepted, and the next run will not know") // whatever the report has now
		}
		i.reason = joinReasons(i.reason, err.Error())
	}
}

func joinReasons(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// settle asks the verifier about files in doubt, where it can tell. What is not
// there is sent, or where that is over fails.
func (r *provisionRun) settle(ctx context.Context, over bool) {
	if r.probe == nil {
		return
	}
	for _, i := range r.items {
		if i.outcome != doubtful || i.asked || ctx.Err() != nil {
			continue
		}
		i.asked = true
		answer, err := r.probe.settle(ctx, r.report, i)
		event := eventFound
		switch {
		case err != nil:
			i.reason = joinReasons(i.reason, err.Error())
			continue
		case answer == anchorsAbsent:
			event = eventAbsent
			if over {
				i.end(failed, "%s; the verifier does not have it", i.reason)
			} else {
				i.end(pending, "")
			}
		case over:
			i.end(accepted, "it was in doubt, and the verifier has it")
		default:
			i.end(skipped, "it was in doubt, and the verifier has it")
		}
		if err := r.report.add(i, event, "", true); err != nil {
			i.end(failed, "%v", err)
		}
	}
}

// warn says what there is to warn of, before anything is sent.
func (r *provisionRun) warn() {
	for _, w := range r.warnings {
		r.app.warn("%s", w)
	}
}

func (r *provisionRun) warnf(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}
