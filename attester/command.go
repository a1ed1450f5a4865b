// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"encoding/binary"
	"errors"

	"github.com/google/go-tpm/tpm2"
)

// attestation runs TPM2_Certify or TPM2_Quote (Part 3, section 18) with empty
// passwords for its handles, and returns the TPMS_ATTEST and the TPMT_SIGNATURE.
//
// go-tpm does it as well, by reflection, which costs as much as a tenth of
// what the commands cost in a fast TPM. These two are run for each connection.
func (o *operation) attestation(cc tpm2.TPMCC, parameters []byte, handles ...tpm2.TPMHandle) (attest, signature []byte, err error) {
	const authSize = 9 // a TPMS_AUTH_COMMAND with neither nonce nor password
	b := make([]byte, 0, headerSize+4+len(handles)*(4+authSize)+len(parameters))
	b = binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMSTSessions))
	b = binary.BigEndian.AppendUint32(b, uint32(cap(b)))
	b = binary.BigEndian.AppendUint32(b, uint32(cc))
	for _, h := range handles {
		b = binary.BigEndian.AppendUint32(b, uint32(h))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(handles)*authSize))
	for range handles {
		b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRSPW))
		b = append(b, 0, 0, 0, 0, 0) // nonce, attributes, password
	}
	b = append(b, parameters...)

	response, err := o.Send(b)
	if err != nil {
		return nil, nil, err
	}
	if rc := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])); rc != tpm2.TPMRCSuccess {
		return nil, nil, rc
	}
	const replySize = 5 // the TPMS_AUTH_RESPONSE to such a TPMS_AUTH_COMMAND
	malformed := errors.New("the TPM's response is malformed")
	if binary.BigEndian.Uint16(response) != uint16(tpm2.TPMSTSessions) || len(response) < headerSize+4+2 {
		return nil, nil, malformed
	}
	rest := response[headerSize+4:]
	if size := binary.BigEndian.Uint32(response[headerSize:]); int64(size)+int64(len(handles)*replySize) != int64(len(rest)) {
		return nil, nil, malformed
	}
	rest = rest[:len(rest)-len(handles)*replySize]
	if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
		return nil, nil, malformed
	}
	end := 2 + int(binary.BigEndian.Uint16(rest))
	return rest[2:end:end], rest[end:], nil
}

// appendNonce appends qualifying data (a TPM2B_DATA) and the scheme that leaves
// the choice to the signer's own (TPM_ALG_NULL).
func appendNonce(b, nonce []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(nonce)))
	b = append(b, nonce...)
	return binary.BigEndian.AppendUint16(b, uint16(tpm2.TPMAlgNull))
}
