// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pluginhost

import (
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
)

// Process is the plugin's binary with one of its handlers dispensed.
type Process struct {
	// Calls are made on the handler, as "Plugin." and a method.
	Calls *rpc.Client

	client *plugin.Client
	cmd    *exec.Cmd
}

// dispensed is a handler as go-plugin knows it.
type dispensed struct{ plugin.NetRPCUnsupportedPlugin }

func (dispensed) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) { return c, nil }

// Start runs the binary and dispenses a handler, such as "scheme-handler", as
// the host does for each handler that it knows. env is added to the plugin's
// environment. The process ends with the test.
func Start(t testing.TB, binary, handler string, env ...string) (*Process, error) {
	t.Helper()
	p := &Process{cmd: exec.Command(binary)}
	p.cmd.Env = append(os.Environ(), env...)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		// plugin/goplugin_plugin.go, v0.0.2501 and v0.0.2603.
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "VERAISON_PLUGIN", MagicCookieValue: "VERAISON"},
		Plugins:         plugin.PluginSet{handler: dispensed{}},
		Cmd:             p.cmd,
		Logger:          hclog.NewNullLogger(),
	})
	t.Cleanup(p.client.Kill)
	protocol, err := p.client.Client()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	c, err := protocol.Dispense(handler)
	if err != nil {
		return nil, fmt.Errorf("dispensing the %s: %w", handler, err)
	}
	p.Calls = c.(*rpc.Client)
	return p, nil
}

// PID is the process's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited reports whether the process has ended.
func (p *Process) Exited() bool { return p.client.Exited() }

// Connect serves a handler's receiver in this process, with net/rpc and its
// encoding between.
func Connect(t testing.TB, receiver any) *rpc.Client {
	t.Helper()
	server := rpc.NewServer()
	require.NoError(t, server.RegisterName("Plugin", receiver))
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.ServeConn(theirs)
	}()
	c := rpc.NewClient(ours)
	t.Cleanup(func() {
		c.Close()
		<-served
	})
	return c
}
