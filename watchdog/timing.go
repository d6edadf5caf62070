package watchdog

import "time"

// Mode says whether a device is used.
type Mode string

// The values of Mode.
const (
	Off       Mode = "off"
	Automatic Mode = "automatic" // where it can be had
	Required  Mode = "required"  // without it this member does not lead
)

// Margin is how long before the end of a lease the device resets the host.
// Without a safety margin (-1 s) that is half of the lease, in whole seconds of
// the timeout.
func Margin(granted, safety time.Duration) time.Duration {
	if safety >= 0 {
		return safety
	}
	return granted - (granted / 2).Truncate(time.Second)
}
