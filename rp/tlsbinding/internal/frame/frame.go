// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package frame is the framing of docs/PROTOCOL.md, section 4: what the two
// sides of an attested connection say to each other beside application data.
package frame

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Magic begins each frame: the magic cookie of draft-reddy-seat-expat-transport's
// shim mode. No TLS-protected protocol in use begins with it.
const Magic = 0xE5A7A19C

// Version is the only one there is.
const Version = 1

// HeaderSize is the length of what precedes a frame's body, in bytes.
const HeaderSize = 12

// Type says what a frame's body is.
type Type uint8

// The frames' types.
const (
	Hello         Type = 1
	Request       Type = 2
	Authenticator Type = 3
	Accept        Type = 4
	Refusal       Type = 5
	Data          Type = 6
)

var names = map[Type]string{
	Hello: "hello", Request: "request", Authenticator: "authenticator",
	Accept: "accept", Refusal: "refusal", Data: "data",
}

// String names the type as docs/PROTOCOL.md does.
func (t Type) String() string {
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// MaxBody is how long the body of a frame may be, in bytes.
func (t Type) MaxBody() int {
	switch t {
	case Hello, Request, Data:
		return 16 << 10
	case Authenticator:
		return 128 << 10
	case Refusal:
		return 2 << 10
	}
	return 0
}

// Frame is one message.
type Frame struct {
	Type Type
	// ID matches a request with its answer; 0 where there is no request.
	ID   uint16
	Body []byte
}

// ErrMagic says that what came is no frame: the peer speaks something else.
var ErrMagic = errors.New("not a frame of this protocol")

// FormatError says that a frame is not one that may be sent.
type FormatError struct{ Reason string }

// Error says what is wrong with the frame.
func (e *FormatError) Error() string { return "bad frame: " + e.Reason }

// Append appends the frame's bytes.
func (f Frame) Append(out []byte) ([]byte, error) {
	if _, known := names[f.Type]; !known {
		return nil, &FormatError{"unknown " + f.Type.String()}
	}
	if limit := f.Type.MaxBody(); len(f.Body) > limit {
		return nil, &FormatError{fmt.Sprintf("%v of %d bytes, at most %d are allowed", f.Type, len(f.Body), limit)}
	}
	out = binary.BigEndian.AppendUint32(out, Magic)
	out = append(out, Version, byte(f.Type))
	out = binary.BigEndian.AppendUint16(out, f.ID)
	out = binary.BigEndian.AppendUint32(out, uint32(len(f.Body)))
	return append(out, f.Body...), nil
}

// Write writes frames in one write.
func Write(w io.Writer, frames ...Frame) error {
	var out []byte
	for _, f := range frames {
		var err error
		if out, err = f.Append(out); err != nil {
			return err
		}
	}
	_, err := w.Write(out)
	return err
}

// Read reads one frame, and not one byte more. io.EOF means that there was no
// byte; what is cut short is io.ErrUnexpectedEOF. What does not begin like a
// frame is ErrMagic as soon as it shows, so that a peer that speaks something
// else is found out by its first byte.
func Read(r io.Reader) (Frame, error) {
	var header [HeaderSize]byte
	magic := binary.BigEndian.AppendUint32(nil, Magic)
	for n := 0; n < len(magic); {
		m, err := r.Read(header[n:len(magic)])
		n += m
		if !bytes.Equal(header[:n], magic[:n]) {
			return Frame{}, fmt.Errorf("%w: it begins with %q", ErrMagic, header[:n])
		}
		if n < len(magic) && err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return Frame{}, err
		}
	}
	if _, err := io.ReadFull(r, header[len(magic):]); err != nil {
		return Frame{}, unexpected(err)
	}
	f := Frame{Type: Type(header[5]), ID: binary.BigEndian.Uint16(header[6:])}
	if header[4] != Version {
		return Frame{}, &FormatError{fmt.Sprintf("version %d, want %d", header[4], Version)}
	}
	if _, known := names[f.Type]; !known {
		return Frame{}, &FormatError{"unknown " + f.Type.String()}
	}
	length, limit := binary.BigEndian.Uint32(header[8:]), f.Type.MaxBody()
	if uint64(length) > uint64(limit) {
		return Frame{}, &FormatError{fmt.Sprintf("%v of %d bytes, at most %d are allowed", f.Type, length, limit)}
	}
	// The body grows as it comes: a peer that announces much and sends little
	// occupies little.
	var body bytes.Buffer
	if n, err := io.CopyN(&body, r, int64(length)); err != nil {
		return Frame{}, unexpected(fmt.Errorf("%v, %d of %d bytes: %w", f.Type, n, length, err))
	}
	f.Body = body.Bytes()
	return f, nil
}

// unexpected is for where the end of the stream is not the end of a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReadAll reads frames that are a whole message, such as an HTTP body.
func ReadAll(r io.Reader, most int) ([]Frame, error) {
	buffered := bufio.NewReader(r)
	var frames []Frame
	for {
		f, err := Read(buffered)
		switch {
		case err == io.EOF:
			return frames, nil
		case err != nil:
			return nil, err
		case len(frames) == most:
			return nil, &FormatError{fmt.Sprintf("more than %d frames", most)}
		}
		frames = append(frames, f)
	}
}
