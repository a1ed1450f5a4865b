// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// middle is a man in the middle who holds the private key of the server's TLS
// certificate: he is the server to the client, a client to the server, and
// relays what they say.
func middle(t testing.TB, server *Config, client, upstream net.Conn) {
	t.Helper()
	down := tls.Server(client, harden(server.TLS, nil))
	up := tls.Client(upstream, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	var wg sync.WaitGroup
	for _, way := range [][2]*tls.Conn{{down, up}, {up, down}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].CloseWrite()
		})
	}
	t.Cleanup(func() {
		client.Close()
		upstream.Close()
		wg.Wait()
	})
}

// TestManInTheMiddle: evidence and authenticator of the genuine machine are made
// for the connection of the one who asked it.
func TestManInTheMiddle(t *testing.T) {
	w := newWorld(t, 2)
	clientCredential, serverCredential := w.machines[1].credential(), w.machines[0].credential()
	for _, tt := range []struct {
		name           string
		client, server *Config
	}{
		{"server attests", w.client(nil, w.requirement()), w.server(serverCredential, nil)},
		{"client attests", w.client(clientCredential, nil), w.server(nil, w.requirement())},
		{"server attests by passport", w.client(nil, w.requirement(w.byPassport)), w.server(w.machines[0].credential(w.passport(w.machines[0])), nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := connect(t, tt.client, tt.server)
			require.NoError(t, e.clientErr, "without anybody in the middle")
			require.NoError(t, e.serverErr)

			client, fromClient := pipe(t)
			toServer, server := pipe(t)
			middle(t, tt.server, fromClient, toServer)
			e = over(t, client, server, tt.client, tt.server)
			// The one who demands finds out, and the other is told.
			deciding, told := e.clientErr, e.serverErr
			if tt.server.Requirement != nil {
				deciding, told = told, deciding
			}
			require.ErrorIs(t, deciding, ErrNotBound)
			require.ErrorIs(t, deciding, expauth.ErrSignature)
			at(t, deciding, StepCheck)
			require.ErrorIs(t, told, ErrNotBound)
			refusedAs(t, told, RefusedBinding, "not bound to this connection")
		})
	}
}

// TestRelayedEvidence: a machine in the middle that has a key and a certificate
// of its own, makes a proper authenticator with it, and puts into it what the
// genuine machine made for somebody else.
func TestRelayedEvidence(t *testing.T) {
	w := newWorld(t, 2)
	genuine, relay := w.machines[0], w.machines[1]
	// The relay's connection to the genuine machine gives it evidence for any
	// request, bound to that connection and the genuine machine's key.
	elsewhere := func(nonceOf func(context.Context, []byte) ([]byte, error)) *Credential {
		return relay.credential(attesting(nonceOf))
	}
	t.Run("evidence of another connection", func(t *testing.T) {
		credential := elsewhere(func(ctx context.Context, _ []byte) ([]byte, error) {
			return genuine.Attest(ctx, make([]byte, 32))
		})
		e := connect(t, w.client(nil, w.requirement()), w.server(credential, nil))
		require.ErrorIs(t, e.clientErr, ErrNotBound)
		require.ErrorContains(t, e.clientErr, "nonce")
		at(t, e.clientErr, StepAppraise)
		refusedAs(t, e.serverErr, RefusedBinding, "nonce")
	})
	t.Run("evidence for this connection, of a key that is not the relay's", func(t *testing.T) {
		// No protocol gives it that; if it had a way, the key would tell.
		credential := elsewhere(genuine.Attest)
		e := connect(t, w.client(nil, w.requirement()), w.server(credential, nil))
		var refused *rp.PolicyError
		require.ErrorAs(t, e.clientErr, &refused)
		require.Contains(t, refused.Error(), "key")
		at(t, e.clientErr, StepAppraise)
		refusedAs(t, e.serverErr, RefusedAppraisal, "key")
	})
	t.Run("passport of another machine", func(t *testing.T) {
		credential := relay.credential(w.passport(genuine))
		e := connect(t, w.client(nil, w.requirement(w.byPassport)), w.server(credential, nil))
		var refused *rp.PolicyError
		require.ErrorAs(t, e.clientErr, &refused)
		require.Contains(t, refused.Error(), "key")
		refusedAs(t, e.serverErr, RefusedAppraisal, "key")
	})
}

