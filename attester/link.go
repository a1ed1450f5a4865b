// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

const (
	// commandLimit is longer than any command takes: TPMs are allowed minutes
	// for an RSA key.
	commandLimit = 5 * time.Minute
	dialLimit    = 10 * time.Second

	// maxResponse is the buffer that Linux and TPM stacks have for a response.
	maxResponse = 4096
)

// link carries one command at a time to a TPM and its response back.
type link interface {
	// exchange may return early when ctx ends only if the command was not
	// sent: a response may carry a handle that must be flushed.
	exchange(ctx context.Context, command []byte) ([]byte, error)
	io.Closer
}

var (
	_ link = plainLink{}
	_ link = (*socketLink)(nil)
)

// plainLink is a transport that knows no contexts.
type plainLink struct{ t transport.TPMCloser }

func (l plainLink) exchange(_ context.Context, command []byte) ([]byte, error) {
	response, err := l.t.Send(command)
	if err == nil && len(response) == 0 {
		// go-tpm's transports end their own retries so.
		return nil, errors.New("no response: the TPM stays busy")
	}
	return response, err
}

func (l plainLink) Close() error { return l.t.Close() }

// socketLink speaks the TPM's own byte stream over a socket, as swtpm's data
// channel does. It connects when it must: after a failure the next command
// finds a TPM that was started again.
type socketLink struct {
	network, address string
	conn             net.Conn // nil when not connected
	// grace is how long a command may take that nobody waits for any more.
	grace time.Duration
}

func (l *socketLink) exchange(ctx context.Context, command []byte) ([]byte, error) {
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	conn := l.conn
	response, err := l.roundTrip(ctx, conn, command)
	if err != nil {
		// Whatever comes now on this connection answers nothing that was asked.
		conn.Close()
		l.conn = nil
		return nil, fmt.Errorf("TPM at %s: %w", l.address, because(ctx, err))
	}
	return response, nil
}

func (l *socketLink) connect(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	d := net.Dialer{Timeout: dialLimit}
	conn, err := d.DialContext(ctx, l.network, l.address)
	if err != nil {
		return fmt.Errorf("connecting to the TPM: %w", because(ctx, err))
	}
	l.conn = conn
	return nil
}

func (l *socketLink) roundTrip(ctx context.Context, conn net.Conn, command []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(commandLimit)); err != nil {
		return nil, err
	}
	// When nobody waits any more the command still has time to end in order,
	// but not for ever.
	shortened := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(time.Now().Add(l.grace))
		close(shortened)
	})
	defer func() {
		if !stop() {
			<-shortened // or it would shorten the next command's time
		}
	}()

	if _, err := conn.Write(command); err != nil {
		return nil, fmt.Errorf("sending the command: %w", err)
	}
	response := make([]byte, headerSize, maxResponse)
	if _, err := io.ReadFull(conn, response); err != nil {
		return nil, fmt.Errorf("reading the response: %w", noEOF(err))
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < headerSize || size > maxResponse {
		return nil, fmt.Errorf("the response says that it has %d bytes, want %d to %d", size, headerSize, maxResponse)
	}
	response = response[:size]
	if _, err := io.ReadFull(conn, response[headerSize:]); err != nil {
		return nil, fmt.Errorf("reading the response: %w", noEOF(err))
	}
	return response, nil
}

func (l *socketLink) Close() error {
	if l.conn == nil {
		return nil
	}
	err := l.conn.Close()
	l.conn = nil
	return err
}

// because adds to a failure that ctx ended, if it did: the network's own error
// speaks of a timeout.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w (%w)", err, reason(ctx))
}

// noEOF says what an end of file means here.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the TPM closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}
