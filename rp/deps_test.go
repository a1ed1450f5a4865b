// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who imports rp links no verifier, and no CoRIM.
func TestDependencies(t *testing.T) {
	const module = "github.com/veraison/attested-tls/"
	for pkg, forbidden := range map[string][]string{
		"rp":          {module + "endorsements", module + "appraisal", "github.com/veraison/corim", "github.com/veraison/ear", "github.com/lestrrat-go"},
		"rp/ear":      {module + "rp/policy", "golang.org/x/oauth2", "net/http"},
		"rp/policy":   {module + "endorsements", "github.com/veraison/corim", "github.com/veraison/ear"},
		"rp/embedded": nil,
	} {
		out, err := exec.Command("go", "list", "-deps", module+pkg).Output()
		require.NoError(t, err)
		deps := strings.Fields(string(out))
		require.Contains(t, deps, module+pkg)
		forbidden = append(forbidden, "github.com/veraison/services", "github.com/gin-gonic", "github.com/spf13/viper",
			"github.com/open-policy-agent", "github.com/hashicorp", "google.golang.org/grpc", module+"attester", module+"plugin",
			module+"internal/deployment", module+"internal/evidencetest", module+"rp/internal/rptest", "testing")
		for _, dep := range deps {
			for _, f := range forbidden {
				assert.False(t, dep == f || strings.HasPrefix(dep, f+"/"), "%s links %s", pkg, dep)
			}
		}
	}
}