// TestDiversion: what a machine says on one connection, to one who may ask, does
// not count on another one, even if request and key are the same.
func TestDiversion(t *testing.T) {
	w := newWorld(t, 1)
	client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
	connection := func() (relying, attesting *session) {
		c, s := pipe(t)
		relying = &session{cfg: client, self: expauth.Client, link: newLink(c), demand: client.Requirement.offers()[0]}
		attesting = &session{cfg: server, self: expauth.Server, link: newLink(s), show: client.Requirement.offers()[0]}
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, attesting.secure(t.Context())) })
		require.NoError(t, relying.secure(t.Context()))
		wg.Wait()
		return relying, attesting
	}
	victim, good := connection()
	_, other := connection()
	ask := func() *request {
		r, err := victim.newRequest(clientRequestID)
		require.NoError(t, err)
		return r
	}

	r := ask()
	diverted, err := other.attest(t.Context(), r.message)
	require.NoError(t, err)
	_, err = victim.verify(t.Context(), r, diverted)
	require.ErrorIs(t, err, ErrNotBound)
	require.ErrorIs(t, err, expauth.ErrSignature)

	r = ask()
	genuine, err := good.attest(t.Context(), r.message)
	require.NoError(t, err)
	p, err := victim.verify(t.Context(), r, genuine)
	require.NoError(t, err)
	require.True(t, w.machines[0].tik.PublicKey.Equal(p.Key()))
	r.opened.close()

	// And each counts once.
	_, err = victim.verify(t.Context(), r, genuine)
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorIs(t, err, expauth.ErrReused)
	_, err = good.attest(t.Context(), r.message)
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorIs(t, err, expauth.ErrReused)
	next := ask()
	_, err = victim.verify(t.Context(), next, genuine)
	require.ErrorIs(t, err, ErrNotBound)
	require.ErrorIs(t, err, expauth.ErrContext)
}

// TestReflection: what a side says is not taken from its peer.
func TestReflection(t *testing.T) {
	w := newWorld(t, 2)
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		mine := w.client(w.machines[1].credential(), w.requirement())
		others := w.server(w.machines[0].credential(), w.requirement())
		if self == expauth.Server {
			mine, others = others, mine
		}
		t.Run("authenticator of the "+self.String(), func(t *testing.T) {
			err := facing(t, self, mine, others, func(h *hand) {
				_, request := h.ask()
				h.greet(request)
				f := h.hear(frame.Authenticator)
				h.say(h.answer(f.Body))
				refused := h.refusal()
				require.Equal(t, RefusedBinding, refused.Code)
			})
			require.ErrorIs(t, err, ErrNotBound)
			require.ErrorIs(t, err, expauth.ErrContext)
			at(t, err, StepCheck)
		})
		reflect := func(name string, change func([]byte), text string) {
			t.Run(name+" of the "+self.String(), func(t *testing.T) {
				if self == expauth.Server && change != nil {
					// A client speaks first, and cannot know the server's
					// context in time for its own first request.
					t.Skip("a client's first request is on its way before the server's")
				}
				err := facing(t, self, mine, others, func(h *hand) {
					if self == expauth.Server {
						_, own := h.ask()
						own.Body[0] = 13 // a CertificateRequest, as servers make them
						h.greet(own)
					} else {
						h.hear(frame.Hello)
						theirs := h.hear(frame.Request)
						body := slices.Clone(theirs.Body)
						if change != nil {
							change(body)
						}
						h.say(h.hello(), frame.Frame{Type: frame.Request, ID: serverRequestID, Body: body})
					}
					refused := h.refusal()
					require.Equal(t, RefusedProtocol, refused.Code)
					require.Contains(t, refused.Reason, text)
				})
				require.ErrorIs(t, err, ErrProtocol)
				require.ErrorContains(t, err, text)
			})
		}
		reflect("request", nil, "one of this side's own kind")
		reflect("context", func(body []byte) { body[0] = 13 }, "used before on this connection: by this end")
	}
}

