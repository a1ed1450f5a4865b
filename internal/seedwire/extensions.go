// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package seedwire

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// The extensions' numbers, of TLS's range for private use (RFC 8446, section
// 11).
const (
	extEvidenceRequest  uint16 = 0xffa1
	extEvidenceProposal uint16 = 0xffa2
	extResultsRequest   uint16 = 0xffa3
	extResultsProposal  uint16 = 0xffa4
	extUnsupported      uint16 = 0xffa5
)

var extensionNames = map[uint16]string{
	extEvidenceRequest: "evidence_request", extEvidenceProposal: "evidence_proposal",
	extResultsRequest: "results_request", extResultsProposal: "results_proposal",
	extUnsupported: "unsupported",
}

// EvidenceRequest is a client's: the evidence that the server can choose from,
// the best first, and the nonce that it has to be made for.
type EvidenceRequest struct {
	Supported []EvidenceType
	Nonce     []byte
}

// ClientHello has the extensions of a ClientHello; what is nil is absent.
type ClientHello struct {
	// EvidenceRequest asks the server for evidence.
	EvidenceRequest *EvidenceRequest
	// EvidenceProposal is the evidence that the client can show.
	EvidenceProposal []EvidenceType
	// ResultsRequest are the verifiers whose results the client accepts, and
	// ResultsProposal those that it has results of. -02 has neither.
	ResultsRequest, ResultsProposal []string
}

// EvidenceChallenge is a server's evidence_proposal: the evidence that the
// client has to show.
type EvidenceChallenge struct {
	Selected EvidenceType
	Nonce    []byte
}

// Unsupported says what a server can show and what it accepts, to a client with
// which it has nothing in common.
type Unsupported struct {
	Shown, Accepted                   []EvidenceType
	ShownVerifiers, AcceptedVerifiers []string
}

// ServerHello has the server's extensions, which the drafts put into
// EncryptedExtensions; what is nil is absent.
type ServerHello struct {
	// EvidenceRequest is the type of the evidence that the server shows.
	EvidenceRequest *EvidenceType
	// EvidenceProposal is the evidence that the client has to show.
	EvidenceProposal *EvidenceChallenge
	// ResultsRequest is the verifier whose result the server shows, and
	// ResultsProposal the one whose result the client has to.
	ResultsRequest, ResultsProposal *string
	// Unsupported stands alone.
	Unsupported *Unsupported
}

// Marshal encodes the extensions as a block: Extension extensions<0..2^16-1>
// without its length (RFC 8446, section 4.2), in the order of their numbers.
func (h *ClientHello) Marshal(d Draft) ([]byte, error) {
	w := writer{draft: d}
	if r := h.EvidenceRequest; r != nil {
		w.extension(extEvidenceRequest, func(b *cryptobyte.Builder) {
			w.list(b, len(r.Supported), func(b *cryptobyte.Builder) { addEvidenceTypes(b, d, r.Supported) })
			addNonce(b, d, r.Nonce)
		})
	}
	if p := h.EvidenceProposal; p != nil {
		w.extension(extEvidenceProposal, func(b *cryptobyte.Builder) {
			w.list(b, len(p), func(b *cryptobyte.Builder) { addEvidenceTypes(b, d, p) })
		})
	}
	for _, e := range []struct {
		number     uint16
		identities []string
	}{{extResultsRequest, h.ResultsRequest}, {extResultsProposal, h.ResultsProposal}} {
		if e.identities != nil {
			w.extension(e.number, func(b *cryptobyte.Builder) {
				w.list(b, len(e.identities), func(b *cryptobyte.Builder) { addIdentities(b, e.identities) })
			})
		}
	}
	return w.bytes()
}

// Marshal encodes the extensions as a block, as ClientHello.Marshal does.
func (h *ServerHello) Marshal(d Draft) ([]byte, error) {
	w := writer{draft: d}
	if h.Unsupported != nil && (h.EvidenceRequest != nil || h.EvidenceProposal != nil || h.ResultsRequest != nil || h.ResultsProposal != nil) {
		return nil, errNotAlone
	}
	if t := h.EvidenceRequest; t != nil {
		w.extension(extEvidenceRequest, func(b *cryptobyte.Builder) { t.add(b, d) })
	}
	if c := h.EvidenceProposal; c != nil {
		w.extension(extEvidenceProposal, func(b *cryptobyte.Builder) {
			c.Selected.add(b, d)
			addNonce(b, d, c.Nonce)
		})
	}
	if h.ResultsRequest != nil {
		w.extension(extResultsRequest, func(b *cryptobyte.Builder) { addIdentity(b, *h.ResultsRequest) })
	}
	if h.ResultsProposal != nil {
		w.extension(extResultsProposal, func(b *cryptobyte.Builder) { addIdentity(b, *h.ResultsProposal) })
	}
	if u := h.Unsupported; u != nil {
		w.extension(extUnsupported, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addEvidenceTypes(b, d, u.Shown) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addIdentities(b, u.ShownVerifiers) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addEvidenceTypes(b, d, u.Accepted) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addIdentities(b, u.AcceptedVerifiers) })
		})
	}
	return w.bytes()
}

var errNotAlone = errors.New("unsupported: stands beside other extensions")

// writer writes a block of extensions.
type writer struct {
	draft Draft
	b     cryptobyte.Builder
	err   error
}

func (w *writer) extension(number uint16, body cryptobyte.BuilderContinuation) {
	if w.err != nil {
		return
	}
	if w.err = w.draft.knows(number); w.err != nil {
		return
	}
	var b cryptobyte.Builder
	b.AddUint16(number)
	b.AddUint16LengthPrefixed(body)
	data, err := b.Bytes()
	if err != nil {
		w.err = fmt.Errorf("%s: %w", extensionNames[number], err)
		return
	}
	w.b.AddBytes(data)
}

