// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import "time"

// Step names a part of a handshake or of a later attestation.
type Step string

// The steps. Those of both directions overlap; none is repeated in one
// attestation.
const (
	// StepTLS is the TLS handshake.
	StepTLS Step = "TLS handshake"
	// StepHello is the wait for the peer's hello.
	StepHello Step = "waiting for the peer's hello"
	// StepQueue, StepEvidence and StepSign are this side's attestation: waiting
	// for the peer's request, making evidence (in a TPM: two signatures) or
	// taking out the passport, and signing the authenticator (in a TPM: one).
	StepQueue    Step = "waiting for the peer's request"
	StepEvidence Step = "making evidence"
	StepSign     Step = "signing the authenticator"
	// StepSession is the opening of a verifier session.
	StepSession Step = "opening a verifier session"
	// StepPeer is the wait for the peer's authenticator.
	StepPeer Step = "waiting for the peer's authenticator"
	// StepCheck is the validation of the authenticator, without the verifier.
	StepCheck Step = "checking the peer's authenticator"
	// StepAppraise is the appraisal: the verifier's, and the policy's.
	StepAppraise Step = "appraising the peer"
	// StepVerdict is the wait for the peer's verdict on this side.
	StepVerdict Step = "waiting for the peer's verdict"
)

// Trace is a set of callbacks that tell what happens, in the manner of
// net/http/httptrace. They are called synchronously, by several goroutines, and
// must return soon.
type Trace struct {
	// StepDone ends a step, successfully if err is nil.
	StepDone func(step Step, start time.Time, took time.Duration, err error)
}

// begin starts a step; what it returns ends it.
func (t *Trace) begin(step Step) func(error) {
	if t == nil || t.StepDone == nil {
		return func(error) {}
	}
	start := time.Now()
	return func(err error) { t.StepDone(step, start, time.Since(start), err) }
}
