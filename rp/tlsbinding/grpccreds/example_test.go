// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package grpccreds_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
	"github.com/veraison/attested-tls/rp/tlsbinding/grpccreds"
)

// Mutual gRPC: both sides attest, and either knows which machine the other one
// is.
func Example() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	ca, machines, err := twoMachines(ctx, tpm)
	if err != nil {
		log.Fatal(err)
	}
	// A server and a client have the same needs: a credential to attest with,
	// and a verifier that appraises the other side.
	verifier, err := embedded.New([]*endorsements.Corim{machines[0].Endorsed, machines[1].Endorsed}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	requirement := &tlsbinding.Requirement{Verifier: verifier, Policy: policy.Affirming()}

	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: machines[0].Certificate, Attester: machines[0]})
	if err != nil {
		log.Fatal(err)
	}
	creds, err := grpccreds.New(&tlsbinding.Config{
		TLS:        &tls.Config{Certificates: []tls.Certificate{machines[0].Certificate}, ClientCAs: ca.Roots()},
		Credential: credential, Requirement: requirement,
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds))
	grpc_health_v1.RegisterHealthServer(server, service{})
	go server.Serve(listener)
	defer server.Stop()

	credential, err = tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: machines[1].Certificate, Attester: machines[1]})
	if err != nil {
		log.Fatal(err)
	}
	creds, err = grpccreds.New(&tlsbinding.Config{
		TLS:        &tls.Config{RootCAs: ca.Roots()},
		Credential: credential, Requirement: requirement,
	})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(creds))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	var p peer.Peer
	response, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
	if err != nil {
		log.Fatal(err)
	}
	who, _ := grpccreds.PeerOf(&p)
	fmt.Println("the server is", who.Result.Status, "and", response.Status)
	// Output:
	// the client is affirming
	// the server is affirming and SERVING
}

// service is any service.
type service struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (service) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	who, _ := grpccreds.PeerFromContext(ctx)
	fmt.Println("the client is", who.Result.Status)
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func twoMachines(ctx context.Context, tpm *attester.TPM) (*site.CA, [2]*site.Machine, error) {
	var machines [2]*site.Machine
	ca, err := site.NewCA()
	if err != nil {
		return nil, machines, err
	}
	for i := range machines {
		if machines[i], err = ca.NewMachine(ctx, tpm, "sha256:0,1,7"); err != nil {
			return nil, machines, err
		}
	}
	return ca, machines, nil
}
