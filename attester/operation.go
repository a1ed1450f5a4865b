// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
)

const (
	// grace is how long a command that nobody waits for any more, or the
	// flushing of a handle, may take.
	grace = 5 * time.Second

	// leaveLimit is how long Close waits for the flushing of keys.
	leaveLimit = time.Second

	// A TPM that asks for a retry is asked again after retryFirst, then after
	// twice the time before, up to retryMax.
	retryFirst = 2 * time.Millisecond
	retryMax   = 250 * time.Millisecond

	headerSize = 10 // tag, size and command or response code (Part 1, section 18)
)

// operation is a sequence of commands that has the TPM for itself. It keeps
// account of what the commands leave in the TPM, so that end can flush it.
type operation struct {
	ctx     context.Context // ends with the caller's, or when the TPM is closed
	tpm     *TPM
	release func() // to be called when ctx is not looked at any more

	// What follows belongs to the goroutine that runs the operation.
	commandCtx context.Context  // the commands'
	live       []tpm2.TPMHandle // in the order in which they came
	used       []*Key           // residents that this operation needs
	over       bool
}

// end flushes what the operation left in the TPM, whatever became of it, and
// lets the next one begin. Keys that stay in the TPM are no part of that. It
// returns err, the operation's own.
func (o *operation) end(err error) error {
	if len(o.live) > 0 || len(o.tpm.residents) > maxResidents {
		// The flushes are not the caller's to cancel.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(o.ctx), grace)
		defer cancel()
		o.commandCtx = ctx
	}
	o.used = nil
	for len(o.live) > 0 {
		h := o.live[len(o.live)-1]
		if ferr := o.flush(h); ferr != nil {
			// The connection is broken: the next operation tries again.
			o.tpm.stale = append(o.tpm.stale, o.live...)
			err = errors.Join(err, fmt.Errorf("flushing handle 0x%08x: %w", uint32(h), ferr))
			break
		}
	}
	for len(o.tpm.residents) > maxResidents {
		if ferr := o.evict(o.tpm.residents[0].key); ferr != nil {
			err = errors.Join(err, ferr)
			break
		}
	}
	o.over = true
	<-o.tpm.slot
	return err
}

// flush takes an object or a session out of the TPM (Part 3, TPM2_FlushContext).
func (o *operation) flush(h tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(o)
	if isResponse(err) {
		// The TPM answered, and no answer but "there is no such handle" makes
		// sense: a session ends by itself with the last command that it
		// authorises, a sequence object with its completion.
		err = nil
	}
	if err == nil {
		o.forget(h)
	}
	return err
}

// flushStale takes out what earlier operations could not flush.
func (o *operation) flushStale() error {
	for len(o.tpm.stale) > 0 {
		if err := o.flush(o.tpm.stale[0]); err != nil {
			return fmt.Errorf("flushing what an interrupted operation left in the TPM: %w", err)
		}
		o.tpm.stale = o.tpm.stale[1:]
	}
	return nil
}

func (o *operation) forget(h tpm2.TPMHandle) {
	if i := slices.Index(o.live, h); i >= 0 {
		o.live = slices.Delete(o.live, i, i+1)
	}
	o.tpm.residents = slices.DeleteFunc(o.tpm.residents, func(r resident) bool { return r.handle == h })
}

// Send implements transport.TPM: it sends a command, again while the TPM asks
// for that, and notes the object or session that the command made or flushed.
func (o *operation) Send(command []byte) ([]byte, error) {
	if o.over {
		return nil, errors.New("the TPM operation is over")
	}
	cc := commandCode(command)
	if takesRoom(cc) {
		if err := o.makeRoom(); err != nil {
			return nil, err
		}
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		if o.commandCtx.Err() != nil {
			return nil, fmt.Errorf("TPM command not sent: %w", reason(o.commandCtx))
		}
		response, err := o.tpm.link.exchange(o.commandCtx, command)
		if err != nil {
			return nil, err
		}
		if len(response) < headerSize {
			return nil, fmt.Errorf("the TPM's response has %d bytes, want %d or more", len(response), headerSize)
		}
		rc := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
		if rc == tpm2.TPMRCObjectMemory {
			// Others have their objects there, or the command needs room that
			// no account shows, as TPM2_Create does.
			evicted, err := o.evictOne()
			if err != nil {
				return nil, err
			}
			if evicted {
				continue
			}
		}
		if !wantsRetry(rc) {
			if rc == tpm2.TPMRCSuccess {
				o.note(command, response)
			}
			// go-tpm takes what is missing for zeros.
			if size := binary.BigEndian.Uint32(response[2:]); int64(size) != int64(len(response)) {
				return nil, fmt.Errorf("the TPM's response has %d bytes and says %d", len(response), size)
			}
			return response, nil
		}
		select {
		case <-time.After(wait):
		case <-o.commandCtx.Done():
			// rc is not wrapped: it does not answer the command (isResponse).
			return nil, fmt.Errorf("the TPM is busy (%v): %w", rc, reason(o.commandCtx))
		}
	}
}

// wantsRetry reports whether the TPM asks to be sent the same command again
// (Part 2, section 6.6.3: warnings).
func wantsRetry(rc tpm2.TPMRC) bool {
	switch rc {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting:
		return true
	default:
		return false
	}
}

// note keeps account of handles by looking at the bytes, so that nothing
// depends on the commands' callers.
func (o *operation) note(command, response []byte) {
	// Part 1, section 18: handles come right after the header.
	switch cc := commandCode(command); {
	case takesRoom(cc), cc == tpm2.TPMCCStartAuthSession:
		if len(response) >= headerSize+4 {
			o.live = append(o.live, tpm2.TPMHandle(binary.BigEndian.Uint32(response[headerSize:])))
		}
	case cc == tpm2.TPMCCFlushContext:
		if len(command) >= headerSize+4 {
			o.forget(tpm2.TPMHandle(binary.BigEndian.Uint32(command[headerSize:])))
		}
	}
}

// commandCode is a command's, and 0 for what is too short to be one.
func commandCode(command []byte) tpm2.TPMCC {
	if len(command) < headerSize {
		return 0
	}
	return tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))
}

// takesRoom reports whether a command leaves a transient object in the TPM.
func takesRoom(cc tpm2.TPMCC) bool {
	switch cc {
	case tpm2.TPMCCCreatePrimary, tpm2.TPMCCLoad, tpm2.TPMCCLoadExternal, tpm2.TPMCCCreateLoaded,
		tpm2.TPMCCContextLoad, tpm2.TPMCCHMACStart, tpm2.TPMCCHashSequenceStart:
		return true
	default:
		return false
	}
}

// isResponse reports whether err is the TPM's own answer, a response code,
// rather than a failure to get one.
func isResponse(err error) bool {
	var rc tpm2.TPMRC
	return errors.As(err, &rc)
}
