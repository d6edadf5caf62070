package conf

import (
	"math/big"
	"strconv"
	"strings"
)

// scale is a family of units, the largest first, in its smallest.
type scale []struct {
	name string
	size int64
}

var (
	memory = scale{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}
	times  = scale{{"d", 86400e6}, {"h", 3600e6}, {"min", 60e6}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}}
)

// Pretty writes a setting's value as the server shows it: a whole number of the
// unit of pg_settings (or of a unit of its own) in the largest unit that leaves
// it whole. Other values come back as they are.
func Pretty(value, unit string) string {
	v := strings.TrimSpace(value)
	digits := len(v) - len(strings.TrimLeft(v, "0123456789"))
	if digits == 0 || unit == "" {
		return value
	}
	family, size, ok := unitOf(unit)
	if own := strings.TrimSpace(v[digits:]); own != "" {
		var mine scale
		if mine, size, ok = unitOf(own); !ok || mine[0] != family[0] {
			return value
		}
	}
	n, good := new(big.Int).SetString(v[:digits], 10)
	if !ok || !good || n.Sign() == 0 {
		return value
	}
	n.Mul(n, big.NewInt(size))
	for _, u := range family {
		if q, r := new(big.Int).QuoRem(n, big.NewInt(u.size), new(big.Int)); r.Sign() == 0 {
			return q.String() + u.name
		}
	}
	return value
}

// unitOf finds a unit, also the block units of pg_settings such as 8kB.
func unitOf(unit string) (scale, int64, bool) {
	blocks := int64(1)
	if name := strings.TrimLeft(unit, "0123456789"); name != unit {
		n, err := strconv.ParseInt(unit[:len(unit)-len(name)], 10, 32)
		if err != nil {
			return memory, 1, false
		}
		blocks, unit = n, name
	}
	for _, family := range []scale{memory, times} {
		for _, u := range family {
			if u.name == unit {
				return family, blocks * u.size, true
			}
		}
	}
	return memory, 1, false
}
