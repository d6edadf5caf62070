// Package up runs a whole cluster on this machine: the command `matriarch up`.
//
// It only starts, watches and shows. Every member is an ordinary `matriarch
// agent` with a file of its own, every vote of the embedded store a process of
// its own, and the entrypoint another: all in sessions of their own, so that
// the terminal's Ctrl-C reaches none of them and none falls with `up` itself.
// What `up` finds running in its directory it takes over (process.go); what it
// starts and what ends, it starts again, with a growing pause (keep.go).
//
// It holds no rule about the cluster and writes nothing to it: it asks the
// members over REST (watch.go) and says what changed (words.go). Passwords are
// made once, live in files of mode 0600, and are never printed.
//
// A drill reaches the processes by what is in the directory (reach.go). What it
// wants to stay down it holds (hold.go), or it would be started again at once.
//
// One directory is one cluster: cluster.json records how many members it has
// and where their ports begin, which cannot change later, because the store's
// votes know each other by address.
//
//	DIR/cluster.json lock secrets.json pgpass store.key store.pem store-ca.pem
//	DIR/n1/          n1.yml agent.log agent.pid hold.json data/ state/
//	DIR/witness/     state/ (the vote without a server, for an even number)
//	DIR/entrypoint/  entrypoint.yml entrypoint.log entrypoint.pid
//
// The order of a stop: the entrypoint, the replicas' agents, the primary's
// agent, the votes. Begin with Run.
package up
