// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
)

const (
	// ContextSize is how many bytes [Contexts.New] makes and [Contexts.Take]
	// asks for at least. RFC 9261 names no minimum.
	ContextSize = 32
	// MaxContexts is how many contexts a connection has in each direction, in
	// about half a megabyte. One a minute lasts for eleven days.
	MaxContexts = 1 << 14
)

var (
	// ErrReused says that a context was used before on this connection.
	ErrReused = errors.New("certificate_request_context used before on this connection")
	// ErrTooManyContexts says that the connection has had so many that no more
	// are remembered: a new connection is needed.
	ErrTooManyContexts = fmt.Errorf("the connection has had %d requests: a new connection is needed", MaxContexts)
)

// Contexts sees to it that a context is used for one request and one
// authenticator on one connection, in both directions (RFC 9261, sections 4
// and 5.2). The zero value is ready. It may be used concurrently.
type Contexts struct {
	mu     sync.Mutex
	ours   map[contextID]bool // whether it is done
	theirs map[contextID]struct{}
}

// contextID stands for a context, which may be longer. A peer that finds two
// alike has one of its own requests refused.
type contextID [16]byte

func idOf(context []byte) contextID {
	sum := sha256.Sum256(context)
	return contextID(sum[:16])
}

// New makes the context of a request to the peer: 32 random bytes.
func (c *Contexts) New() ([]byte, error) {
	context := make([]byte, ContextSize)
	rand.Read(context) // never fails
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ours) >= MaxContexts {
		return nil, ErrTooManyContexts
	}
	if c.ours == nil {
		c.ours = make(map[contextID]bool)
	}
	c.ours[idOf(context)] = false
	return context, nil
}

// Take notes the context of a request by the peer, before an authenticator is
// made for it. One shorter than [ContextSize] is refused, as is one that the
// peer used before, or one of ours.
func (c *Contexts) Take(peers []byte) error {
	if len(peers) < ContextSize || len(peers) > MaxContext {
		return fmt.Errorf("%w: %d bytes, want %d to %d", ErrContext, len(peers), ContextSize, MaxContext)
	}
	id := idOf(peers)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, used := c.theirs[id]; used {
		return ErrReused
	}
	if _, reflected := c.ours[id]; reflected {
		return fmt.Errorf("%w: by this end", ErrReused)
	}
	if len(c.theirs) >= MaxContexts {
		return ErrTooManyContexts
	}
	if c.theirs == nil {
		c.theirs = make(map[contextID]struct{})
	}
	c.theirs[id] = struct{}{}
	return nil
}

// Done notes that the peer's answer to the request with one of our contexts has
// come, before it is validated: there is one answer to a request, right or
// wrong.
func (c *Contexts) Done(ours []byte) error {
	id := idOf(ours)
	c.mu.Lock()
	defer c.mu.Unlock()
	done, known := c.ours[id]
	switch {
	case !known:
		return fmt.Errorf("%w: no request of this end has it", ErrContext)
	case done:
		return ErrReused
	}
	c.ours[id] = true
	return nil
}
