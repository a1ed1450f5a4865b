// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Docs are the reference pages of docs/cli by file name, made from what the
// commands say of themselves.
func Docs() map[string]string {
	a := &app{env: Env{Getenv: func(string) string { return "" }}}
	root := a.rootCommand()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	pages := make(map[string]string)
	document(root, pages)
	return pages
}

func document(c *cobra.Command, pages map[string]string) {
	// help is documented by being asked; completion in one page for all shells.
	if c.Name() == "help" || c.Hidden {
		return
	}
	c.InitDefaultHelpFlag()
	pages[pageName(c)] = page(c)
	if c.Name() == "completion" {
		return
	}
	for _, sub := range c.Commands() {
		document(sub, pages)
	}
}

func pageName(c *cobra.Command) string {
	return strings.ReplaceAll(c.CommandPath(), " ", "_") + ".md"
}

// page is a command's reference page in Markdown.
func page(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Made by \"go generate ./internal/cli\": do not edit. -->\n\n# %s\n\n%s.\n", c.CommandPath(), c.Short)
	if c.Runnable() && len(c.Commands()) == 0 {
		fmt.Fprintf(&b, "\n```\n%s\n```\n", c.UseLine())
	}
	if c.Long != "" {
		b.WriteString(prose(c.Long))
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "\n## Examples\n\n```sh\n%s\n```\n", outdent(c.Example))
	}
	if flags := c.NonInheritedFlags(); flags.HasAvailableFlags() && c.Runnable() {
		fmt.Fprintf(&b, "\n## Flags\n\n```\n%s```\n", flags.FlagUsages())
	}
	if c.Name() == "completion" {
		return b.String()
	}
	first := true
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || sub.Hidden {
			continue
		}
		if first {
			b.WriteString("\n## Commands\n\n")
			first = false
		}
		fmt.Fprintf(&b, "- [%s](%s): %s\n", sub.CommandPath(), pageName(sub), sub.Short)
	}
	if c.HasParent() {
		fmt.Fprintf(&b, "\nSee also [%s](%s).\n", c.Parent().CommandPath(), pageName(c.Parent()))
	}
	return b.String()
}

// prose makes Markdown of a command's description: paragraphs stay such, and
// what has a layout of its own keeps it.
func prose(text string) string {
	escape := strings.NewReplacer("<", "\\<", "*", "\\*", "_", "\\_")
	var b strings.Builder
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(p, " ") || strings.HasPrefix(p, "\t") || strings.Contains(p, "\n ") || strings.Contains(p, "\n\t") {
			fmt.Fprintf(&b, "\n```\n%s\n```\n", p)
		} else {
			fmt.Fprintf(&b, "\n%s\n", escape.Replace(p))
		}
	}
	return b.String()
}

// outdent takes off the two blanks that an example has in the help.
func outdent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
