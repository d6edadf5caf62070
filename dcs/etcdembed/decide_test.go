package etcdembed

import (
	"net/http"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	partners := func(kinds ...answerKind) []answer {
		var list []answer
		for i, k := range kinds {
			list = append(list, answer{from: Member{Name: []string{"n2", "n3"}[i]}, kind: k})
		}
		return list
	}
	for _, c := range []struct {
		name string
		f    facts
		want step
	}{
		{"own data is served whatever the partners say", facts{hasLog: true, partners: partners(mismatched, silent)}, resume},
		{"alone and new", facts{quorum: 1}, found},
		{"alone, and the store is gone", facts{quorum: 1, knows: true}, refuse},
		{"nobody answers", facts{partners: partners(silent, silent)}, lookAgain},
		{"a majority is new", facts{partners: partners(fresh, silent)}, found},
		{"a partner has started to found", facts{partners: partners(unfounded, silent)}, found},
		{"new partners do not excuse a known store", facts{knows: true, partners: partners(fresh, fresh)}, refuse},
		{"a partner knows of a store", facts{partners: partners(fresh, bereft)}, refuse},
		{"the store exists and this member may have voted", facts{partners: partners(founded, silent)}, lookAgain},
		{"one new partner beside a founded one", facts{partners: partners(founded, fresh)}, lookAgain},
		{"a majority waits for our first start", facts{place: neverStarted, partners: partners(founded, founded)}, found},
		{"the same, but we have data", facts{place: neverStarted, knows: true, partners: partners(founded, founded)}, join},
		{"a majority saw us start", facts{place: started, partners: partners(founded, founded)}, join},
		{"a majority has removed us", facts{place: absent, knows: true, partners: partners(founded, founded)}, join},
		{"other settings", facts{partners: partners(fresh, mismatched)}, refuse},
	} {
		if c.f.quorum == 0 {
			c.f.quorum = 2
		}
		if got := decide(c.f); got.step != c.want || got.why == "" {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
	}
}

// A member that may have voted never starts as a voter with an empty log,
// whatever the partners say.
func TestAMemberThatKnowsOfAStoreNeverFounds(t *testing.T) {
	for a := silent; a <= mismatched; a++ {
		for b := silent; b <= mismatched; b++ {
			for place := unknown; place <= started; place++ {
				f := facts{knows: true, place: place, quorum: 2, partners: []answer{{kind: a}, {kind: b}}}
				if p := decide(f); p.step == found || p.step == resume {
					t.Errorf("%+v: %+v", f, p)
				}
				f.knows = false
				if p := decide(f); p.step == found && (a == founded || b == founded) && place != neverStarted {
					t.Errorf("%+v: %+v", f, p)
				}
			}
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(200, "", "", "cd", `[{"clientURLs":["http://a:1"]}]`)
	f.Add(200, "", "", "cd", `[{"name":"n1"}]`)
	f.Add(200, "fresh", "tok", "", `[]`)
	f.Add(404, "", "", "", ``)
	f.Fuzz(func(t *testing.T, status int, stand, token, cluster, body string) {
		h := http.Header{}
		h.Set(standInHeader, stand)
		h.Set(tokenHeader, token)
		h.Set("X-Etcd-Cluster-ID", cluster)
		kind, err := classify(status, h, []byte(body), "tok")
		if (kind == silent) != (err != nil) {
			t.Errorf("kind %v with error %v", kind, err)
		}
		if kind == fresh && (stand != standInFresh || token != "tok") {
			t.Errorf("%q %q counts as fresh", stand, token)
		}
		if kind == unfounded && (status != 200 || cluster == "") {
			t.Error("an answer that is not a store's counts as a store's")
		}
	})
}

func FuzzParseStartTime(f *testing.F) {
	f.Add("12 (a) b) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8412 1 1")
	f.Add("12 (x) Z 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8412 1 1")
	f.Add("")
	f.Fuzz(func(t *testing.T, stat string) {
		if n, err := parseStartTime(stat); err != nil && n != 0 {
			t.Errorf("%d and %v", n, err)
		}
	})
}

func TestParseStartTime(t *testing.T) {
	const tail = " 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8412 1 1"
	if n, err := parseStartTime("12 (a) b) S" + tail); n != 8412 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseStartTime("12 (a) Z" + tail); err == nil {
		t.Error("a zombie counts as running")
	}
}

func TestValidateNamesEverythingAtOnce(t *testing.T) {
	members := []Member{{"n1", "10.0.0.1:2380", "10.0.0.1:2379"}, {"n1", "10.0.0.2:2380", "nonsense"}}
	err := Config{Name: "n9", ListenPeer: "host.example:1", ListenClient: "127.0.0.1:x", Members: members}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	mustContain(t, err.Error(), "embedded.data_dir", `"n1"`, `"n9"`, "nonsense", "TLS", "host.example", `"x" is not a port`)

	good := Config{Name: "n1", DataDir: "/x/store", ListenPeer: "*:2380", ListenClient: "0.0.0.0:2379",
		TLS: TLS{"ca", "cert", "key"}, Members: []Member{{"n1", "https://10.0.0.1:2380", "10.0.0.1:2379"}}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if got := good.ClientURL(); got != "https://10.0.0.1:2379" {
		t.Error(got)
	}
	plain := good
	plain.TLS = TLS{}
	if err := plain.Validate(); err == nil || !strings.Contains(err.Error(), "must begin with http://") {
		t.Errorf("an https address without TLS: %v", err)
	}
}

func TestTheInitialTokenDependsOnScopeAndMembersOnly(t *testing.T) {
	a := Config{Name: "n1", Scope: "s", Members: []Member{{"n1", "1.1.1.1:1", ""}, {"n2", "1.1.1.2:1", ""}}}
	b := Config{Name: "n2", Scope: "s", Members: []Member{a.Members[1], a.Members[0]}}
	if a.initialToken() != b.initialToken() {
		t.Error("members disagree")
	}
	b.Scope = "t"
	if a.initialToken() == b.initialToken() {
		t.Error("two clusters agree")
	}
}
