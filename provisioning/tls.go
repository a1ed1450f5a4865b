// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"crypto/tls"
	"errors"
)

// The alerts of a server that does not accept the client, RFC 8446, section 6.2.
// With TLS 1.3 they arrive after the client has begun to send.
const (
	alertBadCertificate      tls.AlertError = 42
	alertAccessDenied        tls.AlertError = 49
	alertCertificateRequired tls.AlertError = 116
)

// isCertificateError tells whether TLS failed for a reason that stays: one side
// does not accept the other's certificate, or does not speak TLS. Nothing has
// reached the service then.
func isCertificateError(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case errors.As(err, &certificate), errors.As(err, &record):
		return true
	case errors.As(err, &alert):
		switch {
		case alert >= alertBadCertificate && alert <= alertAccessDenied, alert == alertCertificateRequired:
			return true
		}
	}
	return false
}
