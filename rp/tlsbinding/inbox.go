// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"io"
	"os"
	"sync"
	"time"
)

// inbox is application data that came and was not read yet.
type inbox struct {
	limit int

	mu       *sync.Mutex
	changed  *sync.Cond
	data     []byte
	err      error // what reading ends with when data is used up
	deadline time.Time
	timer    *time.Timer
}

func newInbox(limit int) inbox {
	mu := new(sync.Mutex)
	return inbox{limit: limit, mu: mu, changed: sync.NewCond(mu)}
}

// add waits until there is room. It fails when nothing is read any more.
func (b *inbox) add(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && len(b.data) > 0 && len(b.data)+len(p) > b.limit {
		b.changed.Wait()
	}
	if b.err != nil {
		return b.err
	}
	b.data = append(b.data, p...)
	b.changed.Broadcast()
	return nil
}

func (b *inbox) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(b.data) > 0:
			n := copy(p, b.data)
			b.data = b.data[n:]
			if len(b.data) == 0 {
				b.data = nil // gives the memory back
			}
			b.changed.Broadcast()
			return n, nil
		case b.err != nil:
			return 0, b.err
		}
		b.changed.Wait()
	}
}

// end has reading end with an error. The first one that is not io.EOF counts,
// and takes the place of what is unread: the peer is not trusted any more.
func (b *inbox) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || b.err == io.EOF {
		b.err = err
	}
	if err != io.EOF {
		b.data = nil
	}
	b.changed.Broadcast()
}

func (b *inbox) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if !t.IsZero() {
		b.timer = time.AfterFunc(time.Until(t), func() {
			b.mu.Lock() // or a reader that is about to wait would miss it
			defer b.mu.Unlock()
			b.changed.Broadcast()
		})
	}
	b.changed.Broadcast()
}
