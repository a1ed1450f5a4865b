// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// verifierAnswer is how long a verifier takes for an answer.
const verifierAnswer = 20 * time.Millisecond

// far is a verifier that takes so long.
type far struct{ rp.Verifier }

func (v far) NewSession(ctx context.Context, nonce []byte) (rp.Session, error) {
	time.Sleep(verifierAnswer)
	s, err := v.Verifier.NewSession(ctx, nonce)
	if err != nil {
		return nil, err
	}
	return farSession{s}, nil
}

type farSession struct{ rp.Session }

func (s farSession) Appraise(ctx context.Context, e rp.Evidence) (*rp.AttestationResult, error) {
	time.Sleep(verifierAnswer)
	return s.Session.Appraise(ctx, e)
}

// paced is the simulator at a chip's pace: a signature takes time.
type paced struct {
	transport.TPMCloser
	signature time.Duration
	count     *int
}

func (p paced) Send(command []byte) ([]byte, error) {
	switch tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) {
	case tpm2.TPMCCCertify, tpm2.TPMCCQuote, tpm2.TPMCCSign:
		*p.count++
		time.Sleep(p.signature)
	}
	return p.TPMCloser.Send(command)
}

// steps of both sides of one connection.
type steps struct {
	start time.Time
	mu    sync.Mutex
	done  []done
}

type done struct {
	side     string
	step     tlsbinding.Step
	from, to time.Duration
}

func (s *steps) trace(side string) *tlsbinding.Trace {
	return &tlsbinding.Trace{StepDone: func(step tlsbinding.Step, start time.Time, took time.Duration, _ error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		from := start.Sub(s.start)
		s.done = append(s.done, done{side, step, from, from + took})
	}}
}

func (s *steps) took(side string, step tlsbinding.Step) time.Duration {
	for _, d := range s.done {
		if d.side == side && d.step == step {
			return d.to - d.from
		}
	}
	return 0
}

// String has what matters: a benchmark may log ten lines.
func (s *steps) String() string {
	slices.SortFunc(s.done, func(a, b done) int { return cmp.Compare(a.from, b.from) })
	var b strings.Builder
	for _, d := range s.done {
		if d.side == "server" && d.step != tlsbinding.StepEvidence && d.step != tlsbinding.StepSign || d.step == tlsbinding.StepVerdict {
			continue
		}
		fmt.Fprintf(&b, "  %s %-38s %7.1f … %7.1f ms\n", d.side, d.step, inMS(d.from), inMS(d.to))
	}
	return b.String()
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkCriticalPath connects to a server with the TPM simulator, a verifier
// of 20 ms an answer behind the client. tpm-ms is what the evidence and the
// authenticator took, three signatures; verifier-ms the appraisal, and the wait
// for the session where it is not open by then; rest-ms what else the client
// waited for. The simulator signs in a millisecond, and so the client waits for
// the session; at a chip's pace it does not. The trace of one connection is
// printed.
func BenchmarkCriticalPath(b *testing.B) {
	for _, bb := range []struct {
		name      string
		signature time.Duration
	}{{"simulator", 0}, {"simulator at 30 ms a signature", 30 * time.Millisecond}} {
		b.Run(bb.name, func(b *testing.B) {
			sim, err := simulator.Open()
			require.NoError(b, err)
			signatures := 0
			tpm := attester.New(paced{sim, bb.signature, &signatures})
			defer tpm.Close()
			ca, err := site.NewCA()
			require.NoError(b, err)
			machine, err := ca.NewMachine(b.Context(), tpm, "sha256:0,1,2,3,4,5,6,7")
			require.NoError(b, err)
			tlsKey, err := ca.SoftwareKey()
			require.NoError(b, err)
			credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: machine.Certificate, Attester: machine})
			require.NoError(b, err)
			verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
			require.NoError(b, err)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(b, err)
			defer l.Close()

			var s *steps
			var total, tpmTime, appraisal time.Duration
			signatures = 0
			for b.Loop() {
				s = &steps{start: time.Now()}
				var server sync.WaitGroup
				server.Go(func() {
					conn, err := l.Accept()
					if err != nil {
						b.Error(err)
						return
					}
					accepted, err := tlsbinding.Server(b.Context(), conn, &tlsbinding.Config{
						TLS: &tls.Config{Certificates: []tls.Certificate{tlsKey}}, Credential: credential, Trace: s.trace("server"),
					})
					if err != nil {
						b.Error(err)
						return
					}
					accepted.Close()
				})
				conn, err := tlsbinding.Dial(b.Context(), "tcp", l.Addr().String(), &tlsbinding.Config{
					TLS:         &tls.Config{RootCAs: ca.Roots()},
					Requirement: &tlsbinding.Requirement{Verifier: far{verifier}, Policy: policy.Affirming()},
					Trace:       s.trace("client"),
				})
				if err != nil {
					b.Fatal(err)
				}
				total += time.Since(s.start)
				server.Wait()
				conn.Close()
				tpmTime += s.took("server", tlsbinding.StepEvidence) + s.took("server", tlsbinding.StepSign)
				appraisal += s.took("client", tlsbinding.StepAppraise)
			}
			n := float64(b.N)
			b.ReportMetric(float64(signatures)/n, "signatures/op")
			b.ReportMetric(inMS(tpmTime)/n, "tpm-ms/op")
			b.ReportMetric(inMS(appraisal)/n, "verifier-ms/op")
			b.ReportMetric(inMS(total-tpmTime-appraisal)/n, "rest-ms/op")
			b.Logf("the last connection:\n%v", s)
		})
	}
}
