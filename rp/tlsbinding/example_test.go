// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/passport"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// An HTTPS server that attests, and a client that demands it. The server's
// machine has a TPM, and its TLS identity key a certificate; the client knows a
// verifier.
func Example() {
	place := open()
	defer place.close()
	machine := place.machine()
	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}

	// The server: what it needs beyond an ordinary one is a credential.
	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{
		Certificate: machine.Certificate,
		Attester:    machine,
	})
	if err != nil {
		log.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := tlsbinding.NewListener(inner, &tlsbinding.Config{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{place.certificate},
			NextProtos:   tlsbinding.NextProtos(),
		},
		Credential: credential,
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	})}
	go server.Serve(listener)
	defer server.Close()

	// The client: what it needs is a requirement.
	transport, err := tlsbinding.NewTransport(&tlsbinding.Config{
		TLS: &tls.Config{RootCAs: place.ca.Roots()},
		Requirement: &tlsbinding.Requirement{
			Verifier: verifier,
			Policy:   policy.Affirming(),
		},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	response, err := client.Get("https://" + listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	peer, _ := tlsbinding.PeerFromContext(response.Request.Context())
	fmt.Printf("%s over %s from a machine that is %v\n", body, response.Proto, peer.Result.Status)
	// Output: hello over HTTP/2.0 from a machine that is affirming
}

// A server that lets attested clients in, and them alone: the handler knows which
// machine calls.
func ExampleHookServer() {
	place := open()
	defer place.close()
	machine := place.machine()
	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := tlsbinding.NewListener(inner, &tlsbinding.Config{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{place.certificate},
			ClientCAs:    place.ca.Roots(),
			NextProtos:   tlsbinding.NextProtos(),
		},
		Requirement: &tlsbinding.Requirement{
			Verifier:  verifier,
			Policy:    policy.Affirming(),
			Instances: [][]byte{machine.AK().KID()}, // that machine, and no other
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: tlsbinding.RequireAttested(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := tlsbinding.PeerFromContext(r.Context())
		fmt.Fprintf(w, "PCRs %v", peer.Result.Submods["PARSEC_TPM"].Evidence["pcrs"])
	}))}
	tlsbinding.HookServer(server)
	go server.Serve(listener)
	defer server.Close()

	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: machine.Certificate, Attester: machine})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := tlsbinding.NewTransport(&tlsbinding.Config{
		TLS:        &tls.Config{RootCAs: place.ca.Roots()},
		Credential: credential,
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status, string(body))
	// Output: 200 OK PCRs sha256:0,1,7
}

// A server that shows a passport: it asks the verifier itself, now and then, and
// its clients ask nobody while they connect.
func ExampleCredentialConfig_passport() {
	ctx := context.Background()
	place := open()
	defer place.close()
	machine := place.machine()
	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}

	// The server keeps a result at hand.
	const name, validity = "verifier.example", 5 * time.Minute
	own, err := passport.New(passport.Config{
		Attester: machine,
		Appraise: func(ctx context.Context, attest func(context.Context, []byte) ([]byte, error)) (passport.Result, error) {
			session, err := verifier.NewSession(ctx, nil)
			if err != nil {
				return passport.Result{}, err
			}
			defer session.Close()
			evidence, err := attest(ctx, session.Nonce())
			if err != nil {
				return passport.Result{}, err
			}
			r, err := rp.Appraise(ctx, session, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence}, policy.Affirming())
			if err != nil {
				return passport.Result{}, err
			}
			return passport.Result{EAR: []byte(r.Token), Expires: r.IssuedAt.Add(validity)}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer own.Close()
	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{
		Certificate: machine.Certificate,
		Passport: func(ctx context.Context) (tlsbinding.Passport, error) {
			document, err := own.Wait(ctx)
			return tlsbinding.Passport{EAR: document.EAR, Verifier: name}, err
		},
		Verifiers: []string{name},
	})
	if err != nil {
		log.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := tlsbinding.NewListener(inner, &tlsbinding.Config{
		TLS:        &tls.Config{Certificates: []tls.Certificate{place.certificate}},
		Credential: credential,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go hangUp(listener)

	// The client knows the verifier's key.
	conn, err := tlsbinding.Dial(ctx, "tcp", listener.Addr().String(), &tlsbinding.Config{
		TLS: &tls.Config{RootCAs: place.ca.Roots()},
		Requirement: &tlsbinding.Requirement{
			Issuers: []tlsbinding.Issuer{{Name: name, Keys: ear.Pin(verifier.Key()), MaxAge: validity}},
			Policy:  policy.Affirming(),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	peer, _ := tlsbinding.PeerOf(conn)
	fmt.Println(peer.Offer, peer.Result.Status)
	// Output: passport by "verifier.example" affirming
}

// A connection whose peer attests again while data flows: once it changed, the
// connection ends.
func ExampleConn_Reattest() {
	ctx := context.Background()
	place := open()
	defer place.close()
	machine := place.machine()
	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: machine.Certificate, Attester: machine})
	if err != nil {
		log.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := tlsbinding.NewFramedListener(inner, &tlsbinding.Config{
		TLS:        &tls.Config{Certificates: []tls.Certificate{place.certificate}},
		Credential: credential,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go hangUp(listener)

	conn, err := tlsbinding.DialFramed(ctx, "tcp", listener.Addr().String(), &tlsbinding.Config{
		TLS:         &tls.Config{RootCAs: place.ca.Roots()},
		Requirement: &tlsbinding.Requirement{Verifier: verifier, Policy: policy.Affirming()},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	peer, err := conn.Reattest(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(peer.Result.Status)

	// Other firmware is loaded.
	if err := tpmtest.ExtendPCR(ctx, place.tpm, crypto.SHA256, 7, make([]byte, 32)); err != nil {
		log.Fatal(err)
	}
	_, err = conn.Reattest(ctx)
	var refused *rp.PolicyError
	fmt.Println(errors.As(err, &refused), refused.Claim)
	_, err = conn.Write([]byte("hello"))
	fmt.Println(err != nil)
	// Output:
	// affirming
	// true ear.status
	// true
}

// place is what there is before the first connection: a TPM, a CA, and a
// certificate of the server's TLS key.
type place struct {
	tpm         *attester.TPM
	ca          *site.CA
	certificate tls.Certificate
}

func open() *place {
	tpm, err := attester.Open(context.Background(), "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	ca, err := site.NewCA()
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := ca.SoftwareKey()
	if err != nil {
		log.Fatal(err)
	}
	return &place{tpm, ca, certificate}
}

func (p *place) machine() *site.Machine {
	m, err := p.ca.NewMachine(context.Background(), p.tpm, "sha256:0,1,7")
	if err != nil {
		log.Fatal(err)
	}
	return m
}

func (p *place) close() {
	if err := p.tpm.Close(); err != nil {
		log.Fatal(err)
	}
}

// hangUp accepts, and closes what its client has closed.
func hangUp(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
	}
}
