// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
	"github.com/veraison/attested-tls/rp/tlsbinding/inhandshake"
)

// A server attests to its HTTP clients, who speak HTTP/2.
func Example() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	ca, machine, err := newMachine(ctx, tpm)
	if err != nil {
		log.Fatal(err)
	}

	// The server. Its certificate is the CA's; the evidence goes beside it.
	protocols := []string{"h2", "http/1.1"}
	attested, err := inhandshake.NewServer(inhandshake.Config{
		TLS:                 &tls.Config{NextProtos: protocols},
		Credential:          &tlsbinding.CredentialConfig{Certificate: machine.Certificate, Attester: machine},
		InsecureAcceptRelay: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: attested.TLSConfig(),
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }),
	}
	go server.ServeTLS(listener, "", "")
	defer server.Close()

	// The client.
	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	client, err := inhandshake.NewClient(inhandshake.Config{
		TLS:                 &tls.Config{RootCAs: ca.Roots(), NextProtos: protocols},
		Requirement:         &tlsbinding.Requirement{Verifier: verifier, Policy: policy.Affirming()},
		InsecureAcceptRelay: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	transport := &http.Transport{DialTLSContext: client.Dial, ForceAttemptHTTP2: true}
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
	who, _ := client.PeerOf(*response.TLS)
	fmt.Printf("%s from a server that is %v\n", body, who.Result.Status)
	// Output: HTTP/2.0 from a server that is affirming
}

// A client attests to a gRPC server. It has no certificate: the server knows it
// by its attestation key.
func Example_grpc() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	ca, machine, err := newMachine(ctx, tpm)
	if err != nil {
		log.Fatal(err)
	}

	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := ca.SoftwareKey()
	if err != nil {
		log.Fatal(err)
	}
	attested, err := inhandshake.NewServer(inhandshake.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}},
		Requirement: &tlsbinding.Requirement{
			Verifier: verifier, Policy: policy.Affirming(),
			InsecureSkipPKI: true, Instances: [][]byte{machine.AK().KID()},
		},
		InsecureAcceptRelay: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(attested.TLSConfig())))
	grpc_health_v1.RegisterHealthServer(server, service{attested: attested})
	go server.Serve(listener)
	defer server.Stop()

	client, err := inhandshake.NewClient(inhandshake.Config{
		TLS: &tls.Config{RootCAs: ca.Roots(), NextProtos: []string{"h2"}},
		Credential: &tlsbinding.CredentialConfig{
			Certificate: tls.Certificate{PrivateKey: machine.Signer(), SupportedSignatureAlgorithms: machine.TIK().SignatureSchemes()},
			Attester:    machine,
		},
		InsecureAcceptRelay: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	creds := clientCreds{credentials.NewTLS(nil), client}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(creds))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	response, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status)
	// Output:
	// the client is affirming
	// SERVING
}

// clientCreds makes each connection of a gRPC client with a configuration of its
// own. A server needs nothing like it.
type clientCreds struct {
	credentials.TransportCredentials
	client *inhandshake.Client
}

func (c clientCreds) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, done, err := c.client.TLSConfig(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, conn)
}

func (c clientCreds) Clone() credentials.TransportCredentials {
	return clientCreds{c.TransportCredentials.Clone(), c.client}
}

// service is any service.
type service struct {
	grpc_health_v1.UnimplementedHealthServer
	attested *inhandshake.Server
}

func (s service) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	p, _ := peer.FromContext(ctx)
	who, _ := s.attested.PeerOf(p.AuthInfo.(credentials.TLSInfo).State)
	fmt.Println("the client is", who.Result.Status)
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// Both sides of a QUIC connection attest.
func Example_quic() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	ca, machine, err := newMachine(ctx, tpm)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := embedded.New([]*endorsements.Corim{machine.Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	// One machine plays both parts here.
	cfg := inhandshake.Config{
		TLS:                 &tls.Config{RootCAs: ca.Roots(), ClientCAs: ca.Roots(), NextProtos: []string{"hello"}},
		Credential:          &tlsbinding.CredentialConfig{Certificate: machine.Certificate, Attester: machine},
		Requirement:         &tlsbinding.Requirement{Verifier: verifier, Policy: policy.Affirming()},
		InsecureAcceptRelay: true,
	}

	server, err := inhandshake.NewServer(cfg)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := quic.ListenAddr("127.0.0.1:0", server.TLSConfig(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept(ctx)
		if err != nil {
			return
		}
		stream, err := conn.OpenUniStream()
		if err != nil {
			return
		}
		who, _ := server.PeerOf(conn.ConnectionState().TLS)
		fmt.Fprintf(stream, "you are %v", who.Result.Status)
		stream.Close()
	}()

	client, err := inhandshake.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	one, done, err := client.TLSConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer done()
	conn, err := quic.DialAddr(ctx, listener.Addr().String(), one, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	stream, err := conn.AcceptUniStream(ctx)
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(stream)
	if err != nil {
		log.Fatal(err)
	}
	who, _ := client.PeerOf(conn.ConnectionState().TLS)
	fmt.Printf("%s, and the server is %v\n", text, who.Result.Status)
	// Output: you are affirming, and the server is affirming
}

func newMachine(ctx context.Context, tpm *attester.TPM) (*site.CA, *site.Machine, error) {
	ca, err := site.NewCA()
	if err != nil {
		return nil, nil, err
	}
	machine, err := ca.NewMachine(ctx, tpm, "sha256:0,1,7")
	return ca, machine, err
}
