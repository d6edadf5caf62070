// Package client speaks the REST interface of members, ours and the
// reference's. Every call has a deadline, and an error says whether the request
// can have had an effect: Error.Sent. It never repeats a request by itself and
// never follows redirects.
//
// It knows one member at a time: choosing whom to ask is the caller's matter.
// Begin with Client.
package client
