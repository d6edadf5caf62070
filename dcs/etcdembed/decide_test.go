package etcdembed

import (
	"net/http"
	"strings"
	"testing"
)

const (
	storeA = Identity(1<<56 | 0xa)
	storeB = Identity(1<<56 | 0xb)
	later  = Identity(2<<56 | 0xc)
)

// heard makes the answers of n2 and n3; n1 is the first.
func heard(answers ...answer) []answer {
	for i := range answers {
		answers[i].from.Name = []string{"n2", "n3"}[i]
	}
	return answers
}

func TestDecide(t *testing.T) {
	var no answer
	isFresh, isBereft, other := answer{kind: fresh}, answer{kind: bereft}, answer{kind: mismatched}
	pledgedA, agreedA := answer{kind: pledged, id: storeA, token: "a"}, answer{kind: agreed, id: storeA}
	runsA, runsB, runsLater := answer{kind: running, id: storeA}, answer{kind: running, id: storeB}, answer{kind: running, id: later}
	holdsA, holdsB, knewLater := answer{kind: holding, id: storeA}, answer{kind: holding, id: storeB}, answer{kind: bereft, id: later}
	asFollower := func(f facts) facts { // n2 leads: this member is n1 by name, and not the first
		f.first.Name = "n2"
		return f
	}
	for _, c := range []struct {
		name string
		f    facts
		want step
	}{
		{"own data is served without partners", facts{dir: aLog, own: storeA, partners: heard(no, no)}, resume},
		{"own data is served whatever their settings", facts{dir: aLog, own: storeA, partners: heard(other, no)}, resume},
		{"own data, and the others are of the same store", facts{dir: aLog, own: storeA, marker: storeA, partners: heard(runsA, holdsA)}, resume},
		{"own data of a store that was given up", facts{dir: aLog, own: storeA, marker: storeA, partners: heard(runsLater, runsA)}, refuse},
		{"even one that has lost its directory tells of the later store", facts{dir: aLog, own: storeA, marker: storeA, partners: heard(knewLater, no)}, refuse},
		{"own data of the later store", facts{dir: aLog, own: later, marker: storeA, partners: heard(runsA, holdsA)}, resume},
		{"own data of a store founded apart", facts{dir: aLog, own: storeA, marker: storeA, partners: heard(runsB, no)}, refuse},
		{"the same, and neither runs", facts{dir: aLog, own: storeA, marker: storeA, partners: heard(holdsB, no)}, refuse},
		{"an old directory was put back", facts{dir: aLog, own: storeA, marker: later, partners: heard(no, no)}, refuse},
		{"another node's directory was put here", facts{dir: aLog, own: storeB, marker: storeA, partners: heard(no, no)}, refuse},

		{"alone and new", facts{}, offer},
		{"alone and offered", facts{dir: aPledge, own: storeA}, agree},
		{"alone and agreed", facts{dir: anAgreement, own: storeA}, found},
		{"alone, and the store is gone", facts{marker: storeA}, refuse},

		{"nobody answers", facts{partners: heard(no, no)}, lookAgain},
		{"one does not answer", facts{partners: heard(isFresh, no)}, lookAgain},
		{"all are new, and this is the first", facts{partners: heard(isFresh, isFresh)}, offer},
		{"all are new, and this is not the first", asFollower(facts{partners: heard(isFresh, isFresh)}), lookAgain},
		{"the first offers", asFollower(facts{partners: heard(pledgedA, isFresh)}), pledge},
		{"the first offers, one has recorded it", asFollower(facts{partners: heard(pledgedA, pledgedA)}), pledge},
		{"the first offers, one does not answer", asFollower(facts{partners: heard(pledgedA, no)}), lookAgain},
		{"the others have recorded what the first does not know", facts{partners: heard(pledgedA, isFresh)}, refuse},
		{"offered, and not all have recorded it", facts{dir: aPledge, own: storeA, partners: heard(pledgedA, isFresh)}, lookAgain},
		{"offered, and one is gone", facts{dir: aPledge, own: storeA, partners: heard(pledgedA, no)}, lookAgain},
		{"all have recorded it", facts{dir: aPledge, own: storeA, partners: heard(pledgedA, pledgedA)}, agree},
		{"all have recorded it, and this is not the first", asFollower(facts{dir: aPledge, own: storeA, partners: heard(pledgedA, pledgedA)}), lookAgain},
		{"the first knows that all have", asFollower(facts{dir: aPledge, own: storeA, partners: heard(agreedA, no)}), agree},
		{"another runs it", asFollower(facts{dir: aPledge, own: storeA, partners: heard(no, runsA)}), agree},
		{"the first has lost its offer", asFollower(facts{dir: aPledge, own: storeA, partners: heard(isFresh, pledgedA)}), refuse},
		{"recorded, and a later store lives", facts{dir: aPledge, own: storeA, live: later, partners: heard(runsLater, no)}, join},
		{"agreed, and a later store has no majority", facts{dir: anAgreement, own: storeA, partners: heard(runsLater, runsA)}, lookAgain},

		{"new partners do not excuse a known store", facts{marker: storeA, partners: heard(isFresh, isFresh)}, refuse},
		{"nor a data directory", facts{hasData: true, partners: heard(isFresh, isFresh)}, refuse},
		{"a partner knows of a store", facts{partners: heard(isFresh, isBereft)}, refuse},
		{"the store exists and this member may have voted", facts{partners: heard(runsA, no)}, lookAgain},
		{"one new partner beside one with data", facts{partners: heard(holdsA, isFresh)}, lookAgain},
		{"two with data that do not run", facts{partners: heard(holdsA, holdsA)}, lookAgain},
		{"a majority lives", facts{live: storeA, partners: heard(runsA, runsA)}, join},
		{"a majority lives, and this member was part of it", facts{live: storeA, marker: storeA, partners: heard(runsA, runsA)}, join},
		{"a majority of a later store lives", facts{live: later, marker: storeA, partners: heard(runsLater, no)}, join},
		{"a majority of a former store lives", facts{live: storeA, marker: later, partners: heard(runsA, runsA)}, refuse},
		{"a majority of a store founded apart lives", facts{live: storeB, marker: storeA, partners: heard(runsB, runsB)}, refuse},
		{"other settings", facts{partners: heard(isFresh, other)}, refuse},
	} {
		c.f.name = "n1"
		if c.f.first.Name == "" {
			c.f.first.Name = "n1"
		}
		if got := decide(c.f); got.step != c.want || got.why == "" {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
	}
}

// every calls test with all combinations of what may be known in a herd of three.
func every(test func(f facts)) {
	answers := []answer{{}, {kind: fresh}, {kind: bereft}, {kind: mismatched}}
	for _, id := range []Identity{storeA, storeB, later} {
		for _, k := range []answerKind{bereft, pledged, agreed, holding, running} {
			answers = append(answers, answer{kind: k, id: id, token: "t"})
		}
	}
	ids := []Identity{0, storeA, storeB, later}
	for dir := nothing; dir <= aLog; dir++ {
		for _, own := range ids {
			if (own == 0) != (dir == nothing) {
				continue
			}
			for _, marker := range ids {
				for _, first := range []string{"n1", "n2"} {
					for _, live := range ids {
						for _, a := range answers {
							for _, b := range answers {
								for _, data := range []bool{false, true} {
									test(facts{name: "n1", first: Member{Name: first}, dir: dir, own: own, marker: marker, live: live, hasData: data, partners: heard(a, b)})
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestWhatMustNeverBeDecided(t *testing.T) {
	every(func(f facts) {
		p := decide(f)
		wrong := func(what string) { t.Fatalf("%s: %+v: %+v", what, f, p) }
		all := func(is func(answer) bool) bool { return is(f.partners[0]) && is(f.partners[1]) }
		some := func(is func(answer) bool) bool { return is(f.partners[0]) || is(f.partners[1]) }
		knows := f.marker != 0 || f.hasData
		starts := p.step == found || p.step == resume || p.step == join
		switch p.step {
		case offer:
			if knows || f.dir != nothing || !all(func(a answer) bool { return a.kind == fresh }) {
				wrong("a founding is offered although somebody knows of a store or is silent")
			}
		case pledge:
			if knows || f.dir != nothing || !all(func(a answer) bool { return a.kind == fresh || a.kind == pledged && a.id == p.id }) {
				wrong("a founding is recorded although somebody knows of another store or is silent")
			}
		case found:
			if f.dir != anAgreement || p.id != f.own {
				wrong("an empty log votes without the agreement of all")
			}
		case agree:
			if f.dir != aPledge {
				wrong("an agreement without a record")
			}
			heardOfIt := some(func(a answer) bool { return a.id == f.own && a.kind.votes() })
			allHave := f.first.Name == "n1" && all(func(a answer) bool { return a.kind == pledged && a.id == f.own })
			if !heardOfIt && !allHave {
				wrong("an agreement that is not one")
			}
		case resume:
			if f.dir != aLog || p.id != f.own {
				wrong("nothing to resume")
			}
		case join:
			if f.dir == aLog || p.id != f.live || f.marker.supersedes(p.id) {
				wrong("joins what it must not")
			}
		}
		if starts && some(func(a answer) bool { return a.id.supersedes(p.id) }) && p.step != join {
			wrong("starts beside a later store")
		}
		if starts && f.marker != p.id && !p.id.supersedes(f.marker) && f.marker != 0 {
			wrong("starts against its own record")
		}
	})
}

func FuzzClassify(f *testing.F) {
	f.Add(200, "", "", "", "", "cd", `[{"peerURLs":["http://a:1"]}]`)
	f.Add(200, "", "", "", "", "cd", `[{"name":"n1"}]`)
	f.Add(200, "fresh", "tok", "", "", "", `[]`)
	f.Add(200, "pledged", "tok", "cd", "t", "", `[]`)
	f.Add(404, "", "", "", "", "", ``)
	f.Fuzz(func(t *testing.T, status int, stand, settings, id, token, cluster, body string) {
		h := http.Header{}
		for k, v := range map[string]string{standInHeader: stand, settingsHeader: settings, idHeader: id, tokenHeader: token, etcdIDHeader: cluster} {
			h.Set(k, v)
		}
		a := classify(status, h, []byte(body), "tok", "http://a:1")
		if (a.kind == silent) != (a.err != nil) {
			t.Errorf("kind %v with error %v", a.kind, a.err)
		}
		if a.kind == fresh && (stand != "fresh" || settings != "tok") {
			t.Errorf("%q %q counts as fresh", stand, settings)
		}
		if (a.kind.votes() || a.kind == pledged) && a.id == 0 {
			t.Errorf("%+v names no store", a)
		}
		if a.kind == running && (status != 200 || !strings.Contains(body, "http://a:1")) {
			t.Error("an answer that is not this partner's store's counts as its store's")
		}
	})
}

func TestAFoundingSaysItsGeneration(t *testing.T) {
	c := Config{Name: "n1", Scope: "s", Members: []Member{{"n1", "1.1.1.1:1", ""}, {"n2", "1.1.1.2:1", ""}}}
	for _, generation := range []int{1, 2, lastGeneration} {
		for _, alone := range []bool{false, true} {
			f, err := newFounding(c, generation, alone)
			if err != nil {
				t.Fatal(err)
			}
			id, err := f.identity(c)
			if err != nil || id.Generation() != generation || id.text() != f.ID {
				t.Errorf("%+v: %s, %v; want generation %d", f, id, err, generation)
			}
			if again, err := newFounding(c, generation, alone); err != nil || again.ID == f.ID {
				t.Errorf("founded twice, and the same store: %+v, %v", again, err)
			}
		}
	}
	if _, err := newFounding(c, lastGeneration+1, true); err == nil {
		t.Error("a generation that does not fit was accepted")
	}
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

func TestTheSettingsTokenDependsOnScopeAndMembersOnly(t *testing.T) {
	a := Config{Name: "n1", Scope: "s", Members: []Member{{"n1", "1.1.1.1:1", ""}, {"n2", "1.1.1.2:1", ""}}}
	b := Config{Name: "n2", Scope: "s", Members: []Member{a.Members[1], a.Members[0]}}
	if a.settingsToken() != b.settingsToken() {
		t.Error("members disagree")
	}
	b.Scope = "t"
	if a.settingsToken() == b.settingsToken() {
		t.Error("two clusters agree")
	}
}
