// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package layers holds the module's architecture true: dependencies point
// downwards only, and whoever imports the SDK does not link a verifier.
package layers

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/veraison/attested-tls/"

// deps lists what a package links, directly or not.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", module+pkg).Output()
	require.NoError(t, err, pkg)
	list := strings.Fields(string(out))
	require.Contains(t, list, module+pkg)
	return list
}

func TestNoVerifierInTheSDK(t *testing.T) {
	heavy := []string{
		"github.com/veraison/services", "github.com/gin-gonic", "github.com/spf13/viper",
		"github.com/open-policy-agent", "github.com/hashicorp", "google.golang.org/grpc", "github.com/quic-go",
	}
	for _, pkg := range []string{
		"rp", "rp/ear", "rp/policy", "rp/embedded", "rp/tlsbinding", "rp/tlsbinding/inhandshake",
		"attester", "attester/passport", "appraisal", "endorsements", "endorsements/signed",
		"bundle", "kat", "pat", "provisioning",
	} {
		for _, dep := range deps(t, pkg) {
			for _, prefix := range heavy {
				assert.False(t, strings.HasPrefix(dep, prefix), "%s links %s", pkg, dep)
			}
		}
	}
}

// Of the SDK, the credentials for gRPC link it, and nothing else heavy.
func TestGRPCApart(t *testing.T) {
	list := deps(t, "rp/tlsbinding/grpccreds")
	require.Contains(t, list, "google.golang.org/grpc/credentials")
	for _, dep := range list {
		for _, prefix := range []string{
			"github.com/veraison/services", "github.com/gin-gonic", "github.com/spf13/viper",
			"github.com/open-policy-agent", "github.com/hashicorp",
		} {
			assert.False(t, strings.HasPrefix(dep, prefix), "rp/tlsbinding/grpccreds links %s", dep)
		}
	}
}

// Who wants CoRIMs does not get COSE with them.
func TestCOSEApart(t *testing.T) {
	for _, pkg := range []string{"endorsements", "rp/embedded", "rp/tlsbinding", "provisioning", "attester"} {
		for _, dep := range deps(t, pkg) {
			assert.NotContains(t, dep, "go-cose", pkg)
		}
	}
}

// The simulator is C, for tests and demonstrations; nobody gets it unasked.
func TestNoSimulatorUnasked(t *testing.T) {
	for _, pkg := range []string{
		"rp", "rp/embedded", "rp/tlsbinding", "rp/tlsbinding/grpccreds", "rp/tlsbinding/inhandshake",
		"attester", "attester/passport", "appraisal", "plugin", "provisioning",
	} {
		for _, dep := range deps(t, pkg) {
			assert.NotContains(t, dep, "simulator", pkg)
		}
	}
}

func TestDependenciesPointDownwards(t *testing.T) {
	for pkg, forbidden := range map[string][]string{
		"kat":                 {"pat", "bundle", "endorsements", "appraisal", "attester", "plugin"},
		"pat":                 {"kat", "bundle", "endorsements", "appraisal", "attester", "plugin"},
		"bundle":              {"endorsements", "appraisal", "attester", "plugin"},
		"endorsements":        {"kat", "pat", "bundle", "appraisal", "attester", "plugin"},
		"appraisal":           {"attester", "plugin"},
		"endorsements/signed": {"kat", "pat", "bundle", "appraisal", "attester", "plugin", "rp"},
		"provisioning":        {"kat", "pat", "bundle", "appraisal", "attester", "plugin", "rp"},
		"internal/expauth":    {"kat", "pat", "bundle", "endorsements", "appraisal", "attester", "plugin", "rp"},
		"internal/seedwire":   {"kat", "pat", "bundle", "endorsements", "appraisal", "attester", "plugin", "rp"},
		"attester":            {"endorsements", "appraisal", "plugin", "rp"},
		// A relying party that asks a verifier links none, and no CoRIM.
		"rp":          {"endorsements", "appraisal", "bundle", "kat", "pat", "attester", "plugin", "rp/embedded"},
		"rp/policy":   {"endorsements", "appraisal", "bundle", "attester", "plugin", "rp/embedded"},
		"rp/embedded": {"attester", "plugin"},
		// Both sides of a connection know evidence as far as its nonce.
		"rp/tlsbinding":             {"endorsements", "appraisal", "attester", "plugin", "rp/embedded"},
		"rp/tlsbinding/inhandshake": {"endorsements", "appraisal", "attester", "plugin", "rp/embedded"},
		"rp/tlsbinding/grpccreds":   {"endorsements", "appraisal", "attester", "plugin", "rp/embedded"},
	} {
		list := deps(t, pkg)
		for _, f := range forbidden {
			above := slices.ContainsFunc(list, func(dep string) bool {
				return dep == module+f || strings.HasPrefix(dep, module+f+"/")
			})
			assert.False(t, above, "%s depends on %s", pkg, f)
		}
		for _, dep := range list {
			assert.NotContains(t, dep, "internal/evidencetest", pkg)
			assert.NotContains(t, dep, "internal/tpmtest", pkg)
			assert.NotContains(t, dep, "internal/site", pkg)
			assert.NotEqual(t, "testing", dep, pkg)
		}
	}
}
