// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
)

// The exit codes, as exitCodesTopic documents them. They are stable.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitInput    = 3
	exitRefused  = 4
	exitPolicy   = 5
	exitVerifier = 6
	exitTPM      = 7
	exitPeer     = 8
)

// exitError is an error whose exit code is known.
type exitError struct {
	code int
	err  error
	// hint says what to do, where that helps.
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// withHint adds what to do.
func (e *exitError) withHint(format string, args ...any) *exitError {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

func exitErrorf(code int, format string, args ...any) *exitError {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// usageErrorf is for a command line that asks for nothing that can be done.
func usageErrorf(format string, args ...any) *exitError {
	return exitErrorf(exitUsage, format, args...)
}

// inputErrorf is for a file that is not there, or not what it should be.
func inputErrorf(format string, args ...any) *exitError {
	return exitErrorf(exitInput, format, args...)
}

// refusedErrorf is for evidence that an appraisal condemns.
func refusedErrorf(format string, args ...any) *exitError {
	return exitErrorf(exitRefused, format, args...)
}

// policyErrorf is for what a policy of the caller's refuses.
func policyErrorf(format string, args ...any) *exitError {
	return exitErrorf(exitPolicy, format, args...)
}

// verifierErrorf is for a verifier, or the way to it, that does not work.
func verifierErrorf(format string, args ...any) *exitError {
	return exitErrorf(exitVerifier, format, args...)
}

// tpmErrorf is for a TPM that does not answer or does not do what it is asked.
func tpmErrorf(format string, args ...any) *exitError {
	return exitErrorf(exitTPM, format, args...)
}

func asExitError(err error) *exitError {
	var ee *exitError
	if errors.As(err, &ee) {
		return ee
	}
	return nil
}

// classify finds the exit code of an error: the one it was given or, failing
// that, the one that its type stands for.
func classify(err error) *exitError {
	if ee := asExitError(err); ee != nil {
		return ee
	}
	code := exitFailure
	switch {
	case is[*rp.PolicyError](err), errors.Is(err, rp.ErrNoPolicy):
		code = exitPolicy
	case is[*bundle.Error](err):
		code = exitRefused
	case is[*rp.ProblemError](err), is[*rp.ProtocolError](err), is[*ear.Error](err),
		is[net.Error](err), is[*url.Error](err),
		errors.Is(err, rp.ErrUnfinished), errors.Is(err, rp.ErrSessionExpired):
		code = exitVerifier
	case errors.Is(err, attester.ErrLockout), errors.Is(err, attester.ErrPassword), errors.Is(err, attester.ErrPolicy),
		errors.Is(err, attester.ErrUnsupportedAlgorithm):
		code = exitTPM
	case is[*endorsements.Error](err), is[*endorsements.UnsupportedDialectError](err), is[*endorsements.AmbiguousKeyError](err),
		is[*fs.PathError](err), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist),
		errors.Is(err, attester.ErrNotAK), errors.Is(err, attester.ErrNotTIK):
		code = exitInput
	}
	return &exitError{code: code, err: err}
}

func is[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `The exit codes of atls:

  0  done; what was verified was accepted
  1  an internal or other failure, or an interruption
  2  usage: a command, a flag or an argument that makes no sense
  3  input: a file that cannot be read or written, or is not what it should be
  4  refused: an appraisal condemns the evidence
  5  policy: the appraisal is not good enough for the policy that was given
  6  verifier: it cannot be reached, answers with an error, or with a result that
     cannot be trusted
  7  TPM: it cannot be reached, or does not do what it is asked
  8  peer: it does not speak attested TLS, has nothing in common with this side,
     or refuses it`,
	}
}