// list writes a vector<1..2^8-1>.
func (w *writer) list(b *cryptobyte.Builder, n int, body cryptobyte.BuilderContinuation) {
	if n == 0 {
		b.SetError(errEmptyList)
		return
	}
	var list cryptobyte.Builder
	body(&list)
	data, err := list.Bytes()
	switch {
	case err != nil:
		b.SetError(err)
	case len(data) > maxList:
		b.SetError(fmt.Errorf("a list of %d bytes, want at most %d", len(data), maxList))
	}
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
}

var errEmptyList = errors.New("the list is empty")

func (w *writer) bytes() ([]byte, error) {
	if err := w.draft.check(); err != nil {
		return nil, err
	}
	if w.err != nil {
		return nil, w.err
	}
	return w.b.Bytes()
}

// knows says whether a draft has an extension.
func (d Draft) knows(number uint16) error {
	if extensionNames[number] == "" {
		return fmt.Errorf("unknown extension %#04x", number)
	}
	if d == Draft02 && (number == extResultsRequest || number == extResultsProposal) {
		return fmt.Errorf("%s: not in draft %v, which has no passports", extensionNames[number], d)
	}
	return nil
}

// DecodeClientHello reads what ClientHello.Marshal writes.
func DecodeClientHello(d Draft, data []byte) (ClientHello, error) {
	var h ClientHello
	err := decode(d, data, func(number uint16, s *cryptobyte.String) (err error) {
		if number == extUnsupported {
			return errors.New("clients do not send it")
		}
		var list cryptobyte.String
		if !s.ReadUint8LengthPrefixed(&list) {
			return errShort
		}
		if list.Empty() {
			return errEmptyList
		}
		switch number {
		case extEvidenceRequest:
			h.EvidenceRequest = new(EvidenceRequest)
			if h.EvidenceRequest.Supported, err = evidenceTypes(list, d); err == nil {
				h.EvidenceRequest.Nonce, err = readNonce(s, d)
			}
		case extEvidenceProposal:
			h.EvidenceProposal, err = evidenceTypes(list, d)
		case extResultsRequest:
			h.ResultsRequest, err = readIdentities(list)
		case extResultsProposal:
			h.ResultsProposal, err = readIdentities(list)
		}
		return err
	})
	if err != nil {
		return ClientHello{}, err
	}
	return h, nil
}

// DecodeServerHello reads what ServerHello.Marshal writes.
func DecodeServerHello(d Draft, data []byte) (ServerHello, error) {
	var h ServerHello
	n := 0
	err := decode(d, data, func(number uint16, s *cryptobyte.String) (err error) {
		n++
		switch number {
		case extEvidenceRequest:
			var t EvidenceType
			t, err = readEvidenceType(s, d)
			h.EvidenceRequest = &t
		case extEvidenceProposal:
			h.EvidenceProposal = new(EvidenceChallenge)
			if h.EvidenceProposal.Selected, err = readEvidenceType(s, d); err == nil {
				h.EvidenceProposal.Nonce, err = readNonce(s, d)
			}
		case extResultsRequest:
			h.ResultsRequest, err = readIdentity(s)
		case extResultsProposal:
			h.ResultsProposal, err = readIdentity(s)
		case extUnsupported:
			h.Unsupported, err = readUnsupported(s, d)
		}
		return err
	})
	switch {
	case err != nil:
		return ServerHello{}, err
	case h.Unsupported != nil && n > 1:
		return ServerHello{}, errNotAlone
	}
	return h, nil
}

func readIdentity(s *cryptobyte.String) (*string, error) {
	var identity cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&identity) {
		return nil, errShort
	}
	text := string(identity)
	return &text, nil
}

func readUnsupported(s *cryptobyte.String, d Draft) (*Unsupported, error) {
	var lists [4]cryptobyte.String
	for i := range lists {
		if !s.ReadUint16LengthPrefixed(&lists[i]) {
			return nil, errShort
		}
	}
	u := new(Unsupported)
	var errs [4]error
	u.Shown, errs[0] = evidenceTypes(lists[0], d)
	u.ShownVerifiers, errs[1] = readIdentities(lists[1])
	u.Accepted, errs[2] = evidenceTypes(lists[2], d)
	u.AcceptedVerifiers, errs[3] = readIdentities(lists[3])
	return u, errors.Join(errs[:]...)
}

// decode hands each extension of a block to read, which has to read all of it.
func decode(d Draft, data []byte, read func(number uint16, s *cryptobyte.String) error) error {
	if err := d.check(); err != nil {
		return err
	}
	block := cryptobyte.String(data)
	var last uint16
	for !block.Empty() {
		var number uint16
		var body cryptobyte.String
		if !block.ReadUint16(&number) || !block.ReadUint16LengthPrefixed(&body) {
			return fmt.Errorf("an extension is %w", errShort)
		}
		if err := d.knows(number); err != nil {
			return err
		}
		// RFC 8446, section 4.2: no extension twice. The order is ours.
		if number <= last {
			return fmt.Errorf("%s: twice, or out of order", extensionNames[number])
		}
		last = number
		if err := read(number, &body); err != nil {
			return fmt.Errorf("%s: %w", extensionNames[number], err)
		}
		if !body.Empty() {
			return fmt.Errorf("%s: %d bytes too many", extensionNames[number], len(body))
		}
	}
	return nil
}
