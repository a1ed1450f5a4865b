// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// demoClass is the kind of machine that the demonstration's is.
const demoClass = "5c57e8f4-46cd-421b-91c9-08cf93e13cfc"

// demoPCR is the register that the demonstration extends.
const demoPCR = 7

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show an attested TLS connection, and a refusal, with a simulated TPM",
		Long: `Show what all of this is for, in seconds and on any machine: a simulated TPM, its
endorsements, a verifier in this process, a server that attests, and a client that
is connected to it until the machine's firmware changes.

Nothing is kept, and the network is this machine's loopback.`,
		Example: "  atls demo",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context()) },
	}
}

func (a *app) demo(ctx context.Context) error {
	return a.withTPM(ctx, tpmFlags{uri: "simulator:"}, func(t *attester.TPM) error {
		d := &demo{app: a, tpm: t}
		for _, step := range []struct {
			title string
			do    func(context.Context) error
		}{
			{"an attestation key (AK) and a TLS identity key (TIK), made in a simulated TPM", d.keys},
			{"endorsements: the AK is genuine, and the PCRs are right as they are now", d.endorse},
			{"a server that attests, and a client that demands it", d.accepted},
			{"a client that wants another machine", d.otherMachine},
			{fmt.Sprintf("the same machine after PCR %d was extended, as other firmware would have", demoPCR), d.changed},
		} {
			d.line("\n==> %s", step.title)
			start := time.Now()
			if err := step.do(ctx); err != nil {
				return err
			}
			d.line("    (%v)", time.Since(start).Round(time.Millisecond))
		}
		d.line("\none connection made, two refused")
		return nil
	})
}

// demo is a machine, its verifier, and who wants to talk to it.
type demo struct {
	app      *app
	tpm      *attester.TPM
	attester *attester.Attester
	pcrs     attester.Selection
	verifier rp.Verifier
}

func (d *demo) line(format string, args ...any) { fmt.Fprintf(&d.app.out, format+"\n", args...) }

func (d *demo) keys(ctx context.Context) error {
	alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	ak, err := d.tpm.CreateAK(ctx, alg)
	if err != nil {
		return tpmErrorf("%w", err)
	}
	tik, err := d.tpm.CreateTIK(ctx, alg)
	if err != nil {
		return tpmErrorf("%w", err)
	}
	if d.pcrs, err = attester.ParseSelection("sha256:0,1,2,3,4,5,6,7"); err != nil {
		return err
	}
	if d.attester, err = attester.NewAttester(ctx, attester.AttestConfig{AK: ak, TIK: tik, Selection: d.pcrs}); err != nil {
		return tpmErrorf("%w", err)
	}
	d.line("    AK %s, kid %x", alg, ak.KID())
	return nil
}

func (d *demo) endorse(ctx context.Context) error {
	anchor, err := endorsements.NewTrustAnchor(demoClass, d.attester.AK().KID(), d.attester.AK().PEM())
	if err != nil {
		return err
	}
	pcrs, err := d.tpm.ReadPCRs(ctx, d.pcrs)
	if err != nil {
		return tpmErrorf("%w", err)
	}
	var values []endorsements.PCRValue
	for bank, digests := range pcrs {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(demoClass, values)
	if err != nil {
		return err
	}
	c := &endorsements.Corim{ID: "demo", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}}
	if d.verifier, err = embedded.New([]*endorsements.Corim{c}, embedded.Config{}); err != nil {
		return err
	}
	d.line("    class %s, state %s", demoClass, state)
	return nil
}

// connection makes one, and returns what came of it at both ends.
func (d *demo) connection(ctx context.Context, kid []byte) (_ *tlsbinding.Peer, greeting string, client, server error) {
	certificate, err := d.app.tikCertificate(ctx, "", d.attester.TIK())
	if err != nil {
		return nil, "", err, nil
	}
	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: certificate, Attester: d.attester})
	if err != nil {
		return nil, "", err, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err, nil
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		attested, err := tlsbinding.Server(ctx, conn, &tlsbinding.Config{
			TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}, Credential: credential,
		})
		if err == nil {
			_, err = io.WriteString(attested, "hello from a machine in a known state")
			err = errors.Join(err, attested.Close())
		}
		served <- err
	}()
	conn, err := tlsbinding.Dial(ctx, "tcp", l.Addr().String(), &tlsbinding.Config{
		TLS: &tls.Config{InsecureSkipVerify: true}, // the machine is known by its AK
		Requirement: &tlsbinding.Requirement{
			Verifier: d.verifier, Policy: policy.Affirming(), InsecureSkipPKI: true, Instances: [][]byte{kid},
		},
	})
	if err != nil {
		_ = l.Close() // also ends a server that nobody came to
		return nil, "", err, <-served
	}
	defer l.Close()
	defer conn.Close()
	peer, _ := tlsbinding.PeerOf(conn)
	text, err := io.ReadAll(conn)
	return peer, string(text), err, <-served
}

func (d *demo) accepted(ctx context.Context) error {
	peer, greeting, client, server := d.connection(ctx, d.attester.AK().KID())
	if err := errors.Join(client, server); err != nil {
		return err
	}
	info, err := newResultInfo(peer.Result)
	if err != nil {
		return err
	}
	var b strings.Builder
	info.print(&b, d.app.colours(d.app.env.StdoutTTY))
	for text := range strings.Lines(b.String()) {
		d.line("    %s", strings.TrimRight(text, "\n"))
	}
	d.line("    the server says: %q", greeting)
	return nil
}

// refused shows a connection that must not come about.
func (d *demo) refused(ctx context.Context, kid []byte) error {
	_, _, client, server := d.connection(ctx, kid)
	if client == nil {
		return errors.New("a connection that must be refused was made")
	}
	if !is[*rp.PolicyError](client) {
		return client
	}
	d.line("    client: %v", client)
	d.line("    server: %v", server)
	return nil
}

func (d *demo) otherMachine(ctx context.Context) error {
	other := sha256.Sum256([]byte("another machine"))
	return d.refused(ctx, append([]byte{1}, other[:]...))
}

func (d *demo) changed(ctx context.Context) error {
	measured := sha256.Sum256([]byte("firmware that nobody endorsed"))
	err := d.tpm.Do(ctx, func(t transport.TPM, _ []tpm2.AuthHandle) error {
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(demoPCR), Auth: tpm2.PasswordAuth(nil)},
			Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
				{HashAlg: tpm2.TPMAlgSHA256, Digest: measured[:]},
			}},
		}.Execute(t)
		return err
	})
	if err != nil {
		return tpmErrorf("extending a PCR: %w", err)
	}
	return d.refused(ctx, d.attester.AK().KID())
}
