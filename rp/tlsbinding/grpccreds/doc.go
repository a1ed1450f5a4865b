// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package grpccreds has gRPC run over attested connections: package tlsbinding
// as credentials.TransportCredentials, for servers and clients.
//
//	creds, err := grpccreds.New(&tlsbinding.Config{…})
//	…
//	server := grpc.NewServer(grpc.Creds(creds))                                // or
//	client, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
//
// An RPC is sent, and a handler called, on connections alone whose handshake
// succeeded: whatever either side demands holds. Who is at the other end is told
// by PeerFromContext in a server's handler, and by PeerOf of what the call option
// grpc.Peer fills in at a client. gRPC does handshakes beside each other, so that
// a slow peer holds up nobody; each has Config.Timeout and, at a server,
// grpc.ConnectionTimeout.
//
// gRPC makes connections anew by itself, and each is attested. So there is no
// attesting again on one: where Requirement.MaxAge is set, a connection is closed
// when its attestation is that old, RPCs under way fail with codes.Unavailable,
// and the next one goes over a new connection.
//
// The package is apart from tlsbinding so that grpc is linked only by those who
// use it. The threat model is tlsbinding's.
package grpccreds