// TestRefusedEvidence: each machine has one defect; the client finds it, and
// both ends say which it is.
func TestRefusedEvidence(t *testing.T) {
	const otherType = "application/x.test"
	type attack struct {
		name       string
		machine    func(*world, *machine)
		credential func(*world, *machine, *CredentialConfig)
		afterwards func(*world, *Credential)
		requires   func(*world, *Requirement)
		kind       error // what the client finds
		policy     bool
		text       string
		code       RefusalCode // what the server is told
		told       string
	}
	record := func(change func(*cmw.Record)) func(*world, *machine, *CredentialConfig) {
		return func(_ *world, m *machine, cfg *CredentialConfig) {
			cfg.Attester = attesterFunc(func(ctx context.Context, nonce []byte) ([]byte, error) {
				data, err := m.Attest(ctx, nonce)
				if err != nil {
					return nil, err
				}
				r, err := cmw.Decode(data)
				if err != nil {
					return nil, err
				}
				change(&r)
				return r.EncodeCBOR(), nil
			})
		}
	}
	otherNonce := func(m *machine) attesterFunc {
		return func(ctx context.Context, nonce []byte) ([]byte, error) {
			nonce = slices.Clone(nonce)
			nonce[0] ^= 1
			return m.Attest(ctx, nonce)
		}
	}
	for _, tt := range []attack{
		{
			name: "another key is attested",
			machine: func(w *world, m *machine) {
				m.tpm.TIK = evidencetest.ECPublic(t, &evidencetest.ECKey(t, elliptic.P256()).PublicKey)
			},
			policy: true, text: "key", code: RefusedAppraisal, told: "key",
		},
		{
			name:    "a PCR changed",
			machine: func(_ *world, m *machine) { m.extend() },
			policy:  true, text: "executables", code: RefusedAppraisal, told: "executables",
		},
		{
			name:     "another instance",
			requires: func(_ *world, r *Requirement) { r.Instances = [][]byte{{1, 2, 3}} },
			policy:   true, text: "instance (kid)", code: RefusedAppraisal, told: "instance (kid)",
		},
		{
			name: "an instance that is not the one of the key",
			requires: func(w *world, r *Requirement) {
				r.InsecureSkipPKI = true
				r.Instances = [][]byte{w.machines[1].tpm.KID}
			},
			policy: true, text: "instance (kid)", code: RefusedAppraisal, told: "instance (kid)",
		},
		{
			name: "not one of the keys",
			requires: func(_ *world, r *Requirement) {
				r.Keys = []crypto.PublicKey{evidencetest.ECKey(t, elliptic.P256()).Public()}
			},
			policy: true, text: "key", code: RefusedAppraisal, told: "key",
		},
		{
			name:     "the policy says no",
			requires: func(_ *world, r *Requirement) { r.Policy = policy.Verifier(ear.VerifierID{Build: "another"}) },
			policy:   true, text: "another", code: RefusedAppraisal, told: "ear.verifier-id.build is",
		},
		{
			name: "a machine that the verifier does not know",
			machine: func(_ *world, m *machine) {
				m.tpm.AK = evidencetest.ECKey(t, elliptic.P256())
				m.tpm.KID = append([]byte{1}, make([]byte, 32)...)
			},
			policy: true, code: RefusedAppraisal,
		},
		{
			name: "the announced key is not the one that signs",
			afterwards: func(w *world, c *Credential) {
				c.spki = w.machines[1].credential().spki
			},
			kind: ErrNotBound, text: "announced another key", code: RefusedBinding, told: "announced another key",
		},
		{
			name: "evidence for another nonce",
			credential: func(_ *world, m *machine, cfg *CredentialConfig) {
				cfg.Attester = otherNonce(m)
			},
			kind: ErrNotBound, text: "nonce", code: RefusedBinding, told: "nonce",
		},
		{
			name: "evidence of a kind that the verifier alone can read, for another nonce",
			credential: func(_ *world, m *machine, cfg *CredentialConfig) {
				cfg.EvidenceType = otherType
				record(func(r *cmw.Record) { r.Type = otherType })(nil, m, cfg)
				inner := cfg.Attester
				cfg.Attester = attesterFunc(func(ctx context.Context, nonce []byte) ([]byte, error) {
					nonce = slices.Clone(nonce)
					nonce[0] ^= 1
					return inner.Attest(ctx, nonce)
				})
			},
			requires: func(w *world, r *Requirement) {
				r.EvidenceTypes = []string{otherType}
				r.Verifier = &counting{Verifier: w.verifier, appraising: func(_ context.Context, e *rp.Evidence) error {
					if e.MediaType != otherType {
						return errors.New("not the evidence's own type: " + e.MediaType)
					}
					e.MediaType = bundle.MediaType
					return nil
				}}
			},
			policy: true, code: RefusedAppraisal,
		},
		{
			name:       "evidence that cannot be read",
			credential: record(func(r *cmw.Record) { r.Value = []byte("no bundle") }),
			text:       "the evidence", code: RefusedAppraisal, told: "the evidence",
		},
		{
			name:       "evidence of another type than agreed",
			credential: record(func(r *cmw.Record) { r.Type = otherType }),
			kind:       ErrProtocol, text: otherType, code: RefusedProtocol, told: otherType,
		},
		{
			name:       "evidence that says it is a result",
			credential: record(func(r *cmw.Record) { r.Indicator = cmw.AttestationResults }),
			kind:       ErrProtocol, text: "indicator 8", code: RefusedProtocol, told: "indicator 8",
		},
		{
			name:       "evidence that does not say what it is",
			credential: record(func(r *cmw.Record) { r.Indicator = 0 }),
			kind:       ErrProtocol, text: "indicator is 0", code: RefusedProtocol, told: "indicator is 0",
		},
		{
			name: "no CMW",
			credential: func(_ *world, _ *machine, cfg *CredentialConfig) {
				cfg.Attester = attesterFunc(func(context.Context, []byte) ([]byte, error) { return []byte("not a CMW"), nil })
			},
			kind: ErrProtocol, text: "CMW", code: RefusedProtocol, told: "CMW",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 2)
			m := w.machines[0]
			if tt.machine != nil {
				tt.machine(w, m)
			}
			credential := m.credential(func(cfg *CredentialConfig) {
				if tt.credential != nil {
					tt.credential(w, m, cfg)
				}
			})
			if tt.afterwards != nil {
				tt.afterwards(w, credential)
			}
			requirement := w.requirement(func(r *Requirement) {
				if tt.requires != nil {
					tt.requires(w, r)
				}
			})
			e := connect(t, w.client(nil, requirement), w.server(credential, nil))
			require.Nil(t, e.client)
			require.Nil(t, e.server)
			if tt.kind != nil {
				require.ErrorIs(t, e.clientErr, tt.kind)
			}
			if tt.policy {
				var refused *rp.PolicyError
				require.ErrorAs(t, e.clientErr, &refused)
				at(t, e.clientErr, StepAppraise)
			}
			require.ErrorContains(t, e.clientErr, tt.text)
			refusedAs(t, e.serverErr, tt.code, tt.told)
			if tt.policy {
				require.NotContains(t, e.serverErr.Error(), "want", "whom the client accepts is its own affair")
			}
		})
	}
}

