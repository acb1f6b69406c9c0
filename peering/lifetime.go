package peering

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// lifetime is from when to when a token is valid.
type lifetime struct{ issued, expires time.Time }

var errNotBounded = errors.New("the token is not a JSON web token that expires: run liqoctl peer again to get one")

// lifetimeOf reads the claims of a token. Its signature is the provider's business.
func lifetimeOf(token string) (lifetime, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return lifetime{}, errNotBounded
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return lifetime{}, errNotBounded
	}
	var claims struct {
		Issued  int64 `json:"iat"`
		Expires int64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Issued <= 0 || claims.Expires <= claims.Issued {
		return lifetime{}, errNotBounded
	}
	return lifetime{issued: time.Unix(claims.Issued, 0), expires: time.Unix(claims.Expires, 0)}, nil
}

// TokenExpiry returns when a token expires, if it is one that does.
func TokenExpiry(token string) (time.Time, bool) {
	life, err := lifetimeOf(token)
	return life.expires, err == nil
}
