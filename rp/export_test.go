// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import "time"

// Age makes the discovered keys older.
func Age(v *Veraison, by time.Duration) {
	d := v.keys.(*discovered)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fetched, d.tried = d.fetched.Add(-by), d.tried.Add(-by)
}

// ReadSession is readSession for fuzzing: the nonce of the session in an
// answer.
func (v *Veraison) ReadSession(location string, body []byte, nonce []byte) ([]byte, error) {
	s, err := v.readSession(v.client.endpoint(newSessionPath, ""), &answer{location: location, body: body}, nonce)
	if err != nil {
		return nil, err
	}
	return s.nonce, nil
}

// ReadResult is result for fuzzing.
func ReadResult(body []byte) (string, error) { return (&answer{body: body}).result("x") }

// ReadWellKnown is readWellKnown for fuzzing.
var ReadWellKnown = readWellKnown