// TestInstances: any machine of either list will do.
func TestInstances(t *testing.T) {
	w := newWorld(t, 2)
	stranger := evidencetest.ECKey(t, elliptic.P256()).Public()
	for name, change := range map[string]func(*Requirement){
		"by instance": func(r *Requirement) {
			r.Instances = [][]byte{{1, 2, 3}, w.machines[0].tpm.KID}
		},
		"by key": func(r *Requirement) { r.Keys = []crypto.PublicKey{stranger, w.machines[0].tik.Public()} },
		"by instance, key unknown": func(r *Requirement) {
			r.Instances, r.Keys = [][]byte{w.machines[0].tpm.KID}, []crypto.PublicKey{stranger}
		},
		"by key, instance unknown": func(r *Requirement) {
			r.Instances, r.Keys = [][]byte{{1, 2, 3}}, []crypto.PublicKey{w.machines[0].tik.Public()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, w.client(nil, w.requirement(func(r *Requirement) { r.InsecureSkipPKI = true }, change)),
				w.server(w.machines[0].credential(), nil))
			require.NoError(t, e.clientErr)
			require.NoError(t, e.serverErr)
			p, ok := PeerOf(e.client)
			require.True(t, ok)
			require.Nil(t, p.VerifiedChains)
		})
	}
	t.Run("any", func(t *testing.T) {
		e := connect(t, w.client(nil, w.requirement(func(r *Requirement) { r.InsecureSkipPKI, r.InsecureAnyInstance = true, true })),
			w.server(w.machines[1].credential(), nil))
		require.NoError(t, e.clientErr)
		require.NoError(t, e.serverErr)
	})
}

// TestAttesterMakesNothing: what goes wrong at the attester is its own affair;
// the peer learns that there is no evidence.
func TestAttesterMakesNothing(t *testing.T) {
	w := newWorld(t, 1)
	for name, change := range map[string]func(*CredentialConfig){
		"error": attesting(func(context.Context, []byte) ([]byte, error) {
			return nil, errors.New("secret: TPM at /dev/tpm7 is dead")
		}),
		"nothing":  attesting(func(context.Context, []byte) ([]byte, error) { return nil, nil }),
		"too much": attesting(func(context.Context, []byte) ([]byte, error) { return make([]byte, maxCMW+1), nil }),
	} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, w.client(nil, w.requirement()), w.server(w.machines[0].credential(change), nil))
			at(t, e.serverErr, StepEvidence)
			require.NotErrorIs(t, e.serverErr, ErrProtocol)
			if name == "error" {
				require.ErrorContains(t, e.serverErr, "/dev/tpm7")
			} else {
				require.ErrorContains(t, e.serverErr, "want 1 to 65529")
			}
			refusedAs(t, e.clientErr, RefusedAttester, "no evidence")
			require.NotContains(t, e.clientErr.Error(), "secret")
		})
	}
}

