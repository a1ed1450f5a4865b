// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// every is one frame of each type, as long as it may be.
func every(t testing.TB) (frames []Frame, data []byte) {
	t.Helper()
	for typ := Hello; typ <= Data; typ++ {
		f := Frame{Type: typ, ID: uint16(typ) << 8, Body: bytes.Repeat([]byte{byte(typ)}, typ.MaxBody())}
		var err error
		data, err = f.Append(data)
		require.NoError(t, err)
		frames = append(frames, f)
	}
	return frames, data
}

func TestFrame(t *testing.T) {
	frames, data := every(t)
	var written bytes.Buffer
	require.NoError(t, Write(&written, frames...))
	require.Equal(t, data, written.Bytes())
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(data), "byte by byte": iotest.OneByteReader(bytes.NewReader(data)),
		"the end with the last bytes": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range frames {
				f, err := Read(r)
				require.NoError(t, err)
				require.Equal(t, want.Type, f.Type)
				require.Equal(t, want.ID, f.ID)
				require.True(t, bytes.Equal(want.Body, f.Body))
			}
			_, err := Read(r)
			require.Equal(t, io.EOF, err)
		})
	}
}

// TestNotOneByteMore: what follows a frame is left alone.
func TestNotOneByteMore(t *testing.T) {
	data, err := Frame{Type: Refusal, Body: []byte("xyz")}.Append(nil)
	require.NoError(t, err)
	r := bytes.NewReader(append(data, "rest"...))
	_, err = Read(r)
	require.NoError(t, err)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "rest", string(rest))
}

// TestCutShort: each prefix of a frame is the unexpected end of one.
func TestCutShort(t *testing.T) {
	data, err := Frame{Type: Data, ID: 7, Body: []byte("body")}.Append(nil)
	require.NoError(t, err)
	for n := range len(data) {
		_, err := Read(bytes.NewReader(data[:n]))
		if n == 0 {
			require.Equal(t, io.EOF, err)
			continue
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
		_, err = ReadAll(bytes.NewReader(data[:n]), 2)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
	}
	broken := errors.New("broken")
	for n := range len(data) {
		_, err := Read(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken, "%d bytes", n)
	}
}

func TestRefused(t *testing.T) {
	good, err := Frame{Type: Accept, ID: 1}.Append(nil)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		at    int
		value byte
		text  string
	}{
		"version 0": {4, 0, "version 0, want 1"}, "version 2": {4, 2, "version 2, want 1"},
		"type 0": {5, 0, "unknown type 0"}, "type 7": {5, 7, "unknown type 7"},
		"too long by one": {11, 1, "accept of 1 bytes, at most 0"}, "much too long": {8, 0xff, "at most 0"},
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(good)
			data[tt.at] = tt.value
			_, err := Read(bytes.NewReader(data))
			var format *FormatError
			require.ErrorAs(t, err, &format)
			require.ErrorContains(t, err, tt.text)
		})
	}
	for typ := Hello; typ <= Data; typ++ {
		_, err := Frame{Type: typ, Body: make([]byte, typ.MaxBody()+1)}.Append(nil)
		require.ErrorContains(t, err, "are allowed")
		data, err := Frame{Type: typ}.Append(nil)
		require.NoError(t, err)
		length := typ.MaxBody() + 1
		data[9], data[10], data[11] = byte(length>>16), byte(length>>8), byte(length)
		_, err = Read(io.MultiReader(bytes.NewReader(data), bytes.NewReader(make([]byte, length))))
		require.ErrorContains(t, err, "are allowed", typ)
	}
	_, err = Frame{}.Append(nil)
	require.ErrorContains(t, err, "unknown type 0")
	require.Error(t, Write(io.Discard, Frame{}))
	require.Zero(t, Type(0).MaxBody())
}

// TestMagic: a stranger is known by the first byte that is wrong, and none is
// waited for.
func TestMagic(t *testing.T) {
	for n := range 4 {
		data := []byte{0xe5, 0xa7, 0xa1, 0x9c}
		data[n] ^= 1
		_, err := Read(io.MultiReader(bytes.NewReader(data[:n+1]), iotest.ErrReader(errors.New("read on"))))
		require.ErrorIs(t, err, ErrMagic)
		require.NotContains(t, err.Error(), "read on")
	}
}

func TestReadAll(t *testing.T) {
	one, err := Frame{Type: Accept}.Append(nil)
	require.NoError(t, err)
	frames, err := ReadAll(bytes.NewReader(nil), 2)
	require.NoError(t, err)
	require.Empty(t, frames)
	frames, err = ReadAll(bytes.NewReader(bytes.Repeat(one, 2)), 2)
	require.NoError(t, err)
	require.Len(t, frames, 2)
	_, err = ReadAll(bytes.NewReader(bytes.Repeat(one, 3)), 2)
	require.ErrorContains(t, err, "more than 2 frames")
	_, err = ReadAll(bytes.NewReader(append(one, 'x')), 2)
	require.ErrorIs(t, err, ErrMagic)
}

