package cli

import (
	"testing"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

const (
	askName  = "Please confirm the cluster name to remove: "
	askAware = `You are about to remove all information in DCS for lab, please type: "Yes I am aware": `
	askLead  = "This cluster currently is healthy. Please specify the leader name to continue: "
	askAlive = "Members are alive: n1, n2. Removing the cluster under them ends their lease, and they found it anew.\n" +
		"Stop them first, or type: \"Yes remove it while members are alive\": "
)

func TestRemove(t *testing.T) {
	w := newWorld(t, demo())
	w.run("", "remove", "lab").contains(t, 1, "remove needs the store")
	w.exec("", "remove").contains(t, 2, "accepts 1 arg")
	server := w.stored()
	remove := func(answers string) result { return w.exec(answers, "-d", "etcd3://h", "remove", "lab") }
	for _, c := range []struct{ answers, text string }{
		{"lap\n", "Error: Cluster names specified do not match"},
		{"lab\nyes\n", `Error: You did not exactly type "Yes I am aware"`},
		{"lab\nYes I am aware\nn2\n", "Error: You did not specify the current leader of the cluster"},
		{"lab\nYes I am aware\nn1\nYes\n", "Error: Refused: members are alive"},
		{"lab\nYes I am aware\nn1\n", "Aborted!"},
		{"", "Aborted!"},
	} {
		remove(c.answers).contains(t, 1, c.text)
	}
	if v := keys(t, server); len(v.Members) != 2 || !v.Config.Present {
		t.Fatalf("not confirmed, but removed: %+v", v)
	}
	remove("\nlab\nYes I am aware\nn1\nYes remove it while members are alive\n").want(t, 0,
		shown+askName+askName+askAware+askLead+askAlive+"Removed: the store holds nothing about cluster lab any more\n", "")
	snap, err := server.Connect().Load(t.Context())
	if err != nil || len(snap.Keys) != 0 {
		t.Errorf("%v %+v", err, snap)
	}
}

// TestRemoveADeadCluster: nothing more than the reference asks.
func TestRemoveADeadCluster(t *testing.T) {
	w := newWorld(t, demo())
	w.die()
	w.c.Change(func(v *cluster.View) {
		for i := range v.Members {
			v.Members[i].State = cluster.StateStopped
			v.Members[i].ReplicationState = ""
		}
	})
	w.stored()
	w.exec("lab\nYes I am aware\nn1\n", "-d", "etcd3://h", "remove", "lab").contains(t, 0, "Removed")
}

func TestRemoveAsPatronictl(t *testing.T) {
	w := newWorld(t, demo())
	w.opts.Patronictl = true
	server := w.stored()
	w.exec("lab\nYes I am aware\nn1\n", "-d", "etcd3://h", "remove", "lab", "-f", "tsv").contains(t, 0, "Cluster\tMember\t")
	if v := keys(t, server); len(v.Members) != 0 {
		t.Errorf("%+v", v)
	}
}

// TestRemoveMoreThanOneCluster: a name that is the beginning of other clusters'
// paths does not take them along.
func TestRemoveMoreThanOneCluster(t *testing.T) {
	for key, path := range map[string]string{"batman/leader": "batman,", "batman2/members/n1": "batman2,", "a/b/config": "a/b,"} {
		w := newWorld(t, demo())
		server := w.stored()
		if _, err := server.Connect().Put(t.Context(), key, "x", dcs.Always()); err != nil {
			t.Fatal(err)
		}
		w.exec("lab\nYes I am aware\nn1\nYes remove it while members are alive\n", "-d", "etcd3://h", "remove", "lab").
			contains(t, 1, "lies another cluster, "+path)
		if v := keys(t, server); len(v.Members) != 2 || !v.Config.Present {
			t.Fatalf("removed all the same: %+v", v)
		}
	}
}