// TestCMWExtension: the extension of the authenticator is there once, and well
// formed. The authenticator is proper in all else.
func TestCMWExtension(t *testing.T) {
	w := newWorld(t, 2)
	client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
	for _, tt := range []struct {
		name string
		make func(h *hand, good expauth.Extension) []expauth.Extension
		kind error // nil: it is good
		code RefusalCode
		text string
	}{
		{"good", func(_ *hand, good expauth.Extension) []expauth.Extension { return []expauth.Extension{good} }, nil, 0, ""},
		{"missing", func(*hand, expauth.Extension) []expauth.Extension { return nil }, ErrProtocol, RefusedProtocol, "without attestation"},
		{"twice", func(_ *hand, good expauth.Extension) []expauth.Extension {
			return []expauth.Extension{good, good}
		}, ErrNotBound, RefusedBinding, "twice"},
		{"another one, which nobody asked for", func(_ *hand, good expauth.Extension) []expauth.Extension {
			return []expauth.Extension{good, {Type: 0xff01}}
		}, ErrNotBound, RefusedBinding, "the request did not offer"},
		{"empty", func(_ *hand, good expauth.Extension) []expauth.Extension {
			return []expauth.Extension{{Type: good.Type}}
		}, ErrProtocol, RefusedProtocol, "malformed"},
		{"empty CMW", func(_ *hand, good expauth.Extension) []expauth.Extension {
			return []expauth.Extension{{Type: good.Type, Data: []byte{0, 0}}}
		}, ErrProtocol, RefusedProtocol, "malformed"},
		{"cut short", func(_ *hand, good expauth.Extension) []expauth.Extension {
			return []expauth.Extension{{Type: good.Type, Data: good.Data[:len(good.Data)-1]}}
		}, ErrProtocol, RefusedProtocol, "malformed"},
		{"a byte left over", func(_ *hand, good expauth.Extension) []expauth.Extension {
			return []expauth.Extension{{Type: good.Type, Data: append(slices.Clone(good.Data), 0)}}
		}, ErrProtocol, RefusedProtocol, "malformed"},
		{"as large as can be", func(h *hand, _ expauth.Extension) []expauth.Extension {
			return []expauth.Extension{cmwExtension(h.t, make([]byte, maxCMW))}
		}, ErrProtocol, RefusedProtocol, "CMW"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := facing(t, expauth.Client, client, server, func(h *hand) {
				request := h.greet()
				good := cmwExtension(t, h.evidence(w.machines[0], request))
				h.say(h.answer(h.authenticator(request, w.machines[0].cert, tt.make(h, good)...)))
				if tt.kind == nil {
					h.say(frame.Frame{Type: frame.Accept})
					h.hear(frame.Accept)
					return
				}
				refused := h.refusal()
				require.Equal(t, tt.code, refused.Code)
				require.Contains(t, refused.Reason, tt.text)
			})
			if tt.kind == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.kind)
			require.ErrorContains(t, err, tt.text)
			at(t, err, StepCheck)
		})
	}
	t.Run("empty authenticator", func(t *testing.T) {
		err := facing(t, expauth.Client, client, server, func(h *hand) {
			empty, err := h.exporter.Refuse(expauth.Server, h.greet())
			require.NoError(t, err)
			h.say(h.answer(empty))
			_, err = h.rest()
			gone(t, err)
		})
		refusedAs(t, err, RefusedAttester, "empty authenticator")
		at(t, err, StepCheck)
	})
	t.Run("empty authenticator of another connection", func(t *testing.T) {
		err := facing(t, expauth.Client, client, server, func(h *hand) {
			empty, err := h.exporter.Refuse(expauth.Server, h.greet())
			require.NoError(t, err)
			empty[len(empty)-1] ^= 1
			h.say(h.answer(empty))
			require.Equal(t, RefusedBinding, h.refusal().Code)
		})
		require.ErrorIs(t, err, ErrNotBound)
		require.ErrorIs(t, err, expauth.ErrFinished)
	})
	t.Run("signed by another key", func(t *testing.T) {
		err := facing(t, expauth.Client, client, server, func(h *hand) {
			request := h.greet()
			good := cmwExtension(t, h.evidence(w.machines[0], request))
			certificate := tls.Certificate{Certificate: w.machines[0].cert.Certificate, PrivateKey: w.machines[1].tik}
			h.say(h.answer(h.authenticator(request, certificate, good)))
			require.Equal(t, RefusedBinding, h.refusal().Code)
		})
		require.ErrorIs(t, err, ErrNotBound)
		require.ErrorIs(t, err, expauth.ErrSignature)
	})
}

// TestPassport: each passport has one defect.
func TestPassport(t *testing.T) {
	w := newWorld(t, 2)
	m := w.machines[0]
	other, err := embedded.New(w.corims, embedded.Config{})
	require.NoError(t, err)
	for _, tt := range []struct {
		name     string
		passport func(context.Context) (Passport, error)
		requires func(*Issuer)
		token    ear.Check
		text     string
		code     RefusalCode
	}{
		{
			name:     "too old",
			requires: func(i *Issuer) { i.MaxAge, i.Skew = time.Nanosecond, time.Nanosecond },
			token:    ear.Expired, text: "accepted are", code: RefusedAppraisal,
		},
		{
			name:     "another verifier's key",
			requires: func(i *Issuer) { i.Keys = ear.Pin(other.Key()) },
			token:    ear.Signature, code: RefusedAppraisal,
		},
		{
			name:     "another verifier's identity",
			requires: func(i *Issuer) { i.ID.Build = "another" },
			token:    ear.Verifier, text: "another", code: RefusedAppraisal,
		},
		{
			name: "no EAR",
			passport: func(context.Context) (Passport, error) {
				return Passport{EAR: []byte("nothing"), Verifier: "the verifier"}, nil
			},
			token: ear.Malformed, code: RefusedAppraisal,
		},
		{
			name: "of a machine whose PCR changed",
			passport: func(ctx context.Context) (Passport, error) {
				changed := w.newMachine()
				*changed.tpm = *m.tpm
				changed.tik = m.tik
				changed.tpm.PCRs = map[evidencetest.PCR][]byte{}
				for pcr := range m.tpm.PCRs {
					changed.tpm.PCRs[pcr] = make([]byte, 32)
				}
				return Passport{EAR: []byte(w.result(ctx, changed).Token), Verifier: "the verifier"}, nil
			},
			text: "executables", code: RefusedAppraisal,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			credential := m.credential(w.passport(m), func(cfg *CredentialConfig) {
				if tt.passport != nil {
					cfg.Passport = tt.passport
				}
			})
			requirement := w.requirement(w.byPassport, func(r *Requirement) {
				if tt.requires != nil {
					tt.requires(&r.Issuers[0])
				}
			})
			e := connect(t, w.client(nil, requirement), w.server(credential, nil))
			at(t, e.clientErr, StepAppraise)
			if tt.token != "" {
				var bad *ear.Error
				require.ErrorAs(t, e.clientErr, &bad)
				require.Equal(t, tt.token, bad.Check)
			} else {
				var refused *rp.PolicyError
				require.ErrorAs(t, e.clientErr, &refused)
			}
			require.ErrorContains(t, e.clientErr, tt.text)
			told := ""
			if tt.token != "" {
				told = "the passport is refused: " + string(tt.token)
			}
			refusedAs(t, e.serverErr, tt.code, told)
		})
	}
	for name, passport := range map[string]func(context.Context) (Passport, error){
		"by another verifier than agreed": func(ctx context.Context) (Passport, error) {
			return Passport{EAR: []byte(w.result(ctx, m).Token), Verifier: "another"}, nil
		},
		"cannot be had": func(context.Context) (Passport, error) { return Passport{}, errors.New("the office is closed") },
		"empty":         func(context.Context) (Passport, error) { return Passport{}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			credential := m.credential(w.passport(m), func(cfg *CredentialConfig) { cfg.Passport = passport })
			e := connect(t, w.client(nil, w.requirement(w.byPassport)), w.server(credential, nil))
			at(t, e.serverErr, StepEvidence)
			refusedAs(t, e.clientErr, RefusedAttester, "no evidence")
		})
	}
}

