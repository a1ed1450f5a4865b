// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// maxSocketPath is what fits a sockaddr_un on Linux with its final zero byte.
const maxSocketPath = 107

// Open connects to the TPM that uri names and checks that it is a TPM 2.0
// that was started:
//
//	device:/dev/tpmrm0        the kernel's TPM, through its resource manager
//	swtpm:unix:/run/tpm.sock  the data channel of "swtpm socket", unix socket
//	swtpm:tcp:127.0.0.1:2321  the same over TCP
//
// openers add schemes that this package does not know, such as "simulator:"
// (package attester/simulator).
//
// A socket is connected again when it broke. If it breaks while the TPM makes
// an object, and the TPM has no resource manager, the object stays there until
// the TPM is reset. A TPM without a resource manager (swtpm, /dev/tpm0) is
// best not shared: other programs' objects take up its room.
func Open(ctx context.Context, uri string, openers ...Opener) (*TPM, error) {
	l, err := dial(uri, openers)
	if err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", uri, err)
	}
	t := newTPM(l)
	if _, err := run(ctx, t, probe); err != nil {
		t.Close()
		return nil, fmt.Errorf("opening TPM %q: %w", uri, err)
	}
	if l, ok := l.(*socketLink); ok {
		// Only now: a command that makes nothing, as probe's, can be broken
		// off, and Open need not wait for a peer that is silent.
		l.grace = grace
	}
	return t, nil
}

// Opener opens the TPMs of one scheme. It keeps what only some programs need
// out of those that do not.
type Opener struct {
	Scheme string // what stands before the colon
	Open   func(address string) (transport.TPMCloser, error)
}

func dial(uri string, openers []Opener) (link, error) {
	scheme, rest, found := strings.Cut(uri, ":")
	for _, o := range openers {
		if found && o.Scheme == scheme {
			t, err := o.Open(rest)
			if err != nil {
				return nil, err
			}
			return plainLink{t}, nil
		}
	}
	switch scheme {
	case "device":
		if rest == "" {
			return nil, errors.New("no device named: want device:/dev/tpmrm0")
		}
		t, err := openDevice(rest)
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%w (on most systems members of the group tss may)", err)
		}
		if err != nil {
			return nil, err
		}
		return plainLink{t}, nil
	case "swtpm":
		network, address, _ := strings.Cut(rest, ":")
		switch network {
		case "unix":
			if address == "" {
				return nil, errors.New("no socket named: want swtpm:unix:/path")
			}
			if len(address) > maxSocketPath {
				return nil, fmt.Errorf("the socket's path has %d bytes, at most %d are possible", len(address), maxSocketPath)
			}
		case "tcp":
			if _, _, err := net.SplitHostPort(address); err != nil {
				return nil, fmt.Errorf("want swtpm:tcp:host:port: %w", err)
			}
		default:
			return nil, fmt.Errorf("network %q is not known: want swtpm:unix:/path or swtpm:tcp:host:port", network)
		}
		return &socketLink{network: network, address: address}, nil
	case "simulator":
		return nil, errors.New("the simulator is not linked into this package: " +
			"import github.com/veraison/attested-tls/attester/simulator and give attester.Open its Opener")
	default:
		return nil, fmt.Errorf("scheme %q is not known: want simulator:, device:/dev/tpmrm0, swtpm:unix:/path or swtpm:tcp:host:port", scheme)
	}
}

// probe asks for the TPM's family (Part 2, section 6.13: TPM_PT_FAMILY_INDICATOR).
func probe(o *operation) (struct{}, error) {
	rsp, err := tpm2.GetCapability{
		Capability:    tpm2.TPMCapTPMProperties,
		Property:      uint32(tpm2.TPMPTFamilyIndicator),
		PropertyCount: 1,
	}.Execute(o)
	if errors.Is(err, tpm2.TPMRCInitialize) {
		return struct{}{}, fmt.Errorf("the TPM was not started: run tpm2_startup -c, or swtpm with --flags startup-clear: %w", err)
	}
	if isResponse(err) {
		return struct{}{}, fmt.Errorf("it does not answer as a TPM 2.0: %w", err)
	}
	if err != nil {
		return struct{}{}, err
	}
	properties, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return struct{}{}, fmt.Errorf("it does not answer as a TPM 2.0: %w", err)
	}
	if p := properties.TPMProperty; len(p) != 1 || p[0].Property != tpm2.TPMPTFamilyIndicator ||
		p[0].Value != binary.BigEndian.Uint32([]byte("2.0\x00")) {
		return struct{}{}, fmt.Errorf("it is not a TPM of family 2.0: %v", p)
	}
	return struct{}{}, nil
}
