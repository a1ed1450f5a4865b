// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fullRequest has every field set.
func fullRequest(t testing.TB) *Request {
	t.Helper()
	r := requestFrom(Client)
	for _, der := range issued(t, p256(), p384(), "CA") {
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		r.CertificateAuthorities = append(r.CertificateAuthorities, cert.RawSubject)
	}
	r.ServerName = "device.example"
	r.Extensions = append(r.Extensions, Extension{0x0a0a, []byte("grease")})
	return r
}

func TestRequestRoundTrip(t *testing.T) {
	minimal := func(role Role) *Request {
		return &Request{From: role, Context: []byte{1}, SignatureSchemes: []tls.SignatureScheme{tls.Ed25519}}
	}
	long := minimal(Server)
	long.Context = bytes.Repeat([]byte{7}, MaxContext)
	for name, r := range map[string]*Request{
		"client, minimal": minimal(Client), "server, minimal": minimal(Server), "full": fullRequest(t),
		"client": requestFrom(Client), "server": requestFrom(Server), "longest context": long,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRequest(marshal(t, r))
			require.NoError(t, err)
			require.Equal(t, r, got)
		})
	}
}

// The bytes of a request, written out.
func TestRequestBytes(t *testing.T) {
	r := &Request{
		From: Client, Context: []byte{0xc0, 0xc1},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		ServerName:       "a.b", Extensions: []Extension{{cmw, nil}},
	}
	want := []byte{
		17, 0, 0, 31, // client_certificate_request
		2, 0xc0, 0xc1,
		0, 26,
		0, 13, 0, 4, 0, 2, 4, 3, // signature_algorithms
		0, 0, 0, 8, 0, 6, 0, 0, 3, 'a', '.', 'b', // server_name
		0xff, 0, 0, 0, // cmw_attestation
	}
	want[3], want[8] = byte(len(want)-4), byte(len(want)-9)
	require.Equal(t, want, marshal(t, r))
	r.From, r.ServerName = Server, ""
	require.Equal(t, []byte{
		13, 0, 0, 17, 2, 0xc0, 0xc1, 0, 12, 0, 13, 0, 4, 0, 2, 4, 3, 0xff, 0, 0, 0,
	}, marshal(t, r))
}

func TestMarshalRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Request)
		says   string
	}{
		"no role":         {func(r *Request) { r.From = 0 }, "making a request: role 0 is neither the client nor the server"},
		"no context":      {func(r *Request) { r.Context = nil }, "0 bytes, want 1 to 255"},
		"long context":    {func(r *Request) { r.Context = make([]byte, 256) }, "256 bytes, want 1 to 255"},
		"no schemes":      {func(r *Request) { r.SignatureSchemes = nil }, "no signature scheme given"},
		"no name":         {func(r *Request) { r.CertificateAuthorities = [][]byte{[]byte("CN=CA")} }, "certificate authority 0 is not a DER name"},
		"server's name":   {func(r *Request) { r.From = Server; r.ServerName = "a" }, "the client's to ask for"},
		"address":         {func(r *Request) { r.ServerName = "::1" }, "is an address"},
		"dot":             {func(r *Request) { r.ServerName = "a." }, "ends in a dot"},
		"own field":       {func(r *Request) { r.Extensions = []Extension{{13, nil}} }, "signature_algorithms has a field of its own"},
		"twice":           {func(r *Request) { r.Extensions = []Extension{{cmw, nil}, {cmw, nil}} }, "0xff00 is given twice"},
		"great extension": {func(r *Request) { r.Extensions = []Extension{{cmw, make([]byte, 65536)}} }, "65536 bytes"},
		"too large":       {func(r *Request) { r.Extensions = []Extension{{cmw, make([]byte, MaxRequest)}} }, "at most 16384"},
		"many extensions": {func(r *Request) {
			for i := range uint16(MaxExtensions) {
				r.Extensions = append(r.Extensions, Extension{0x1000 + i, nil})
			}
		}, "at most 64"},
		"many schemes": {func(r *Request) { r.SignatureSchemes = make([]tls.SignatureScheme, 40000) }, "signature_algorithms: encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			r := requestFrom(Client)
			c.change(r)
			out, err := r.Marshal()
			require.Nil(t, out)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	var (
		context = opaque(1, bytes.Repeat([]byte{0xc0}, 32))
		schemes = extension(extSignatureAlgorithms, opaque(2, []byte{4, 3}))
		name    = opaque(2, []byte{0x30, 0})
	)
	host := func(parts ...[]byte) []byte { return extension(extServerName, opaque(2, parts...)) }
	of := func(s string) []byte { return slices.Concat([]byte{0}, opaque(2, []byte(s))) }
	client := func(extensions ...[]byte) []byte {
		return handshake(17, context, opaque(2, schemes, slices.Concat(extensions...)))
	}
	for _, good := range [][]byte{client(), client(host(of("a"))), client(extension(extCertificateAuthorities, opaque(2, name)))} {
		_, err := ParseRequest(good)
		require.NoError(t, err)
	}

	const asks = "ClientCertificateRequest"
	many := []byte{}
	for i := range uint16(MaxExtensions) {
		many = append(many, extension(0x1000+i)...)
	}
	for title, c := range map[string]struct {
		data           []byte
		message, alert string
		says           string
	}{
		"nothing":               {nil, "request", "decode_error", "no handshake message left"},
		"a type":                {[]byte{17}, "request", "decode_error", "ClientCertificateRequest is cut short"},
		"too large":             {make([]byte, MaxRequest+1), "request", "decode_error", "at most 16384"},
		"Certificate":           {handshake(11, context, opaque(2, schemes)), "request", "unexpected_message", "Certificate instead of a request"},
		"ClientHello":           {handshake(1), "request", "unexpected_message", "handshake message 1"},
		"more behind":           {append(client(), 0), asks, "decode_error", "bytes left over"},
		"more inside":           {handshake(17, context, opaque(2, schemes), []byte{0}), asks, "decode_error", "bytes left over"},
		"length too great":      {append([]byte{17, 0, 1, 0}, client()[4:]...), "request", "decode_error", "cut short"},
		"nothing inside":        {handshake(17), asks, "decode_error", "certificate_request_context is cut short"},
		"context cut short":     {handshake(17, []byte{2, 1}), asks, "decode_error", "certificate_request_context is cut short"},
		"no context":            {handshake(17, opaque(1), opaque(2, schemes)), asks, "illegal_parameter", "it is empty"},
		"no extensions":         {handshake(17, context), asks, "decode_error", "the list of extensions is cut short"},
		"extensions cut short":  {handshake(17, context, []byte{0, 9}, schemes), asks, "decode_error", "the list of extensions is cut short"},
		"extension cut short":   {handshake(17, context, opaque(2, schemes[:7])), asks, "decode_error", "an extension is cut short"},
		"half an extension":     {client([]byte{0xff}), asks, "decode_error", "an extension is cut short"},
		"no schemes":            {handshake(17, context, opaque(2, extension(cmw))), asks, "missing_extension", "signature_algorithms is missing"},
		"no extension":          {handshake(17, context, opaque(2)), asks, "missing_extension", "signature_algorithms is missing"},
		"twice":                 {client(schemes), asks, "illegal_parameter", "signature_algorithms appears twice"},
		"unknown one twice":     {client(extension(cmw), extension(cmw)), asks, "illegal_parameter", "extension 0xff00 appears twice"},
		"many extensions":       {client(many), asks, "illegal_parameter", "more than 64 extensions"},
		"empty schemes":         {handshake(17, context, opaque(2, extension(13, opaque(2)))), asks, "decode_error", "signature_algorithms: the list is empty"},
		"schemes cut short":     {handshake(17, context, opaque(2, extension(13, []byte{0, 4, 4, 3}))), asks, "decode_error", "signature_algorithms: the list is empty or cut short"},
		"half a scheme":         {handshake(17, context, opaque(2, extension(13, opaque(2, []byte{4, 3, 4})))), asks, "decode_error", "half a scheme"},
		"more behind schemes":   {handshake(17, context, opaque(2, extension(13, opaque(2, []byte{4, 3}), []byte{0}))), asks, "decode_error", "signature_algorithms: bytes left over"},
		"empty cert schemes":    {client(extension(50, opaque(2))), asks, "decode_error", "signature_algorithms_cert: the list is empty"},
		"empty authorities":     {client(extension(47, opaque(2))), asks, "decode_error", "certificate_authorities: the list is empty"},
		"authority cut short":   {client(extension(47, opaque(2, []byte{0, 3, 0x30, 0}))), asks, "decode_error", "a name is cut short"},
		"authority without DER": {client(extension(47, opaque(2, name, opaque(2, []byte("CA"))))), asks, "decode_error", "name 1 is not DER"},
		"authority and more":    {client(extension(47, opaque(2, opaque(2, []byte{0x30, 0, 0})))), asks, "decode_error", "name 0 is not DER"},
		"empty authority":       {client(extension(47, opaque(2, opaque(2)))), asks, "decode_error", "name 0 is not DER"},
		"more behind them":      {client(extension(47, opaque(2, name), []byte{0})), asks, "decode_error", "certificate_authorities: bytes left over"},
		"empty server name":     {client(extension(0)), asks, "decode_error", "server_name: the list is empty"},
		"no server name":        {client(host()), asks, "decode_error", "server_name: the list is empty"},
		"server name cut short": {client(host([]byte{0, 0, 2, 'a'})), asks, "decode_error", "server_name: the list is empty or cut short"},
		"server name of 0":      {client(host(of(""))), asks, "illegal_parameter", "0 bytes"},
		"long server name":      {client(host(of(strings.Repeat("a", 256)))), asks, "illegal_parameter", "256 bytes"},
		"other name type":       {client(host([]byte{1}, opaque(2, []byte("a")))), asks, "illegal_parameter", "name of type 1"},
		"two server names":      {client(host(of("a"), of("b"))), asks, "illegal_parameter", "more than one name"},
		"server name and more":  {client(extension(0, opaque(2, of("a")), []byte{0})), asks, "decode_error", "server_name: bytes left over"},
		"address":               {client(host(of("192.0.2.1"))), asks, "illegal_parameter", "is an address"},
		"space":                 {client(host(of("a b"))), asks, "illegal_parameter", "0x20"},
		"NUL":                   {client(host(of("a\x00b"))), asks, "illegal_parameter", "0x00"},
		"not ASCII":             {client(host(of("ä"))), asks, "illegal_parameter", "0xc3"},
		"dot at the end":        {client(host(of("a."))), asks, "illegal_parameter", "ends in a dot"},
		"a server's name":       {handshake(13, context, opaque(2, schemes, host(of("a")))), "CertificateRequest", "illegal_parameter", "server_name does not belong in a CertificateRequest"},
	} {
		t.Run(title, func(t *testing.T) {
			got, err := ParseRequest(c.data)
			require.Nil(t, got)
			requireFault(t, err, c.message, c.alert, nil)
			require.ErrorContains(t, err, c.says)
		})
	}
	for n := range len(client()) {
		_, err := ParseRequest(client()[:n])
		require.Error(t, err, "%d bytes", n)
	}
}

// What a request holds is not the caller's buffer.
func TestParsedRequestIsItsOwn(t *testing.T) {
	data := marshal(t, fullRequest(t))
	got, err := ParseRequest(data)
	require.NoError(t, err)
	clear(data)
	require.Equal(t, fullRequest(t), got)
}