// TestIdentity: the chain of the attested key's certificate is validated in both
// directions, as TLS would, whatever the evidence says.
func TestIdentity(t *testing.T) {
	w := newWorld(t, 2)
	stranger := newWorld(t, 0)
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, tt := range []struct {
		name   string
		by     *world
		change func(*x509.Certificate)
		client bool // it matters for clients, too
		text   string
	}{
		{"good", w, func(*x509.Certificate) {}, true, ""},
		{"another CA", stranger, func(*x509.Certificate) {}, true, "unknown authority"},
		{"another name", w, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }, false, "other.test"},
		{"expired", w, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, true, "expired"},
		{"not valid yet", w, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, true, "not yet valid"},
		{"no such usage", w, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		}, true, "incompatible key usage"},
	} {
		certify := func(m *machine) func(*CredentialConfig) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "machine"}, DNSNames: []string{serverName},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: both,
			}
			tt.change(template)
			der, err := x509.CreateCertificate(rand.Reader, template, tt.by.ca, m.tik.Public(), tt.by.caKey)
			require.NoError(t, err)
			return func(cfg *CredentialConfig) {
				cfg.Certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: m.tik}
			}
		}
		t.Run(tt.name+", server", func(t *testing.T) {
			m := w.machines[0]
			e := connect(t, w.client(nil, w.requirement()), w.server(m.credential(certify(m)), nil))
			if tt.text == "" {
				require.NoError(t, e.clientErr)
				return
			}
			require.ErrorIs(t, e.clientErr, ErrIdentity)
			require.ErrorContains(t, e.clientErr, tt.text)
			at(t, e.clientErr, StepCheck)
			require.ErrorIs(t, e.serverErr, ErrIdentity)
			refusedAs(t, e.serverErr, RefusedIdentity, tt.text)
		})
		t.Run(tt.name+", client", func(t *testing.T) {
			m := w.machines[1]
			e := connect(t, w.client(m.credential(certify(m)), nil), w.server(nil, w.requirement()))
			if tt.text == "" || !tt.client {
				require.NoError(t, e.serverErr)
				return
			}
			require.ErrorIs(t, e.serverErr, ErrIdentity)
			require.ErrorContains(t, e.serverErr, tt.text)
			require.ErrorIs(t, e.clientErr, ErrIdentity)
			refusedAs(t, e.clientErr, RefusedIdentity, tt.text)
		})
	}
	t.Run("usage of the other side", func(t *testing.T) {
		for _, usage := range both {
			usage := func(cfg *CredentialConfig) {
				key := cfg.Certificate.PrivateKey.(crypto.Signer)
				template := &x509.Certificate{
					SerialNumber: big.NewInt(4), DNSNames: []string{serverName}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
					NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
				}
				der, err := x509.CreateCertificate(rand.Reader, template, w.ca, key.Public(), w.caKey)
				require.NoError(t, err)
				cfg.Certificate.Certificate = [][]byte{der}
			}
			e := connect(t, w.client(w.machines[1].credential(usage), w.requirement()), w.server(w.machines[0].credential(usage), w.requirement()))
			require.True(t, errors.Is(e.clientErr, ErrIdentity) && errors.Is(e.serverErr, ErrIdentity), "%v, %v", e.clientErr, e.serverErr)
		}
	})
	t.Run("the time is the configuration's", func(t *testing.T) {
		client := w.client(nil, w.requirement())
		client.TLS.Time = func() time.Time { return time.Now().Add(24 * time.Hour) }
		client.TLS.InsecureSkipVerify = true // of the TLS certificate alone
		e := connect(t, client, w.server(w.machines[0].credential(), nil))
		require.ErrorIs(t, e.clientErr, ErrIdentity)
		refusedAs(t, e.serverErr, RefusedIdentity, "expired")
	})
}

