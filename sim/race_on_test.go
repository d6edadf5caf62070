//go:build race

package sim

// worlds: the bulk runs without the race detector, which makes a world many
// times slower and finds nothing in what is one goroutine.
const worlds = 300
