// Package cli holds the commands with which people look at a cluster and change
// it: patronictl's commands, options, prompts and output formats, under both
// names.
//
// How a command reaches the cluster: through the REST interface of a member.
// The first member is --api, or restapi.connect_address of the configuration
// file; it names the others. Only when no member answers the store is used
// directly, and that is said on stderr.
//
// As matriarch, the exit code is honest: 0 done, 1 refused or failed, 2 wrong
// usage, 3 still running when the wait ended. As patronictl, it is the
// reference's, which is 0 even when a member refused.
//
// It does not run daemons: their commands are handed to New. It holds no rules
// about the cluster: members decide, it asks and shows.
//
// Begin with New, then connect.go; one file per group of commands.
package cli