func TestHello(t *testing.T) {
	full := HelloBody{
		Framed:  true,
		Shows:   []Way{{1, "application/x", ""}, {2, strings.Repeat("t", 255), strings.Repeat("v", 255)}},
		Accepts: []Way{{255, "y", "ü"}}, Key: []byte("key"),
	}
	for _, h := range []HelloBody{{}, full} {
		data, err := h.Marshal()
		require.NoError(t, err)
		got, err := ParseHello(data)
		require.NoError(t, err)
		require.Equal(t, h, *got)
		for n := range len(data) {
			_, err := ParseHello(data[:n])
			var format *FormatError
			require.ErrorAs(t, err, &format, "%d bytes", n)
		}
		_, err = ParseHello(append(data, 0))
		require.ErrorContains(t, err, "left over")
	}
	way := Way{1, "x", ""}
	most := HelloBody{}
	for range MaxWays {
		most.Accepts = append(most.Accepts, way)
	}
	data, err := most.Marshal()
	require.NoError(t, err)
	_, err = ParseHello(data)
	require.NoError(t, err)
	most.Accepts = append(most.Accepts, way)
	data, err = most.Marshal()
	require.NoError(t, err)
	_, err = ParseHello(data)
	require.ErrorContains(t, err, "too many")

	for name, h := range map[string]HelloBody{
		"no type": {Shows: []Way{{Model: 1}}}, "type is no text": {Shows: []Way{{1, "\xff", ""}}},
		"verifier is no text": {Accepts: []Way{{2, "x", "\xff"}}},
	} {
		data, err := h.Marshal()
		require.NoError(t, err)
		_, err = ParseHello(data)
		require.ErrorContains(t, err, "not text", name)
	}
	for bit := range 7 {
		_, err := ParseHello([]byte{2 << bit, 0, 0, 0, 0, 0, 0})
		require.ErrorContains(t, err, "unknown flags")
	}
	_, err = (&HelloBody{Shows: []Way{{1, strings.Repeat("x", 256), ""}}}).Marshal()
	require.Error(t, err)
	_, err = (&HelloBody{Key: make([]byte, 1<<16)}).Marshal()
	require.Error(t, err)
}

func TestRefusal(t *testing.T) {
	r := RefusalBody{Code: 0x1234, Reason: "because, übrigens"}
	got, err := ParseRefusal(r.Marshal())
	require.NoError(t, err)
	require.Equal(t, r, *got)
	for _, reason := range []string{
		strings.Repeat("x", maxReason), strings.Repeat("x", maxReason+1), strings.Repeat("x", maxReason-1) + "ü",
		strings.Repeat("€", maxReason), "\xff", strings.Repeat("\xff", 3*maxReason), strings.Repeat("x", maxReason-2) + "€€",
	} {
		data := (&RefusalBody{Reason: reason}).Marshal()
		require.LessOrEqual(t, len(data), 2+maxReason)
		got, err := ParseRefusal(data)
		require.NoError(t, err, "%.20q", reason)
		require.True(t, utf8.ValidString(got.Reason))
		if utf8.ValidString(reason) {
			require.True(t, strings.HasPrefix(reason, got.Reason))
			require.Greater(t, len(got.Reason), min(len(reason), maxReason)-utf8.UTFMax)
		}
	}
	for _, data := range [][]byte{nil, {1}, {0, 1, 0xff}, make([]byte, 3+maxReason)} {
		_, err := ParseRefusal(data)
		var format *FormatError
		require.ErrorAs(t, err, &format)
	}
}

// FuzzRead: any bytes give an error, or a frame that is written as it was read;
// no byte after it is touched.
func FuzzRead(f *testing.F) {
	_, data := every(f)
	f.Add(data[:HeaderSize])
	for typ := Hello; typ <= Data; typ++ {
		one, err := Frame{Type: typ, ID: 1, Body: []byte("body")[:min(4, typ.MaxBody())]}.Append(nil)
		require.NoError(f, err)
		f.Add(one)
		f.Add(one[:len(one)-1])
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		got, err := Read(r)
		if err != nil {
			return
		}
		out, err := got.Append(nil)
		require.NoError(t, err)
		require.Equal(t, data[:len(data)-r.Len()], out)
	})
}

// FuzzParseHello: any bytes give an error, or a hello that is written as it was
// read.
func FuzzParseHello(f *testing.F) {
	for _, h := range []HelloBody{
		{}, {Framed: true, Key: []byte("key")},
		{Shows: []Way{{1, "application/x", ""}}, Accepts: []Way{{2, "application/eat+jwt", "verifier"}, {1, "x", ""}}},
	} {
		data, err := h.Marshal()
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHello(data)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(h.Shows), MaxWays)
		require.LessOrEqual(t, len(h.Accepts), MaxWays)
		out, err := h.Marshal()
		require.NoError(t, err)
		require.Equal(t, data, out)
	})
}

// FuzzParseRefusal: any bytes give an error, or a refusal that is written as it
// was read, and whose reason can be shown.
func FuzzParseRefusal(f *testing.F) {
	f.Add([]byte{0, 9})
	f.Add((&RefusalBody{Code: 1, Reason: "because"}).Marshal())
	f.Add([]byte{0, 1, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRefusal(data)
		if err != nil {
			return
		}
		require.True(t, utf8.ValidString(r.Reason))
		require.Equal(t, data, r.Marshal())
	})
}
