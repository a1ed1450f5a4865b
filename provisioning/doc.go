// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package provisioning hands endorsements (CoRIMs) to a Veraison deployment,
// through its endorsement-provisioning API.
//
//	client, err := provisioning.New("https://provisioning.example", provisioning.Config{
//		Username: "operator", Password: password,
//	})
//	…
//	capabilities, err := client.Capabilities(ctx) // which media types are taken
//	…
//	receipt, err := client.Submit(ctx, mediaType, corim)
//
// Submit returns a receipt if and only if the verifier says that it has stored
// the endorsements, also where it answers first and stores later.
//
// # Nothing is sent twice by accident
//
// A submission is not idempotent. Some of Veraison's stores keep what comes
// twice twice, some versions then refuse the device. So a submission is repeated
// only while it is certain that the verifier has not taken it: no connection was
// made, or the answer is one that a service gives before it reads endorsements.
// Where the answer is lost, or is a gateway's that lost it, the error is
// ErrUnknownOutcome, and the caller has to find out, or to accept a repetition.
// The atls command does the former with a journal of what it sends.
//
// # Threat model
//
// Whoever can provision decides which devices are trusted. TLS, which can be
// given up only by an option whose name says Insecure, keeps others from reading
// the credentials for it and from changing endorsements on their way. What the
// service, or somebody in its place, answers is bounded in size and time and is
// not followed to another origin; its words are cut short and made printable
// before they are repeated.
//
// Not checked: the endorsements. Package endorsements reads them; do so before
// submitting them.
package provisioning
