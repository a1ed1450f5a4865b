// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package deployment

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// group is the process group that all of a deployment's processes are in, the
// plugins that the VTS starts included. It is what makes sure that none of
// them outlives the deployment.
//
// Its leader is a keeper: a shell that waits for the end of its standard
// input, which comes when this process closes it or dies, however it dies, and
// then kills the group. A parent-death signal would not do: it reaches the VTS
// but not its plugins, and a VTS that is killed, or that gives up while it
// starts, leaves its plugins running.
//
// The keeper is reaped last, so that the group's number cannot be taken by
// somebody else's processes before the group is killed.
type group struct {
	keeper *exec.Cmd // it also holds our end of the pipe
}

// The first argument is a folder to remove: a plugin that is killed leaves its
// socket behind.
const keeperScript = `trap '' HUP INT TERM; read -r line; rm -rf -- "$1"; kill -KILL 0`

// newGroup makes a group of one keeper.
func newGroup(scratch string) (*group, error) {
	keeper := exec.Command("/bin/sh", "-c", keeperScript, "keeper", scratch)
	keeper.Dir = "/"
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := keeper.StdinPipe(); err != nil {
		return nil, fmt.Errorf("making keeper's pipe: %w", err)
	}
	if err := keeper.Start(); err != nil {
		return nil, fmt.Errorf("starting keeper: %w", err)
	}
	return &group{keeper: keeper}, nil
}

// id is the number of the process group, and of its keeper.
func (g *group) id() int { return g.keeper.Process.Pid }

// start starts a command in the group.
func (g *group) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.id()}
	return cmd.Start()
}

// kill ends every process of the group and returns when they are gone.
func (g *group) kill(ctx context.Context) error {
	if err := syscall.Kill(-g.id(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing process group %d: %w", g.id(), err)
	}
	err := waitFor(ctx, 5*time.Millisecond, func() (bool, error) {
		alive, err := groupMembers(g.id())
		if errors.Is(err, errors.ErrUnsupported) {
			return true, nil // nobody to ask, and SIGKILL is not refused
		}
		return len(alive) == 0, err
	})
	if err != nil {
		err = fmt.Errorf("waiting for the end of process group %d: %w", g.id(), err)
	}
	// The keeper was killed: that it says so is not an error.
	_ = g.keeper.Wait()
	return err
}

// terminate asks a process to end.
func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }
