// Package docker is the drill's way to members that run in containers: the
// Docker Engine API on its socket, with the few calls that a drill needs.
//
// A member's container is the one whose compose service, host name, alias or
// address is the host of the member's api_url or conn_url. Processes inside it
// are signalled by commands that are run in it, since process numbers are the
// container's own.
//
// Every undo names the container by its id, may be carried out twice, and waits
// for a call of a killed drill that the engine may still be at work on: a start
// that comes before the end of a stop would have no effect.
package docker
