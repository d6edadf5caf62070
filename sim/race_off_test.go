//go:build !race

package sim

// worlds is how many the ordinary run covers.
const worlds = 10000