// TestSkippingTLSVerification does not skip anything of the attestation.
func TestSkippingTLSVerification(t *testing.T) {
	w, stranger := newWorld(t, 1), newWorld(t, 1)
	client := w.client(nil, w.requirement())
	client.TLS.InsecureSkipVerify = true
	e := connect(t, client, w.server(w.machines[0].credential(), nil))
	require.NoError(t, e.clientErr)
	e = connect(t, client, stranger.server(stranger.machines[0].credential(), nil))
	require.ErrorIs(t, e.clientErr, ErrIdentity)
}

// sessions counts what a client would resume with.
type sessions struct {
	tls.ClientSessionCache
	mu       sync.Mutex
	get, put int
}

func (s *sessions) Get(key string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	s.get++
	s.mu.Unlock()
	return s.ClientSessionCache.Get(key)
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	s.mu.Lock()
	s.put++
	s.mu.Unlock()
	s.ClientSessionCache.Put(key, state)
}

// TestResumption: there are no tickets and no resumption, whatever either side
// is configured to.
func TestResumption(t *testing.T) {
	w := newWorld(t, 1)
	inner := func(h *Config) *tls.Config {
		c := h.TLS.Clone()
		c.SetSessionTicketKeys([][32]byte{{1}})
		return c
	}
	t.Run("the client's cache is not used", func(t *testing.T) {
		cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
		client.TLS.ClientSessionCache = cache
		for range 2 {
			e := connect(t, client, server)
			require.NoError(t, e.clientErr)
			require.NoError(t, e.serverErr)
			talk(t, e.client, e.server)
			require.False(t, e.client.ConnectionState().DidResume)
		}
		require.Zero(t, cache.get+cache.put)
		require.NotNil(t, client.TLS.ClientSessionCache, "the caller's configuration is not touched")
		require.False(t, server.TLS.SessionTicketsDisabled)
	})
	t.Run("nor are the tickets of a server of another make", func(t *testing.T) {
		cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
		client.TLS.ClientSessionCache = cache
		chosen := inner(server)
		for range 2 {
			c, s := pipe(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				conn, err := Client(context.Background(), c, client)
				if err == nil {
					_, _ = io.Copy(io.Discard, conn)
					conn.Close()
				}
			})
			h := &hand{session: &session{cfg: server, self: expauth.Server, link: newLink(s)}, t: t, id: clientRequestID}
			h.conn = tls.Server(h.link, chosen)
			require.NoError(t, h.conn.HandshakeContext(t.Context()))
			state := h.conn.ConnectionState()
			require.False(t, state.DidResume)
			var err error
			h.exporter, err = expauth.NewConnection(&state)
			require.NoError(t, err)
			request := h.greet()
			h.say(h.answer(h.authenticator(request, w.machines[0].cert, cmwExtension(t, h.evidence(w.machines[0], request)))))
			h.say(frame.Frame{Type: frame.Accept})
			h.hear(frame.Accept)
			h.conn.Close()
			wg.Wait()
		}
		require.Zero(t, cache.get+cache.put)
	})
	// A client of another make, which would resume if it could.
	resuming := func(t *testing.T, server *Config) *sessions {
		cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		for range 2 {
			c, s := pipe(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				conn, err := Server(t.Context(), s, server)
				if err == nil {
					_, _ = io.Copy(conn, conn)
					conn.Close()
				}
			})
			client := w.client(nil, w.requirement())
			h := &hand{session: &session{cfg: client, self: expauth.Client, link: newLink(c)}, t: t, id: serverRequestID}
			own := client.TLS.Clone()
			own.ClientSessionCache = cache
			h.conn = tls.Client(h.link, own)
			require.NoError(t, h.conn.HandshakeContext(t.Context()))
			require.False(t, h.conn.ConnectionState().DidResume)
			state := h.conn.ConnectionState()
			var err error
			h.exporter, err = expauth.NewConnection(&state)
			require.NoError(t, err)
			r, ask := h.ask()
			h.greet(ask)
			_, err = h.verify(t.Context(), r, h.hear(frame.Authenticator).Body)
			require.NoError(t, err)
			r.opened.close()
			h.hear(frame.Accept)
			h.say(frame.Frame{Type: frame.Accept})
			h.raw([]byte("x"))
			_, err = io.ReadFull(h.conn, make([]byte, 1)) // tickets would come before it
			require.NoError(t, err)
			h.conn.Close()
			wg.Wait()
		}
		return cache
	}
	t.Run("the server gives no tickets", func(t *testing.T) {
		server := w.server(w.machines[0].credential(), nil)
		server.TLS.SetSessionTicketKeys([][32]byte{{1}})
		server.TLS.WrapSession = func(tls.ConnectionState, *tls.SessionState) ([]byte, error) { return []byte("ticket"), nil }
		require.Zero(t, resuming(t, server).put)
	})
	t.Run("not with GetConfigForClient either", func(t *testing.T) {
		server := w.server(w.machines[0].credential(), nil)
		chosen := inner(server)
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
		require.Zero(t, resuming(t, server).put)
		require.False(t, chosen.SessionTicketsDisabled, "the caller's configuration is not touched")
	})
	t.Run("control: another server's tickets are taken by that client", func(t *testing.T) {
		// Otherwise the tests above would show nothing.
		cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		for i := range 2 {
			c, s := pipe(t)
			chosen := inner(w.server(w.machines[0].credential(), nil))
			var wg sync.WaitGroup
			wg.Go(func() {
				conn := tls.Server(s, chosen)
				_, _ = conn.Write([]byte("x"))
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			})
			own := w.client(nil, w.requirement()).TLS.Clone()
			own.ClientSessionCache = cache
			conn := tls.Client(c, own)
			_, err := io.ReadFull(conn, make([]byte, 1))
			require.NoError(t, err)
			require.Equal(t, i == 1, conn.ConnectionState().DidResume)
			conn.Close()
			wg.Wait()
		}
		require.NotZero(t, cache.put)
	})
}

