// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package deployment

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// group needs Unix process groups: without them nothing would stop the plugins
// of a VTS that was killed.
type group struct{}

func newGroup(string) (*group, error) {
	return nil, fmt.Errorf("running a deployment: %w", errors.ErrUnsupported)
}

func (*group) id() int                    { return 0 }
func (*group) start(*exec.Cmd) error      { return errors.ErrUnsupported }
func (*group) kill(context.Context) error { return errors.ErrUnsupported }
func terminate(cmd *exec.Cmd) error       { return cmd.Process.Kill() }
