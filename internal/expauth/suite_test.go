// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"testing"
	_ "unsafe" // for linkname
)

// crypto/tls lets nobody choose among the cipher suites of TLS 1.3. These two
// are its lists, for machines with AES in hardware and without.
//
//go:linkname suites crypto/tls.defaultCipherSuitesTLS13
var suites []uint16

//go:linkname suitesNoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var suitesNoAES []uint16

// onlySuite has crypto/tls know one suite until t ends. No test that runs in
// parallel may make a connection.
func onlySuite(t testing.TB, suite uint16) {
	before, beforeNoAES := suites, suitesNoAES
	t.Cleanup(func() { suites, suitesNoAES = before, beforeNoAES })
	suites, suitesNoAES = []uint16{suite}, []uint16{suite}
}