// earlyData is a connection that asks for 0-RTT in its ClientHello.
type earlyData struct {
	net.Conn
	once sync.Once
}

func (c *earlyData) Write(p []byte) (n int, err error) {
	out := p
	c.once.Do(func() { out = withExtension(p, 42) })
	if _, err = c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// withExtension appends an empty extension to a ClientHello in one record.
func withExtension(record []byte, typ byte) []byte {
	out := slices.Clone(record)
	add := func(at, size, n int) {
		v := 0
		for _, b := range out[at : at+size] {
			v = v<<8 | int(b)
		}
		v += n
		for i := range size {
			out[at+size-1-i] = byte(v >> (8 * i))
		}
	}
	at := 5 + 4 + 2 + 32
	at += 1 + int(out[at])                     // session identifier
	at += 2 + int(out[at])<<8 + int(out[at+1]) // cipher suites
	at += 1 + int(out[at])                     // compression
	add(at, 2, 4)                              // extensions
	add(6, 3, 4)                               // message
	add(3, 2, 4)                               // record
	return append(out, 0, typ, 0, 0)
}

// TestEarlyData: 0-RTT data would come before anything is attested.
func TestEarlyData(t *testing.T) {
	w := newWorld(t, 1)
	c, s := pipe(t)
	e := over(t, &earlyData{Conn: c}, s, w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil))
	at(t, e.serverErr, StepTLS)
	require.ErrorContains(t, e.serverErr, "early data")
	at(t, e.clientErr, StepTLS)
}

// TestTLSVersions: there is no way to anything below TLS 1.3.
func TestTLSVersions(t *testing.T) {
	w := newWorld(t, 1)
	old := func(c *tls.Config) *tls.Config {
		c = c.Clone()
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		return c
	}
	t.Run("configured", func(t *testing.T) {
		client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
		client.TLS, server.TLS = old(client.TLS), old(server.TLS)
		e := connect(t, client, server)
		require.ErrorContains(t, e.clientErr, "TLS.MaxVersion is TLS 1.2")
		require.ErrorContains(t, e.serverErr, "TLS.MaxVersion is TLS 1.2")
	})
	t.Run("a lower minimum does not count", func(t *testing.T) {
		client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
		client.TLS.MinVersion, server.TLS.MinVersion = tls.VersionTLS10, tls.VersionTLS10
		e := connect(t, client, server)
		require.NoError(t, e.clientErr)
		require.Equal(t, uint16(tls.VersionTLS13), e.client.ConnectionState().Version)
		require.Equal(t, uint16(tls.VersionTLS10), client.TLS.MinVersion)
	})
	t.Run("for one client", func(t *testing.T) {
		server := w.server(w.machines[0].credential(), nil)
		chosen := old(server.TLS)
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
		e := connect(t, w.client(nil, w.requirement()), server)
		at(t, e.serverErr, StepTLS)
		require.ErrorContains(t, e.serverErr, "TLS 1.2")
		at(t, e.clientErr, StepTLS)
	})
	t.Run("for one client, none and an error", func(t *testing.T) {
		server := w.server(w.machines[0].credential(), nil)
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }
		e := connect(t, w.client(nil, w.requirement()), server)
		require.NoError(t, e.clientErr)
		require.NoError(t, e.serverErr)
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not you") }
		e = connect(t, w.client(nil, w.requirement()), server)
		require.ErrorContains(t, e.serverErr, "not you")
		at(t, e.clientErr, StepTLS)
	})
	t.Run("a client of TLS 1.2", func(t *testing.T) {
		c, s := pipe(t)
		done := make(chan error, 1)
		go func() {
			_, err := Server(t.Context(), s, w.server(w.machines[0].credential(), nil))
			done <- err
		}()
		require.Error(t, tls.Client(c, old(w.client(nil, nil).TLS)).Handshake())
		err := <-done
		at(t, err, StepTLS)
		require.ErrorContains(t, err, "unsupported versions")
	})
	t.Run("a server of TLS 1.2", func(t *testing.T) {
		c, s := pipe(t)
		done := make(chan error, 1)
		go func() {
			_, err := Client(t.Context(), c, w.client(nil, w.requirement()))
			done <- err
		}()
		require.Error(t, tls.Server(s, old(w.server(w.machines[0].credential(), nil).TLS)).Handshake())
		err := <-done
		at(t, err, StepTLS)
		require.True(t, strings.Contains(err.Error(), "version"), "%v", err)
	})
}
