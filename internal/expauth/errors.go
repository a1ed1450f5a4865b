// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"errors"
	"fmt"
)

// What can be wrong with a message that is well formed. Each comes inside an
// [*Error].
var (
	// ErrContext says that a message has another context than the request, or
	// that a context is not one to be used.
	ErrContext = errors.New("wrong certificate_request_context")
	// ErrExtension says that an authenticator has an extension that the request
	// did not offer.
	ErrExtension = errors.New("extension that the request did not offer")
	// ErrScheme says that the signature scheme is not one that the request
	// listed, or none that fits the key.
	ErrScheme = errors.New("signature scheme not offered")
	// ErrSignature says that the CertificateVerify is not by the certificate's
	// key, or is for another connection, request or certificate.
	ErrSignature = errors.New("wrong signature")
	// ErrFinished says that the Finished is not by the peer of this connection,
	// or is for other messages.
	ErrFinished = errors.New("wrong Finished")
	// ErrEmpty says that the peer refuses, by a sound empty authenticator.
	ErrEmpty = errors.New("the peer refuses to authenticate: empty authenticator")
	// ErrRole says that a message is by or for the other side.
	ErrRole = errors.New("wrong side of the connection")
)

// Error says what is wrong with a message that was received, or that was to be
// made.
type Error struct {
	// Message is the handshake message: Certificate, CertificateVerify,
	// Finished, CertificateRequest, ClientCertificateRequest, or "authenticator"
	// and "request" for the whole.
	Message string
	// Alert names the alert that TLS would send (RFC 8446, section 6.2), such as
	// decrypt_error.
	Alert string
	// Err is what is wrong.
	Err error
}

// Error says what is wrong and where.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v (%s)", e.Message, e.Err, e.Alert) }

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Alerts of RFC 8446, section 6.2.
const (
	alertBadCertificate         = "bad_certificate"
	alertUnsupportedCertificate = "unsupported_certificate"
	alertDecodeError            = "decode_error"
	alertDecryptError           = "decrypt_error"
	alertHandshakeFailure       = "handshake_failure"
	alertIllegalParameter       = "illegal_parameter"
	alertInternalError          = "internal_error"
	alertMissingExtension       = "missing_extension"
	alertUnexpectedMessage      = "unexpected_message"
	alertUnsupportedExtension   = "unsupported_extension"
	alertUserCanceled           = "user_canceled"
	alertCertificateRequired    = "certificate_required"
)

// fault is an [Error] whose message the caller adds.
type fault struct {
	alert string
	err   error
}

func (f *fault) Error() string { return f.err.Error() }

func (f *fault) Unwrap() error { return f.err }

func faultf(alert, format string, args ...any) error {
	return &fault{alert, fmt.Errorf(format, args...)}
}

// in says which message err is about. What is no fault is our own failure.
func in(message string, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return &Error{Message: message, Alert: f.alert, Err: err}
	}
	return &Error{Message: message, Alert: alertInternalError, Err: err}
}

func failf(message, alert, format string, args ...any) error {
	return &Error{Message: message, Alert: alert, Err: fmt.Errorf(format, args...)}
}

// faultIn adds to what a fault says where it is.
func faultIn(err error, format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, err)...)
}
