// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package ear verifies attestation results: EARs (draft-ietf-rats-ear), the
// signed JWTs in which a verifier says what it thinks of evidence.
//
// Call Verify, with the keys that the verifier signs with (ParseKey and Pin, or
// rp.DiscoverKeys) and what is expected of the result. What comes back is
// authentic, current and for the expected nonce. Whether it is also good is for
// an rp.Policy to say: a verified result may be one that condemns the evidence.
//
// # Threat model
//
// The bytes of a token may come from anybody; a peer presents its own passport.
// Nothing in it decides how it is verified: the algorithm is the key's, keys
// inside the token are not looked at, and the payload is not parsed before its
// signature holds. Tokens are bounded in size and depth and read strictly:
// compact serialisation, strict base64url, no duplicate members, no claim under
// two names. Unknown claims are passed over, as the draft asks.
//
// The verifier, who holds the key, is trusted in everything it says, but for
// one thing: a status better than its own trustworthiness vector is refused.
//
// Not checked: whether the verifier deserves its trust, revocation of its key,
// and for a token without nonce whether it was presented before.
package ear
