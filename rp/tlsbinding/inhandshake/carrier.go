// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/veraison/attested-tls/internal/seedwire"
)

// A carrier is text: the draft's version, and a block of extensions in
// base64url without padding.
const carrierPrefix = "attested-tls/"

func tag(d seedwire.Draft) string { return fmt.Sprintf("%s%02d:", carrierPrefix, uint8(d)) }

var base64url = base64.RawURLEncoding.Strict()

const (
	// maxProto is the size of an ALPN entry (RFC 7301, section 3.1).
	maxProto = 255
	// maxFragment is what fits into an entry behind its tag: 239 characters.
	maxFragment = (maxProto - len("attested-tls/00:")) * 3 / 4
	// maxFragments is how many entries a block may be split into: all four
	// extensions with the longest lists have room.
	maxFragments = 8
	// maxName is the largest distinguished name that is looked into.
	maxName = 8 << 10
)

// toALPN splits a block into ALPN entries, in their order.
func toALPN(d seedwire.Draft, block []byte) ([]string, error) {
	if len(block) > maxFragments*maxFragment {
		return nil, fmt.Errorf("what is offered and asked for takes %d bytes, want at most %d: name fewer evidence types or verifiers",
			len(block), maxFragments*maxFragment)
	}
	var entries []string
	for len(block) > 0 {
		n := min(len(block), maxFragment)
		entries = append(entries, tag(d)+base64url.EncodeToString(block[:n]))
		block = block[n:]
	}
	return entries, nil
}

// fromALPN takes a client's entries apart: the application's, and ours, of
// which there are none if the draft is 0. Entries of other versions are nobody's.
func fromALPN(protos []string) (application []string, d seedwire.Draft, block []byte, err error) {
	n := 0
	for _, p := range protos {
		if !isCarrier(p) {
			application = append(application, p)
			continue
		}
		this := seedwire.Draft02
		switch {
		case strings.HasPrefix(p, tag(seedwire.Draft02)):
		case strings.HasPrefix(p, tag(seedwire.Draft07)):
			this = seedwire.Draft07
		default:
			continue
		}
		fragment, err := base64url.DecodeString(p[len(tag(this)):])
		n++
		switch {
		case err != nil:
			return nil, 0, nil, protocolError("ALPN entry %.60q: %w", p, err)
		case d != 0 && d != this:
			return nil, 0, nil, protocolError("ALPN entries of drafts %v and %v", d, this)
		case n > maxFragments:
			return nil, 0, nil, protocolError("more than %d ALPN entries", maxFragments)
		}
		d, block = this, append(block, fragment...)
	}
	return application, d, block, nil
}

// oidDescription is the attribute of a name that carries text (RFC 4519,
// section 2.5).
var oidDescription = asn1.ObjectIdentifier{2, 5, 4, 13}

// toName makes a distinguished name, in DER, of the server's extensions.
func toName(d seedwire.Draft, h *seedwire.ServerHello) ([]byte, error) {
	block, err := h.Marshal(d)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(pkix.RDNSequence{{{Type: oidDescription, Value: tag(d) + base64url.EncodeToString(block)}}})
	if err == nil && len(der) > maxName {
		err = fmt.Errorf("a name of %d bytes, want at most %d", len(der), maxName)
	}
	return der, err
}

// fromName reads what toName writes. Any other name has nothing for us: nil.
func fromName(d seedwire.Draft, der []byte) (*seedwire.ServerHello, error) {
	if len(der) > maxName {
		return nil, nil
	}
	var name pkix.RDNSequence
	rest, err := asn1.Unmarshal(der, &name)
	if err != nil || len(rest) > 0 || len(name) != 1 || len(name[0]) != 1 || !name[0][0].Type.Equal(oidDescription) {
		return nil, nil
	}
	text, _ := name[0][0].Value.(string)
	encoded, ok := strings.CutPrefix(text, tag(d))
	if !ok {
		if isCarrier(text) {
			return nil, protocolError("the server answers in %.16q, want %q", text, tag(d))
		}
		return nil, nil
	}
	block, err := base64url.DecodeString(encoded)
	if err != nil {
		return nil, protocolError("the server's extensions: %w", err)
	}
	h, err := seedwire.DecodeServerHello(d, block)
	if err != nil {
		return nil, protocolError("the server's extensions: %w", err)
	}
	return &h, nil
}
