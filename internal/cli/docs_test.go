// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocs: the reference pages are those of the commands as they are.
func TestDocs(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "cli")
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	require.NoError(t, err)
	found := make(map[string]string)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		found[filepath.Base(path)] = string(text)
	}
	for name, page := range Docs() {
		assert.Equal(t, page, found[name], "%s: run go generate ./internal/cli", name)
		delete(found, name)
	}
	assert.Empty(t, found, "pages of commands that are gone")
}

// TestCommandsExplain: every command has a short and a long description and,
// unless it only has other commands, an example that begins with its name.
func TestCommandsExplain(t *testing.T) {
	a := &app{env: Env{Getenv: func(string) string { return "" }}}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		assert.NotEmpty(t, c.Short, c.CommandPath())
		assert.NotEmpty(t, c.Long, c.CommandPath())
		assert.False(t, strings.HasSuffix(c.Short, "."), c.CommandPath())
		for line := range strings.Lines(c.Long) {
			assert.LessOrEqual(t, len([]rune(strings.TrimRight(line, "\n"))), 85, "%s: %s", c.CommandPath(), line)
		}
		if c.Runnable() && !c.HasSubCommands() {
			assert.Contains(t, c.Example, "  "+c.CommandPath(), c.CommandPath())
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(a.rootCommand())
}
