// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/base64"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/pluginhost"
	"github.com/veraison/attested-tls/testvectors"
)

// vts is a Veraison of either generation.
type vts interface {
	Forget()
	Submit(corim []byte) error
	Attest(*pluginhost.Evidence) (*ear.AttestationResult, error)
}

// schemeHandler is the plugin's, in a process of its own.
func schemeHandler(t testing.TB) (pluginhost.Scheme, *pluginhost.Process) {
	t.Helper()
	p, err := pluginhost.Start(t, filepath.Join(ours(t), pluginName), "scheme-handler", "GORACE=halt_on_error=1")
	require.NoError(t, err)
	return pluginhost.Scheme{Calls: p.Calls}, p
}

// olderHandlers are the plugin's, each in a process of its own.
func olderHandlers(t testing.TB) (*pluginhost.Before2603, []*pluginhost.Process) {
	t.Helper()
	var processes []*pluginhost.Process
	for _, name := range []string{"evidence-handler", "store-handler", "endorsement-handler"} {
		p, err := pluginhost.Start(t, filepath.Join(ours(t), pluginName), name, "GORACE=halt_on_error=1")
		require.NoError(t, err)
		processes = append(processes, p)
	}
	return pluginhost.NewBefore2603(processes[0].Calls, processes[1].Calls, processes[2].Calls), processes
}

// opinion is what comes of a vector, by whichever way.
type opinion struct {
	// Refused: "bad evidence", "other" where provisioning or the verifier is to
	// blame, or empty for an appraisal.
	Refused string

	Status           string
	Hardware         int8
	InstanceIdentity int8
	Executables      int8
	StorageOpaque    int8
	Key              string
}

// opinionOf is this module's own verifier's.
func opinionOf(v testvectors.Vector) opinion {
	set, err := known(v.CoRIMs)
	if err != nil {
		return opinion{Refused: "other"}
	}
	r, err := appraisal.Appraise(v.Evidence, v.Nonce, set)
	var bad *bundle.Error
	switch {
	case errors.As(err, &bad):
		return opinion{Refused: "bad evidence"}
	case err != nil:
		return opinion{Refused: "other"}
	}
	return opinion{
		Status:           r.Status().String(),
		Hardware:         int8(r.Vector.Hardware),
		InstanceIdentity: int8(r.Vector.InstanceIdentity),
		Executables:      int8(r.Vector.Executables),
		StorageOpaque:    int8(r.Vector.StorageOpaque),
		Key:              base64.RawURLEncoding.EncodeToString(r.Key),
	}
}

func known(corims [][]byte) (*endorsements.Set, error) {
	var read []*endorsements.Corim
	for _, data := range corims {
		c, err := endorsements.Decode(data)
		if err != nil {
			return nil, err
		}
		if err := c.CheckValidity(time.Now()); err != nil {
			return nil, err
		}
		read = append(read, c)
	}
	return endorsements.NewSet(read...)
}

// opinionThrough is the plugin's, by way of a host that is given the CoRIMs in
// its dialect.
func opinionThrough(t *testing.T, host vts, dialect endorsements.Dialect, v testvectors.Vector) (opinion, error) {
	t.Helper()
	host.Forget()
	for _, corim := range v.CoRIMs {
		// What is wrong in one dialect has no form in the other, and stays as
		// it is.
		if converted, err := endorsements.Convert(corim, dialect); err == nil {
			corim = converted
		}
		if err := host.Submit(corim); err != nil {
			return opinion{Refused: "other"}, err
		}
	}
	result, err := host.Attest(&pluginhost.Evidence{TenantId: "0", Data: v.Evidence, MediaType: bundle.MediaType, Nonce: v.Nonce})
	switch {
	case errors.Is(err, handler.BadEvidenceError{}):
		return opinion{Refused: "bad evidence"}, err
	case err != nil:
		return opinion{Refused: "other"}, err
	}
	require.Len(t, result.Submods, 1)
	a := result.Submods["PARSEC_TPM"]
	require.NotNil(t, a)
	o := opinion{
		Status:           a.Status.String(),
		Hardware:         int8(a.TrustVector.Hardware),
		InstanceIdentity: int8(a.TrustVector.InstanceIdentity),
		Executables:      int8(a.TrustVector.Executables),
		StorageOpaque:    int8(a.TrustVector.StorageOpaque),
	}
	if a.VeraisonKeyAttestation != nil {
		o.Key, _ = (*a.VeraisonKeyAttestation)["akpub"].(string)
	}
	return o, nil
}

// One binary, two generations of Veraison, one verdict: of the plugin through
// each and of package appraisal alone, on every test vector.
func TestGenerationsAgree(t *testing.T) {
	vectors, err := testvectors.All()
	require.NoError(t, err)
	before, _ := olderHandlers(t)
	scheme, _ := schemeHandler(t)
	require.NoError(t, scheme.Init([]byte("{}")))
	since := &pluginhost.Since2603{Scheme: scheme}

	kinds := map[string]int{}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			want := opinionOf(v)
			kinds[want.Refused+want.Status]++
			got, err := opinionThrough(t, before, endorsements.DialectV1, v)
			require.Equal(t, want, got, "through v0.0.2501: %v", err)
			got, err = opinionThrough(t, since, endorsements.DialectV2, v)
			require.Equal(t, want, got, "through v0.0.2603: %v", err)
		})
	}
	for _, kind := range []string{"affirming", "warning", "contraindicated", "bad evidence", "other"} {
		require.NotZero(t, kinds[kind], "no vector is %s", kind)
	}
}
